"""Factors of matrices: cholesky, qr, eigh, eig, svd."""

import math
from typing import Any

import numpy as np

from ...core import Nonlinear, nonlinear
from ...devices import backend_of
from ...errors import MatrixError
from ...messages import describe
from ..elementwise import stop_gradient
from ..products import transposed
from .matrices import (
    H,
    diagonal_of,
    eye_like,
    hermitian,
    nan_if_not_finite,
    nan_unless,
    once_differentiable,
    pack,
    per_gap,
    reciprocal_or_zero,
    tri_like,
    unpack,
)
from .solutions import inv, solve


def _cholesky(a: Any) -> Any:
    a = hermitian(a)
    try:
        return _checked_factor(np.linalg.cholesky(a), a)
    except np.linalg.LinAlgError:
        least = float(np.linalg.eigvalsh(a).min()) if np.isfinite(a).all() else math.nan
        raise MatrixError(
            f"cholesky: a matrix of {describe(a)} is not positive definite; its least eigenvalue is {least:.3g}. Add a multiple of the "
            f"identity, a + {max(-2 * least, 1e-6):.1g} * np.eye({a.shape[-1]}), or use linalg.eigh, which takes any Hermitian matrix."
        ) from None


def _checked_factor(y: Any, a: Any) -> Any:
    """The factor y of a, NaN if a is not positive definite, on a device that leaves half a factor then.

    Rows of a factor have the squares of their lengths on the diagonal of a, to rounding, and its own diagonal is positive.
    """
    if backend_of(y).reports_matrices or not y.size:
        return y
    n, diagonal = a.shape[-1], diagonal_of(a).real
    rounding = 8 * (n + 1) * float(np.finfo(diagonal.dtype).eps)
    lengths = (abs(y) ** 2).sum(axis=-1)
    good = (diagonal_of(y).real > 0) & (abs(lengths - diagonal) <= rounding * diagonal)
    return nan_unless(good.all(axis=-1), y)


def _half_lower(x: Any) -> Any:
    """The lower triangle, with half the diagonal."""
    n = x.shape[-1]
    return x * (tri_like(x, n, n) - eye_like(x) / 2)


def _cholesky_tangent(t: Any, y: Any, a: Any) -> Any:
    inverse = inv(y)
    return y @ _half_lower(inverse @ hermitian(t) @ H(inverse))


def _cholesky_adjoint(t: Any, y: Any, a: Any) -> tuple[Any]:
    inverse = inv(y)
    return (hermitian(transposed(inverse) @ _half_lower(transposed(y) @ t) @ inverse.conj()),)


# The lower triangular factor of the Hermitian part.
cholesky = nonlinear("cholesky", _cholesky, _cholesky_tangent, _cholesky_adjoint, core=2, raises=True)


def _completed(t: Any, q: Any) -> Any:
    """The tangents of all columns of a unitary q, from those of the first ones. The others rotate only as much as they must."""
    first, rest = q[..., : t.shape[-1]], q[..., t.shape[-1] :]
    return np.concatenate([t, -(first @ (H(t) @ rest))], axis=-1) if rest.shape[-1] else t


def qr_parts(y: Any, m: int, n: int, *, full: bool) -> list[Any]:
    """q and r from the packed result of `qr`."""
    k = m if full else min(m, n)
    return unpack(y, (m, k), (k, n))


def _qr(a: Any, *, full: bool) -> Any:
    q, r = np.linalg.qr(a, "complete" if full else "reduced")
    return pack((q, 2), (r, 2))


def _qr_tangent(t: Any, y: Any, a: Any, *, full: bool) -> Any:
    m, n = a.shape[-2:]
    k = min(m, n)
    q, r = qr_parts(y, m, n, full=full)
    first = q[..., :k]
    moved = transposed(solve(transposed(r[..., :k, :k]), transposed(t[..., :k])))
    c = H(first) @ moved
    below = c * tri_like(c, k, k, -1)
    turn = below - H(below)
    if c.dtype.kind == "c":  # because the diagonal of r is real
        turn = turn + eye_like(c) * (1j * c.imag)
    tq = moved + first @ (turn - c)
    tr = (H(first) @ t - turn @ r[..., :k, :]) * (1 - tri_like(c, k, n, -1))
    if full and m > n:
        tq, tr = _completed(tq, q), np.concatenate([tr, np.zeros_like(r[..., k:, :])], axis=-2)
    return pack((tq, 2), (tr, 2))


# q and r side by side; with `full`, q is square.
qr = nonlinear("qr", _qr, _qr_tangent, core=2)


def eigh_parts(y: Any, n: int) -> list[Any]:
    """The real eigenvalues, and the eigenvectors, from the packed result of `eigh`."""
    w, v = unpack(y, (n,), (n, n))
    return [w.real, v]


def _eigh(a: Any) -> Any:
    w, v = np.linalg.eigh(hermitian(a))
    return nan_if_not_finite(pack((w, 1), (v, 2)), a)


