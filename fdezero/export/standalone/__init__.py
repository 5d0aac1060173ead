"""Programs as Python files: what of this library a program uses becomes text, and what a file needs around it."""
