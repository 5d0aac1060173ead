"""New arrays, as NumPy makes them; `device="gpu"` makes them there."""

from typing import Any

import numpy as np

from ..core import Tracer, unwrap
from ..devices import to_device
from ..errors import describe
from ..ops import shape as shape_ops
from ..ops.elementwise import where
from .arguments import Array, as_array
from .elementwise import astype
from .shape import broadcast_to, moveaxis


def placed(x: Array, device: str | None) -> Array:
    """`x` on `device`; where it is, when None."""
    return x if device is None else to_device(x, device)


def asarray(x: Any, dtype: Any = None, *, device: str | None = None, copy: bool | None = None) -> Array:
    """`x` as an array; arrays and traced values stay what they are unless there is something to change, or `copy` is True."""
    new = not (isinstance(x, Tracer) or hasattr(x, "shape"))
    y = as_array(x) if dtype is None or not new else np.asarray(x, dtype)
    y = placed(y if dtype is None else astype(y, dtype), device)
    if copy is False and y is not x:
        raise ValueError(f"asarray(copy=False) of {describe(x)} cannot do without a copy.")
    return shape_ops.copy(y) if copy and y is x else y


def array(x: Any, dtype: Any = None, *, device: str | None = None, copy: bool = True) -> Array:
    """`x` as an array of its own; a list may hold traced values."""
    return asarray(x, dtype, device=device, copy=True if copy else None)


def copy(x: Any) -> Array:
    """A copy of `x`."""
    return shape_ops.copy(as_array(x))


def zeros(shape: Any, dtype: Any = float, device: str | None = None) -> Array:
    """An array of zeros."""
    return placed(np.zeros(shape, dtype), device)


def ones(shape: Any, dtype: Any = float, device: str | None = None) -> Array:
    """An array of ones."""
    return placed(np.ones(shape, dtype), device)


def full(shape: Any, fill_value: Any, dtype: Any = None, device: str | None = None) -> Array:
    """An array of one value, which may be traced."""
    if isinstance(fill_value, Tracer):
        return broadcast_to(asarray(fill_value, dtype), shape)
    return placed(np.full(shape, fill_value, dtype), device)


def empty(shape: Any, dtype: Any = float, device: str | None = None) -> Array:
    """An array of zeros: immutable arrays have no use for uninitialised memory."""
    return zeros(shape, dtype, device)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: str | None = None) -> Array:
    """Evenly spaced numbers from `start` (0 if it is given alone) to `stop`, which is left out."""
    start, stop = (0, start) if stop is None else (start, stop)
    return placed(np.arange(start, stop, step, dtype=dtype), device)


def linspace(
    start: Any, stop: Any, num: int = 50, *, endpoint: bool = True, dtype: Any = None, axis: int = 0, device: str | None = None
) -> Array:
    """`num` evenly spaced numbers from `start` to `stop`, which may be arrays, and traced."""
    if not isinstance(start, Tracer) and not isinstance(stop, Tracer):
        return placed(np.linspace(start, stop, num, endpoint=endpoint, dtype=dtype, axis=axis), device)
    start, stop = as_array(start), as_array(stop)
    index = np.arange(num).reshape((-1,) + (1,) * max(start.ndim, stop.ndim))
    steps = max(num - 1 if endpoint else num, 1)
    y = start + index * ((stop - start) / steps)
    if endpoint and num > 1:
        y = where(index == num - 1, stop, y)
    y = moveaxis(y, 0, axis)
    return y if dtype is None else astype(y, dtype)


def logspace(start: Any, stop: Any, num: int = 50, *, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0) -> Array:
    """`num` numbers from base ** start to base ** stop, evenly spaced on a logarithmic scale."""
    y = np.power(base, linspace(start, stop, num, endpoint=endpoint, axis=axis))
    return y if dtype is None else y.astype(dtype)


def geomspace(start: Any, stop: Any, num: int = 50, *, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Array:
    """`num` numbers from `start` to `stop`, both of one sign, each the same multiple of the one before."""
    sign = np.sign(start)
    y = sign * np.exp(linspace(np.log(sign * start), np.log(sign * stop), num, endpoint=endpoint, axis=axis))
    return y if dtype is None else y.astype(dtype)


def identity(n: int, dtype: Any = float, device: str | None = None) -> Array:
    """The identity matrix (n, n)."""
    return eye(n, dtype=dtype, device=device)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float, device: str | None = None) -> Array:
    """Ones on and below the diagonal number `k`, zeros above: (N, M)."""
    return placed(np.tri(N, M, k, dtype), device)


def indices(dimensions: Any, dtype: Any = int) -> Array:
    """The indices of a grid of the shape `dimensions`: (ndim, *dimensions)."""
    return np.indices(dimensions, dtype)


def eye(n: int, m: int | None = None, /, k: int = 0, dtype: Any = float, device: str | None = None) -> Array:
    """Ones on a diagonal."""
    return placed(np.eye(n, m, k, dtype), device)


def _like(name: str, x: Any, *args: Any, dtype: Any = None, shape: Any = None, device: str | None = None) -> Array:
    x = as_array(x)
    return placed(getattr(np, name)(unwrap(x), *args, dtype=dtype, shape=x.shape if shape is None else shape), device)


def zeros_like(x: Any, dtype: Any = None, *, shape: Any = None, device: str | None = None) -> Array:
    """Zeros of the shape, dtype and device of `x`."""
    return _like("zeros_like", x, dtype=dtype, shape=shape, device=device)


def ones_like(x: Any, dtype: Any = None, *, shape: Any = None, device: str | None = None) -> Array:
    """Ones of the shape, dtype and device of `x`."""
    return _like("ones_like", x, dtype=dtype, shape=shape, device=device)


def full_like(x: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None, device: str | None = None) -> Array:
    """One value in the shape, dtype and device of `x`."""
    if isinstance(fill_value, Tracer):
        x = as_array(x)
        return broadcast_to(asarray(fill_value, dtype or x.dtype), x.shape if shape is None else shape)
    return _like("full_like", x, fill_value, dtype=dtype, shape=shape, device=device)


empty_like = zeros_like

__all__ = [
    "arange", "array", "asarray", "copy", "empty", "empty_like", "eye", "full", "full_like", "geomspace", "identity", "indices",
    "linspace", "logspace", "ones", "ones_like", "tri", "zeros", "zeros_like",
]  # fmt: skip