def _eigh_tangent(t: Any, y: Any, a: Any) -> Any:
    w, v = eigh_parts(y, a.shape[-1])
    v = once_differentiable(v, w)
    m = H(v) @ hermitian(t) @ v
    return pack((diagonal_of(m), 1), (v @ (m * per_gap(w)), 2))


def _eigh_adjoint(t: Any, y: Any, a: Any) -> tuple[Any]:
    n = a.shape[-1]
    w, v = eigh_parts(y, n)
    v = once_differentiable(v, w)
    tw, tv = unpack(t, (n,), (n, n))
    m = tw[..., None] * eye_like(v) + per_gap(w) * (transposed(v) @ tv)
    return (hermitian(v.conj() @ m @ transposed(v)),)


# Eigenvalues, ascending, and eigenvectors of the Hermitian part, side by side.
eigh = nonlinear("eigh", _eigh, _eigh_tangent, _eigh_adjoint, core=2, raises=True)


def eig_parts(y: Any, n: int) -> list[Any]:
    """Eigenvalues and eigenvectors from the packed result of `eig`."""
    return unpack(y, (n,), (n, n))


def _eig(a: Any) -> Any:
    w, v = np.linalg.eig(a)
    y = pack((w, 1), (v, 2))
    return nan_if_not_finite(y.astype(np.result_type(a.dtype, np.complex64), copy=False), a)


def _eig_tangent(t: Any, y: Any, a: Any) -> Any:
    w, v = eig_parts(y, a.shape[-1])
    v = once_differentiable(v, w)
    m = inv_eigenvectors(v) @ (t @ v)
    moved = v @ (m * per_gap(w))
    moved = moved - v * (v.conj() * moved).sum(axis=-2, keepdims=True).real  # columns keep their length
    return pack((diagonal_of(m), 1), (moved, 2))


# Eigenvalues and eigenvectors of any square matrix side by side, complex.
eig = nonlinear("eig", _eig, _eig_tangent, core=2, raises=True)


def _inv_eigenvectors(v: Any) -> Any:
    try:
        y = np.linalg.inv(v)
    except np.linalg.LinAlgError:
        y = np.full_like(v, math.inf)
    # It waits for a GPU, whose inverse of a singular matrix may be NaN.
    if v.size and not abs(y).max() * float(np.finfo(v.dtype).eps) * v.shape[-1] <= 1 and np.isfinite(v).all():
        raise MatrixError(
            f"eig: a matrix of {describe(v)} has fewer eigenvectors than rows, to rounding, so its eigenvalues and vectors have no "
            "derivative. Functions of the matrix itself, such as linalg.expm and matrix_power, have one."
        )
    return y


# The inverse of the eigenvectors, which a derivative of eig needs.
inv_eigenvectors = nonlinear("inv_eigenvectors", _inv_eigenvectors, lambda t, y, v: -(y @ t @ y), core=2, raises=True)


def svd_parts(y: Any, m: int, n: int, *, full: bool) -> list[Any]:
    """u, the real s, and vh, from the packed result of `svd`."""
    k = min(m, n)
    u, s, vh = unpack(y, (m, m if full else k), (k,), (n if full else k, n))
    return [u, s.real, vh]


def _svd(a: Any, *, full: bool) -> Any:
    u, s, vh = np.linalg.svd(a, full_matrices=full)
    return nan_if_not_finite(pack((u, 2), (s, 1), (vh, 2)), a)


def _svd_tangent(t: Any, y: Any, a: Any, *, full: bool) -> Any:
    m, n = a.shape[-2:]
    k = min(m, n)
    u, s, vh = svd_parts(y, m, n, full=full)
    signed = m == n and a.dtype.kind != "c"  # then s may change its sign at 0, with the vectors as they are
    first, v = (once_differentiable(x, s, zero=not signed) for x in (u[..., :k], H(vh[..., :k, :])))
    tv, tu = t @ v, H(t) @ first
    c = H(first) @ tv
    top = stop_gradient(s[..., :1])
    # The Hermitian part of c rotates u and v alike, divided by the gaps. The rest rotates them against each other, without gaps.
    alike = hermitian(c) * per_gap(s)
    apart = (c / 2 - H(c) / 2) * reciprocal_or_zero(s[..., None, :] + s[..., :, None], top[..., None])
    scale = reciprocal_or_zero(s, top)[..., None, :]
    moved_u = first @ (alike + apart) + (tv - first @ c) * scale
    moved_v = v @ (alike - apart) + (tu - v @ H(c)) * scale
    if full:
        moved_u, moved_v = _completed(moved_u, u), _completed(moved_v, H(vh))
    return pack((moved_u, 2), (diagonal_of(c).real, 1), (H(moved_v), 2))


# u, the singular values, descending, and vh side by side; with `full`, u and vh are square.
svd: Nonlinear = nonlinear("svd", _svd, _svd_tangent, core=2, raises=True)
