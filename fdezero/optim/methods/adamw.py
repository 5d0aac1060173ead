"""AdamW."""

from functools import cached_property
from typing import Any

from ...tree import static
from ..chains import Composite
from ..gradients import descend
from ..masks import Mask, as_mask, weight_decay
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation
from .adam import moments

__all__ = ["adamw"]


class adamw(Composite):
    """Adam with decoupled weight decay: `chain(moments(b1, b2, eps, amsgrad), weight_decay(weight_decay), descend(lr))`.

    `lr` as for `sgd`, `mask` as for `weight_decay`. The rate also multiplies the decay, as in PyTorch and optax.
    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    lr: Rate = rate(default=1e-3)
    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)
    weight_decay: Number = number(default=1e-2, least=0)
    mask: Mask = static(default=None, converter=as_mask)
    amsgrad: bool = static(default=False)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction, weight decay and rate."""
        return moments(self.b1, self.b2, self.eps, self.amsgrad), *decay(self.weight_decay, self.mask), descend(self.lr)


def decay(rate: Any, mask: Any) -> tuple[GradientTransformation, ...]:
    """The part that decays weights; none for a rate of 0."""
    return () if isinstance(rate, float | int) and rate == 0 else (weight_decay(rate, mask),)
