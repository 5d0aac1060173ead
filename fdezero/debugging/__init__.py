"""Debugging tools: `debug` finds mistakes and their lines, `trace` shows the program, `plot` draws it, `profile` measures it."""

from .level import debug
from .plot import plot, trace
from .profile import Profile, profile

__all__ = ["Profile", "debug", "plot", "profile", "trace"]


def __dir__() -> list[str]:
    return __all__
