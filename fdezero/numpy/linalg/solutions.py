"""Linear equations, inverses and determinants under NumPy's names."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import ShapeError
from ...messages import clashing_axis, describe
from ...ops import elementwise, linalg
from .. import shape as shapes
from ..arguments import Array, ArrayOrNumber, as_array, beside
from ..elementwise import cast
from ..products import matmul
from ..reductions import squared_size
from ..reductions import sum as sum_of
from .arguments import matrices, numbers, squares
from .factors import svdvals
from .norms import rank_of

__all__ = ["det", "inv", "lstsq", "pinv", "slogdet", "solve", "tensorinv", "tensorsolve"]

NOT_GIVEN = object()


class SlogdetResult(NamedTuple):
    """Sign and logarithm of a determinant: det = sign * exp(logabsdet)."""

    sign: ArrayOrNumber
    logabsdet: ArrayOrNumber


def inv(a: Any) -> Array:
    """The inverse: a (..., n, n) -> (..., n, n). Raises MatrixError for singular matrices."""
    return linalg.inv(squares("inv", a, "linalg.pinv inverts any matrix."))


def solve(a: Any, b: Any) -> Array:
    """Solve a @ x = b: a (..., n, n), b (n,) or (..., n, m) -> x, with the last axes of b.

    Raises MatrixError for singular matrices.
    """
    a, b = squares("solve", a, "linalg.lstsq solves systems of any shape."), numbers("solve", b)
    column = b.ndim == 1
    right = shapes.expand_dims(b, -1) if column else b
    if not b.ndim or right.shape[-2] != a.shape[-1] or clashing_axis([a.shape[:-2], right.shape[:-2]]):
        raise ShapeError(
            f"linalg.solve: a is {describe(a)} and b {describe(b)}; b must be ({a.shape[-1]},) or "
            f"(..., {a.shape[-1]}, m), with leading axes that broadcast with those of a. For a stack of vectors use "
            "solve(a, b[..., None])[..., 0]."
        )
    x = linalg.solve(a, right)
    return shapes.squeeze(x, -1) if column else x


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = NOT_GIVEN) -> Array:
    """The Moore-Penrose inverse: a (..., m, n) -> (..., n, m).

    Singular values below `rcond` (...) times the greatest count as 0. `rcond` defaults to 1e-15; its other name `rtol`
    defaults to max(m, n) * eps if you pass None. The derivative assumes constant rank and is 0 for rcond. Source: Golub
    and Pereyra 1973.
    """
    if rcond is not None and rtol is not NOT_GIVEN:
        raise ValueError("pinv: rcond and rtol are two names of one number. Give one of them.")
    a = linalg.hermitian(squares("pinv", a)) if hermitian else matrices("pinv", a)
    if rcond is None:
        rcond = 1e-15 if rtol is NOT_GIVEN else _cutoff(a) if rtol is None else rtol
    return linalg.pinv(a, rcond if isinstance(rcond, float) else beside(rcond, a))


def _cutoff(a: Array) -> float:
    return max(a.shape[-2:]) * float(np.finfo(a.dtype).eps)


def lstsq(a: Any, b: Any, rcond: float | None = None) -> tuple[Array, Array, ArrayOrNumber, Array]:
    """Minimise |a @ x - b|: a (..., m, n), b (m,) or (..., m, k) -> (x, residuals, rank, s), x of least norm.

    x is (n,) or (..., n, k). The residuals, squared norms (..., k), are there when m > n. NumPy also drops them for a
    deficient rank, so that their shape depends on values. Singular values s below `rcond` (default eps * max(m, n))
    times the greatest count as 0.
    """
    a, b = matrices("lstsq", a), numbers("lstsq", b)
    right = shapes.expand_dims(b, -1) if b.ndim == 1 else b
    if not b.ndim or right.shape[-2] != a.shape[-2]:
        raise ShapeError(
            f"linalg.lstsq: a is {describe(a)} and b {describe(b)}; b must have {a.shape[-2]} entries or rows."
        )
    cutoff = _cutoff(a) if rcond is None else float(rcond) if rcond >= 0 else float(np.finfo(a.dtype).eps)
    x = matmul(linalg.pinv(a, cutoff), right)
    s = svdvals(a)
    rest = squared_size(elementwise.subtract(right, matmul(a, x)))
    residuals = sum_of(rest if a.shape[-2] > a.shape[-1] else rest[..., :0], axis=-2)
    return (shapes.squeeze(x, -1) if b.ndim == 1 else x), residuals, cast(rank_of(s, cutoff), np.int32), s


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Array:
    """Solve tensordot(a, x, x.ndim) = b: a (*b.shape, *q) -> x (*q), where q has as many entries as b.

    The axes `axes` of a are moved to its end first.
    """
    a, b = as_array(a), as_array(b)
    if axes is not None:
        a = shapes.moveaxis(a, axes, tuple(range(a.ndim - len(axes), a.ndim)))
    rest = a.shape[b.ndim :]
    if a.shape[: b.ndim] != b.shape or math.prod(rest) != b.size:
        raise ShapeError(
            f"linalg.tensorsolve: a {describe(a)} must begin with the axes of b {describe(b)}; its other axes must "
            "have as many entries."
        )
    return shapes.reshape(solve(shapes.reshape(a, (b.size, b.size)), shapes.ravel(b)), rest)


def tensorinv(a: Any, ind: int = 2) -> Array:
    """The inverse for tensordot over `ind` axes: a (*p, *q) -> (*q, *p), where p are the first `ind` axes."""
    a = as_array(a)
    first, rest = a.shape[:ind], a.shape[ind:]
    if ind <= 0 or math.prod(first) != math.prod(rest):
        raise ShapeError(
            f"linalg.tensorinv: ind must be > 0, and the first {ind} axes of {describe(a)} must have as many entries "
            "as the other axes."
        )
    return shapes.reshape(inv(shapes.reshape(a, (math.prod(first), math.prod(rest)))), rest + first)


def det(a: Any) -> ArrayOrNumber:
    """The determinant: a (..., n, n) -> (...). The gradient is the matrix of cofactors, even if a is singular."""
    return linalg.det(squares("det", a))


def slogdet(a: Any) -> SlogdetResult:
    """The sign (a complex unit for complex a) and log|det|: a (..., n, n) -> (...), (...).

    A singular matrix gives 0 and -inf; differentiation there raises MatrixError.
    """
    y = linalg.slogdet(squares("slogdet", a))
    return SlogdetResult(y[..., 0], y[..., 1].real)
