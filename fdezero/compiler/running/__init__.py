"""What generated programs run on: memory and blocks."""
