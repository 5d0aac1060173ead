"""The formulas of CuPy 14 that differ from NumPy's, for the stand-in. Each names the source that it follows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from .strict_cupy_array import ndarray, operand, wrap

REFUSED = {"logical_and", "logical_or", "logical_xor", "logical_not"}  # for complex numbers: _core/_routines_logic.pyx


def _kinds(*operands: Any) -> str:
    return np.result_type(*operands).kind


def remainder(x: Any, y: Any, **options: Any) -> Any:
    """_core/_routines_math.pyx: in0 - _floor_divide(in0, in1) * in1, where the quotient of floats is rounded before the floor."""
    if _kinds(x, y) != "f":
        return np.remainder(x, y, **options)
    with np.errstate(all="ignore"):
        return np.subtract(x, np.floor(np.divide(x, y)) * y, **options)


def floor_divide(x: Any, y: Any, **options: Any) -> Any:
    """include/cupy/carray.cuh: floor(x / y) of floats."""
    if _kinds(x, y) != "f":
        return np.floor_divide(x, y, **options)
    with np.errstate(all="ignore"):
        return np.floor(np.divide(x, y), **options)


def fmod(x: Any, y: Any, **options: Any) -> Any:
    """_math/arithmetic.py: integers by way of doubles."""
    if _kinds(x, y) not in "iu":
        return np.fmod(x, y, **options)
    dtype, (out,) = np.result_type(x, y), options["out"]
    with np.errstate(all="ignore"):
        made = np.where(np.equal(y, 0), 0, np.fmod(np.float64(x), np.float64(y))).astype(dtype)
    if out is None:
        return made
    out[...] = made
    return out


def _shift(numpys: np.ufunc) -> Any:
    def shift(x: Any, y: Any, **options: Any) -> Any:
        """_core/_routines_binary.pyx: in0 << in1, whose count has 32 bits in the machine."""
        if hasattr(y, "dtype") and y.dtype.char in "qlQL":
            y = np.asarray(y).astype(np.uint32).astype(y.dtype)
        return numpys(x, y, **options)

    return shift


def logical_and(x: Any, y: Any, **options: Any) -> Any:
    """_core/_routines_logic.pyx: the loops of int64 and uint64 take a negative number for false."""
    kinds = [np.result_type(z) for z in (x, y)]
    if {dtype.char for dtype in kinds} & set("qlQL") and {dtype.kind for dtype in kinds} == {"i", "u"} and min(d.itemsize for d in kinds) == 8:
        x, y = np.greater(x, 0), np.greater(y, 0)
    return np.logical_and(x, y, **options)


def divmod_(x: Any, y: Any, out: tuple[Any, Any], **options: Any) -> Any:
    return floor_divide(x, y, out=out[:1], **options), remainder(x, y, out=out[1:], **options)


def clip(x: Any, low: Any, high: Any, out: Any = None) -> Any:
    """_core/_routines_math.pyx: comparisons, which a bound that is NaN passes over; complex numbers are refused."""
    dtype = np.result_type(x, low, high)
    if dtype.kind == "c":
        raise TypeError(f"Wrong type (({dtype!r}, {dtype!r}, {dtype!r})) of arguments for cupy_clip")
    for bound in (low, high):
        if type(bound) is int:
            np.result_type(x).type(bound)
    y = np.where(np.less(x, low), low, x)
    y = np.where(np.greater(y, high), high, y).astype(dtype)
    if out is not None:
        out[...] = y
    return y


def power(x: Any, y: Any, **options: Any) -> Any:
    """_core/_routines_math.pyx: an integer to a negative power is 1 / x in integers, not an error."""
    if _kinds(x, y) not in "iu" or not np.less(y, 0).any():
        return np.power(x, y, **options)
    sign = np.where(np.equal(x, -1) & np.not_equal(np.remainder(y, 2), 0), -1, 1)
    below = np.where(np.equal(x, 1) | np.equal(x, -1), sign, 0)
    return np.where(np.less(y, 0), below, np.power(x, np.maximum(y, 0))).astype(np.result_type(x, y))


def divide(x: Any, y: Any, **options: Any) -> Any:
    """include/cupy/complex/arithmetic.h: a complex number divided by 0 is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        made = np.divide(x, y, **options)
    return made if _kinds(x, y) != "c" else np.where(np.equal(y, 0), complex("nan+nanj"), made).astype(made.dtype)


def _place_of_extreme(numpys: Any) -> Any:
    def place(a: Any, axis: Any = None, **options: Any) -> Any:
        """_core/_routines_statistics.pyx: of several NaN the place of any; here of the last one."""
        found = numpys(a, axis=axis, **options)
        nan = np.isnan(a) if a.dtype.kind in "fc" else np.zeros(a.shape, bool)
        if not nan.any():
            return found
        n = a.size if axis is None else a.shape[axis]
        last = n - 1 - np.argmax(np.flip(nan, axis) if axis is not None else nan.ravel()[::-1], axis=axis, **options)
        return np.where(nan.any(axis=axis, **options), last, found)

    return place


FORMULAS: dict[str, Any] = {
    "remainder": remainder, "mod": remainder, "floor_divide": floor_divide, "fmod": fmod, "divmod": divmod_, "clip": clip,
    "left_shift": _shift(np.left_shift), "right_shift": _shift(np.right_shift), "logical_and": logical_and, "power": power,
    "divide": divide, "argmax": _place_of_extreme(np.argmax), "argmin": _place_of_extreme(np.argmin),
}  # fmt: skip


def kernel(name: str) -> Callable[..., ndarray]:
    def computed(*args: Any) -> ndarray:
        numbers = [operand(arg) for arg in args]
        if all(np.result_type(x).kind in "biu" for x in numbers):  # cupyx/scipy/special/_erf.py: integers in single precision
            return wrap(np.asarray(getattr(special, name)(*[np.float32(x) for x in numbers]), np.float64))
        return wrap(getattr(special, name)(*numbers))

    return computed
