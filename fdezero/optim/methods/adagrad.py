"""AdaGrad."""

from functools import cached_property
from typing import Any

from ... import tree as trees
from ..chains import Composite
from ..gradients import descend
from ..leaves import in_dtype_of
from ..roots import added, divided, zero_roots
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State

__all__ = ["adagrad", "adagrad_direction"]


class adagrad_direction(GradientTransformation):
    """The direction of `adagrad`: gradients divided by the root of the sum of all their squares so far.

    The state has the root, which starts as that of `initial` and has the range of gradients; float32 for float16 parameters.
    """

    eps: Number = number(default=1e-8, least=0)
    initial: Number = number(default=0.0, least=0)

    entries = ("root",)

    elementwise = True

    def init(self, params: Any) -> State:
        """The root of the initial sum."""
        initial = self.initial**0.5
        return {"root": trees.map(lambda root: root + in_dtype_of(root, initial), zero_roots(params))}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new root."""
        root = added(grads, state["root"], 1.0, 1.0)
        return divided(grads, root, self.eps), {"root": root}


class adagrad(Composite):
    """Rates that shrink where gradients are large: `chain(adagrad_direction(eps, initial), descend(lr))`; `lr` as for `sgd`.

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods", JMLR 12 (2011) 2121.
    """

    lr: Rate = rate(default=1e-3)
    eps: Number = number(default=1e-8, least=0)
    initial: Number = number(default=0.0, least=0)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return adagrad_direction(self.eps, self.initial), descend(self.lr)
