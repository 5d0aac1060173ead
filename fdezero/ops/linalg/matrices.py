"""Parts of the operations of linear algebra: packing of several results, transposes, matrices like a given one."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import Tracer
from ...devices import CPU, array_module, backend_of
from ..elementwise import stop_gradient
from ..products import transposed
from ..shape import loop_axes
from ..slopes import settled


def pack(*parts: tuple[Any, int]) -> Any:
    """Arrays side by side in one trailing axis; each comes with the number of axes that are not loop axes."""
    return np.concatenate([x.reshape(*loop_axes(x, k), math.prod(x.shape[len(x.shape) - k :])) for x, k in parts], axis=-1)


def unpack(y: Any, *shapes: tuple[int, ...]) -> list[Any]:
    """The arrays of these shapes, loop axes apart, that `pack` put side by side."""
    parts, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        parts.append(y[..., start:stop].reshape(*y.shape[:-1], *shape))
        start = stop
    return parts


def H(x: Any) -> Any:
    """The conjugate transpose."""
    return transposed(x).conj()


def hermitian(x: Any) -> Any:
    """The Hermitian part. For a Hermitian x it is x."""
    return x / 2 + H(x) / 2


def like(constant: Any, x: Any) -> Any:
    """A plain array on the device of x."""
    return array_module(x).asarray(constant)


def eye_like(x: Any) -> Any:
    """The identity matrix of as many columns as x has."""
    return array_module(x).eye(x.shape[-1], dtype=x.dtype)


def tri_like(x: Any, rows: int, columns: int, k: int = 0) -> Any:
    """Ones on and below the diagonal number k, zeros above."""
    return array_module(x).tri(rows, columns, k, dtype=x.dtype)


def loops_of(*matrices: Any) -> tuple[tuple[int, ...], list[Any]]:
    """The common loop axes of matrices, and the matrices broadcast to them."""
    loops = np.broadcast_shapes(*[x.shape[:-2] for x in matrices])
    return loops, [np.broadcast_to(x, loops + x.shape[-2:]) for x in matrices]


def on_host(compute: Callable[..., Any]) -> Callable[..., Any]:
    """`compute`, written for NumPy's arrays, for those of every device. The arguments go to the CPU, and the result comes back."""

    @functools.wraps(compute)
    def anywhere(*arrays: Any) -> Any:
        backend = backend_of(*arrays)
        if backend is CPU:
            return compute(*arrays)
        return backend.from_host(compute(*[x if isinstance(x, np.ndarray) else backend.to_host(x) for x in arrays]))

    return anywhere


def upper_block(a: Any, t: Any) -> Any:
    """The matrices [[a, t], [0, a]]."""
    return np.concatenate([np.concatenate([a, t], axis=-1), np.concatenate([np.zeros_like(a), a], axis=-1)], axis=-2)


def diagonal_of(x: Any) -> Any:
    """The diagonals of matrices: x (..., m, n) -> (..., k)."""
    return np.diagonal(x, axis1=-2, axis2=-1)


def _is_small(x: Any, scale: Any) -> Any:
    """Whether x is 0 to the rounding of numbers as large as `scale`, a constant that broadcasts with x."""
    return abs(stop_gradient(x)) <= scale * (float(np.finfo(x.dtype).eps) * x.shape[-1])


def reciprocal_or_zero(x: Any, scale: Any) -> Any:
    """1 / x, and 0 where x is 0 to the rounding of numbers as large as `scale`, a constant that broadcasts with x."""
    small = _is_small(x, scale)
    return np.where(small, 0, 1 / np.where(small, 1, x))


def _gaps(w: Any) -> tuple[Any, Any]:
    """w_j - w_i, and the greatest |w|, which broadcasts with it."""
    return w[..., None, :] - w[..., :, None], abs(stop_gradient(w)).max(axis=-1, keepdims=True)[..., None]


def per_gap(w: Any) -> Any:
    """1 / (w_j - w_i), and 0 for equal eigenvalues."""
    return reciprocal_or_zero(*_gaps(w)) if w.shape[-1] else w[..., None, :] - w[..., :, None]


def once_differentiable(v: Any, w: Any, *, zero: bool = False) -> Any:
    """v, whose further derivatives are NaN in the columns of equal eigenvalues w, and with `zero` in those of the eigenvalue 0.

    The first derivative of such vectors is a convention, and every second derivative that follows from it would be wrong.
    """
    if not isinstance(v, Tracer) or not w.shape[-1]:
        return v
    gaps, top = _gaps(w)
    count = _is_small(gaps, top).sum(axis=-2, keepdims=True)
    alike = count > 1
    if zero:
        alike = alike | _is_small(w, top[..., 0])[..., None, :]
    return settled(alike, v)


def nan_unless(good: Any, y: Any) -> Any:
    """The matrices of y, with NaN in every entry of those that are not `good` (...). Nothing waits for the device."""
    return np.where(good[..., None, None], y, y.dtype.type(math.nan))


def nan_if_singular(y: Any, *given: Any) -> Any:
    """The result y of finite matrices, NaN where it is not finite, on a device that does not report singular matrices."""
    if backend_of(y).reports_matrices or not y.size:
        return y
    finite = [np.isfinite(x).all(axis=(-2, -1)) for x in (y, *given)]
    good = finite[0]
    for known in finite[1:]:
        good = good | ~known
    return nan_unless(good, y)


def nan_if_not_finite(y: Any, a: Any) -> Any:
    """The packed results y (..., n) of a decomposition, NaN for matrices that are not finite, which the CPU refuses."""
    if backend_of(y).reports_matrices or not y.size:
        return y
    return np.where(np.isfinite(a).all(axis=(-2, -1))[..., None], y, y.dtype.type(math.nan))
