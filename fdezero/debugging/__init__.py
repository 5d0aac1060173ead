"""Looking at what runs: debug finds what goes wrong and where, trace shows the program, plot draws it."""

from .level import debug
from .plot import plot, trace

__all__ = ["debug", "plot", "trace"]
