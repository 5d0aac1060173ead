"""What other libraries must be told before they compute with traced values: einops has a table of the arrays that it knows."""

import sys
from typing import Any

from ..core import Tracer

KEPT: list[type] = []  # einops finds the backends by `__subclasses__`, which keeps none of them alive


def einops() -> None:
    """Give einops a backend for traced values: its own for NumPy, with the functions of `fdezero.numpy`."""
    from einops._backends import NumpyBackend  # type: ignore[import-not-found, unused-ignore]  # installed where this is called

    class TracedBackend(NumpyBackend):  # einops finds the subclasses of its backends by itself
        framework_name = __package__

        def __init__(self) -> None:
            self.np = sys.modules[__package__]

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Tracer)

    KEPT.append(TracedBackend)
