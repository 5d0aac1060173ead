"""Products of matrices, and `einsum`, which generalises them. They are linear in each factor."""

import functools
import math
from typing import Any

import numpy as np

from ..core import Multilinear, multilinear


def transposed(x: Any) -> Any:
    """The matrices with their last two axes exchanged."""
    return x.swapaxes(-1, -2)


def product(x: Any, y: Any) -> Any:
    """x @ y. A stack of matrices times one matrix is one product of all their rows: (..., n, k), (k, m) -> (..., n, m)."""
    if y.ndim == 2 < x.ndim and x.shape[-1] == y.shape[0]:
        rows = math.prod(x.shape[:-1])
        return matmul(x.reshape((rows, x.shape[-1])), y).reshape((*x.shape[:-1], y.shape[1]))
    return matmul(x, y)


def _outer(x: Any, t: Any) -> Any:
    # A column times a row is a product of entries. NumPy's matmul has a loop for it that is three times as slow.
    return x * t if x.shape[-1] == 1 else matmul(x, t)


def _first_adjoint(t: Any, x0: Any, x1: Any) -> Any:
    return t * transposed(x1) if t.shape[-1] == 1 else product(t, transposed(x1))


def _second_adjoint(t: Any, x0: Any, x1: Any) -> Any:
    if len(x1.shape) == 2 < t.ndim and x0.shape[:-1] == t.shape[:-1]:  # one product sums over the stack as well
        rows = math.prod(t.shape[:-1])
        x0, t = x0.reshape((rows, x0.shape[-1])), t.reshape((rows, t.shape[-1]))
    return _outer(transposed(x0), t)


# (..., n, k), (..., k, m) -> (..., n, m)
matmul: Multilinear = multilinear(
    "matmul",
    np.matmul,
    _first_adjoint,
    _second_adjoint,
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
