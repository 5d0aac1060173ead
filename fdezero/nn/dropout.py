"""The dropout layer."""

from typing import Any

from .. import functions as F
from ..functions.dropout import checked_rate
from ..numpy.arguments import Array
from ..tree import Module, static

__all__ = ["Dropout"]


def _as_rate(rate: Any) -> float:
    return checked_rate(rate, of="Dropout")


class Dropout(Module):
    """Drops entries with probability `rate` if train=True, which needs a key; otherwise returns x: x (...) -> (...)."""

    rate: float = static(default=0.5, converter=_as_rate)

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        return F.dropout(x, self.rate, key=key, train=train)
