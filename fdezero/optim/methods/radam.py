"""RAdam, Adam that waits until it knows the mean square."""

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

__all__ = ["radam", "radam_direction"]

KNOWN = 5.0  # the length of the approximated average from which on its variance is known


class radam_direction(GradientTransformation):
    """The direction of `radam`: in the first steps the mean of gradients, later that of Adam times a rectification.

    The rectification makes up for the variance of the mean square, which is known from few gradients. The state is that of Adam:
    the number of steps, the running `mean`, and the `root` of the mean square; float32 for float16 parameters.
    """

    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)

    entries = ("step", "mean", "root")

    elementwise = True

    def init(self, params: Any) -> State:
        """Zeros."""
        return {"step": np.int64(0), "mean": zero_means(params), "root": zero_roots(params)}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new state."""
        b1, b2, step = self.b1, self.b2, state["step"] + 1
        mean, root = averaged(grads, state["mean"], b1), added(grads, state["root"], b2, 1 - b2)
        last, bias = 2 / (1 - b2) - 1, 1 - b2**step
        length = last - 2 * step * (1 - bias) / bias
        is_known = length > KNOWN
        # The inner choices keep roots of negative numbers out.
        long, last = fnp.where(is_known, length, KNOWN), fnp.where(is_known, last, KNOWN)
        rectification = fnp.sqrt((long - 4) * (long - 2) * last / ((last - 4) * (last - 2) * long))
        plain, eps = weak(1 / (1 - b1**step)), self.eps
        rectified = weak(fnp.sqrt(bias) * rectification)

        def chosen(m: Any, r: Any) -> Any:
            direction = times(m, plain)
            return fnp.where(is_known, times(direction, rectified) / (r + in_dtype_of(r, eps)), direction)

        return trees.map(chosen, mean, root), {"step": step, "mean": mean, "root": root}


class radam(Composite):
    """Adam with a warm-up of its own: `chain(radam_direction(b1, b2, eps), descend(lr))`; `lr` as for `sgd`.

    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", ICLR 2020.
    """

    lr: Rate = rate(default=1e-3)
    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return radam_direction(self.b1, self.b2, self.eps), descend(self.lr)
