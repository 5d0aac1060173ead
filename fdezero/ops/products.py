"""Products of matrices, and `einsum`, which generalises them. They are linear in each factor."""

import functools
from typing import Any

import numpy as np

from ..core import Multilinear, multilinear
from ..devices import array_module


def transposed(x: Any) -> Any:
    """The matrices with their last two axes exchanged."""
    return x.swapaxes(-1, -2)


def _product(x: Any, y: Any) -> Any:
    # A column times a row is a product of entries. NumPy's matmul has a loop for it that is three times as slow.
    return x * y if x.shape[-1] == 1 else matmul(x, y)


def _correlate(x: Any, w: Any) -> Any:
    if x.ndim == w.ndim == 1:
        return array_module(x).correlate(x, w if w.dtype.kind != "c" else w.conj(), mode="valid")
    m, count = w.shape[-1], x.shape[-1] - w.shape[-1] + 1
    if m <= count:  # loop over the shorter one
        return sum(x[..., j : j + count] * w[..., j : j + 1] for j in range(m))
    return np.stack([(x[..., i : i + m] * w).sum(axis=-1) for i in range(count)], axis=-1)


def _correlate_adjoint(t: Any, x: Any, w: Any) -> Any:
    around = np.zeros_like(t[..., :1], shape=(*t.shape[:-1], w.shape[-1] - 1))
    return correlate(np.concatenate([around, t, around], axis=-1), w[..., ::-1])


# x (..., n), w (..., m), m <= n -> (..., n - m + 1): the sum of x[i + j] * w[j] over j.
correlate: Multilinear = multilinear("correlate", _correlate, _correlate_adjoint, lambda t, x, w: correlate(x, t), core=1)


# (..., n, k), (..., k, m) -> (..., n, m)
matmul: Multilinear = multilinear(
    "matmul",
    np.matmul,
    lambda t, x0, x1: _product(t, transposed(x1)),
    lambda t, x0, x1: _product(transposed(x0), t),
    core=2,
    write="xp.matmul({0}, {1}, out={out})",
    fresh=True,
)


def _einsum(*arrays: Any, inputs: tuple[str, ...], output: str) -> Any:
    subscripts = ",".join("..." + letters for letters in inputs) + "->..." + output
    return np.einsum(subscripts, *arrays, optimize=len(arrays) > 1)


def _einsum_adjoint(t: Any, i: int, *arrays: Any, inputs: tuple[str, ...], output: str) -> Any:
    others = [j for j in range(len(arrays)) if j != i]
    return einsum(t, *[arrays[j] for j in others], inputs=(output, *[inputs[j] for j in others]), output=inputs[i])


# Letters name trailing axes. No letter stands twice in one factor, and each is in the output or in another factor.
einsum: Multilinear = multilinear(
    "einsum",
    _einsum,
    variadic=_einsum_adjoint,
    core=lambda args, params: tuple(map(len, params["inputs"])),
)


@functools.lru_cache(1024)
def letters_of(subscripts: str) -> tuple[tuple[str, ...], str | None]:
    """The inputs of an einsum string, and its output if the string names one."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    return tuple(left.split(",")), right if arrow else None
