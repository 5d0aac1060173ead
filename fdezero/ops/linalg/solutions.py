"""Equations of matrices: inv, solve, pinv."""

from typing import Any, NoReturn

import numpy as np

from ...core import Nonlinear, nonlinear
from ...devices import backend_of
from ...errors import MatrixError
from ...messages import describe
from ..products import transposed
from ..shape import common_loops
from .matrices import H, nan_if_singular


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


def solve_all(a: Any, b: Any) -> Any:
    """NumPy's solution for stacks of matrices on every device. Raises LinAlgError for a singular matrix."""
    if not backend_of(a, b).stacks_solve:
        loops = common_loops((a, 2), (b, 2))
        a, b = (np.broadcast_to(x, loops + x.shape[-2:]) for x in (a, b))
    return nan_if_singular(np.linalg.solve(a, b), a, b)


def _solve(a: Any, b: Any) -> Any:
    try:
        return solve_all(a, b)
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
