"""AdaMax."""

from functools import cached_property
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ..chains import Composite
from ..gradients import descend
from ..leaves import in_dtype_of, leafwise, magnitude, times, weak
from ..roots import averaged, zero_means, zero_roots
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State

__all__ = ["adamax", "adamax_direction"]


class adamax_direction(GradientTransformation):
    """The direction of `adamax`: the mean of gradients, bias-corrected, divided by a decaying maximum of their sizes.

    The state has the number of steps, the running `mean`, and the maximum `greatest`; float32 for float16 parameters.
    """

    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)

    entries = ("step", "mean", "greatest")

    elementwise = True

    def init(self, params: Any) -> State:
        """Zeros."""
        return {"step": np.int64(0), "mean": zero_means(params), "greatest": zero_roots(params)}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new state."""
        b1, b2, eps, step = self.b1, self.b2, self.eps, state["step"] + 1
        mean = averaged(grads, state["mean"], b1)
        greatest = leafwise(
            lambda g, u: fnp.maximum(times(u, b2), fnp.absolute(magnitude(g)) + in_dtype_of(u, eps)),
            grads,
            state["greatest"],
            names=("the state's greatest",),
        )
        rate = weak(1 / (1 - b1**step))
        direction = trees.map(lambda m, u: times(m, rate) / u, mean, greatest)
        return direction, {"step": step, "mean": mean, "greatest": greatest}


class adamax(Composite):
    """Adam with the greatest size in place of the mean square: `chain(adamax_direction(b1, b2, eps), descend(lr))`.

    `lr` as for `sgd`. Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 2.
    """

    lr: Rate = rate(default=2e-3)
    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return adamax_direction(self.b1, self.b2, self.eps), descend(self.lr)
