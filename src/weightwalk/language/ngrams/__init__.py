"""Counting models: what comes next, by how often it came next before."""

from weightwalk.language.ngrams.model import SMOOTHINGS, NGrams, fit

__all__ = ["SMOOTHINGS", "NGrams", "fit"]
