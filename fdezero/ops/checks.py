"""Checks of values: an operation that hands its operand on, or raises an error. Compiled code and batches also run the check."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Elementwise, elementwise
from ..devices import backend_of


def _checked(x: Any, *, test: Callable[[Any], Any], error: Callable[[Any], Exception]) -> Any:
    if backend_of(x).reads_at_once and not np.all(test(x)):  # on a GPU the test would wait for the device
        raise error(x)
    return x


# x itself, if `test(x)` holds for all entries; otherwise `error(x)` is raised. Nobody needs to read the result.
checked: Elementwise = elementwise("checked", lambda t: t, c="", impl=_checked, raises=True)
