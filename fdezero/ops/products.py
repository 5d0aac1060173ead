"""Products of matrices and their generalisation, `einsum`: linear in each factor."""

import functools
from typing import Any

import numpy as np

from ..core import Multilinear, multilinear


def _transposed(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def _product(x: Any, y: Any) -> Any:
    # A column times a row is a product of entries, for which NumPy's matmul has a loop that is three times as slow.
    return x * y if x.shape[-1] == 1 else matmul(x, y)


# (..., n, k), (..., k, m) -> (..., n, m)
matmul: Multilinear = multilinear(
    "matmul",
    np.matmul,
    lambda t, x0, x1: _product(t, _transposed(x1)),
    lambda t, x0, x1: _product(_transposed(x0), t),
    core=2,
    write="xp.matmul({0}, {1}, out={out})",
)


def _einsum(*arrays: Any, inputs: tuple[str, ...], output: str) -> Any:
    subscripts = ",".join("..." + letters for letters in inputs) + "->..." + output
    return np.einsum(subscripts, *arrays, optimize=len(arrays) > 1)


def _einsum_adjoint(t: Any, i: int, *arrays: Any, inputs: tuple[str, ...], output: str) -> Any:
    others = [j for j in range(len(arrays)) if j != i]
    return einsum(
        t, *[arrays[j] for j in others], inputs=(output, *[inputs[j] for j in others]), output=inputs[i]
    )


# Letters name trailing axes; none twice in one factor, and each in the output or in another factor.
einsum: Multilinear = multilinear(
    "einsum",
    _einsum,
    variadic=_einsum_adjoint,
    core=lambda args, params: tuple(map(len, params["inputs"])),
)


@functools.cache
def letters_of(subscripts: str) -> tuple[tuple[str, ...], str | None]:
    """The inputs of an einsum string, and its output if it names one."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    return tuple(left.split(",")), right if arrow else None
