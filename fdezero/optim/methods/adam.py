"""Adam."""

from typing import Any, NamedTuple

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ...ops.roots import root_of_mean
from ..gradients import descend
from ..transformation import GradientTransformation, Rate, chain, in_dtype_of, magnitude, times, weak, zeros_of

__all__ = ["adam", "moments"]


class Moments(NamedTuple):
    """Adam's state: the number of steps taken, the running mean of gradients, and the root of that of their squares.

    Both are float32 for float16 parameters. The root has the range of gradients; squares would overflow from 2e19 on in float32.
    """

    step: Any
    mean: Any
    root: Any


def adam(lr: Rate = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """Adam with bias correction: `chain(moments(b1, b2, eps), descend(lr))`; `lr` as for `sgd`.

    With decoupled weight decay (AdamW): `chain(moments(b1, b2, eps), weight_decay(rate), descend(lr))`.
    Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1, computed in the order of its section 2.
    """
    return chain(moments(b1, b2, eps), descend(lr))


def moments(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> GradientTransformation:
    """The direction of `adam`: the mean of gradients divided by the root of their mean square, both bias-corrected.

    For complex gradients the mean square is that of |g|. The state of float16 parameters is float32.
    """
    b1, b2, eps = weak(b1), weak(b2), weak(eps)
    # Roots below 1e-15 lose digits, because their squares are subnormal in float32. Beside a usual eps they are nothing.
    combine = _hypot if isinstance(eps, float | int) and eps < 1e-12 else root_of_mean

    def init(params: Any) -> Moments:
        params = trees.trainable(params)
        return Moments(np.int64(0), trees.map(zeros_of, params), trees.map(lambda p: zeros_of(fnp.real(p)), params))

    def update(grads: Any, state: Moments, params: Any) -> tuple[Any, Moments]:
        names = ("grads", "the state's moments")
        step = state.step + 1
        mean = trees.map(lambda g, m: times(m, b1) + times(g, 1 - b1), grads, state.mean, names=names)
        root = trees.map(
            lambda g, r: combine(r, magnitude(g), in_dtype_of(r, b2), in_dtype_of(r, 1 - b2)),
            grads,
            state.root,
            names=names,
        )
        bias = fnp.sqrt(1 - b2**step)
        rate, floor = weak(bias / (1 - b1**step)), weak(eps * bias)
        direction = trees.map(lambda m, r: times(m, rate) / (r + in_dtype_of(r, floor)), mean, root)
        return direction, Moments(step, mean, root)

    return GradientTransformation(init, update)


def _hypot(x: Any, y: Any, a: Any, b: Any) -> Any:
    """`root_of_mean` that also keeps the digits of the smallest numbers."""
    return fnp.hypot(a**0.5 * x, b**0.5 * y)
