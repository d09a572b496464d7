"""Programs for those who work on Weightwalk; no part of the package."""
