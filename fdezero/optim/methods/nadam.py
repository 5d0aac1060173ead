"""NAdam, Adam with Nesterov's momentum."""

from functools import cached_property
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ..chains import Composite
from ..gradients import descend
from ..leaves import in_dtype_of, times, weak
from ..roots import added, averaged, zero_means, zero_roots
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State

__all__ = ["nadam", "nadam_direction"]


class nadam_direction(GradientTransformation):
    """The direction of `nadam`: that of Adam, with the mean of gradients as it will be after the next step.

    The momentum of step t is b1 (1 - 0.96 ** (t momentum_decay) / 2). The state has the number of steps, the product `momenta` of
    all momenta so far, the running `mean` of gradients, and the `root` of that of their squares; float32 for float16 parameters.
    """

    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)
    momentum_decay: Number = number(default=4e-3, least=0)

    entries = ("step", "momenta", "mean", "root")

    elementwise = True

    def init(self, params: Any) -> State:
        """Zeros, and the product of no momenta."""
        means = {"mean": zero_means(params), "root": zero_roots(params)}
        return {"step": np.int64(0), "momenta": np.float64(1), **means}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new state."""
        b1, b2, step = self.b1, self.b2, state["step"] + 1
        now, later = (b1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay)) for t in (step, step + 1))
        momenta = state["momenta"] * now
        mean, root = averaged(grads, state["mean"], b1), added(grads, state["root"], b2, 1 - b2)
        bias = fnp.sqrt(1 - b2**step)
        of_gradient = weak(bias * (1 - now) / (1 - momenta))
        of_mean, floor = weak(bias * later / (1 - momenta * later)), weak(self.eps * bias)
        direction = trees.map(
            lambda g, m, r: (times(g, of_gradient) + times(m, of_mean)) / (r + in_dtype_of(r, floor)), grads, mean, root
        )
        return direction, {"step": step, "momenta": momenta, "mean": mean, "root": root}


class nadam(Composite):
    """Adam that looks one step ahead: `chain(nadam_direction(b1, b2, eps, momentum_decay), descend(lr))`; `lr` as for `sgd`.

    Source: Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016, with its schedule of momenta.
    """

    lr: Rate = rate(default=2e-3)
    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)
    momentum_decay: Number = number(default=4e-3, least=0)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return nadam_direction(self.b1, self.b2, self.eps, self.momentum_decay), descend(self.lr)
