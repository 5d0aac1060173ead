"""New arrays, as NumPy makes them; `device="gpu"` makes them there."""

from typing import Any

import numpy as np

from ..core import Tracer, unwrap
from ..devices import to_device
from ._common import Array, as_array
from .shape import broadcast_to


def _placed(x: Array, device: str | None) -> Array:
    return x if device is None else to_device(x, device)


def asarray(x: Any, dtype: Any = None, copy: bool | None = None, device: str | None = None) -> Array:
    """`x` as an array; arrays and traced values stay what they are."""
    from .elementwise import astype

    x = as_array(x) if dtype is None or isinstance(x, Tracer) or hasattr(x, "shape") else np.asarray(x, dtype)
    return _placed(x if dtype is None else astype(x, dtype), device)


def array(x: Any, dtype: Any = None, device: str | None = None) -> Array:
    """`x` as an array; a list may hold traced values."""
    return asarray(x, dtype, device=device)


def zeros(shape: Any, dtype: Any = float, device: str | None = None) -> Array:
    """An array of zeros."""
    return _placed(np.zeros(shape, dtype), device)


def ones(shape: Any, dtype: Any = float, device: str | None = None) -> Array:
    """An array of ones."""
    return _placed(np.ones(shape, dtype), device)


def full(shape: Any, fill_value: Any, dtype: Any = None, device: str | None = None) -> Array:
    """An array of one value, which may be traced."""
    if isinstance(fill_value, Tracer):
        return broadcast_to(asarray(fill_value, dtype), shape)
    return _placed(np.full(shape, fill_value, dtype), device)


def empty(shape: Any, dtype: Any = float, device: str | None = None) -> Array:
    """An array of zeros: immutable arrays have no use for uninitialised memory."""
    return zeros(shape, dtype, device)


def arange(*bounds: Any, dtype: Any = None, device: str | None = None) -> Array:
    """Evenly spaced numbers, as numpy.arange."""
    return _placed(np.arange(*bounds, dtype=dtype), device)


def linspace(start: Any, stop: Any, num: int = 50, *, endpoint: bool = True, dtype: Any = None, device: str | None = None) -> Array:
    """`num` evenly spaced numbers from `start` to `stop`."""
    return _placed(np.linspace(start, stop, num, endpoint=endpoint, dtype=dtype), device)


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = float, device: str | None = None) -> Array:
    """Ones on a diagonal."""
    return _placed(np.eye(n, m, k, dtype), device)


def _like(name: str, x: Any, *args: Any, dtype: Any = None, shape: Any = None) -> Array:
    x = as_array(x)
    plain = unwrap(x)
    return getattr(np, name)(plain, *args, dtype=dtype, shape=x.shape if shape is None else shape)


def zeros_like(x: Any, dtype: Any = None, *, shape: Any = None) -> Array:
    """Zeros of the shape, dtype and device of `x`."""
    return _like("zeros_like", x, dtype=dtype, shape=shape)


def ones_like(x: Any, dtype: Any = None, *, shape: Any = None) -> Array:
    """Ones of the shape, dtype and device of `x`."""
    return _like("ones_like", x, dtype=dtype, shape=shape)


def full_like(x: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Array:
    """One value in the shape, dtype and device of `x`."""
    if isinstance(fill_value, Tracer):
        x = as_array(x)
        return broadcast_to(asarray(fill_value, dtype or x.dtype), x.shape if shape is None else shape)
    return _like("full_like", x, fill_value, dtype=dtype, shape=shape)


empty_like = zeros_like

__all__ = [
    "arange", "array", "asarray", "empty", "empty_like", "eye", "full", "full_like", "linspace", "ones", "ones_like", "zeros", "zeros_like"
]  # fmt: skip
