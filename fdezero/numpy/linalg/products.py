"""Powers, exponentials and products of matrices under NumPy's names, and the array API's products."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ShapeError
from ...messages import describe, refuse_out
from ...ops import linalg
from .. import products
from .. import shape as shapes
from ..arguments import Array, ArrayOrNumber, as_array
from ..creation import zeros_like
from ..dtypes import result_type
from ..elementwise import cast
from ..products import matmul as matmul
from ..products import tensordot as tensordot
from ..products import vecdot as vecdot
from ..reductions import sum as sum_of
from ..shape import matrix_transpose as matrix_transpose
from .arguments import squares, squares_of_any_dtype, stack_of_matrices

__all__ = [
    "block_diag", "cross", "diagonal", "expm", "logm", "matmul", "matrix_power", "matrix_transpose", "multi_dot", "outer",
    "sqrtm", "tensordot", "trace", "vecdot",
]  # fmt: skip


def matrix_power(a: Any, n: int) -> Array:
    """a @ a @ ... @ a, n times, by squaring; for n < 0 the power of the inverse: a (..., n, n) -> (..., n, n)."""
    a = squares_of_any_dtype("matrix_power", a)
    if not isinstance(n, int | np.integer):
        raise TypeError(
            f"linalg.matrix_power: n must be an integer, got {describe(n)}. For other powers use linalg.eigh."
        )
    if n < 0:
        return matrix_power(linalg.inv(squares("matrix_power", a)), -n)
    if n == 0:
        return shapes.broadcast_to(linalg.like(np.eye(a.shape[-1], dtype=a.dtype), a), a.shape)
    result: Any = None
    square = a
    while n:
        if n & 1:
            result = square if result is None else matmul(result, square)
        n >>= 1
        square = matmul(square, square) if n else square
    return result


def expm(a: Any) -> Array:
    """The matrix exponential: a (..., n, n) -> (..., n, n), by scaling and squaring of a Padé approximant.

    Matrices are balanced first, and norms of their powers give the number of squarings. So large entries off the diagonal
    cost no accuracy. The derivative is the exponential of a matrix of twice the size. Source: Higham 2005; Al-Mohy and
    Higham 2009; Higham 2008, theorem 3.6.
    """
    return linalg.expm(squares("expm", a))


def sqrtm(A: Any) -> Array:
    """The principal square root X, with X @ X = A and eigenvalues in the right half plane: A (..., n, n) -> (..., n, n).

    A real matrix has a real result; SciPy's is complex where there are negative eigenvalues. Computed on the CPU, which
    waits for a GPU. Raises MatrixError for a real matrix with negative eigenvalues, and for a matrix without a root.
    Differentiation raises MatrixError for singular matrices. Source: Björck and Hammarling 1983.
    """
    return linalg.sqrtm(squares("sqrtm", A))


def logm(A: Any) -> Array:
    """The principal logarithm, the inverse of `expm`: A (..., n, n) -> (..., n, n).

    A real matrix has a real result; SciPy's is complex where there are negative eigenvalues. Computed on the CPU, which
    waits for a GPU. Raises MatrixError for a real matrix with negative eigenvalues, and for singular matrices. Source:
    Higham 2008, chapter 11.
    """
    return linalg.logm(squares("logm", A))


def block_diag(*arrs: Any) -> Array:
    """The matrix with `arrs` on its diagonal and zeros elsewhere: (..., m1, n1), (..., m2, n2), ... -> (..., m1 + m2 + ..., ...).

    A number is a matrix of one entry, a vector is a row, and leading axes broadcast.
    """
    parts = [as_array(x) for x in arrs or ([],)]
    parts = [shapes.reshape(x, (1, x.size)) if x.ndim < 2 else x for x in parts]
    loops = np.broadcast_shapes(*[x.shape[:-2] for x in parts])
    dtype = result_type(*parts)
    columns, left, strips = sum(x.shape[-1] for x in parts), 0, []
    for x in parts:
        m, n = x.shape[-2:]
        strip = shapes.broadcast_to(cast(x, dtype), (*loops, m, n))
        sides = [zeros_like(strip, shape=(*loops, m, width)) for width in (left, columns - left - n)]
        strips.append(shapes.concatenate([sides[0], strip, sides[1]], -1))
        left += n
    return shapes.concatenate(strips, -2)


def multi_dot(arrays: Sequence[Any], *, out: None = None) -> ArrayOrNumber:
    """The product of two or more matrices, in the cheapest order; the first and the last may be vectors."""
    refuse_out(out)
    factors = [as_array(x) for x in arrays]
    if len(factors) < 2:
        raise ValueError(f"linalg.multi_dot needs at least two arrays, got {len(factors)}.")
    row, column = factors[0].ndim == 1, factors[-1].ndim == 1
    if row:
        factors[0] = shapes.expand_dims(factors[0], 0)
    if column:
        factors[-1] = shapes.expand_dims(factors[-1], 1)
    if any(x.ndim != 2 for x in factors) or any(x.shape[1] != y.shape[0] for x, y in itertools.pairwise(factors)):
        raise ShapeError(
            f"linalg.multi_dot: shapes of neighbouring matrices must fit, got {', '.join(map(describe, factors))}."
        )
    y = _chain(factors, _cuts([factors[0].shape[0], *[x.shape[1] for x in factors]]), 0, len(factors) - 1)
    return shapes.squeeze(y, (0,) * row + (-1,) * column) if row or column else y


def _cuts(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to cut the product of the factors i to j, for the fewest multiplications.

    Factor i has the shape (sizes[i], sizes[i + 1]).
    """
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    cuts = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            ways = [cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)]
            cost[i, j] = min(ways)
            cuts[i, j] = i + ways.index(cost[i, j])
    return cuts


def _chain(factors: list[Array], cuts: dict[tuple[int, int], int], i: int, j: int) -> Array:
    if i == j:
        return factors[i]
    k = cuts[i, j]
    return matmul(_chain(factors, cuts, i, k), _chain(factors, cuts, k + 1, j))


def outer(x1: Any, x2: Any, /) -> Array:
    """The products of all pairs: x1 (n,), x2 (m,) -> (n, m)."""
    x1, x2 = as_array(x1), as_array(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ShapeError(
            f"linalg.outer needs two vectors, got {describe(x1)} and {describe(x2)}. fd.numpy.outer flattens arrays."
        )
    return products.outer(x1, x2)


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """The cross product of vectors with three entries along `axis`: x1, x2 (..., 3) -> (..., 3)."""
    x1, x2 = shapes.broadcast_arrays(x1, x2)
    if x1.shape[axis] != 3:
        raise ShapeError(f"linalg.cross: axis {axis} must have 3 entries, got arrays of shape {x1.shape}.")
    return products.cross(x1, x2, axis=axis)


def diagonal(x: Any, /, *, offset: int = 0) -> Array:
    """The diagonals of matrices: x (..., m, n) -> (..., k)."""
    return products.diagonal(stack_of_matrices("diagonal", x), offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> ArrayOrNumber:
    """The sums of the diagonals of matrices: x (..., m, n) -> (...)."""
    return sum_of(diagonal(x, offset=offset), axis=-1, dtype=dtype)
