"""Tinyworld: a text source whose true next-word probabilities are known exactly."""

from weightwalk.language.tinyworld.world import Tinyworld, tinyworld

__all__ = ["Tinyworld", "tinyworld"]
