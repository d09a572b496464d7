"""Every kink of a net of one number."""
