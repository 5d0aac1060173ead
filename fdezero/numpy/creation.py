"""New arrays, as NumPy makes them; `device="gpu"` makes them there."""

from typing import Any

import numpy as np

from ..core import Tracer, unwrap
from ..devices import array_module, to_device
from ..messages import describe
from ..ops import shape as shape_ops
from ..ops.elementwise import where
from .arguments import Array, as_array, beside
from .elementwise import astype, nonzero
from .shape import broadcast_to, moveaxis, ravel, reshape

__all__ = [
    "arange", "array", "asarray", "copy", "empty", "empty_like", "eye", "full", "full_like", "geomspace",
    "identity", "indices", "ix_", "linspace", "logspace", "meshgrid", "ones", "ones_like", "tri", "zeros",
    "zeros_like",
]  # fmt: skip


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
    """An array of zeros. float64 unless a dtype is given."""
    return placed(np.zeros(shape, dtype), device)


def ones(shape: Any, dtype: Any = float, device: str | None = None) -> Array:
    """An array of ones. float64 unless a dtype is given."""
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
    """`num` evenly spaced numbers from `start` to `stop`, numbers or arrays (...), traced or not: -> (num, ...)."""
    if not isinstance(start, Tracer) and not isinstance(stop, Tracer) and array_module(start, stop) is np:
        return placed(np.linspace(start, stop, num, endpoint=endpoint, dtype=dtype, axis=axis), device)
    start, stop = (x if isinstance(x, int | float) else beside(x, start, stop) for x in (start, stop))  # numbers stay weak
    step = (stop - start) / max(num - 1 if endpoint else num, 1)
    index = array_module(start, stop).arange(num, dtype=step.dtype).reshape((-1,) + (1,) * step.ndim)
    y = start + index * step
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
    """Ones on a diagonal: (n, m), float64; m is n when None."""
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



def meshgrid(*arrays: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Array, ...]:
    """Coordinates on the grid that arrays (n,), (m,), ... span: each (m, n, ...), or (n, m, ...) with indexing="ij".

    With `sparse` each has its own length along its axis, and 1 along the others.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid knows the indexing 'xy' and 'ij', got {indexing!r}.")
    values = [ravel(x) for x in arrays]
    places = list(range(len(values)))
    if indexing == "xy" and len(values) > 1:
        places[:2] = 1, 0
    shapes = [tuple(x.size if i == place else 1 for i in range(len(values))) for x, place in zip(values, places, strict=True)]
    grids = [reshape(x, shape) for x, shape in zip(values, shapes, strict=True)]
    if sparse:
        return tuple(grids)
    shape = np.broadcast_shapes(*[x.shape for x in grids])
    return tuple(broadcast_to(x, shape) for x in grids)


def ix_(*arrays: Any) -> tuple[Array, ...]:
    """Index arrays that select the grid of the given indices, one for each axis; masks are turned into indices."""
    values = [nonzero(x)[0] if x.dtype == bool else x for x in map(as_array, arrays)]
    return meshgrid(*values, sparse=True, indexing="ij")
