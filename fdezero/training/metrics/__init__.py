"""Metrics that add up: frozen trees of sums with `update`, `merge` and `result`. `training` hands them out."""
