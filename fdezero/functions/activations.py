"""Activations: x (...) -> (...), in the dtype of x. float16 is computed in float32 and rounded once.

Constants and defaults are PyTorch's, except the slope of `leaky_relu`, which is DeZero's. Values, and derivatives of every
order, are finite wherever the function is, also at infinities: no product of an infinity and 0 is ever computed.
"""

from collections.abc import Callable
from typing import Any

from .. import numpy as fnp
from .. import special
from ..errors import RangeError, ShapeError
from ..messages import describe
from ..numpy.precision import in_single
from ..ops import elementwise
from ..ops.special import ndtr_by_tanh

__all__ = [
    "celu", "elu", "gelu", "glu", "hard_sigmoid", "hard_swish", "hard_tanh", "leaky_relu", "log_sigmoid", "log_softmax", "mish",
    "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish", "tanh", "threshold",
]  # fmt: skip

# Source: Klambauer et al., "Self-normalizing neural networks", 2017, appendix A.4
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@in_single
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return elementwise.sigmoid(x)


def relu(x: Any) -> Any:
    """max(x, 0); the derivative at 0 is 0."""
    return elementwise.relu(x)


@in_single
def leaky_relu(x: Any, slope: float = 0.2) -> Any:
    """x where x is positive, slope * x elsewhere."""
    # The derivative of clip at its bound is 1, that of relu 0. A choice by a mask would be ten times as slow.
    return elementwise.relu(x) + slope * fnp.clip(x, None, 0)


@in_single
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return elementwise.tanh(x)


@in_single
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    x = fnp.asarray(x)
    # Above 40 it is x, as far as floating numbers can tell. log1p and exp have vector loops, which logaddexp does not have.
    return fnp.where(x > 40, x, fnp.log1p(fnp.exp(fnp.clip(x, None, 40.0))))


@in_single
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    x = fnp.asarray(x)
    size = fnp.where(x < 0, -x, x)
    far = size > 1
    # Far from 0 the quotient is inf / inf, and the two terms of its derivative cancel; 1 - 1 / (1 + size) does neither.
    outside = fnp.copysign(1 - 1 / (1 + fnp.where(far, size, 1)), x)
    return fnp.where(far, outside, fnp.where(far, 0, x) / (1 + fnp.where(far, 0, size)))


@in_single
def log_sigmoid(x: Any) -> Any:
    """log(1 / (1 + exp(-x))), without underflow."""
    return -softplus(-fnp.asarray(x))


# Smooth gates: x times a factor that goes from 0 to 1


def _gated(x: Any, factor: Callable[[Any], Any], low: float, high: float) -> Any:
    """x * factor(x), where the factor is 0 up to `low` and 1 from `high` on, as far as floating numbers can tell."""
    x = fnp.asarray(x)
    z = fnp.clip(x, low, high)
    return fnp.where(x > high, x, z * factor(z))


@in_single
def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units", 2018.
    """
    return _gated(x, elementwise.sigmoid, -750.0, 750.0)


swish = silu


@in_single
def mish(x: Any) -> Any:
    """x * tanh(softplus(x)).

    Source: Misra, "Mish: a self regularized non-monotonic activation function", 2019.
    """
    return _gated(x, lambda z: fnp.tanh(fnp.log1p(fnp.exp(z))), -750.0, 20.0)


@in_single
def gelu(x: Any, approximate: str = "none") -> Any:
    """x times the normal distribution function at x; with `approximate="tanh"`, an approximation by tanh.

    They differ by at most 5e-4. On the CPU the approximation takes a seventh of the time. Raises RangeError for another word.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016, section 2.
    """
    if approximate not in ("none", "tanh"):
        raise RangeError(f'gelu: approximate is "none" or "tanh", got {approximate!r}.')
    return _gated(x, special.ndtr if approximate == "none" else ndtr_by_tanh, -100.0, 100.0)


@in_single
def glu(x: Any, axis: int = -1) -> Any:
    """a * sigmoid(b), where a and b are the halves of x along `axis`: x (..., 2 n) -> (..., n).

    Raises ShapeError if the length along `axis` is odd.

    Source: Dauphin et al., "Language modeling with gated convolutional networks", 2017.
    """
    x = fnp.asarray(x)
    if not x.ndim or x.shape[axis] % 2:
        raise ShapeError(f"glu halves axis {axis}, whose length must be even; got {describe(x)}.")
    a, b = fnp.split(x, 2, axis=axis)
    return a * elementwise.sigmoid(b)


# Exponentials on the left, lines on the right


@in_single
def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x where x is positive, alpha * (exp(x) - 1) elsewhere.

    Source: Clevert, Unterthiner and Hochreiter, "Exponential linear units", 2016.
    """
    x = fnp.asarray(x)
    positive = x > 0
    return fnp.where(positive, x, alpha * fnp.expm1(fnp.clip(x, None, 0.0)))  # no exponential overflows


