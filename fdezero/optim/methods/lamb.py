"""LAMB: AdamW whose steps are in proportion to the size of each parameter."""

from functools import cached_property

from ...tree import static
from ..chains import Composite
from ..gradients import descend
from ..masks import Mask, as_mask
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation
from .adam import moments
from .adamw import decay
from .lars import trust_ratio

__all__ = ["lamb"]


class lamb(Composite):
    """AdamW for large batches: `chain(moments(b1, b2, eps), weight_decay(weight_decay), trust_ratio(), descend(lr))`.

    `lr` as for `sgd`, `mask` as for `weight_decay`.
    Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR 2020.
    """

    lr: Rate = rate(default=1e-3)
    b1: Number = number(default=0.9, least=0, below=1)
    b2: Number = number(default=0.999, least=0, below=1)
    eps: Number = number(default=1e-6, least=0)
    weight_decay: Number = number(default=0.0, least=0)
    mask: Mask = static(default=None, converter=as_mask)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction, weight decay, its scale and rate."""
        direction = moments(self.b1, self.b2, self.eps), *decay(self.weight_decay, self.mask), trust_ratio()
        return *direction, descend(self.lr)
