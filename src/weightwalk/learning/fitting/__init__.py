"""What fits and what generalises, computed: each statement about fitting as an experiment with its numbers."""
