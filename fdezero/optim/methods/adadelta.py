"""AdaDelta."""

from functools import cached_property
from typing import Any

from ... import tree as trees
from ...numpy.precision import widened
from ...ops.roots import root_of_mean
from ..chains import Composite
from ..gradients import descend
from ..leaves import in_dtype_of
from ..roots import added, zero_roots
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State

__all__ = ["adadelta", "adadelta_direction"]


class adadelta_direction(GradientTransformation):
    """The direction of `adadelta`: gradients times the root of the mean square of moves, divided by that of gradients.

    `eps` is added to both mean squares. The state has the roots `root` of gradients and `moves` of moves; float32 for float16
    parameters.
    """

    decay: Number = number(default=0.95, least=0, below=1)
    eps: Number = number(default=1e-6, least=0)

    entries = ("root", "moves")

    elementwise = True

    def init(self, params: Any) -> State:
        """Zeros."""
        return {"root": zero_roots(params), "moves": zero_roots(params)}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new roots."""
        decay, floor = self.decay, self.eps**0.5
        with_eps = lambda root: root_of_mean(root, in_dtype_of(root, floor), 1.0, 1.0)
        root = added(grads, state["root"], decay, 1 - decay)
        direction = trees.map(lambda g, r, d: widened(g) * (with_eps(d) / with_eps(r)), grads, root, state["moves"])
        return direction, {"root": root, "moves": added(direction, state["moves"], decay, 1 - decay, "moves")}


class adadelta(Composite):
    """Moves in the units of the parameters: `chain(adadelta_direction(decay, eps), descend(lr))`; `lr` as for `sgd`.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", arXiv 1212.5701, where `lr` is 1.
    """

    lr: Rate = rate(default=1.0)
    decay: Number = number(default=0.95, least=0, below=1)
    eps: Number = number(default=1e-6, least=0)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return adadelta_direction(self.decay, self.eps), descend(self.lr)
