"""Products of matrices, and `einsum`, which generalises them. They are linear in each factor."""

import functools
from typing import Any

import numpy as np

from ..core import Multilinear, multilinear


def transposed(x: Any) -> Any:
    """The matrices with their last two axes exchanged."""
    return x.swapaxes(-1, -2)


def _product(x: Any, y: Any) -> Any:
    # A column times a row is a product of entries. NumPy's matmul has a loop for it that is three times as slow.
    return x * y if x.shape[-1] == 1 else matmul(x, y)


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
