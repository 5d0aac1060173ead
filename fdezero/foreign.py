"""Arrays of other libraries among NumPy's: they become NumPy arrays, or are refused by name with the way out."""

import numbers
from array import array
from typing import Any

import numpy as np

from .errors import DTypeError
from .messages import describe
from .values import kind_of

# Exactly these types need no question. CuPy's array and the tracers of each level join them when they are first met.
PLAIN: set[type] = {
    np.ndarray, bool, int, float, complex, type(None),
    *(np.dtype(code).type for code in "?bhilqBHILQefdgFDG"),
}  # fmt: skip


def accepted(value: Any) -> Any:
    """A NumPy array made of an array of another library; anything else as it is.

    These become arrays: what has `__array__` (a pandas Series or DataFrame, a tensor on the CPU) and a buffer (memoryview,
    array.array), and fractions become floats. Raises DTypeError, with the way out, for a sparse matrix, a linear operator, a
    np.matrix (its * is another one), masked entries, and arrays without numbers, such as a DataFrame with a column of text.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, np.ndarray):
        return _of_numpy(value)
    if kind.__module__.partition(".")[0] == "cupy" or hasattr(kind, "level"):
        PLAIN.add(kind)
        return value
    if hasattr(kind, "toarray") and hasattr(value, "nnz"):
        raise DTypeError(
            f"{describe(value)} is a sparse matrix, which has no derivatives here. Write A.toarray() for a dense array. For products "
            "with a large one, state the product and that with its transpose as the rules of a function: fd.custom_vjp."
        )
    if isinstance(value, numbers.Rational) and not isinstance(value, numbers.Integral):
        return float(value)
    if isinstance(value, memoryview | array):
        return np.asarray(value)
    if not hasattr(kind, "__array__"):
        if hasattr(kind, "matvec") and hasattr(kind, "dot"):
            raise DTypeError(
                f"{describe(value)} is a linear operator, not an array. Write A @ np.eye(n) for its matrix. For products with a large "
                "one, state the product and that with its transpose as the rules of a function: fd.custom_vjp."
            )
        return value
    return _converted(value)


def is_foreign(value: Any) -> bool:
    """Whether `accepted` would change or refuse a value."""
    try:
        return accepted(value) is not value
    except DTypeError:
        return True


def _of_numpy(value: np.ndarray) -> np.ndarray:
    if isinstance(value, np.matrix):
        raise DTypeError(
            f"np.matrix {describe(value)}: its * is a matrix product, and its results always have two axes. "
            "Write np.asarray(M), with @ for products."
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise DTypeError(
            f"a masked array {describe(value)} with masked entries: masks do not go through derivatives. "
            "Write x.filled(0) and choose entries with fd.numpy.where(mask, ...)."
        )
    return value


def _converted(value: Any) -> np.ndarray:
    """The NumPy array that another library makes of its array."""
    ways = "Write x.astype(float), x.to_numpy(float) or x.detach().cpu().numpy() for an array of numbers."
    try:
        made = np.asarray(value)
    except Exception as error:
        raise DTypeError(f"{describe(value)} does not become a NumPy array: {error} {ways}") from error
    if kind_of(made.dtype) not in "biufc":
        raise DTypeError(f"{describe(value)} becomes an array {describe(made)}, not one of numbers. {ways}")
    return made
