"""Recording: a function becomes a graph."""
