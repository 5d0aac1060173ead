"""Equations and functions of matrices: inv, solve, pinv, expm."""

from typing import Any, NoReturn

import numpy as np

from ...core import Nonlinear, nonlinear
from ...devices import backend_of
from ...errors import MatrixError
from ...messages import describe
from ..products import transposed
from ..shape import common_loops
from .matrices import H, eye_like, nan_if_singular

PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
    670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
PADE_RADIUS = 5.371920351148152  # the 1-norm up to which PADE is exact to double precision


def _refuse_singular(name: str, a: Any) -> NoReturn:
    raise MatrixError(
        f"{name}: a matrix of {describe(a)} is singular. For the least-norm solution use linalg.lstsq or linalg.pinv, or add a "
        "multiple of the identity. The derivatives of slogdet, eig and qr also need an inverse."
    ) from None


def _inv(a: Any) -> Any:
    try:
        return nan_if_singular(np.linalg.inv(a), a)
    except np.linalg.LinAlgError:
        _refuse_singular("inv", a)


inv = nonlinear(
    "inv",
    _inv,
    lambda t, y, a: -(y @ t @ y),
    lambda t, y, a: (-(transposed(y) @ t @ transposed(y)),),
    core=2,
    raises=True,
)


def _solve(a: Any, b: Any) -> Any:
    if not backend_of(a, b).stacks_solve:
        loops = common_loops((a, 2), (b, 2))
        a, b = (np.broadcast_to(x, loops + x.shape[-2:]) for x in (a, b))
    try:
        return nan_if_singular(np.linalg.solve(a, b), a, b)
    except np.linalg.LinAlgError:
        _refuse_singular("solve", a)


def _solve_tangent(ta: Any, tb: Any, y: Any, a: Any, b: Any) -> Any:
    if ta is None:
        return solve(a, tb)
    return solve(a, -(ta @ y) if tb is None else tb - ta @ y)


def _solve_adjoint(t: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    pulled = solve(transposed(a), t)
    return -(pulled @ transposed(y)), pulled


# a (..., n, n), b (..., n, m) -> x (..., n, m) with a @ x = b
solve: Nonlinear = nonlinear("solve", _solve, _solve_tangent, _solve_adjoint, core=2, raises=True)


def _pinv(a: Any, rcond: Any) -> Any:
    if getattr(rcond, "shape", ()):  # because NumPy does not broadcast loop axes here
        loops = common_loops((a, 2), (rcond, 0))
        a, rcond = np.broadcast_to(a, loops + a.shape[-2:]), np.broadcast_to(rcond, loops)
    return np.linalg.pinv(a, rcond)


def _pinv_tangent(t: Any, _: None, y: Any, a: Any, rcond: Any) -> Any:
    s = H(t)
    return (y @ H(y)) @ (s - (s @ a) @ y) + (s - y @ (a @ s)) @ (H(y) @ y) - y @ t @ y


# a (..., m, n), rcond (...): singular values below rcond times the largest count as 0. The derivative is that at constant rank.
pinv = nonlinear("pinv", _pinv, _pinv_tangent, core=lambda args, params: (2, 0), raises=True)
pinv.mask = 1  # rcond has no derivative


def _expm(a: Any) -> Any:
    if not a.size:
        return a
    norm = abs(a).sum(axis=-2).max(axis=-1)
    squarings = np.ceil(np.log2(np.maximum(np.where(np.isfinite(norm), norm, 0) / PADE_RADIUS, 1)))
    x = a / (2.0**squarings).astype(norm.dtype)[..., None, None]
    eye, x2 = eye_like(a), x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2

    def half(b: int) -> Any:  # the even terms, or the odd terms over x
        high = PADE[12 + b] * x6 + PADE[10 + b] * x4 + PADE[8 + b] * x2
        return x6 @ high + PADE[6 + b] * x6 + PADE[4 + b] * x4 + PADE[2 + b] * x2 + PADE[b] * eye

    odd, even = x @ half(1), half(0)
    y = np.linalg.solve(even - odd, even + odd)
    for k in range(int(squarings.max())):
        y = np.where((squarings > k)[..., None, None], y @ y, y)
    return y


def _expm_derivative(t: Any, a: Any) -> Any:
    """The derivative of expm at a in the direction t: the upper right block of the exponential of [[a, t], [0, a]]."""
    n = a.shape[-1]
    block = np.concatenate([np.concatenate([a, t], axis=-1), np.concatenate([np.zeros_like(a), a], axis=-1)], axis=-2)
    return expm(block)[..., :n, n:]


expm: Nonlinear = nonlinear(
    "expm",
    _expm,
    lambda t, y, a: _expm_derivative(t, a),
    lambda t, y, a: (_expm_derivative(t, transposed(a)),),
    core=2,
)
