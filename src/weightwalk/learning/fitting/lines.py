"""A few dozen lines of text to learn from: plain, our own, about one small world, so that they share their words."""

LINES = """
the miller opens the gate before the sun is up.
the baker buys flour from the miller and pays in bread.
every morning the river turns the wheel of the mill.
the wheel turns the stone and the stone grinds the corn.
when the river is low the wheel stands still.
the miller looks at the river and waits for rain.
rain falls on the hills and the river begins to rise.
the old dog of the miller sleeps by the warm oven.
the baker lights the oven before the birds begin to sing.
the bread is in the oven and the street smells of it.
the children run down the street to buy warm bread.
the smith mends the gate of the mill for a loaf of bread.
the smith has a hammer, and the hammer has a name.
at noon the bell of the church calls the people to eat.
the teacher waits until the bell has stopped.
the children ask the teacher why the river never stops.
the teacher says that the river comes from the hills.
the shepherd lives on the hills with his sheep and his dog.
in the winter the shepherd comes down to the village.
the snow lies on the hills and the sheep stay in the barn.
the farmer gives the shepherd hay for the sheep.
the farmer sows the corn when the snow is gone.
in the summer the corn stands high and yellow.
the wind comes from the sea and bends the corn.
the farmer cuts the corn and brings it to the mill.
the miller weighs the corn and writes down the weight.
the mouse in the mill does not care about the weight.
the cat of the baker cares about the mouse.
the cat waits by the wall until the mouse comes out.
the mouse waits in the wall until the cat goes away.
the fisher mends the nets while the wind is too strong.
the fisher sells the fish in the street before noon.
the cat of the baker sits near the fish and waits.
the doctor rides to the village on a grey horse.
the smith gives the grey horse a new shoe.
the doctor looks at the hand of the smith and says nothing.
the weaver makes a coat from the wool of the sheep.
the weaver sells the coat to the teacher before the winter.
in the evening the people sit by the fire and talk.
the old miller tells the children about the great flood.
the river came over the wall and took the bridge away.
the people of the village built the bridge again.
the smith made the nails and the farmer brought the wood.
now the bridge is higher than the river has ever been.
the children run over the bridge and count the boats.
the boats go down the river to the sea with the corn.
from the sea they come back with salt and with news.
the baker needs the salt and the people need the news.
at night the village is dark and the river is loud.
the dog hears the river and turns around in his sleep.
the moon stands over the mill and the wheel stands still.
nobody sees the mouse run over the stone of the mill.
the baker wakes up before the bell and lights the oven.
the miller opens the gate and the wheel begins to turn.
the farmer counts the sacks and the miller counts them again.
the teacher writes the name of the river on the wall.
the shepherd calls the dog and the dog brings the sheep.
the weaver waits for the wool and the sheep wait for the grass.
the fisher looks at the moon and knows when the sea will rise.
the bell of the church is older than the bridge and the mill.
""".strip().splitlines()
