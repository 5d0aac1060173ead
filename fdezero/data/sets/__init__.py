"""Data sets, one file per set: functions that return arrays, with the examples along the first axis."""
