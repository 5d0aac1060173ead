"""Adam."""

from functools import cached_property
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import tree as trees
from ...ops.roots import root_of_mean
from ...tree import static
from ..chains import Composite
from ..gradients import descend
from ..leaves import in_dtype_of, leafwise, times, weak
from ..roots import added, averaged, zero_means, zero_roots
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State

__all__ = ["adam", "moments"]


class adam(Composite):
    """Adam with bias correction: `chain(moments(b1, b2, eps, amsgrad), descend(lr))`; `lr` as for `sgd`.

    `adamw` has decoupled weight decay. Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1, computed in the order of its section 2.
    """

    lr: Rate = rate(default=1e-3)
    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)
    amsgrad: bool = static(default=False)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return moments(self.b1, self.b2, self.eps, self.amsgrad), descend(self.lr)


class moments(GradientTransformation):
    """The direction of `adam`: the mean of gradients divided by the root of their mean square, both bias-corrected.

    For complex gradients the mean square is that of |g|. The state has the number of steps, the running mean of gradients, and
    the root of that of their squares; both are float32 for float16 parameters. The root has the range of gradients: squares
    would overflow from 2e19 on in float32. With `amsgrad` the state also has the greatest root so far, by which it divides
    (Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond", ICLR 2018).
    """

    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)
    amsgrad: bool = static(default=False)

    elementwise = True

    @property
    def entries(self) -> tuple[str, ...]:
        """The names in the state."""
        return ("step", "mean", "root", "greatest") if self.amsgrad else ("step", "mean", "root")

    def init(self, params: Any) -> State:
        """Zeros."""
        state = {"step": np.int64(0), "mean": zero_means(params), "root": zero_roots(params)}
        return {**state, "greatest": zero_roots(params)} if self.amsgrad else state

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new moments."""
        b1, b2, eps, step = self.b1, self.b2, self.eps, state["step"] + 1
        # Roots below 1e-15 lose digits, because their squares are subnormal in float32. Beside a usual eps they are nothing.
        combine = _hypot if isinstance(eps, float | int) and eps < 1e-12 else root_of_mean
        mean = averaged(grads, state["mean"], b1)
        root = added(grads, state["root"], b2, 1 - b2, combine=combine)
        after = {"step": step, "mean": mean, "root": root}
        if self.amsgrad:
            names = ("the state's greatest",)
            root = after["greatest"] = leafwise(fnp.maximum, root, state["greatest"], names=names)
        bias = fnp.sqrt(1 - b2**step)
        rate, floor = weak(bias / (1 - b1**step)), weak(eps * bias)
        return trees.map(lambda m, r: times(m, rate) / (r + in_dtype_of(r, floor)), mean, root), after


def _hypot(x: Any, y: Any, a: Any, b: Any) -> Any:
    """`root_of_mean` that also keeps the digits of the smallest numbers."""
    return fnp.hypot(a**0.5 * x, b**0.5 * y)
