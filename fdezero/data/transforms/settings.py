"""Settings of transforms: fields that are checked when the transform is made."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from ...errors import DTypeError, RangeError
from ...messages import describe

__all__: list[str] = []  # for the transforms


def setting(convert: Callable[[Any, str], Any], **options: Any) -> Any:
    """A field that is a constant of the tree. `convert(value, "resize: size")` checks it."""

    def checked(value: Any, owner: Any, field: Any) -> Any:
        return convert(value, f"{type(owner).__name__}: {field.name}")

    return attrs.field(
        converter=attrs.Converter(checked, takes_self=True, takes_field=True), metadata={"static": True}, **options
    )


def is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def number(value: Any, what: str) -> float:
    """A finite number."""
    if not is_number(value):
        raise RangeError(f"{what} is a finite number, got {describe(value)}.")
    return float(value)


def positive(value: Any, what: str) -> float:
    if not is_number(value) or value <= 0:
        raise RangeError(f"{what} is a number above 0, got {describe(value)}.")
    return float(value)


def not_negative(value: Any, what: str) -> float:
    if not is_number(value) or value < 0:
        raise RangeError(f"{what} is a number of at least 0, got {describe(value)}.")
    return float(value)


def probability(value: Any, what: str) -> float:
    if not is_number(value) or not 0 <= value <= 1:
        raise RangeError(f"{what} is a probability, from 0 to 1, got {describe(value)}.")
    return float(value)


def whole(least: int) -> Callable[[Any, str], int]:
    """The check of a whole number."""

    def check(value: Any, what: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise RangeError(f"{what} is a whole number of at least {least}, got {describe(value)}.")
        return int(value)

    return check


def pair(least: int) -> Callable[[Any, str], tuple[int, int]]:
    """The check of a height and a width. One number stands for both."""

    def check(value: Any, what: str) -> tuple[int, int]:
        both = tuple(value) if isinstance(value, tuple | list) else (value, value)
        if len(both) != 2:
            raise RangeError(f"{what} is a number, or (height, width), got {value!r}.")
        height, width = (whole(least)(part, what) for part in both)
        return height, width

    return check


def span(value: Any, what: str) -> tuple[float, float]:
    """A lower and an upper end. One number d stands for (-d, d)."""
    ends = (
        tuple(value) if isinstance(value, tuple | list) else (-value, value) if is_number(value) and value >= 0 else ()
    )
    if len(ends) != 2 or not all(map(is_number, ends)) or ends[0] > ends[1]:
        raise RangeError(f"{what} is a number d >= 0, for -d to d, or (low, high), got {value!r}.")
    return float(ends[0]), float(ends[1])


def one_of(*names: str) -> Callable[[Any, str], str]:
    """The check of a name."""

    def check(value: Any, what: str) -> str:
        if value not in names:
            raise RangeError(f"{what} is {', '.join(map(repr, names[:-1]))} or {names[-1]!r}, got {value!r}.")
        return str(value)

    return check


def floating(value: Any, what: str) -> np.dtype[Any]:
    """A floating dtype."""
    dtype = np.dtype(value)
    if dtype.kind != "f":
        raise DTypeError(f"{what} is a floating dtype, such as np.float32, got {dtype}.")
    return dtype
