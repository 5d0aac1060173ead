"""Activations: x (...) -> (...), in the dtype of x. float16 is computed in float32 and rounded once."""

import math
from typing import Any

from .. import numpy as fnp
from .. import special
from ..numpy.precision import in_single
from ..ops import elementwise

__all__ = ["gelu", "leaky_relu", "log_softmax", "relu", "sigmoid", "softmax", "softplus", "tanh"]


@in_single
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return elementwise.sigmoid(x)


def relu(x: Any) -> Any:
    """max(x, 0); the derivative at 0 is 0."""
    return elementwise.relu(x)


def leaky_relu(x: Any, slope: float = 0.2) -> Any:
    """x where x is positive, slope * x elsewhere."""
    x = fnp.asarray(x)
    return fnp.where(x > 0, x, slope * x)


@in_single
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return elementwise.tanh(x)


@in_single
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return fnp.logaddexp(x, fnp.zeros_like(x))


@in_single
def gelu(x: Any) -> Any:
    """x times the normal distribution function, approximated by tanh.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016, section 2.
    """
    x = fnp.asarray(x)
    # Where |x| is above 100 the factor is 0 or 1, so the limit changes nothing, and no cube overflows.
    z = fnp.clip(x, -100.0, 100.0)
    # (1 + tanh(w)) / 2 is sigmoid(2 w), which keeps its digits where the sum would cancel.
    return x * elementwise.sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * (z * z * z)))


@in_single
def log_softmax(x: Any, axis: int = -1) -> Any:
    """log(exp(x) / sum(exp(x))) along `axis`, without overflow: x (..., n) -> (..., n)."""
    return special.log_softmax(x, axis)


@in_single
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along `axis`, without overflow: x (..., n) -> (..., n)."""
    return special.softmax(x, axis)
