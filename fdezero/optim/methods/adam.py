"""Adam."""

from typing import Any, NamedTuple

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ..transformation import GradientTransformation, Rate, chain, in_dtype_of, squared, times, weak
from .sgd import sgd


class Moments(NamedTuple):
    """Adam's state: the steps taken, and the running means of gradients and of their squares."""

    step: Any
    mean: Any
    square: Any


def adam(lr: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """Adam with bias correction. Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1, computed in the order of its section 2.

    `lr` as for `sgd`. For complex gradients the mean square is that of |g|.
    With decoupled weight decay (AdamW): `chain(adam(1.0), weight_decay(-rate), scale(lr))`.
    """
    b1, b2, eps = weak(b1), weak(b2), weak(eps)

    def init(params: Any) -> Moments:
        zeros = trees.map(fnp.zeros_like, trees.trainable(params))
        return Moments(np.int64(0), zeros, trees.map(fnp.real, zeros))

    def update(grads: Any, state: Moments, params: Any) -> tuple[Any, Moments]:
        names = ("grads", "the state's moments")
        step = state.step + 1
        mean = trees.map(lambda g, m: times(m, b1) + times(g, 1 - b1), grads, state.mean, names=names)
        square = trees.map(lambda g, s: times(s, b2) + times(squared(g), 1 - b2), grads, state.square, names=names)
        root = fnp.sqrt(1 - b2**step)
        rate, floor = weak(root / (1 - b1**step)), weak(eps * root)
        moves = trees.map(lambda m, s: times(m, rate) / (fnp.sqrt(s) + in_dtype_of(s, floor)), mean, square)
        return moves, Moments(step, mean, square)

    return chain(GradientTransformation(init, update), sgd(lr))
