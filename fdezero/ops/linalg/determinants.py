"""Determinants and cofactors: det, slogdet, cofactor."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import Nonlinear, nonlinear
from ..elementwise import stop_gradient
from ..products import transposed
from ..reductions import product_of_others
from .factors import svd, svd_parts
from .matrices import H, diagonal_of, eye_like, like, once_differentiable
from .solutions import inv


def _cofactor(a: Any) -> Any:
    if not a.size:
        return np.zeros_like(a)
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return _phase(u, vh, np.linalg.det) * ((u.conj() * product_of_others(s)[..., None, :]) @ vh.conj())


def _phase(u: Any, vh: Any, det: Callable[[Any], Any]) -> Any:
    return (det(u) * det(vh))[..., None, None]


def _cofactor_tangent(t: Any, y: Any, a: Any) -> Any:
    if not math.prod(a.shape):
        return t
    # If the inverse is accurate, the formula with it has all derivatives. Those of an SVD need distinct singular values.
    n = a.shape[-1]
    s = svd_parts(svd(stop_gradient(a), full=False), n, n, full=False)[1]
    eye = eye_like(s)
    distinct = eye * like(np.arange(1, n + 1), s).astype(s.dtype)
    good = (s[..., -1] > s[..., 0] * float(np.finfo(s.dtype).eps) ** 0.25)[..., None, None]
    # cof(u s vh) = cof(u) cof(s) cof(vh). The cofactors of a diagonal matrix are products, and so are their derivatives.
    u, s, vh = svd_parts(svd(np.where(good, distinct, a), full=False), n, n, full=False)
    u, vh = once_differentiable(u, s), H(once_differentiable(H(vh), s))
    but_two = product_of_others(np.where(eye == 1, 1, s[..., None, :])) * (1 - eye)
    m = H(u) @ t @ H(vh)
    middle = (but_two @ diagonal_of(m)[..., None]) * eye - but_two * transposed(m)
    anywhere = _phase(u, vh, det) * (u.conj() @ middle @ vh.conj())
    inverse = transposed(inv(np.where(good, a, eye)))
    trace = (inverse * t).sum(axis=(-2, -1), keepdims=True)
    return np.where(good, trace * y - y @ transposed(t) @ inverse, anywhere)


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
    trace = (transposed(inv(a)) * t).sum(axis=(-2, -1))
    turn = y[..., 0] * 1j * trace.imag if y.dtype.kind == "c" else np.zeros_like(trace)
    return np.stack([turn, trace.real], axis=-1)


# (sign, log|det|) in one axis.
slogdet = nonlinear("slogdet", _slogdet, _slogdet_tangent, core=2)
