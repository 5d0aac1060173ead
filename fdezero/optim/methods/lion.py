"""Lion."""

from functools import cached_property
from typing import Any

from ... import numpy as fnp
from ...tree import static
from ..chains import Composite
from ..gradients import descend
from ..leaves import leafwise, times
from ..masks import Mask, as_mask
from ..roots import averaged, zero_means
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State
from .adamw import decay

__all__ = ["lion", "lion_direction"]


class lion_direction(GradientTransformation):
    """The direction of `lion`: the sign of b1 * mean + (1 - b1) * gradient; the mean itself decays by b2.

    The state has the running `mean` of gradients, float32 for float16 parameters.
    """

    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.99, least=0, below=1)

    entries = ("mean",)

    elementwise = True

    def init(self, params: Any) -> State:
        """Zeros."""
        return {"mean": zero_means(params)}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new mean."""
        b1 = self.b1
        direction = leafwise(
            lambda g, m: fnp.sign(times(m, b1) + times(g, 1 - b1)),
            grads,
            state["mean"],
            names=("the state's mean",),
        )
        return direction, {"mean": averaged(grads, state["mean"], self.b2)}


class lion(Composite):
    """Signs of a mean: `chain(lion_direction(b1, b2), weight_decay(weight_decay), descend(lr))`; `lr` as for `sgd`.

    `mask` as for `weight_decay`. Rates are 3 to 10 times smaller than Adam's.
    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023.
    """

    lr: Rate = rate(default=1e-4)
    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.99, least=0, below=1)
    weight_decay: Number = number(default=0.0, least=0)
    mask: Mask = static(default=None, converter=as_mask)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction, weight decay and rate."""
        return lion_direction(self.b1, self.b2), *decay(self.weight_decay, self.mask), descend(self.lr)
