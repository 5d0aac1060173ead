"""Roots of sums and means of squares, leaf by leaf: what methods divide gradients by.

States keep the roots, which have the range of gradients. Squares would overflow from 2e19 on in float32.
"""

from collections.abc import Callable
from typing import Any

from .. import numpy as fnp
from .. import tree as trees
from ..numpy.precision import widened
from ..ops.roots import root_of_mean
from .leaves import in_dtype_of, leafwise, magnitude, times, zeros_of

__all__: list[str] = []  # for methods


def zero_means(params: Any) -> Any:
    """Zeros for means of gradients."""
    return trees.map(zeros_of, trees.trainable(params))


def zero_roots(params: Any) -> Any:
    """Zeros for roots of squares: real, also for complex parameters."""
    return trees.map(lambda p: zeros_of(fnp.real(p)), trees.trainable(params))


def averaged(grads: Any, mean: Any, decay: Any, name: str = "mean") -> Any:
    """decay * mean + (1 - decay) * gradient."""
    return leafwise(lambda g, m: times(m, decay) + times(g, 1 - decay), grads, mean, names=(f"the state's {name}",))


def added(grads: Any, root: Any, a: Any, b: Any, name: str = "root", combine: Callable[..., Any] = root_of_mean) -> Any:
    """sqrt(a * root ** 2 + b * |gradient| ** 2), as `combine` computes it."""
    return leafwise(
        lambda g, r: combine(r, magnitude(g), in_dtype_of(r, a), in_dtype_of(r, b)),
        grads,
        root,
        names=(f"the state's {name}",),
    )


def divided(grads: Any, root: Any, eps: Any) -> Any:
    """gradient / (root + eps)."""
    return trees.map(lambda g, r: widened(g) / (r + in_dtype_of(r, eps)), grads, root)
