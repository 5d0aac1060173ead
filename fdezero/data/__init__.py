"""Data sets and their batches."""

from .loader import DataLoader
from .mnist import mnist
from .spiral import spiral

__all__ = ["DataLoader", "mnist", "spiral"]
