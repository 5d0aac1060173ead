"""Losses of numbers: predictions and targets (...) of one shape, entry by entry -> a scalar in the dtype of the predictions.

What all losses share is said here. `reduction="mean"` divides by the number of entries, "sum" adds them, "none" returns the losses
(...). `mask` (boolean, broadcasts to the losses) is true where an entry takes part. Other entries, even NaN, count for nothing, and
the mean divides by the number of those that do. The mean of nothing is 0, and so is its gradient. float16 is computed in float32.
Raises ShapeError for shapes that differ, DTypeError for a mask that is not boolean, RangeError for another reduction.
"""

import math
from typing import Any

from .. import numpy as fnp
from ..errors import RangeError
from ..ops import elementwise
from ..ops.checks import checked
from .reduction import broadcast_factor, first_wrong, in_dtype_of_first, paired, reduced, signs

__all__ = [
    "gaussian_nll_loss", "hinge_loss", "huber_loss", "l1_loss", "mean_squared_error", "poisson_nll_loss", "smooth_l1_loss",
]  # fmt: skip


@in_dtype_of_first
def mean_squared_error(x: Any, targets: Any, *, mask: Any = None, reduction: str = "mean") -> Any:
    """The mean of (x - targets)**2: (...), (...) -> a scalar. DeZero divides by len(x) instead of the number of entries."""
    x, targets, mask = paired("mean_squared_error", x, targets, mask)
    return reduced("mean_squared_error", fnp.square(x - targets), reduction, mask)


@in_dtype_of_first
def l1_loss(x: Any, targets: Any, *, mask: Any = None, reduction: str = "mean") -> Any:
    """The mean of |x - targets|: (...), (...) -> a scalar; the derivative where they are equal is 0."""
    x, targets, mask = paired("l1_loss", x, targets, mask)
    return reduced("l1_loss", abs(x - targets), reduction, mask)


@in_dtype_of_first
def huber_loss(x: Any, targets: Any, *, delta: float = 1.0, mask: Any = None, reduction: str = "mean") -> Any:
    """The mean of d**2 / 2 where |d| <= delta, of delta * (|d| - delta / 2) elsewhere, with d = x - targets.

    (...), (...) -> a scalar. Raises RangeError unless delta is positive.

    Source: Huber, "Robust estimation of a location parameter", 1964.
    """
    if not delta > 0:
        raise RangeError(f"huber_loss: delta must be positive, got {delta!r}. For delta = 0 use l1_loss.")
    x, targets, mask = paired("huber_loss", x, targets, mask)
    return reduced("huber_loss", _huber(x - targets, delta), reduction, mask)


def _huber(d: Any, delta: float) -> Any:
    near = fnp.clip(d, -delta, delta)
    return near * (d - near / 2)  # no square of a large difference


@in_dtype_of_first
def smooth_l1_loss(x: Any, targets: Any, *, beta: float = 1.0, mask: Any = None, reduction: str = "mean") -> Any:
    """The mean of d**2 / (2 beta) where |d| <= beta, of |d| - beta / 2 elsewhere, with d = x - targets; beta = 0 is l1_loss.

    (...), (...) -> a scalar. Raises RangeError for a negative beta.

    Source: Girshick, "Fast R-CNN", 2015.
    """
    if not beta >= 0:
        raise RangeError(f"smooth_l1_loss: beta must not be negative, got {beta!r}.")
    x, targets, mask = paired("smooth_l1_loss", x, targets, mask)
    d = x - targets
    return reduced("smooth_l1_loss", _huber(d, beta) / beta if beta else abs(d), reduction, mask)


@in_dtype_of_first
def hinge_loss(x: Any, targets: Any, *, mask: Any = None, reduction: str = "mean") -> Any:
    """The mean of max(0, 1 - targets * x), for targets -1 and 1: (...), (...) -> a scalar; the derivative in the corner is 0.

    Raises RangeError for other targets, with their place (not on a GPU, where looking would wait).
    """
    x, targets, mask = paired("hinge_loss", x, targets, mask)
    return reduced("hinge_loss", elementwise.relu(1 - signs("hinge_loss", targets, mask) * x), reduction, mask)


@in_dtype_of_first
def poisson_nll_loss(
    x: Any,
    targets: Any,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    mask: Any = None,
    reduction: str = "mean",
) -> Any:
    """The mean of exp(x) - targets * x, where x is the logarithm of a rate: (...), (...) -> a scalar.

    With log_input=False, x is the rate: the mean of x - targets * log(x + eps). With `full`, Stirling's approximation of
    log(targets!) is added for targets above 1.
    """
    x, targets, mask = paired("poisson_nll_loss", x, targets, mask)
    losses = fnp.exp(x) - targets * x if log_input else x - targets * fnp.log(x + eps)
    if full:
        large = targets > 1
        t = fnp.where(large, targets, 1)
        losses = losses + fnp.where(large, t * fnp.log(t) - t + 0.5 * fnp.log(2 * math.pi * t), 0)
    return reduced("poisson_nll_loss", losses, reduction, mask)


@in_dtype_of_first
def gaussian_nll_loss(
    mean: Any,
    targets: Any,
    variance: Any,
    *,
    full: bool = False,
    eps: float = 1e-6,
    mask: Any = None,
    reduction: str = "mean",
) -> Any:
    """The mean of (log(v) + (mean - targets)**2 / v) / 2: (...), (...) -> a scalar. The variance v broadcasts to the mean.

    A variance below eps counts as eps, but has the derivative there, so that it can grow. With `full`, log(2 pi) / 2 is added.
    Raises RangeError for a negative variance, with its place (not on a GPU, where looking would wait).

    Source: Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994.
    """
    mean, targets, mask = paired("gaussian_nll_loss", mean, targets, mask)
    variance = broadcast_factor("gaussian_nll_loss", "the variance", variance, mean)
    if mask is not None:
        variance = fnp.where(mask, variance, 1)
    checked(variance, test=_is_variance, error=_not_a_variance)
    low = variance < eps
    variance = fnp.where(low, eps + (variance - elementwise.stop_gradient(variance)), variance)
    losses = 0.5 * (fnp.log(variance) + fnp.square(mean - targets) / variance)
    return reduced("gaussian_nll_loss", losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction, mask)


def _is_variance(v: Any) -> Any:
    return ~(v < 0)


def _not_a_variance(v: Any) -> RangeError:
    return RangeError(f"gaussian_nll_loss: a variance must not be negative, got {first_wrong(v, _is_variance)}.")
