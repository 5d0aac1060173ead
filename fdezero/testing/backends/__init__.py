"""Frameworks whose functions can be tested: one file for each, imported when somebody asks for it."""

from .choice import BACKENDS, backend_named
from .protocol import Arrays, Backend, NotOffered, Run

__all__ = ["BACKENDS", "Arrays", "Backend", "NotOffered", "Run", "backend_named"]
