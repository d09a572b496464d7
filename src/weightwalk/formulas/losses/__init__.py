"""The exact loss along weights."""
