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
    """x @ y: (..., n, k), (..., k, m) -> (..., n, m). If one factor is a single matrix, one product serves the whole stack of the other.

    A stack with several columns stays as it is: its columns lie apart, and a copy would cost more than it gains.
    """
    if x.shape[-1] == y.shape[-2]:
        if y.ndim == 2 < x.ndim:
            return matmul(_rows(x), y).reshape((*x.shape[:-1], y.shape[1]))
        if x.ndim == 2 < y.ndim and y.shape[-1] == 1:
            return matmul(_columns(y), transposed(x)).reshape((*y.shape[:-2], x.shape[0], 1))
    return matmul(x, y)


def _rows(x: Any) -> Any:
    """The rows of all matrices of a stack in one matrix: (..., n, k) -> (... n, k)."""
    return x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


def _columns(x: Any) -> Any:
    """The columns of all matrices of a stack as the rows of one matrix: (..., k, m) -> (... m, k)."""
    if x.shape[-1] != 1:
        return _rows(transposed(x))
    return x.reshape((math.prod(x.shape[:-2]), x.shape[-2]))  # of memory in any order


def _outer(x: Any, t: Any) -> Any:
    # A column times a row is a product of entries. NumPy's matmul has a loop for it that is three times as slow.
    return x * t if x.shape[-1] == 1 else product(x, t)


def _first_adjoint(t: Any, x0: Any, x1: Any) -> Any:
    if t.shape[-1] == 1 and not (len(x0.shape) == 2 < t.ndim):
        return t * transposed(x1)
    if len(x0.shape) == 2 < t.ndim and x1.shape[:-2] == t.shape[:-2] and _pays(t.shape, x1.shape):
        return matmul(transposed(_columns(t)), _columns(x1))  # one product sums over the stack as well
    return product(t, transposed(x1))


def _pays(t: tuple[int, ...], x: tuple[int, ...]) -> bool:
    """Whether to copy the columns of t (..., n, m) and x (..., k, m) takes less than to write the products (..., n, k) of the stack."""
    n, m, k = t[-2], t[-1], x[-2]
    return m == 1 or m * (n + k) <= n * k


def _second_adjoint(t: Any, x0: Any, x1: Any) -> Any:
    if len(x1.shape) == 2 < t.ndim and x0.shape[:-1] == t.shape[:-1]:  # one product sums over the stack as well
        x0, t = _rows(x0), _rows(t)
    return _outer(transposed(x0), t)


# (..., n, k), (..., k, m) -> (..., n, m)
matmul: Multilinear = multilinear(
    "matmul",
    np.matmul,
    _first_adjoint,
    _second_adjoint,
    core=2,
    batched=product,
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
