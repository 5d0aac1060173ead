"""Faults planted one at a time, to see whether the tests notice. On demand: `python -m tests.mutation`."""
