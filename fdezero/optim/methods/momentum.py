"""Momentum, plain and Nesterov's."""

from functools import cached_property
from typing import Any

from ... import tree as trees
from ...tree import static
from ..chains import Composite
from ..gradients import descend
from ..leaves import leafwise, times, zeros_of
from ..settings import Number, Rate, number, rate
from ..transformation import GradientTransformation, State

__all__ = ["momentum", "velocity"]


class velocity(GradientTransformation):
    """The direction of `momentum`: v = decay * v + g, or with `nesterov` decay * v + g for that new v.

    The state has the running sum `velocity`, a tree like the gradients; float32 for float16 parameters.
    """

    decay: Number = number(default=0.9)
    nesterov: bool = static(default=False)

    entries = ("velocity",)

    elementwise = True

    def init(self, params: Any) -> State:
        """Zeros."""
        return {"velocity": trees.map(zeros_of, trees.trainable(params))}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The direction, and the new velocity."""
        direction, state = self.shared(grads, state)
        if not self.nesterov:
            direction = trees.map(lambda v: v.copy("K") if hasattr(v, "copy") else v, direction)
        return direction, state

    def shared(self, grads: Any, state: State) -> tuple[Any, State]:
        """The direction, which may share memory with the new state."""
        decay, names = self.decay, ("the state's velocity",)
        v = leafwise(lambda g, v: times(v, decay) + g, grads, state["velocity"], names=names)
        direction = leafwise(lambda g, v: times(v, decay) + g, grads, v, names=names) if self.nesterov else v
        return direction, {"velocity": v}


class followed(velocity):
    """`velocity` with a part behind it, which makes new arrays of the direction."""

    elementwise = True

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        return self.shared(grads, state)


class momentum(Composite):
    """Gradient descent along the velocity: `chain(velocity(decay, nesterov), descend(lr))`; `lr` as for `sgd`.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """

    lr: Rate = rate(default=1e-2)
    decay: Number = number(default=0.9)
    nesterov: bool = static(default=False)

    @cached_property
    def parts(self) -> tuple[GradientTransformation, ...]:
        """Direction and rate."""
        return followed(self.decay, self.nesterov), descend(self.lr)
