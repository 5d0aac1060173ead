"""Adam."""

from functools import cached_property
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ...ops.roots import root_of_mean
from ..chains import Composite
from ..gradients import descend
from ..leaves import in_dtype_of, leafwise, magnitude, times, weak, zeros_of
from ..transformation import GradientTransformation, Number, Rate, State, number, rate

__all__ = ["adam", "moments"]


class adam(Composite):
    """Adam with bias correction: `chain(moments(b1, b2, eps), descend(lr))`; `lr` as for `sgd`.

    With decoupled weight decay (AdamW): `chain(moments(b1, b2, eps), weight_decay(rate), descend(lr))`.
    Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1, computed in the order of its section 2.
    """

    lr: Rate = rate(default=1e-3)
    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return moments(self.b1, self.b2, self.eps), descend(self.lr)


class moments(GradientTransformation):
    """The direction of `adam`: the mean of gradients divided by the root of their mean square, both bias-corrected.

    For complex gradients the mean square is that of |g|. The state has the number of steps, the running mean of gradients, and
    the root of that of their squares; both are float32 for float16 parameters. The root has the range of gradients: squares
    would overflow from 2e19 on in float32.
    """

    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)

    entries = ("step", "mean", "root")

    def init(self, params: Any) -> State:
        """Zeros."""
        params = trees.trainable(params)
        mean, root = trees.map(zeros_of, params), trees.map(lambda p: zeros_of(fnp.real(p)), params)
        return {"step": np.int64(0), "mean": mean, "root": root}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new moments."""
        b1, b2, eps, step = self.b1, self.b2, self.eps, state["step"] + 1
        # Roots below 1e-15 lose digits, because their squares are subnormal in float32. Beside a usual eps they are nothing.
        combine = _hypot if isinstance(eps, float | int) and eps < 1e-12 else root_of_mean
        mean = leafwise(lambda g, m: times(m, b1) + times(g, 1 - b1), grads, state["mean"], names=("the state's mean",))
        root = leafwise(
            lambda g, r: combine(r, magnitude(g), in_dtype_of(r, b2), in_dtype_of(r, 1 - b2)),
            grads,
            state["root"],
            names=("the state's root",),
        )
        bias = fnp.sqrt(1 - b2**step)
        rate, floor = weak(bias / (1 - b1**step)), weak(eps * bias)
        direction = trees.map(lambda m, r: times(m, rate) / (r + in_dtype_of(r, floor)), mean, root)
        return direction, {"step": step, "mean": mean, "root": root}


def _hypot(x: Any, y: Any, a: Any, b: Any) -> Any:
    """`root_of_mean` that also keeps the digits of the smallest numbers."""
    return fnp.hypot(a**0.5 * x, b**0.5 * y)
