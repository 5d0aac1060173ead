"""Products of arrays under NumPy's names, such as matmul, einsum, kron and cross; diagonals and traces."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..messages import describe, misfit_of_product, refuse_out
from ..ops import elementwise, products
from ..ops.shape import slice_axes
from .arguments import Array, ArrayOrNumber, as_array, trailing_axis
from .elementwise import cast
from .indexing import getitem
from .reductions import sum as sum_of
from .shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    moveaxis,
    promoted,
    ravel,
    reshape,
    slice_axis,
    squeeze,
    transpose,
)

__all__ = [
    "cross", "diagonal", "dot", "einsum", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "trace",
    "vdot", "vecdot", "vecmat",
]  # fmt: skip
LETTERS = (
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # the module `string` compiles a pattern when it is imported
)


def matmul(x1: Any, x2: Any, /, *, axes: Sequence[Any] | None = None) -> ArrayOrNumber:
    """The matrix product: x1 (..., n, k), x2 (..., k, m) -> (..., n, m).

    A vector on the left counts as a row, one on the right as a column; the result does not have its axis. `axes` names
    the axes of the matrices of x1, of x2 and of the result, by default [(-2, -1), (-2, -1), (-2, -1)].
    """
    x1, x2 = as_array(x1), as_array(x2)
    if axes is not None:
        cores = min(x1.ndim, 2), min(x2.ndim, 2)
        return _along(matmul, x1, x2, axes, (*cores, max(sum(cores) - 2, 0)))
    if not x1.ndim or not x2.ndim:
        raise ShapeError(
            f"matmul needs arrays with at least one axis, got {describe(x1)} and {describe(x2)}. Use * for numbers."
        )
    if x1.ndim > 1 and x2.ndim > 1:
        return products.product(x1, x2)
    if x1.shape[-1] != x2.shape[-2 if x2.ndim > 1 else 0]:
        raise misfit_of_product(x1.shape, x2.shape)  # with the user's shapes
    left = x1 if x1.ndim > 1 else expand_dims(x1, 0)
    right = x2 if x2.ndim > 1 else expand_dims(x2, 1)
    z = products.matmul(left, right)
    if x1.ndim == x2.ndim == 1:
        return slice_axes(z, index=(0, 0))  # a number, as in NumPy
    return squeeze(z, -2 if x1.ndim == 1 else -1)


def _along(
    product: Callable[..., Array], x1: Array, x2: Array, axes: Any, cores: tuple[int, int, int]
) -> ArrayOrNumber:
    """`product` of x1 and x2, each with its `axes` at its end; the last axes of the result move to the last of `axes`.

    `cores` says how many axes each of the three has. The result may be left out where that is 0.
    """
    named = [(axis,) if isinstance(axis, int | np.integer) else tuple(axis) for axis in axes]
    named += [()] * (cores[2] == 0 and len(named) == 2)
    if tuple(map(len, named)) != cores:
        wanted = " and ".join(map(str, cores))
        raise ValueError(f"{product.__name__}: axes must name {wanted} axes of x1, x2 and the result, got {axes!r}.")
    x1, x2 = (moveaxis(x, axis, tuple(range(-len(axis), 0))) for x, axis in zip((x1, x2), named[:2], strict=True))
    y = product(x1, x2)
    return moveaxis(y, tuple(range(-cores[2], 0)), named[2]) if cores[2] else y


def dot(a: Any, b: Any, out: None = None) -> ArrayOrNumber:
    """The sum of products over the last axis of a and the second last of b, or over both axes of two vectors.

    a (..., n, k), b (..., k, m) -> (..., n, ..., m). A number multiplies the other argument.
    """
    refuse_out(out)
    a, b = as_array(a), as_array(b)
    if not a.ndim or not b.ndim:
        return elementwise.multiply(a, b)
    if a.ndim <= 2 and b.ndim <= 2:
        return _as_dot(matmul(a, b), a, b)
    return tensordot(a, b, ((-1,), (-2 if b.ndim > 1 else -1,)))


def _as_dot(y: Any, a: Array, b: Array) -> ArrayOrNumber:
    """A sum of products in the dtype of NumPy's `dot`: bfloat16 for bfloat16, where `matmul` gives float32."""
    return cast(y, a.dtype) if a.dtype.kind == "V" and a.dtype == b.dtype else y


