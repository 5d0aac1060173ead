"""Products of arrays under NumPy's names, such as matmul, einsum, kron and cross; diagonals and traces."""

import math
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..messages import describe, misfit_of_product
from ..ops import elementwise, products
from ..ops.shape import slice_axes
from .arguments import Array, ArrayOrNumber, as_array, trailing_axis
from .elementwise import conjugate
from .indexing import getitem
from .reductions import sum as sum_of
from .shape import broadcast_to, concatenate, expand_dims, moveaxis, ravel, reshape, slice_axis, squeeze, transpose

__all__ = [
    "cross", "diagonal", "dot", "einsum", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "trace",
    "vdot", "vecdot", "vecmat",
]  # fmt: skip
LETTERS = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # the module `string` compiles a pattern when it is imported
)


def matmul(x: Any, y: Any) -> ArrayOrNumber:
    """The matrix product: x (..., n, k), y (..., k, m) -> (..., n, m).

    A vector on the left counts as a row, one on the right as a column; the result does not have its axis.
    """
    x, y = as_array(x), as_array(y)
    if not x.ndim or not y.ndim:
        raise ShapeError(
            f"matmul needs arrays with at least one axis, got {describe(x)} and {describe(y)}. Use * for numbers."
        )
    if x.ndim > 1 and y.ndim > 1:
        return products.matmul(x, y)
    if x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise misfit_of_product(x.shape, y.shape)  # with the user's shapes
    left = x if x.ndim > 1 else expand_dims(x, 0)
    right = y if y.ndim > 1 else expand_dims(y, 1)
    z = products.matmul(left, right)
    if x.ndim == y.ndim == 1:
        return slice_axes(z, index=(0, 0))  # a number, as in NumPy
    return squeeze(z, -2 if x.ndim == 1 else -1)


def dot(x: Any, y: Any) -> ArrayOrNumber:
    """The sum of products over the last axis of x and the second last of y, or over both axes of two vectors.

    x (..., n, k), y (..., k, m) -> (..., n, ..., m). A number multiplies the other argument.
    """
    x, y = as_array(x), as_array(y)
    if not x.ndim or not y.ndim:
        return elementwise.multiply(x, y)
    return matmul(x, y) if x.ndim <= 2 and y.ndim <= 2 else tensordot(x, y, ((-1,), (-2 if y.ndim > 1 else -1,)))


def vdot(x: Any, y: Any) -> ArrayOrNumber:
    """The sum of conj(x) * y over all entries; x and y must have equally many."""
    return matmul(conjugate(ravel(x)), ravel(y))


def inner(x: Any, y: Any) -> ArrayOrNumber:
    """The sum of products over the last axes: x (..., n, k), y (..., m, k) -> (..., n, ..., m)."""
    x, y = as_array(x), as_array(y)
    return elementwise.multiply(x, y) if not x.ndim or not y.ndim else tensordot(x, y, ((-1,), (-1,)))


def outer(x: Any, y: Any) -> Array:
    """The products of all pairs: x (n,), y (m,) -> (n, m). Arrays with more axes are flattened."""
    return elementwise.multiply(reshape(ravel(x), (-1, 1)), ravel(y))


def tensordot(x: Any, y: Any, axes: int | tuple[Any, Any] = 2) -> ArrayOrNumber:
    """The sum of products over `axes`: the last `axes` of x with the first of y, or two lists of axes."""
    x, y = as_array(x), as_array(y)
    if isinstance(axes, int):
        axes = (tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes)))
    first, second = (
        [trailing_axis(int(a), z.ndim) + z.ndim for a in np.atleast_1d(named)]
        for named, z in zip(axes, (x, y), strict=True)
    )
    if [x.shape[a] for a in first] != [y.shape[a] for a in second]:
        raise ShapeError(f"tensordot: axes {first} of {describe(x)} and {second} of {describe(y)} differ in length.")
    x_rest = [a for a in range(x.ndim) if a not in first]
    y_rest = [a for a in range(y.ndim) if a not in second]
    inner_size = math.prod(x.shape[a] for a in first)
    shape = tuple(x.shape[a] for a in x_rest) + tuple(y.shape[a] for a in y_rest)
    left = reshape(transpose(x, [*x_rest, *first]), (math.prod(x.shape[a] for a in x_rest), inner_size))
    right = reshape(transpose(y, [*second, *y_rest]), (inner_size, math.prod(y.shape[a] for a in y_rest)))
    return reshape(products.matmul(left, right), shape)


