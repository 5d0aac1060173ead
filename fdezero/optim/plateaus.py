"""A rate that falls when a measure stops getting better: a pure state machine beside the optimiser."""

from typing import Any, dataclass_transform

import attrs
import numpy as np

from .. import numpy as fnp
from ..errors import RangeError
from ..messages import describe
from ..tree import static
from .settings import Number, Settings, checked_state, number

__all__ = ["reduce_on_plateau"]


def _mode(value: Any) -> str:
    if value not in ("min", "max"):
        raise RangeError(f"reduce_on_plateau: mode is 'min', for a loss, or 'max', for an accuracy; got {value!r}.")
    return str(value)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(attrs.field, static, number))
class _Settings(Settings):
    """Base that lets type checkers know the fields."""


class reduce_on_plateau(_Settings):
    """A rate that is multiplied by `factor` if a measure did not get better for more than `patience` updates.

    `state = plateau.init()` holds the `rate`. `state = plateau.update(state, loss)` returns the next state, also within
    `fd.compile`. Make the optimiser of the rate: `optim.adam(state["rate"])`, also within a compiled step, which is recorded once.

    Better is below best * (1 - threshold), or with `relative=False` below best - threshold; above for the mode "max". After a
    reduction `cooldown` updates do not count. The rate does not fall below `least`. These are the rules of PyTorch's
    ReduceLROnPlateau. A NaN is never better.
    """

    rate: Number = number(above=0)
    factor: Number = number(default=0.1, above=0, below=1)
    patience: Number = number(default=10, least=0, whole=True)
    threshold: Number = number(default=1e-4, least=0)
    cooldown: Number = number(default=0, least=0, whole=True)
    least: Number = number(default=0.0, least=0)
    mode: str = static(default="min", converter=_mode)
    relative: bool = static(default=True)

    def init(self) -> dict[str, Any]:
        """The state at the start: the rate, the best measure, the number of updates without a better one, and those to wait."""
        best = np.float64(np.inf if self.mode == "min" else -np.inf)
        return {"rate": self.rate * np.float64(1), "best": best, "bad": np.int64(0), "wait": np.int64(0)}

    def update(self, state: dict[str, Any], value: Any) -> dict[str, Any]:
        """The state after a measure, a scalar."""
        checked_state(state, ("rate", "best", "bad", "wait"), "reduce_on_plateau")
        if getattr(value, "shape", ()) != () or not (hasattr(value, "dtype") or isinstance(value, float | int)):
            raise RangeError(f"reduce_on_plateau: a measure is one number; got {describe(value)}.")
        # Products with a NumPy number and sums with one are numbers, not arrays without axes. So a compiled step is recorded once.
        value = value * np.float64(1)
        sign = 1 if self.mode == "min" else -1
        best, bad, wait = state["best"], state["bad"], state["wait"]
        better = value * sign < self._bound(best) * sign
        bad = fnp.where(better, 0, bad + 1)
        bad = fnp.where(wait > 0, 0, bad)
        falls = bad > self.patience
        rate = fnp.where(falls, fnp.maximum(state["rate"] * self.factor, self.least), state["rate"])
        wait = fnp.where(falls, self.cooldown, fnp.maximum(wait - 1, 0))
        return {
            "rate": rate * np.float64(1),
            "best": fnp.where(better, value, best) * np.float64(1),
            "bad": fnp.where(falls, 0, bad) + np.int64(0),
            "wait": wait + np.int64(0),
        }

    def _bound(self, best: Any) -> Any:
        """What a better measure must go beyond."""
        sign = 1 if self.mode == "min" else -1
        return best * (1 - sign * self.threshold) if self.relative else best - sign * self.threshold
