"""Data sets, one file a set: functions that return arrays, with the examples along the first axis."""
