"""Formulas as text, LaTeX and Python code."""