@in_single
def selu(x: Any) -> Any:
    """1.0507 * elu(x, 1.6733), which keeps mean 0 and variance 1.

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.
    """
    x = fnp.asarray(x)
    positive = x > 0
    below = SELU_SCALE * SELU_ALPHA * fnp.expm1(fnp.clip(x, None, 0.0))
    return fnp.where(positive, SELU_SCALE * x, below)


@in_single
def celu(x: Any, alpha: Any = 1.0) -> Any:
    """x where x is positive, alpha * (exp(x / alpha) - 1) elsewhere; smooth at 0 for every alpha.

    Raises RangeError if alpha is the number 0.

    Source: Barron, "Continuously differentiable exponential linear units", 2017.
    """
    if isinstance(alpha, int | float) and alpha == 0:
        raise RangeError("celu divides by alpha, which must not be 0. For alpha = 0 use relu.")
    x = fnp.asarray(x)
    positive = x > 0
    return fnp.where(positive, x, alpha * fnp.expm1(fnp.clip(x, None, 0.0) / alpha))


# Lines with corners. The derivative in a corner is that of PyTorch.


def _between(x: Any, low: float, high: float) -> Any:
    """x limited to [low, high]; the derivative on a bound is 0, where that of `clip` is 1."""
    return fnp.where(x >= high, high, fnp.where(x <= low, low, x))


@in_single
def relu6(x: Any) -> Any:
    """x limited to [0, 6]; the derivative at 0 and 6 is 0."""
    return _between(fnp.asarray(x), 0.0, 6.0)


@in_single
def hard_tanh(x: Any, min_value: float = -1.0, max_value: float = 1.0) -> Any:
    """x limited to [min_value, max_value]; the derivative on a bound is 0.

    Raises RangeError unless min_value <= max_value.
    """
    if min_value > max_value:
        raise RangeError(f"hard_tanh: min_value {min_value} is above max_value {max_value}.")
    return _between(fnp.asarray(x), min_value, max_value)


@in_single
def hard_sigmoid(x: Any) -> Any:
    """(x + 3) / 6 limited to [0, 1]; the derivative at -3 and 3 is 0."""
    x = fnp.asarray(x)
    return fnp.where(x >= 3, 1.0, fnp.where(x <= -3, 0.0, (fnp.clip(x, -3, 3) + 3) / 6))


@in_single
def hard_swish(x: Any) -> Any:
    """x * (x + 3) / 6 between -3 and 3, 0 below, x above; the derivative at -3 is 0, at 3 it is 1.

    Source: Howard et al., "Searching for MobileNetV3", 2019.
    """
    x = fnp.asarray(x)
    z = fnp.clip(x, -3, 3)
    return fnp.where(x >= 3, x, fnp.where(x <= -3, 0.0, z * ((z + 3) / 6)))


@in_single
def threshold(x: Any, threshold: float, value: float) -> Any:
    """x where x is above `threshold`, `value` elsewhere; the derivative at the threshold is 0. NaN stays NaN."""
    x = fnp.asarray(x)
    return fnp.where(x <= threshold, value, x)


# Distributions over an axis


@in_single
def log_softmax(x: Any, axis: int = -1) -> Any:
    """log(exp(x) / sum(exp(x))) along `axis`, without overflow: x (..., n) -> (..., n)."""
    return special.log_softmax(x, axis)


@in_single
def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along `axis`, without overflow: x (..., n) -> (..., n)."""
    return special.softmax(x, axis)
