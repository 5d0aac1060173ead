"""Adam."""

from typing import Any, NamedTuple

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ..gradients import descend
from ..transformation import GradientTransformation, Rate, chain, in_dtype_of, squared, times, weak

__all__ = ["adam", "moments"]


class Moments(NamedTuple):
    """Adam's state: the number of steps taken, and the running means of gradients and of their squares."""

    step: Any
    mean: Any
    square: Any


def adam(lr: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """Adam with bias correction: `chain(moments(b1, b2, eps), descend(lr))`; `lr` as for `sgd`.

    With decoupled weight decay (AdamW): `chain(moments(b1, b2, eps), weight_decay(rate), descend(lr))`.
    Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1, computed in the order of its section 2.
    """
    return chain(moments(b1, b2, eps), descend(lr))


def moments(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """The direction of `adam`: the mean of gradients divided by the root of their mean square, both bias-corrected.

    For complex gradients the mean square is that of |g|.
    """
    b1, b2, eps = weak(b1), weak(b2), weak(eps)

    def init(params: Any) -> Moments:
        params = trees.trainable(params)
        return Moments(
            np.int64(0), trees.map(fnp.zeros_like, params), trees.map(lambda p: fnp.zeros_like(fnp.real(p)), params)
        )

    def update(grads: Any, state: Moments, params: Any) -> tuple[Any, Moments]:
        names = ("grads", "the state's moments")
        step = state.step + 1
        mean = trees.map(lambda g, m: times(m, b1) + times(g, 1 - b1), grads, state.mean, names=names)
        square = trees.map(lambda g, s: times(s, b2) + times(squared(g), 1 - b2), grads, state.square, names=names)
        root = fnp.sqrt(1 - b2**step)
        rate, floor = weak(root / (1 - b1**step)), weak(eps * root)
        direction = trees.map(lambda m, s: times(m, rate) / (fnp.sqrt(s) + in_dtype_of(s, floor)), mean, square)
        return direction, Moments(step, mean, square)

    return GradientTransformation(init, update)
