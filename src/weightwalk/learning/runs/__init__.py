"""The inside of a training: its loop, its schedules, its checkpoints, its watch over bad numbers."""
