"""Layers: immutable pytrees of their parameters, called as `layer(x, key=key, train=True)`."""

from .containers import Sequential
from .dropout import Dropout
from .function import Function
from .linear import Linear
from .mlp import MLP

__all__ = ["MLP", "Dropout", "Function", "Linear", "Sequential"]
