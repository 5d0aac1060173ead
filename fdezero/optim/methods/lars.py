"""LARS: momentum whose steps are in proportion to the size of each parameter."""

from functools import cached_property
from typing import Any

from ... import numpy as fnp
from ... import tree as trees
from ...tree import static
from ..chains import Composite
from ..gradients import descend
from ..leaves import global_norm, leafwise, times
from ..masks import Mask, as_mask
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, Stateless
from .adamw import decay
from .momentum import followed

__all__ = ["lars", "trust_ratio"]


class trust_ratio(Stateless):
    """Every leaf times coefficient * |parameter| / |direction|, in Euclidean norms. A leaf stays as it is where one of them is 0."""

    coefficient: Number = number(default=1.0, least=0)

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The scaled directions."""
        return leafwise(self.scaled, grads, trees.trainable(params), names=("params",)), state

    def scaled(self, g: Any, p: Any) -> Any:
        """The direction of one leaf."""
        size, length = global_norm(p), global_norm(g)
        has_ratio = (size > 0) & (length > 0)
        ratio = fnp.where(has_ratio, self.coefficient * (size / fnp.where(has_ratio, length, 1)), 1)
        return times(g, ratio)


class lars(Composite):
    """Momentum for large batches: weight decay, `trust_ratio(coefficient)`, `velocity(decay, nesterov)` and `descend(lr)`.

    `lr` as for `sgd`, `mask` as for `weight_decay`. As in `momentum`, a rate that changes applies to the whole velocity.
    Source: You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks", arXiv 1708.03888.
    """

    lr: Rate = rate()
    decay: Number = number(default=0.9, least=0, below=1)
    weight_decay: Number = number(default=0.0, least=0)
    mask: Mask = static(default=None, converter=as_mask)
    coefficient: Number = number(default=1e-3, least=0)
    nesterov: bool = static(default=False)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Weight decay, direction and rate."""
        direction = trust_ratio(self.coefficient), followed(self.decay, self.nesterov)
        return *decay(self.weight_decay, self.mask), *direction, descend(self.lr)
