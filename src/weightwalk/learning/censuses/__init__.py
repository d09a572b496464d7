"""Censuses: thousands of trainings at once, counted by outcome."""
