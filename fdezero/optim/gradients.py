"""Transformations of gradients that any method may use: scaling and descent."""

from typing import Any

import numpy as np

from .leaves import times_all
from .settings import Number, Rate, number, rate, rate_at
from .transformation import GradientTransformation, Params, Scaling, State

__all__ = ["descend", "scale"]


class scale(Scaling):
    """Gradients times a number."""

    factor: Number = number()

    elementwise = True

    def update(self, grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """All gradients times the factor."""
        return times_all(grads, self.factor), state


class descend(Scaling):
    """Turn a direction into a move of -lr times the direction: the last part of every method.

    `lr` is a number or a schedule, such as `lambda step: 0.1 * 0.99**step`. AdamW, for example, is
    `chain(moments(), weight_decay(0.01), descend(1e-3))`. With a schedule the state has the number of steps, int64, and the last
    rate, float64. Raises RangeError, also in compiled code, for a schedule that gives NaN or an infinity.
    """

    lr: Rate = rate()

    elementwise = True

    @property
    def factor(self) -> Any:
        """-lr, a constant."""
        return -self.lr

    @property
    def entries(self) -> tuple[str, ...]:
        """The number of steps and the rate, if there is a schedule."""
        return ("step", "rate") if callable(self.lr) else ()

    def init(self, params: Any) -> State:
        """The state before the first step."""
        return {"step": np.int64(0), "rate": _double(rate_at(self.lr, np.int64(0)))} if callable(self.lr) else {}

    def update(self, grads: Any, state: State, params: Any) -> tuple[Any, State]:
        """The move, the number of steps and the rate."""
        if not callable(self.lr):
            return times_all(grads, self.factor), state
        rate = rate_at(self.lr, state["step"])
        return times_all(grads, -rate), {"step": state["step"] + 1, "rate": _double(rate)}

    def step(self, params: Params, grads: Any, state: State) -> tuple[Params, State]:
        """Return the new params and the new state. Raises as the step of every transformation does."""
        return (
            GradientTransformation.step(self, params, grads, state)
            if callable(self.lr)
            else super().step(params, grads, state)
        )


def _double(number: Any) -> Any:
    """A float64 number, also if it was computed as an array without axes: so a compiled step meets the same kind in its state."""
    return number * np.float64(1)
