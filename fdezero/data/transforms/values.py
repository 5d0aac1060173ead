"""Transforms of numbers, whatever their places: dtypes, normalisation, noise, labels as rows, flat images."""

import functools
from typing import Any, ClassVar

import attrs
import numpy as np

from ... import numpy as fnp
from ... import random
from ...devices import array_module
from ...errors import DTypeError, RangeError, ShapeError
from ...messages import describe
from ...transforms import vmap
from ...values import is_floating
from .batches import is_plain, name_of, numbers, rounded, top, working
from .settings import floating, is_number, not_negative, probability, setting, whole
from .transform import TARGETS, Transform

__all__ = ["as_type", "flatten", "noise", "normalise", "one_hot", "to_float"]


@attrs.frozen
class to_float(Transform):
    """Fractions from 0 to 1: integers divided by the greatest number of their dtype. Floating numbers only get the dtype."""

    dtype: Any = setting(floating, default=np.float32)

    def apply(self, x: Any, drawn: Any) -> Any:
        if x.dtype.kind not in "iuf":
            raise DTypeError(f"to_float takes integers or floating numbers, got {describe(x)}.")
        if is_floating(x.dtype):
            return fnp.astype(x, self.dtype)
        greatest = float(np.iinfo(x.dtype).max)
        if is_plain(x):
            return np.divide(x, greatest, dtype=self.dtype, casting="unsafe")
        return fnp.astype(x, self.dtype) / greatest


@attrs.frozen
class as_type(Transform):
    """The same numbers in another dtype, as `x.astype` makes them. DeZero's `AsType`, `ToFloat` and `ToInt`."""

    dtype: Any = setting(lambda value, what: np.dtype(value), default=np.float32)

    def apply(self, x: Any, drawn: Any) -> Any:
        return fnp.astype(x, self.dtype)


def _channels(value: Any, what: str) -> float | tuple[float, ...]:
    """A number, or a number for each channel."""
    if is_number(value):
        return float(value)
    values = tuple(value.tolist() if hasattr(value, "tolist") else value if isinstance(value, tuple | list) else ())
    if not values or not all(map(is_number, values)):
        raise RangeError(f"{what} is a finite number, or one for each channel, got {value!r}.")
    return tuple(map(float, values))


def _deviation(value: Any, what: str) -> float | tuple[float, ...]:
    found = _channels(value, what)
    if any(part <= 0 for part in (found if isinstance(found, tuple) else (found,))):
        raise RangeError(f"{what} is above 0, got {value!r}.")
    return found


@attrs.frozen
class normalise(Transform):
    """(x - mean) / std, for floating x (N, C, ...). Mean and std are numbers, or one for each channel C.

    Raises DTypeError for integers, because their fractions would be lost: `to_float()` comes first.
    """

    mean: Any = setting(_channels, default=0.0)
    std: Any = setting(_deviation, default=1.0)

    def apply(self, x: Any, drawn: Any) -> Any:
        if not is_floating(x.dtype):
            raise DTypeError(
                f"normalise takes floating numbers, got {describe(x)}: write compose(to_float(), normalise(...))."
            )
        mean, std = (self._beside(x, value) for value in (self.mean, self.std))
        if is_plain(x):
            y = x - mean
            y /= std
            return y
        return (x - mean) / std

    def _beside(self, x: Any, value: Any) -> Any:
        """A number, or an array that lies along the channels of x."""
        if not isinstance(value, tuple):
            return value
        if x.ndim < 2 or len(value) not in (1, x.shape[1]):
            raise ShapeError(
                f"normalise has {len(value)} numbers for the channels, axis 1, of {describe(x)}, which do not fit."
            )
        return array_module(x).asarray(value, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 2))


@functools.cache
def _quantiles() -> np.ndarray:
    """65,536 normal numbers, all equally likely, of mean 0 and deviation 1: (65536,) float64."""
    from statistics import NormalDist  # which loads fractions and decimal

    normal = NormalDist()
    half = np.array([normal.inv_cdf((k + 0.5) / 65536) for k in range(32768)])
    both = np.concatenate([half, -half[::-1]])
    return both / np.sqrt(np.mean(both**2))


@attrs.frozen
class noise(Transform):
    """x plus normal noise of deviation `std`, a fraction of white: 0.1 is 0.1 for floating x, and 25.5 for uint8.

    A number is one of 65,536 equally likely ones, at most 4.3 deviations from 0, which takes a fourth of the time of `random.normal`.
    """

    std: float = setting(not_negative)

    draws: ClassVar[bool] = True

    def apply(self, x: Any, drawn: Any) -> Any:
        x, shape = numbers(x, self), x.shape[1:]
        y = working(x)
        words = vmap(lambda key: random.bits(key, shape, np.uint16))(drawn)
        table = array_module(x).asarray(_quantiles() * (self.std * top(x)), dtype=y.dtype)
        return rounded(y + fnp.take(table, fnp.astype(words, np.int64)), x.dtype)


@attrs.frozen
class flatten(Transform):
    """(N, ...) -> (N, size): each example as one row."""

    def apply(self, x: Any, drawn: Any) -> Any:
        return x.reshape(len(x), -1) if len(x) else x.reshape(0, int(np.prod(x.shape[1:])))


@attrs.frozen
class one_hot(Transform):
    """Integer labels (N,) -> (N, classes): 1 at the place of the label, 0 elsewhere.

    With `smoothing` s they are 1 - s + s / classes and s / classes. In a batch (x, t) it changes t.
    Raises DTypeError for labels that are not integers, RangeError for labels outside 0 to classes - 1.
    """

    classes: int = setting(whole(1))
    dtype: Any = setting(floating, default=np.float32)
    smoothing: float = setting(probability, default=0.0)

    changes: ClassVar[int | None] = TARGETS

    def apply(self, x: Any, drawn: Any) -> Any:
        return rows_of(x, self.classes, self.dtype, self, self.smoothing)


def rows_of(labels: Any, classes: int, dtype: Any, of: Any, smoothing: float = 0.0) -> Any:
    """Labels (N, ...) as rows (N, ..., classes)."""
    from ...functions.embedding import one_hot as rows  # which loads all functions

    try:
        y = rows(labels, classes, dtype)
    except (DTypeError, RangeError) as error:
        raise type(error)(str(error).replace("one_hot", name_of(of), 1)) from None
    return y * (1 - smoothing) + smoothing / classes if smoothing else y
