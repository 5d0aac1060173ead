"""The square root and the logarithm of matrices: sqrtm, logm. They are computed on the CPU, from Schur's decomposition.

Sources: Å. Björck and S. Hammarling, A Schur method for the square root of a matrix (1983); N. Higham, Functions of Matrices (2008),
chapter 11 and theorem 3.6; A. Al-Mohy and N. Higham, Improved inverse scaling and squaring algorithms for the matrix logarithm (2012).
"""

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ...core import Nonlinear, discrete, nonlinear
from ...errors import MatrixError
from ...messages import describe
from ..elementwise import real, stop_gradient
from ..products import transposed
from .exponential import balanced_by, size_of_direction
from .matrices import H, hermitian, loops_of, on_host, upper_block
from .schur import schur
from .triangular import sylvester

LOG_RADIUS = 0.26429608311  # the 1-norm of x up to which 7 points of Gauss give log(1 + x) to double precision
POINTS, WEIGHTS = (np.asarray(x) for x in np.polynomial.legendre.leggauss(7))
MOST_ROOTS = 200


def _refuse(name: str, a: Any, why: str) -> NoReturn:
    raise MatrixError(f"{name}: a matrix of {describe(a)} {why}") from None


def _root_of_upper(t: Any) -> Any:
    """The principal square root of an upper triangular matrix, column by column."""
    n = t.shape[-1]
    r = np.diag(np.sqrt(np.diag(t)))
    rounding = n * float(np.finfo(float).eps) * float(abs(t).max(initial=0))
    for j in range(1, n):
        for i in range(j - 1, -1, -1):
            left, total = t[i, j] - r[i, i + 1 : j] @ r[i + 1 : j, j], r[i, i] + r[j, j]
            if total == 0:
                if abs(left) > rounding:
                    raise np.linalg.LinAlgError
                left, total = 0, 1
            r[i, j] = left / total
    return r


def _superdiagonal_of_log(t: Any, logs: Any) -> Any:
    """The exact entries of the logarithm beside the diagonal. Source: Higham 2008, equation 11.28."""
    a, b = np.diag(t)[:-1], np.diag(t)[1:]
    same = a == b
    with np.errstate(all="ignore"):
        turns = np.ceil((np.diff(logs).imag - math.pi) / (2 * math.pi))
        slope = (2 * np.arctanh((b - a) / (b + a)) + 2j * math.pi * turns) / (b - a)
        plain = np.diff(logs) / (b - a)
    slope = np.where(abs(b - a) < abs(a + b) / 2, slope, plain)
    return np.diag(t, 1) * np.where(same, 1 / np.where(same, a, 1), slope)


def _log_of_upper(t: Any) -> Any:
    """The principal logarithm of an upper triangular matrix: square roots until it is near the identity, then log(1 + x)."""
    n = t.shape[-1]
    diagonal = np.diag(t)
    if not diagonal.all():
        raise np.linalg.LinAlgError
    scaled, restore = balanced_by(t)
    logs, eye, r = np.log(diagonal), np.eye(n), scaled
    for roots in range(MOST_ROOTS):
        x = np.triu(r, 1) + np.diag(np.expm1(logs / 2.0**roots))  # r - 1 would cancel
        if not abs(x).sum(axis=0).max() > LOG_RADIUS:
            break
        r = _root_of_upper(r)
    y = sum(w / 2 * np.linalg.solve(eye + (p + 1) / 2 * x, x) for p, w in zip(POINTS, WEIGHTS, strict=True))
    y = restore(np.triu(y) * 2.0**roots)
    np.fill_diagonal(y, logs)
    np.fill_diagonal(y[:, 1:], _superdiagonal_of_log(t, logs))
    return y


def _function(name: str, of_numbers: Callable[[Any], Any], of_upper: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of matrices (..., n, n), which has the value `of_numbers` at eigenvalues."""

    def one(a: Any) -> Any:
        if np.array_equal(a, np.triu(a)):  # also of diagonal matrices, whose small entries stay exact
            return of_upper(a.astype(complex))
        if np.array_equal(a, H(a)):
            w, v = np.linalg.eigh(a)
            w = np.where(abs(w) <= len(w) * float(np.finfo(float).eps) * abs(w).max(initial=0), 0, w)
            if (w > 0).all() or (name == "sqrtm" and (w >= 0).all()):
                return hermitian((v * of_numbers(w)) @ H(v))
        q, t = schur(a)
        return q @ of_upper(t) @ H(q)

    @on_host
    def compute(a: Any) -> Any:
        loops, (wide,) = loops_of(a.astype(np.result_type(a.dtype, np.float64)))
        y = np.empty(a.shape, complex)
        for i in np.ndindex(loops):
            try:
                y[i] = one(wide[i]) if np.isfinite(wide[i]).all() else math.nan
            except np.linalg.LinAlgError:
                _refuse(name, a, f"is singular and has no {'square root' if name == 'sqrtm' else 'logarithm'}.")
        if a.dtype.kind == "c":
            return y.astype(a.dtype)
        rounding = 16 * max(a.shape[-1], 1) * math.sqrt(np.finfo(a.dtype).eps)
        if abs(y.imag).max(initial=0) > rounding * abs(y.real).max(initial=0):
            _refuse(name, a, "has a negative eigenvalue, so the result is complex. Make the matrix complex: a.astype(complex).")
        return y.real.astype(a.dtype)

    return compute


def _adjoint_of_root(t: Any, y: Any, a: Any) -> tuple[Any]:
    return (sylvester(transposed(y), transposed(y), t),)


# The principal square root. Its derivative solves y' @ y + y @ y' = a'.
sqrtm: Nonlinear = nonlinear(
    "sqrtm",
    _function("sqrtm", np.sqrt, _root_of_upper),
    lambda t, y, a: sylvester(y, y, t),
    _adjoint_of_root,
    core=2,
    raises=True,
)


@on_host
def _schur_vectors(a: Any) -> Any:
    loops, (wide,) = loops_of(a)
    y = np.empty(a.shape, complex)
    for i in np.ndindex(loops):
        y[i] = schur(wide[i])[0]
    return y.astype(np.result_type(a.dtype, np.complex64))


schur_vectors = discrete("schur_vectors", _schur_vectors, core=2)


def _log_derivative(t: Any, a: Any) -> Any:
    """The derivative of logm at a in the direction t: the upper right block of the logarithm of [[a, t], [0, a]].

    In the basis of Schur vectors, which is a constant here, the matrix of twice the size is triangular.
    """
    n = a.shape[-1]
    if not n:
        return t
    q = schur_vectors(stop_gradient(a))
    size = size_of_direction(t)
    y = q @ logm(upper_block(H(q) @ a @ q, H(q) @ (t / size) @ q))[..., :n, n:] @ H(q) * size
    return y if a.dtype.kind == "c" else real(y)


# The principal logarithm.
logm: Nonlinear = nonlinear(
    "logm",
    _function("logm", np.log, _log_of_upper),
    lambda t, y, a: _log_derivative(t, a),
    lambda t, y, a: (_log_derivative(t, transposed(a)),),
    core=2,
    raises=True,
)
