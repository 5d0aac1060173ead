"""Debugging tools: `debug` finds mistakes and their lines, `trace` shows the program, `plot` draws the program."""

from .level import debug
from .plot import plot, trace

__all__ = ["debug", "plot", "trace"]
