"""`r_` and `c_`: arrays joined by an index, `r_[1:4, x, 0]`, as in NumPy; the parts may be traced."""

from typing import Any

import numpy as np

from ..core.tracer import Tracer
from .arguments import Array, as_array
from .dtypes import result_type
from .elementwise import cast
from .shape import concatenate, reshape, transpose

__all__ = ["c_", "r_"]


class Concatenator:
    """Joins the entries of an index along `axis`: arrays, numbers and slices (a range, or with an imaginary step a linspace).

    Parts get at least `ndim` axes. Their own axes come first, before new ones of length 1, if `first` is 0, and last if
    `first` is -1. A string in front, such as "1,2,0", gives `axis`, `ndim` and `first`.
    """

    def __init__(self, name: str, axis: int, ndim: int, first: int, doc: str) -> None:
        self.__name__ = name
        self.__doc__ = doc
        self._defaults = (axis, ndim, first)

    def __repr__(self) -> str:
        return f"fdezero.numpy.{self.__name__}"

    def __len__(self) -> int:
        return 0  # as in NumPy

    def __getitem__(self, key: Any) -> Array:
        axis, ndim, first = self._defaults
        key = key if isinstance(key, tuple) else (key,)
        if key and isinstance(key[0], str):
            axis, ndim, first = self._directive(key[0])
            key = key[1:]
        parts = [self._part(entry, ndim, first) for entry in key]
        if not parts:
            raise ValueError(f"{self.__name__}[...] needs at least one array, number or slice.")
        # A number is weak beside arrays: r_[x, 0.5] has the dtype of x if x is floating.
        dtype = result_type(*[entry if _is_number(entry) else part for entry, part in zip(key, parts, strict=True)])
        return concatenate([cast(part, dtype) for part in parts], axis)

    def _directive(self, text: str) -> tuple[int, int, int]:
        if text in ("r", "c"):
            raise NotImplementedError(f"{self.__name__}[{text!r}, ...] makes a np.matrix. Use r_ or c_ without it.")
        try:
            numbers = [int(number) for number in text.split(",")]
        except ValueError:
            raise ValueError(f"{self.__name__}: unknown directive {text!r}; it is up to three integers.") from None
        return tuple([*numbers, *self._defaults[len(numbers) :]][:3])  # type: ignore[return-value]  # three integers

    def _part(self, entry: Any, ndim: int, first: int) -> Array:
        if isinstance(entry, str):
            raise ValueError(f"{self.__name__}: the directive {entry!r} must come first.")
        if isinstance(entry, slice):
            x = np.r_[entry]
        else:
            x = as_array(entry)
            if not x.ndim:
                return reshape(x, (1,) * max(ndim, 1))
        new = ndim - x.ndim
        if new <= 0:
            return x
        wide = reshape(x, (1,) * new + x.shape)
        start = first + new + 1 if first < 0 else first  # where x's own axes begin
        order = list(range(new))
        return transpose(wide, order[:start] + list(range(new, ndim)) + order[start:])


def _is_number(entry: Any) -> bool:
    return isinstance(entry, int | float | complex) and not isinstance(entry, Tracer | np.generic)


r_ = Concatenator(
    "r_", 0, 1, -1, "Join arrays, numbers and ranges along the first axis: r_[1:4, x, 0]; see `Concatenator`."
)
c_ = Concatenator("c_", -1, 2, 0, "Join arrays as columns: c_[x, y] of two vectors (n,) is (n, 2); see `Concatenator`.")
