"""What pieces add up to."""
