"""Data sets, one file a set."""

from .mnist import mnist
from .spiral import spiral

__all__ = ["mnist", "spiral"]
