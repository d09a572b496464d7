"""Why a training is where it is: units, gradients, the curve and the curvature, measured; and what follows."""
