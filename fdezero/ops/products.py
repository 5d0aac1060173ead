"""Products of matrices, and `einsum`, which generalises them. They are linear in each factor."""

import functools
import math
from typing import Any

import numpy as np

from ..core import Multilinear, multilinear
from . import native_products


def transposed(x: Any) -> Any:
    """The matrices with their last two axes exchanged."""
    return x.swapaxes(-1, -2)


def product(x: Any, y: Any) -> Any:
    """x @ y: (..., n, k), (..., k, m) -> (..., n, m). What has loop axes of its own meets the other factor in as few products as possible.

    A stack of matrices times one matrix is one product of all rows. Vectors with further loop axes (the batch of `vmap`) are the rows of
    one matrix for each matrix of the other factor. Columns of several vectors each stay as they are: to bring them together is a copy.
    """
    if x.ndim != y.ndim and x.shape[-1] == y.shape[-2]:
        if y.ndim < x.ndim and (y.ndim == 2 or x.shape[-2] == 1):
            return _parted(matmul(_joined(x, y.ndim), y), x.shape[: x.ndim - y.ndim], x.shape[-2])
        if x.ndim < y.ndim and y.shape[-1] == 1:
            return transposed(product(transposed(y), transposed(x)))
    return matmul(x, y)


def _joined(x: Any, ndim: int) -> Any:
    """The loop axes beyond `ndim` axes join the rows: (..., *loops, n, k) -> (*loops, ... n, k), for n = 1 or without loops."""
    first = x.ndim - ndim
    if ndim == 2:
        return x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))
    return np.moveaxis(x.reshape((math.prod(x.shape[:first]), *x.shape[first:-2], x.shape[-1])), 0, -2)


def _parted(y: Any, loops: tuple[int, ...], n: int) -> Any:
    """The inverse of `_joined`: rows become loop axes in front, and `n` rows."""
    if y.ndim == 2:
        return y.reshape((*loops, n, y.shape[-1]))
    return np.moveaxis(y, -2, 0).reshape((*loops, *y.shape[:-2], 1, y.shape[-1]))


def _outer(x: Any, t: Any) -> Any:
    # A column times a row is a product of entries. NumPy's matmul has a loop for it that is three times as slow.
    return x * t if x.shape[-1] == 1 else product(x, t)


def _adds_up(x: Any, t: Any, ndim: int) -> bool:
    """Whether both have the same loop axes in front of the last `ndim`: those over which the adjoint of a factor without them sums."""
    first = t.ndim - ndim
    return x.ndim == t.ndim and bool(x.shape[:first] == t.shape[:first])


def _first_adjoint(t: Any, x0: Any, x1: Any) -> Any:
    ndim, (n, m), k = len(x0.shape), t.shape[-2:], x1.shape[-2]
    if ndim < t.ndim and _adds_up(x1, t, ndim) and (m == 1 or (ndim == 2 and m * (n + k) <= n * k)):
        # One product sums as well. Several columns have to be copied, which takes less than to write a matrix for each of the stack.
        return product(transposed(_joined(transposed(t), ndim)), _joined(transposed(x1), ndim))
    return t * transposed(x1) if m == 1 else product(t, transposed(x1))


def _second_adjoint(t: Any, x0: Any, x1: Any) -> Any:
    ndim = len(x1.shape)
    if ndim < t.ndim and _adds_up(x0, t, ndim) and (ndim == 2 or t.shape[-2] == 1):
        x0, t = _joined(x0, ndim), _joined(t, ndim)
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
    native=native_products.matmul,
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
