"""Dropout."""

from typing import Any

from .. import functions as F
from ..errors import RangeError
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Module, module, static


def _check_rate(layer: Any, attribute: Any, rate: Any) -> None:
    if not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise RangeError(f"Dropout: the rate is a number from 0 up to but not including 1, got {describe(rate)}.")


@module
class Dropout(Module):
    """Drops entries with probability `rate` when train=True, which needs a key; the identity otherwise: x (...) -> (...)."""

    rate: float = static(default=0.5, validator=_check_rate)

    def __call__(self, x: Array, *, key: Array = None, train: bool = False) -> Array:
        return F.dropout(x, self.rate, key=key, train=train)
