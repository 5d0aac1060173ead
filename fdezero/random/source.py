"""`random_bits`, the one operation behind all random numbers, and the checks of its arguments."""

import math
import operator
from typing import Any

import numpy as np

from ..core import discrete
from ..devices import backend_of
from ..errors import DTypeError, KeyMissingError, ShapeError
from ..messages import describe
from ..numpy.arguments import Array, ArrayOrNumber, as_dtype, beside
from ..numpy.elementwise import astype, clip
from ..ops.elementwise import exp, minimum
from ..values import broadcasts_to, is_complex, kind_of, limits, shape_of, with_shape
from . import philox

Key = Array  # of dtype uint64 and shape (2,)
Shape = int | tuple[int, ...]

# The highest word of the counter. So no derived key equals a number that was drawn from its parent.
DRAW, SPLIT, FOLD = 0, 1, 2
UINT64 = np.dtype(np.uint64)
FLOAT64 = np.dtype(np.float64)


def _random_bits(key: Array, start: Array, *, shape: tuple[int, ...], dtype: np.dtype[Any], domain: int) -> Array:
    count = -(-math.prod(shape) * dtype.itemsize // 8)
    words = backend_of(key).random_words(key, start, count=count, domain=domain)
    if words is None:
        words = philox.words(key, np.asarray(start).astype(UINT64), count=count, domain=domain)
    return philox.cut(words, shape, dtype)


# key (..., 2), start (...) -> (..., *shape), unsigned integers
random_bits = discrete("random_bits", _random_bits, core=lambda args, params: (1, 0))


def check_key(key: Any, what: str) -> None:
    """Raise, naming the function `what`, unless `key` is a single key."""
    if isinstance(key, int | np.integer):
        raise KeyMissingError(f"{what} needs a key, but {describe(key)} is a seed. Pass fd.random.key({int(key)}).")
    if not hasattr(key, "dtype"):
        raise KeyMissingError(f"{what} needs a key, got {describe(key)}. Pass fd.random.key(0).")
    if key.dtype != UINT64:
        raise DTypeError(f"{what} needs a key uint64[2], got {describe(key)}. Pass fd.random.key(0).")
    if tuple(key.shape) != (2,):
        hint = (
            "pass one of them, keys[0], or map over them with fd.vmap."
            if key.shape[-1:] == (2,)
            else "pass fd.random.key(0)."
        )
        raise ShapeError(f"{what} needs one key uint64[2], got {describe(key)}: {hint}")


def check_shape(shape: Any, what: str) -> tuple[int, ...]:
    """`shape` as a tuple of non-negative integers."""
    try:
        sizes = tuple(map(operator.index, shape)) if isinstance(shape, tuple | list) else (operator.index(shape),)
    except TypeError:
        raise ShapeError(f"{what} needs a shape of integers, such as (2, 3), got {shape!r}.") from None
    if any(size < 0 for size in sizes):
        raise ShapeError(f"{what} cannot make the shape {sizes}: sizes must not be negative.")
    return sizes


def own_key(key: Key) -> Array:
    """A key for draws by rejection, which count their words themselves. It is drawn, so that `debug` sees the use of `key`."""
    return random_bits(key, 0, shape=(2,), dtype=UINT64, domain=DRAW)


def check_dtype(dtype: Any, kinds: str, what: str) -> np.dtype[Any]:
    """`dtype` as a NumPy dtype whose kind is among `kinds` ("f" floating, "i" and "u" integers)."""
    asked = {
        "f": "a floating dtype such as 'float32'",
        "if": "an integer or floating dtype such as 'int64'",
        "iuf": "an integer or floating dtype such as 'int64'",
        "iu": "an integer dtype such as 'int64'",
        "u": "an unsigned dtype such as 'uint32'",
    }
    hint = " Several sizes make one tuple, (2, 3)." if isinstance(dtype, int) else ""
    try:
        found = as_dtype(dtype)
    except TypeError:
        raise DTypeError(f"{what} needs {asked[kinds]}, got {dtype!r}.{hint}") from None
    if kind_of(found) not in kinds or found.itemsize > 8:
        raise DTypeError(f"{what} needs {asked[kinds]}, got {found}.")
    return found


def check_parameters(shape: Any, what: str, **parameters: Any) -> tuple[int, ...]:
    """The shape of a draw: `shape`, or if it is None that of its parameters, which must broadcast to it."""
    refuse_dtypes(what, parameters)
    shapes = {name: tuple(shape_of(with_shape(parameter))) for name, parameter in parameters.items()}
    if shape is None:
        try:
            return np.broadcast_shapes(*shapes.values())
        except ValueError:
            given = ", ".join(f"{name} {describe(with_shape(parameters[name]))}" for name in shapes)
            raise ShapeError(f"{what}: these do not broadcast with each other: {given}.") from None
    sizes = check_shape(shape, what)
    for name, own in shapes.items():
        if not broadcasts_to(own, sizes):
            given = describe(with_shape(parameters[name]))
            raise ShapeError(f"{what}: {name} {given} does not broadcast to the shape {sizes} of the result.")
    return sizes


def refuse_dtypes(what: str, parameters: dict[str, Any]) -> None:
    """Raise DTypeError for a dtype that was given by position, where a parameter stands."""
    for name, value in parameters.items():
        if isinstance(value, type | np.dtype):
            kind = np.dtype(value).name
            raise DTypeError(
                f"{what}: {name} is a number or an array, got the dtype {kind}. Pass it by name: dtype={kind!r}."
            )


def as_parameter(value: Any, what: str, key: Key) -> Any:
    """A parameter of a distribution as float64, a number on the device of the key. Raises DTypeError for a complex one."""
    if is_complex(array := beside(value, key)) or kind_of(array.dtype) not in "biuf":
        raise DTypeError(f"{what} needs real parameters, got {describe(array)}.")
    return array if array.dtype == FLOAT64 else astype(array, FLOAT64)


def exponentiated(logarithm: Any) -> Any:
    """exp(logarithm) in float64, without an overflow: the result stays below 1e305."""
    return exp(minimum(logarithm, 702.0))


def fitted(draw: Any, dtype: np.dtype[Any], positive: bool = False) -> ArrayOrNumber:
    """A draw in float64 as `dtype`, within its finite numbers; a `positive` one does not become 0."""
    if dtype == FLOAT64 and not positive:
        return draw
    ends = limits(dtype)
    least = float(ends.smallest_subnormal if positive else ends.min)
    return astype(clip(draw, least, float(ends.max)), dtype)