def vdot(a: Any, b: Any) -> ArrayOrNumber:
    """The sum of conj(a) * b over all entries; a and b must have equally many."""
    a, b = ravel(a), ravel(b)
    return _as_dot(matmul(_conjugated(a), b), a, b)


def inner(a: Any, b: Any) -> ArrayOrNumber:
    """The sum of products over the last axes: a (..., n, k), b (..., m, k) -> (..., n, ..., m)."""
    a, b = as_array(a), as_array(b)
    return elementwise.multiply(a, b) if not a.ndim or not b.ndim else tensordot(a, b, ((-1,), (-1,)))


def outer(a: Any, b: Any, out: None = None) -> Array:
    """The products of all pairs: a (n,), b (m,) -> (n, m). Arrays with more axes are flattened."""
    refuse_out(out)
    return elementwise.multiply(reshape(ravel(a), (-1, 1)), ravel(b))


def tensordot(a: Any, b: Any, axes: int | tuple[Any, Any] = 2) -> ArrayOrNumber:
    """The sum of products over `axes`: the last `axes` of a with the first of b, or two lists of axes."""
    a, b = as_array(a), as_array(b)
    if isinstance(axes, int):
        axes = (tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes)))
    first, second = (
        [trailing_axis(int(i), z.ndim) + z.ndim for i in np.atleast_1d(named)]
        for named, z in zip(axes, (a, b), strict=True)
    )
    if [a.shape[i] for i in first] != [b.shape[i] for i in second]:
        raise ShapeError(f"tensordot: axes {first} of {describe(a)} and {second} of {describe(b)} differ in length.")
    a_rest = [i for i in range(a.ndim) if i not in first]
    b_rest = [i for i in range(b.ndim) if i not in second]
    inner_size = math.prod(a.shape[i] for i in first)
    shape = tuple(a.shape[i] for i in a_rest) + tuple(b.shape[i] for i in b_rest)
    left = reshape(transpose(a, [*a_rest, *first]), (math.prod(a.shape[i] for i in a_rest), inner_size))
    right = reshape(transpose(b, [*second, *b_rest]), (inner_size, math.prod(b.shape[i] for i in b_rest)))
    return reshape(_as_dot(products.matmul(left, right), a, b), shape)


def einsum(
    subscripts: Any, /, *operands: Any, out: None = None, dtype: Any = None, casting: str = "safe", optimize: Any = True
) -> ArrayOrNumber:
    """Einstein's summation, `einsum("ij,jk->ik", x, y)`, with NumPy's subscripts, ellipsis included.

    Lists of axes may take their place: `einsum(x, [0, 1], y, [1, 2], [0, 2])`. With `dtype` the operands are cast
    first, as far as `casting` allows. `optimize` does not change the result.
    """
    refuse_out(out)
    if not isinstance(subscripts, str):
        subscripts, operands = _from_lists(subscripts, *operands)
    # One dtype for all, so that sums within one operand have the precision of the result.
    arrays = promoted(operands, dtype, casting)
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
        arrays[i], spelled[i] = (
            sum_of(x, axis=alone, dtype=x.dtype) if alone else x,
            "".join(c for c in letters if c in others),
        )
    return products.einsum(*arrays, inputs=tuple(spelled), output=output)


def _from_lists(*parts: Any) -> tuple[str, tuple[Any, ...]]:
    """(subscripts, operands) of the form operand, list of axes, operand, list of axes, ..., list of the result's axes."""
    operands, lists = parts[:-1:2] if len(parts) % 2 else parts[::2], parts[1::2]

    def spelled(axes: Any) -> str:
        return "".join("..." if axis is Ellipsis else LETTERS[axis] for axis in axes)

    try:
        result = "->" + spelled(parts[-1]) if len(parts) % 2 else ""
        return ",".join(map(spelled, lists)) + result, operands
    except (TypeError, IndexError):
        raise ValueError(
            f"einsum takes 'ij,jk->ik' and its operands, or operands and lists of numbers below {len(LETTERS)} in turn; "
            f"got {', '.join(map(describe, parts))}."
        ) from None


