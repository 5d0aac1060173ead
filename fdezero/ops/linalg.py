"""Linear algebra: solutions, inverses and factors of matrices, the last two axes; several results are packed into one array.

`H` is the conjugate transpose. Adjoints are transposes without conjugation, as everywhere. What is undefined in a
derivative (eigenvectors of an eigenvalue that is repeated, the rotation of a complement) is 0.
Sources: M. Giles, Collected matrix derivative results for forward and reverse mode algorithmic differentiation (2008);
G. Golub and V. Pereyra, The differentiation of pseudo-inverses (1973), for pinv; N. Higham, The scaling and squaring method
for the matrix exponential revisited (2005), and Functions of Matrices (2008), theorem 3.6, for expm.
"""

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..core import Nonlinear, nonlinear
from ..devices import array_module
from ..errors import MatrixError, describe
from .elementwise import stop_gradient
from .reductions import _others

PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
    670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
PADE_RADIUS = 5.371920351148152  # the 1-norm up to which PADE is exact to double precision


def pack(*parts: tuple[Any, int]) -> Any:
    """Arrays side by side in one trailing axis; each comes with the number of axes that are not loop axes."""
    return np.concatenate([x.reshape(*_loop(x, k), math.prod(x.shape[len(x.shape) - k :])) for x, k in parts], axis=-1)


def unpack(y: Any, *shapes: tuple[int, ...]) -> list[Any]:
    """The arrays of these shapes, loop axes apart, that `pack` put side by side."""
    parts, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        parts.append(y[..., start:stop].reshape(*y.shape[:-1], *shape))
        start = stop
    return parts


def _loop(x: Any, core: int) -> tuple[int, ...]:
    shape: tuple[int, ...] = x.shape
    return shape[: len(shape) - core]


