"""torch -> Walk: runs a computation and writes down every op, its names and its source line."""

from weightwalk.recorder.session import Recording, recording, walk

__all__ = ["Recording", "recording", "walk"]
