"""Data sets and their batches."""

from .loader import DataLoader
from .sets import mnist, spiral

__all__ = ["DataLoader", "mnist", "spiral"]
