"""Layers: immutable pytrees of their parameters, called as `layer(x, key=key, train=True)`."""

from .layers import Dropout, Function, Linear
from .models import MLP, Sequential

__all__ = ["MLP", "Dropout", "Function", "Linear", "Sequential"]
