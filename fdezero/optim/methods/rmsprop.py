"""RMSProp, plain and centred, with or without momentum."""

from functools import cached_property
from typing import Any

from ... import tree as trees
from ...numpy.precision import widened
from ...tree import static
from ..chains import Composite
from ..gradients import descend
from ..roots import added, averaged, divided, zero_means, zero_roots
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State
from .momentum import followed

__all__ = ["rmsprop", "rmsprop_direction"]


class rmsprop_direction(GradientTransformation):
    """The direction of `rmsprop`: gradients divided by the root of their mean square, or of their variance if `centred`.

    The state has that root, and the mean of gradients if `centred`; float32 for float16 parameters. The variance is updated by
    squares of differences from the mean, so it is never negative.
    """

    decay: Number = number(default=0.99, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)
    centred: bool = static(default=False)

    elementwise = True

    @property
    def entries(self) -> tuple[str, ...]:
        """The names in the state."""
        return ("mean", "root") if self.centred else ("root",)

    def init(self, params: Any) -> State:
        """Zeros."""
        state = {"root": zero_roots(params)}
        return {"mean": zero_means(params), **state} if self.centred else state

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new moments."""
        decay = self.decay
        if not self.centred:
            root = added(grads, state["root"], decay, 1 - decay)
            return divided(grads, root, self.eps), {"root": root}
        mean = averaged(grads, state["mean"], decay)
        away = trees.map(lambda g, m: widened(g) - m, grads, state["mean"])
        root = added(away, state["root"], decay, decay * (1 - decay))
        return divided(grads, root, self.eps), {"mean": mean, "root": root}


class rmsprop(Composite):
    """`chain(rmsprop_direction(decay, eps, centred), velocity(momentum), descend(lr))`, without velocity if `momentum` is 0.

    `lr` as for `sgd`. Source: Tieleman and Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012; centred: Graves,
    "Generating Sequences With Recurrent Neural Networks", arXiv 1308.0850.
    """

    lr: Rate = rate(default=1e-2)
    decay: Number = number(default=0.99, least=0, below=1)
    eps: Number = number(default=1e-8, least=0)
    momentum: Number = number(default=0.0, least=0, below=1, fixed=True)  # it decides what the state has
    centred: bool = static(default=False)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction, momentum and rate."""
        direction = rmsprop_direction(self.decay, self.eps, self.centred)
        return (
            (direction, followed(self.momentum), descend(self.lr)) if self.momentum else (direction, descend(self.lr))
        )
