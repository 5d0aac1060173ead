"""Fourier transforms along the trailing axis number `axis`. All are linear with symmetric matrices, so they are their own adjoints.

With w = exp(sign 2 pi i / n) and a scale that `sign` and `norm` choose as in NumPy, for j and k from 0 to n - 1:

    fourier:   x (..., n), complex or real   -> y (..., n) complex,          y[k] = scale * sum of x[j] w**(j k)
    to_half:   x (..., n), real              -> y (..., n // 2 + 1) complex, the first half of the same
    from_half: x (..., n // 2 + 1), likewise -> y (..., n) real,              `fourier` of x continued by x[n - k] = conj(x[k])

The adjoint of a map from real numbers is the real part of its transpose; the tape takes that part.
"""

from typing import Any

import numpy as np

from ..core import Linear, linear
from ..devices import array_module

NUMPYS = {
    ("fourier", -1): "fft", ("fourier", 1): "ifft", ("to_half", -1): "rfft", ("to_half", 1): "ihfft",
    ("from_half", -1): "hfft", ("from_half", 1): "irfft",
}  # fmt: skip


def _declare(name: str, adjoint: Any) -> Linear:
    def compute(x: Any, *, axis: int, sign: int, norm: str, size: int | None = None, **out: Any) -> Any:
        return getattr(array_module(x).fft, NUMPYS[name, sign])(x, size, axis=axis, norm=norm, **out)

    def write(out: Any, x: Any, **params: Any) -> None:
        y = compute(x, out=out, **params)
        if y is not out:  # NumPy's hfft accepts `out` but does not write it
            np.copyto(out, y)

    return linear(name, compute, adjoint, core=lambda args, params: (-params["axis"],), write=write)


def _inner(n: int, axis: int, xp: Any, dtype: Any, factor: float) -> Any:
    """`factor` for frequencies of a half spectrum that stand for two of the n, and 1 for the others."""
    weights = xp.full(n // 2 + 1, factor, dtype=np.finfo(dtype).dtype)
    weights[:1] = 1
    if n % 2 == 0:
        weights[-1:] = 1
    return weights.reshape((-1,) + (1,) * (-axis - 1))


def _to_half_adjoint(t: Any, x: Any, *, axis: int, sign: int, norm: str) -> Any:
    n = x.shape[axis]
    return from_half(t * _inner(n, axis, array_module(t), t.dtype, 0.5), axis=axis, sign=sign, norm=norm, size=n)


def _from_half_adjoint(t: Any, x: Any, *, axis: int, sign: int, norm: str, size: int) -> Any:
    return to_half(t, axis=axis, sign=sign, norm=norm) * _inner(size, axis, array_module(t), t.dtype, 2)


fourier: Linear = _declare("fourier", lambda t, x, **params: fourier(t, **params))
to_half: Linear = _declare("to_half", _to_half_adjoint)
from_half: Linear = _declare("from_half", _from_half_adjoint)
