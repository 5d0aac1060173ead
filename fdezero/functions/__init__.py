"""Activations, losses, dropout: pure functions of arrays."""

from .activations import gelu, leaky_relu, log_softmax, relu, sigmoid, softmax, softplus, tanh
from .dropout import dropout
from .linear import linear
from .losses import accuracy, binary_cross_entropy, mean_squared_error, sigmoid_cross_entropy, softmax_cross_entropy

__all__ = [
    "accuracy", "binary_cross_entropy", "dropout", "gelu", "leaky_relu", "linear", "log_softmax", "mean_squared_error", "relu",
    "sigmoid", "sigmoid_cross_entropy", "softmax", "softmax_cross_entropy", "softplus", "tanh",
]  # fmt: skip
