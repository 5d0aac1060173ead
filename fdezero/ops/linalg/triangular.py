"""Triangular systems, and Sylvester's equation: solve_triangular, sylvester. Neither needs SciPy.

Sources: R. Bartels and G. Stewart, Solution of the matrix equation AX + XB = C (1972); I. Jonsson and B. Kågström, Recursive blocked
algorithms for solving triangular systems (2002).
"""

from typing import Any

import numpy as np

from ...core import Nonlinear, nonlinear
from ...errors import MatrixError
from ...messages import describe
from ..products import transposed
from .matrices import H, eye_like, loops_of, on_host, tri_like
from .schur import schur
from .solutions import solve_all

BLOCK = 32  # rows of a triangle that one call of LAPACK solves
DIRECT = 64  # unknowns of Sylvester's equation that are solved as one system


def _triangle(a: Any, lower: bool, unit: bool) -> Any:
    """The triangle that counts, with ones on the diagonal if `unit`."""
    n = a.shape[-1]
    below = tri_like(a, n, n, -1 if unit == lower else 0) != 0
    kept = np.where(below if lower else ~below, a, 0)
    return kept + eye_like(a) if unit else kept


def _solve_upper(a: Any, b: Any) -> Any:
    n = a.shape[-1]
    if n <= BLOCK:
        return solve_all(a, b)  # an elimination finds nothing to do, so this is the substitution alone
    k = n // 2
    last = _solve_upper(a[..., k:, k:], b[..., k:, :])
    first = _solve_upper(a[..., :k, :k], b[..., :k, :] - a[..., :k, k:] @ last)
    return np.concatenate([first, last], axis=-2)


def _solve_triangular(a: Any, b: Any, *, lower: bool, unit: bool) -> Any:
    kept = _triangle(a, lower, unit)
    try:
        if not lower:
            return _solve_upper(kept, b)
        return _solve_upper(kept[..., ::-1, ::-1], b[..., ::-1, :])[..., ::-1, :]
    except np.linalg.LinAlgError:
        raise MatrixError(
            f"solve_triangular: a matrix of {describe(a)} has a 0 on its diagonal, so it is singular. Add a multiple of the identity, or "
            "use linalg.lstsq for the least-norm solution."
        ) from None


def _solve_triangular_tangent(ta: Any, tb: Any, y: Any, a: Any, b: Any, **params: bool) -> Any:
    right = tb
    if ta is not None:
        moved = _slope(ta, **params) @ y
        right = -moved if tb is None else tb - moved
    return solve_triangular(a, right, **params)


def _slope(t: Any, *, lower: bool, unit: bool) -> Any:
    """The part of a cotangent or tangent of the matrix that counts."""
    return _triangle(t, lower, unit) - eye_like(t) if unit else _triangle(t, lower, unit)


def _solve_triangular_adjoint(t: Any, y: Any, a: Any, b: Any, *, lower: bool, unit: bool) -> tuple[Any, Any]:
    pulled = solve_triangular(transposed(a), t, lower=not lower, unit=unit)
    return -_slope(pulled @ transposed(y), lower=lower, unit=unit), pulled


# a (..., n, n), b (..., n, m) -> x (..., n, m) with a @ x = b; only one triangle of a counts
solve_triangular: Nonlinear = nonlinear(
    "solve_triangular", _solve_triangular, _solve_triangular_tangent, _solve_triangular_adjoint, core=2, raises=True
)


def _sylvester_direct(a: Any, b: Any, q: Any) -> Any:
    """x with a @ x + x @ b = q, as one system for all entries of x."""
    m, n = a.shape[-1], b.shape[-1]
    of_a = a[..., :, None, :, None] * np.eye(n, dtype=q.dtype)[:, None, :]
    of_b = np.eye(m, dtype=q.dtype)[:, None, :, None] * transposed(b)[..., None, :, None, :]
    system = (of_a + of_b).reshape((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m * n, m * n))
    return np.linalg.solve(system, q.reshape((*q.shape[:-2], m * n, 1))).reshape(q.shape)


def _sylvester_upper(a: Any, b: Any, q: Any) -> Any:
    """x with a @ x + x @ b = q, for upper triangular a and b: the last rows first, and the first columns first."""
    m, n = q.shape
    if m * n <= DIRECT:
        return _sylvester_direct(a, b, q)
    if m >= n:
        k = m // 2
        last = _sylvester_upper(a[k:, k:], b, q[k:])
        return np.concatenate([_sylvester_upper(a[:k, :k], b, q[:k] - a[:k, k:] @ last), last])
    k = n // 2
    first = _sylvester_upper(a, b[:k, :k], q[:, :k])
    return np.concatenate([first, _sylvester_upper(a, b[k:, k:], q[:, k:] - first @ b[:k, k:])], axis=1)


def _sylvester_one(a: Any, b: Any, q: Any) -> Any:
    u, r = schur(a)
    v, s = schur(b)
    x = u @ _sylvester_upper(r, s, H(u) @ q @ v) @ H(v)
    return x if np.result_type(a, b, q).kind == "c" else x.real


@on_host
def _sylvester(a: Any, b: Any, q: Any) -> Any:
    m, n = a.shape[-1], b.shape[-1]
    dtype = np.result_type(a.dtype, b.dtype, q.dtype)
    loops, (a, b, q) = loops_of(a, b, q)
    try:
        if m * n <= DIRECT:
            return _sylvester_direct(a, b, q) if q.size else q
        y = np.empty(q.shape, dtype)
        for i in np.ndindex(loops):
            y[i] = _sylvester_one(a[i], b[i], q[i])
        return y
    except np.linalg.LinAlgError:
        raise MatrixError(
            f"solve_sylvester: a matrix of {describe(a)} and the negative of one of {describe(b)} share an eigenvalue, so there is no "
            "unique solution. This is also so for the derivative of sqrtm if the matrix is singular."
        ) from None


def _sylvester_tangent(ta: Any, tb: Any, tq: Any, x: Any, a: Any, b: Any, q: Any) -> Any:
    right = tq
    for change in (None if ta is None else ta @ x, None if tb is None else x @ tb):
        if change is not None:
            right = -change if right is None else right - change
    return sylvester(a, b, right)


def _sylvester_adjoint(t: Any, x: Any, a: Any, b: Any, q: Any) -> tuple[Any, Any, Any]:
    pulled = sylvester(transposed(a), transposed(b), t)
    return -(pulled @ transposed(x)), -(transposed(x) @ pulled), pulled


# a (..., m, m), b (..., n, n), q (..., m, n) -> x (..., m, n) with a @ x + x @ b = q
sylvester: Nonlinear = nonlinear("sylvester", _sylvester, _sylvester_tangent, _sylvester_adjoint, core=2, raises=True)
