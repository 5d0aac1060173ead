"""Transformations of gradients that any method may use: scaling, descent, clipping, weight decay."""

from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from .leaves import global_norm, times, times_all, weak
from .transformation import GradientTransformation, Number, Params, Rate, Scaling, State, Stateless, number, rate

__all__ = ["clip_by_global_norm", "descend", "scale", "weight_decay"]


class scale(Scaling):
    """Gradients times a number."""

    factor: Number = number()

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """All gradients times the factor."""
        return times_all(grads, self.factor), state


class descend(Scaling):
    """Turn a direction into a move of -lr times the direction: the last part of every method.

    `lr` is a number or a schedule, such as `lambda step: 0.1 * 0.99**step`. AdamW, for example, is
    `chain(moments(), weight_decay(0.01), descend(1e-3))`. With a schedule the state has the number of steps, int64.
    """

    lr: Rate = rate()

    @property
    def factor(self) -> Any:
        """-lr, a constant."""
        return -self.lr

    @property
    def entries(self) -> tuple[str, ...]:
        """The number of steps, if there is a schedule."""
        return ("step",) if callable(self.lr) else ()

    def init(self, params: Any) -> State:
        """The state before the first step."""
        return {"step": np.int64(0)} if callable(self.lr) else {}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The move, and the number of steps."""
        if not callable(self.lr):
            return times_all(grads, self.factor), state
        return times_all(grads, weak(-self.lr(state["step"]))), {"step": state["step"] + 1}

    def step(self, params: Params, grads: Any, state: State) -> tuple[Params, State]:
        """Return the new params and the new state. Raises as the step of every transformation does."""
        return (
            GradientTransformation.step(self, params, grads, state)
            if callable(self.lr)
            else super().step(params, grads, state)
        )


class clip_by_global_norm(Stateless):
    """Gradients scaled down so that their global norm is at most `max_norm`."""

    max_norm: Number = number(least=0)

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The gradients, scaled down if need be."""
        norm = global_norm(grads)
        above = norm > self.max_norm
        # The inner choice avoids 0 / 0 at norm 0.
        return times_all(grads, weak(fnp.where(above, self.max_norm / fnp.where(above, norm, 1), 1))), state


class weight_decay(Stateless):
    """Add rate * params to the gradients of all leaves.

    Before a method this is L2 regularisation, `chain(weight_decay(1e-4), sgd(0.1))`; between a method's direction
    and `descend` it is decoupled weight decay, as in AdamW.
    """

    rate: Number = number()

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The gradients plus the decay."""
        rate = self.rate
        decayed = trees.map(lambda g, p: g + times(p, rate), grads, trees.trainable(params), names=("grads", "params"))
        return decayed, state
