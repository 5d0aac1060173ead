"""Descent along the signs of gradients."""

from functools import cached_property
from typing import Any

from ... import numpy as fnp
from ... import tree as trees
from ...numpy.precision import widened
from ..chains import Composite
from ..gradients import descend
from ..settings import Rate, rate
from ..transformation import GradientTransformation, Stateless

__all__ = ["sign", "sign_sgd"]


class sign(Stateless):
    """The direction of `sign_sgd`: the sign of every entry, and 0 for 0. The sign of a complex number z is z / |z|."""

    elementwise = True

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The signs."""
        return trees.map(lambda g: fnp.sign(widened(g)), grads), state


class sign_sgd(Composite):
    """Every entry moves by the rate: `chain(sign(), descend(lr))`; `lr` as for `sgd`.

    Source: Bernstein et al., "signSGD: Compressed Optimisation for Non-Convex Problems", ICML 2018.
    """

    lr: Rate = rate()

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return sign(), descend(self.lr)