def _transposed(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def H(x: Any) -> Any:
    """The conjugate transpose."""
    return x.swapaxes(-1, -2).conj()


def hermitian(x: Any) -> Any:
    """The Hermitian part, x itself for a Hermitian x."""
    return x / 2 + H(x) / 2


def like(constant: Any, x: Any) -> Any:
    """A plain array on the device of x."""
    return array_module(x).asarray(constant)


def _eye(x: Any) -> Any:
    return array_module(x).eye(x.shape[-1], dtype=x.dtype)


def _tri(x: Any, rows: int, columns: int, k: int = 0) -> Any:
    return array_module(x).tri(rows, columns, k, dtype=x.dtype)


def _diagonal(x: Any) -> Any:
    return np.diagonal(x, axis1=-2, axis2=-1)


def _reciprocal(x: Any, scale: Any) -> Any:
    """1 / x, and 0 where x is 0 but for the rounding of numbers as large as `scale` (with axes of length 1 for those of x)."""
    small = abs(stop_gradient(x)) <= stop_gradient(scale) * (float(np.finfo(x.dtype).eps) * x.shape[-1])
    return np.where(small, 0, 1 / np.where(small, 1, x))


def _per_gap(w: Any) -> Any:
    """1 / (w_j - w_i), and 0 for eigenvalues that are equal."""
    if not w.shape[-1]:
        return w[..., None, :] - w[..., :, None]
    return _reciprocal(w[..., None, :] - w[..., :, None], abs(w).max(axis=-1, keepdims=True)[..., None])


def _refuse_singular(name: str, a: Any) -> NoReturn:
    raise MatrixError(
        f"{name}: a matrix of {describe(a)} is singular. For the solution of least norm use linalg.lstsq or linalg.pinv; or add a "
        "multiple of the identity. The derivatives of slogdet, eig and qr need an inverse, too."
    ) from None


# Inverses and solutions


def _inv(a: Any) -> Any:
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        _refuse_singular("inv", a)


inv = nonlinear(
    "inv",
    _inv,
    lambda t, y, a: -(y @ t @ y),
    lambda t, y, a: (-(_transposed(y) @ t @ _transposed(y)),),
    core=2,
)


def _solve(a: Any, b: Any) -> Any:
    if array_module(a, b) is not np:  # CuPy broadcasts no loop axes here
        loops = np.broadcast_shapes(_loop(a, 2), _loop(b, 2))
        a, b = (np.broadcast_to(x, loops + x.shape[-2:]) for x in (a, b))
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        _refuse_singular("solve", a)


def _solve_tangent(ta: Any, tb: Any, y: Any, a: Any, b: Any) -> Any:
    if ta is None:
        return solve(a, tb)
    return solve(a, -(ta @ y) if tb is None else tb - ta @ y)


def _solve_adjoint(t: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    pulled = solve(_transposed(a), t)
    return -(pulled @ _transposed(y)), pulled


# a (..., n, n), b (..., n, m) -> x (..., n, m) with a @ x = b
solve: Nonlinear = nonlinear("solve", _solve, _solve_tangent, _solve_adjoint, core=2)


def _pinv_tangent(t: Any, y: Any, a: Any, *, rcond: float) -> Any:
    s = H(t)
    return (y @ H(y)) @ (s - (s @ a) @ y) + (s - y @ (a @ s)) @ (H(y) @ y) - y @ t @ y


# Singular values below rcond times the greatest are taken for 0; the derivative is that at constant rank.
pinv = nonlinear("pinv", lambda a, *, rcond: np.linalg.pinv(a, rcond), _pinv_tangent, core=2)


# Determinants


def _cofactor(a: Any) -> Any:
    if not a.size:
        return np.zeros_like(a)
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return _phase(u, vh, np.linalg.det) * ((u.conj() * _others(s)[..., None, :]) @ vh.conj())


def _phase(u: Any, vh: Any, det: Callable[[Any], Any]) -> Any:
    return (det(u) * det(vh))[..., None, None]


def _cofactor_tangent(t: Any, y: Any, a: Any) -> Any:
    if not math.prod(a.shape):
        return t
    # cof(u s vh) = cof(u) cof(s) cof(vh); of a diagonal matrix the cofactors are products, and so are their derivatives.
    n = a.shape[-1]
    u, s, vh = svd_parts(svd(a, full=False), n, n, full=False)
    eye = _eye(s)
    but_two = _others(np.where(eye == 1, 1, s[..., None, :])) * (1 - eye)
    m = H(u) @ t @ H(vh)
    middle = (but_two @ _diagonal(m)[..., None]) * eye - but_two * _transposed(m)
    anywhere = _phase(u, vh, det) * (u.conj() @ middle @ vh.conj())
    # Equal singular values spoil the derivatives of that. Where there is a good inverse, its formula has all derivatives.
    good = (s[..., -1] > s[..., 0] * float(np.finfo(s.dtype).eps) ** 0.25)[..., None, None]
    inverse = _transposed(inv(np.where(good, a, eye)))
    trace = (inverse * t).sum(axis=(-2, -1), keepdims=True)
    return np.where(good, trace * y - y @ _transposed(t) @ inverse, anywhere)


# The matrix of signed minors, det(a) * inv(a).T where there is an inverse.
cofactor = nonlinear("cofactor", _cofactor, _cofactor_tangent, core=2)
det: Nonlinear = nonlinear(
    "det",
    np.linalg.det,
    lambda t, y, a: (cofactor(a) * t).sum(axis=(-2, -1)),
    lambda t, y, a: (t[..., None, None] * cofactor(a),),
    core=2,
)


def _slogdet(a: Any) -> Any:
    sign, logabs = np.linalg.slogdet(a)
    return np.stack([sign, logabs.astype(sign.dtype)], axis=-1)


def _slogdet_tangent(t: Any, y: Any, a: Any) -> Any:
    trace = (_transposed(inv(a)) * t).sum(axis=(-2, -1))
    turn = y[..., 0] * 1j * trace.imag if y.dtype.kind == "c" else np.zeros_like(trace)
    return np.stack([turn, trace.real], axis=-1)


# (sign, log|det|) in one axis.
slogdet = nonlinear("slogdet", _slogdet, _slogdet_tangent, core=2)


# Factors


def _cholesky(a: Any) -> Any:
    a = hermitian(a)
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        least = float(np.linalg.eigvalsh(a).min()) if np.isfinite(a).all() else math.nan
        raise MatrixError(
            f"cholesky: a matrix of {describe(a)} is not positive definite; its least eigenvalue is {least:.3g}. Add a multiple of the "
            f"identity, a + {max(-2 * least, 1e-6):.1g} * np.eye({a.shape[-1]}), or use linalg.eigh, which takes any Hermitian matrix."
        ) from None


def _half_lower(x: Any) -> Any:
    """The lower triangle, the diagonal halved."""
    n = x.shape[-1]
    return x * (_tri(x, n, n) - _eye(x) / 2)


def _cholesky_tangent(t: Any, y: Any, a: Any) -> Any:
    inverse = inv(y)
    return y @ _half_lower(inverse @ hermitian(t) @ H(inverse))


def _cholesky_adjoint(t: Any, y: Any, a: Any) -> tuple[Any]:
    inverse = inv(y)
    return (hermitian(_transposed(inverse) @ _half_lower(_transposed(y) @ t) @ inverse.conj()),)


# The lower triangular factor of the Hermitian part.
cholesky = nonlinear("cholesky", _cholesky, _cholesky_tangent, _cholesky_adjoint, core=2)


def _completed(t: Any, q: Any) -> Any:
    """The tangents of all columns of a unitary q, given those of the first ones: the others turn no more than they must."""
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
    moved = _transposed(solve(_transposed(r[..., :k, :k]), _transposed(t[..., :k])))
    c = H(first) @ moved
    below = c * _tri(c, k, k, -1)
    turn = below - H(below)
    if c.dtype.kind == "c":  # the diagonal of r is real
        turn = turn + _eye(c) * (1j * c.imag)
    tq = moved + first @ (turn - c)
    tr = (H(first) @ t - turn @ r[..., :k, :]) * (1 - _tri(c, k, n, -1))
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
    return pack((w, 1), (v, 2))


def _eigh_tangent(t: Any, y: Any, a: Any) -> Any:
    w, v = eigh_parts(y, a.shape[-1])
    m = H(v) @ hermitian(t) @ v
    return pack((_diagonal(m), 1), (v @ (m * _per_gap(w)), 2))


def _eigh_adjoint(t: Any, y: Any, a: Any) -> tuple[Any]:
    n = a.shape[-1]
    w, v = eigh_parts(y, n)
    tw, tv = unpack(t, (n,), (n, n))
    m = tw[..., None] * _eye(v) + _per_gap(w) * (_transposed(v) @ tv)
    return (hermitian(v.conj() @ m @ _transposed(v)),)


# Eigenvalues, ascending, and eigenvectors of the Hermitian part, side by side.
eigh = nonlinear("eigh", _eigh, _eigh_tangent, _eigh_adjoint, core=2)


def eig_parts(y: Any, n: int) -> list[Any]:
    """Eigenvalues and eigenvectors from the packed result of `eig`."""
    return unpack(y, (n,), (n, n))


def _eig(a: Any) -> Any:
    w, v = np.linalg.eig(a)
    y = pack((w, 1), (v, 2))
    return y.astype(np.result_type(a.dtype, np.complex64), copy=False)


def _eig_tangent(t: Any, y: Any, a: Any) -> Any:
    w, v = eig_parts(y, a.shape[-1])
    m = inv_eigenvectors(v) @ (t @ v)
    moved = v @ (m * _per_gap(w))
    moved = moved - v * (v.conj() * moved).sum(axis=-2, keepdims=True).real  # columns keep their length
    return pack((_diagonal(m), 1), (moved, 2))


# Eigenvalues and eigenvectors of any square matrix side by side, complex.
eig = nonlinear("eig", _eig, _eig_tangent, core=2)


def _inv_eigenvectors(v: Any) -> Any:
    try:
        y = np.linalg.inv(v)
    except np.linalg.LinAlgError:
        y = np.full_like(v, math.inf)
    if v.size and abs(y).max() * float(np.finfo(v.dtype).eps) * v.shape[-1] > 1:
        raise MatrixError(
            f"eig: a matrix of {describe(v)} has fewer eigenvectors than rows, to rounding: its eigenvalues and vectors have no derivative "
            "there. Functions of the matrix itself, such as linalg.expm and matrix_power, have."
        )
    return y


# The inverse of the eigenvectors, which a derivative of eig needs.
inv_eigenvectors = nonlinear("inv_eigenvectors", _inv_eigenvectors, lambda t, y, v: -(y @ t @ y), core=2)


def svd_parts(y: Any, m: int, n: int, *, full: bool) -> list[Any]:
    """u, the real s, and vh, from the packed result of `svd`."""
    k = min(m, n)
    u, s, vh = unpack(y, (m, m if full else k), (k,), (n if full else k, n))
    return [u, s.real, vh]


def _svd(a: Any, *, full: bool) -> Any:
    u, s, vh = np.linalg.svd(a, full_matrices=full)
    return pack((u, 2), (s, 1), (vh, 2))


def _svd_tangent(t: Any, y: Any, a: Any, *, full: bool) -> Any:
    m, n = a.shape[-2:]
    k = min(m, n)
    u, s, vh = svd_parts(y, m, n, full=full)
    first, v = u[..., :k], H(vh[..., :k, :])
    tv, tu = t @ v, H(t) @ first
    c = H(first) @ tv
    top = s[..., :1]
    # The Hermitian part of c turns u and v alike, by the gaps; the rest turns them against each other, and knows no gaps.
    alike = hermitian(c) * _per_gap(s)
    apart = (c / 2 - H(c) / 2) * _reciprocal(s[..., None, :] + s[..., :, None], top[..., None])
    scale = _reciprocal(s, top)[..., None, :]
    moved_u = first @ (alike + apart) + (tv - first @ c) * scale
    moved_v = v @ (alike - apart) + (tu - v @ H(c)) * scale
    if full:
        moved_u, moved_v = _completed(moved_u, u), _completed(moved_v, H(vh))
    return pack((moved_u, 2), (_diagonal(c).real, 1), (H(moved_v), 2))


# u, the singular values, descending, and vh side by side; with `full`, u and vh are square.
svd: Nonlinear = nonlinear("svd", _svd, _svd_tangent, core=2)


# Functions of matrices


def _expm(a: Any) -> Any:
    if not a.size:
        return a
    norm = abs(a).sum(axis=-2).max(axis=-1)
    squarings = np.ceil(np.log2(np.maximum(np.where(np.isfinite(norm), norm, 0) / PADE_RADIUS, 1)))
    x = a / (2.0**squarings).astype(norm.dtype)[..., None, None]
    eye, x2 = _eye(a), x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2

    def half(b: int) -> Any:  # the even terms, or the odd ones over x
        high = PADE[12 + b] * x6 + PADE[10 + b] * x4 + PADE[8 + b] * x2
        return x6 @ high + PADE[6 + b] * x6 + PADE[4 + b] * x4 + PADE[2 + b] * x2 + PADE[b] * eye

    odd, even = x @ half(1), half(0)
    y = np.linalg.solve(even - odd, even + odd)
    for k in range(int(squarings.max())):
        y = np.where((squarings > k)[..., None, None], y @ y, y)
    return y


def _expm_derivative(t: Any, a: Any) -> Any:
    """The derivative of expm at a in the direction t stands at the upper right of the exponential of [[a, t], [0, a]]."""
    n = a.shape[-1]
    block = np.concatenate([np.concatenate([a, t], axis=-1), np.concatenate([np.zeros_like(a), a], axis=-1)], axis=-2)
    return expm(block)[..., :n, n:]


expm: Nonlinear = nonlinear(
    "expm",
    _expm,
    lambda t, y, a: _expm_derivative(t, a),
    lambda t, y, a: (_expm_derivative(t, _transposed(a)),),
    core=2,
)
