"""Writing: a planned graph becomes source, of Python, CUDA or C++."""