def _once_each(letters: str, x: Array) -> tuple[Array, str]:
    """Take the diagonal over each repeated letter: the array and its letters, now each once."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            first = letters.index(letter)
            second = letters.index(letter, first + 1)
            x = diagonal(x, axis1=first, axis2=second)
            letters = letters[:first] + letters[first + 1 : second] + letters[second + 1 :] + letter
    return x, letters


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonal over two axes, as the last axis of the result: a (n, m, ...) -> (..., min(n, m))."""
    a = as_array(a)
    if a.ndim < 2:
        raise ShapeError(
            f"diagonal needs at least two axes, got {describe(a)}. For a matrix with diagonal a use fd.numpy.diag(a)."
        )
    a = moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = a.shape[-2:]
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    i = np.arange(n)
    return getitem(a, (..., i - min(offset, 0), i + max(offset, 0)))


def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> ArrayOrNumber:
    """The sum of the diagonal over axis1 and axis2: a (n, m, ...) -> (...). The entries are cast to `dtype` first."""
    return sum_of(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype, out=out)


def kron(a: Any, b: Any) -> Array:
    """The Kronecker product, each entry of a times the whole of b: (m, n), (p, q) -> (m * p, n * q)."""
    a, b = as_array(a), as_array(b)
    ndim = max(a.ndim, b.ndim)
    a, b = (reshape(z, (1,) * (ndim - z.ndim) + z.shape) for z in (a, b))
    left = reshape(a, tuple(m for n in a.shape for m in (n, 1)))
    right = reshape(b, tuple(m for n in b.shape for m in (1, n)))
    return reshape(elementwise.multiply(left, right), tuple(n * m for n, m in zip(a.shape, b.shape, strict=True)))


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Array:
    """The cross product of vectors with three components: a, b (..., 3) -> (..., 3)."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_array(a), as_array(b)
    if a.ndim and b.ndim:
        a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    if a.shape[-1:] != (3,) or b.shape[-1:] != (3,):
        raise ShapeError(f"cross expects vectors of three components, got {describe(a)} and {describe(b)}.")
    (x0, x1, x2), (y0, y1, y2) = ([slice_axis(z, -1, i, i + 1) for i in range(3)] for z in (a, b))
    parts = [x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0]
    return moveaxis(concatenate(parts, -1), -1, axisc)


def _conjugated(x: Array) -> Array:
    return elementwise.conjugate(x) if x.dtype.kind == "c" else x  # NumPy's conjugate gives integers for truth values


def vecdot(
    x1: Any, x2: Any, /, *, axis: int = -1, axes: Sequence[Any] | None = None, keepdims: bool = False
) -> ArrayOrNumber:
    """The sum of conj(x1) * x2 along `axis`: x1, x2 (..., n) -> (...). `axes` names an axis of x1 and one of x2."""
    x1, x2 = as_array(x1), as_array(x2)
    if keepdims:
        kept = axis if axes is None else np.ravel(axes[-1 if len(axes) == 3 else 0])[0]
        return expand_dims(vecdot(x1, x2, axis=axis, axes=axes and axes[:2]), kept)
    if axes is not None:
        if axis != -1:
            raise TypeError("vecdot: axis and axes say the same. Give one of them.")
        return _along(vecdot, x1, x2, axes, (1, 1, 0))
    if not x1.ndim or not x2.ndim or x1.shape[axis] != x2.shape[axis]:
        raise ShapeError(f"vecdot: axis {axis} of {describe(x1)} and of {describe(x2)} must have the same length.")
    x1, x2 = moveaxis(x1, axis, -1), moveaxis(x2, axis, -1)
    return squeeze(matmul(expand_dims(_conjugated(x1), -2), expand_dims(x2, -1)), (-2, -1))


def matvec(x1: Any, x2: Any, /, *, axes: Sequence[Any] | None = None) -> Array:
    """The products of matrices and vectors: x1 (..., n, k), x2 (..., k) -> (..., n). `axes` is as for `matmul`."""
    if axes is not None:
        return _along(matvec, as_array(x1), as_array(x2), axes, (2, 1, 1))
    return squeeze(matmul(x1, expand_dims(x2, -1)), -1)


def vecmat(x1: Any, x2: Any, /, *, axes: Sequence[Any] | None = None) -> Array:
    """The products of conjugated vectors and matrices: x1 (..., k), x2 (..., k, m) -> (..., m).

    `axes` is as for `matmul`.
    """
    if axes is not None:
        return _along(vecmat, as_array(x1), as_array(x2), axes, (1, 2, 1))
    return squeeze(matmul(expand_dims(_conjugated(as_array(x1)), -2), x2), -2)
