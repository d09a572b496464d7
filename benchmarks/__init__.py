"""Side-by-side measurements of Weightwalk and its peers: ``python -m benchmarks``."""
