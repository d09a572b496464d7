"""Every region of a net of two numbers."""