def einsum(subscripts: str, *operands: Any, optimize: Any = True) -> ArrayOrNumber:
    """Einstein's summation, `einsum("ij,jk->ik", x, y)`, with NumPy's subscripts, ellipsis included."""
    arrays = [as_array(x) for x in operands]
    inputs, output = products.letters_of(subscripts)
    if len(inputs) != len(arrays):
        raise ShapeError(f"einsum: {subscripts!r} names {len(inputs)} operands, but {len(arrays)} were given.")
    # An ellipsis becomes unused letters, one for each axis, counted from the right.
    free = [c for c in LETTERS if c not in subscripts]
    wide = max(
        [x.ndim - len(s.replace("...", "")) for s, x in zip(inputs, arrays, strict=True) if "..." in s], default=0
    )
    dots = "".join(free[:wide])
    spelled = [
        s.replace("...", dots[wide - (x.ndim - len(s) + 3) :] if "..." in s else "")
        for s, x in zip(inputs, arrays, strict=True)
    ]
    if output is None:
        once = "".join(sorted(c for c in set("".join(inputs)) - set(".") if sum(s.count(c) for s in inputs) == 1))
        output = dots + once
    output = output.replace("...", dots)
    for i, (letters, x) in enumerate(zip(spelled, arrays, strict=True)):
        if len(letters) != x.ndim:
            raise ShapeError(
                f"einsum: {subscripts!r} names {len(letters)} axes of operand {i}, which is {describe(x)}."
            )
        arrays[i], spelled[i] = _once_each(letters, x)
    lengths: dict[str, int] = {}
    for letters, x in zip(spelled, arrays, strict=True):
        for letter, n in zip(letters, x.shape, strict=True):
            if lengths.setdefault(letter, n) != n:
                if 1 not in (lengths[letter], n):
                    raise ShapeError(
                        f"einsum: {letter!r} in {subscripts!r} has two lengths, {lengths[letter]} and {n}."
                    )
                lengths[letter] = max(lengths[letter], n)
    for i, (letters, x) in enumerate(zip(spelled, arrays, strict=True)):
        x = broadcast_to(x, tuple(lengths[c] for c in letters))
        others = set(output).union(*spelled[:i], *spelled[i + 1 :])
        alone = tuple(j for j, c in enumerate(letters) if c not in others)
        arrays[i], spelled[i] = sum_of(x, axis=alone) if alone else x, "".join(c for c in letters if c in others)
    return products.einsum(*arrays, inputs=tuple(spelled), output=output)


def _once_each(letters: str, x: Array) -> tuple[Array, str]:
    """Take the diagonal over each repeated letter: the array and its letters, now each once."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            x = diagonal(x, axis1=first, axis2=second)
            letters = letters[:first] + letters[first + 1 : second] + letters[second + 1 :] + letter
    return x, letters


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonal over two axes, as the last axis of the result: x (n, m, ...) -> (..., min(n, m))."""
    x = as_array(x)
    if x.ndim < 2:
        raise ShapeError(
            f"diagonal needs at least two axes, got {describe(x)}. For a matrix with diagonal x use fd.numpy.diag(x)."
        )
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = x.shape[-2:]
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    i = np.arange(n)
    return getitem(x, (..., i - min(offset, 0), i + max(offset, 0)))


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ArrayOrNumber:
    """The sum of the diagonal over axis1 and axis2: x (n, m, ...) -> (...)."""
    return sum_of(diagonal(x, offset, axis1, axis2), axis=-1)


def kron(x: Any, y: Any) -> Array:
    """The Kronecker product, each entry of x times the whole of y: (m, n), (p, q) -> (m * p, n * q)."""
    x, y = as_array(x), as_array(y)
    ndim = max(x.ndim, y.ndim)
    x, y = (reshape(z, (1,) * (ndim - z.ndim) + z.shape) for z in (x, y))
    left = reshape(x, tuple(m for n in x.shape for m in (n, 1)))
    right = reshape(y, tuple(m for n in y.shape for m in (1, n)))
    return reshape(elementwise.multiply(left, right), tuple(n * m for n, m in zip(x.shape, y.shape, strict=True)))


def cross(x: Any, y: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Array:
    """The cross product of vectors with three components: x, y (..., 3) -> (..., 3)."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = as_array(x), as_array(y)
    if x.ndim and y.ndim:
        x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1:] != (3,) or y.shape[-1:] != (3,):
        raise ShapeError(f"cross expects vectors of three components, got {describe(x)} and {describe(y)}.")
    (x0, x1, x2), (y0, y1, y2) = ([slice_axis(z, -1, i, i + 1) for i in range(3)] for z in (x, y))
    parts = [x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]
    return moveaxis(concatenate(parts, -1), -1, axisc)


def vecdot(x: Any, y: Any, /, *, axis: int = -1) -> ArrayOrNumber:
    """The sum of conj(x) * y along `axis`: x, y (..., n) -> (...)."""
    x, y = as_array(x), as_array(y)
    if not x.ndim or not y.ndim or x.shape[axis] != y.shape[axis]:
        raise ShapeError(f"vecdot: axis {axis} of {describe(x)} and of {describe(y)} must have the same length.")
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    return squeeze(matmul(expand_dims(conjugate(x), -2), expand_dims(y, -1)), (-2, -1))


def matvec(x: Any, y: Any) -> Array:
    """The products of matrices and vectors: x (..., n, k), y (..., k) -> (..., n)."""
    return squeeze(matmul(x, expand_dims(y, -1)), -1)


def vecmat(x: Any, y: Any) -> Array:
    """The products of conjugated vectors and matrices: x (..., k), y (..., k, m) -> (..., m)."""
    return squeeze(matmul(expand_dims(conjugate(as_array(x)), -2), y), -2)
