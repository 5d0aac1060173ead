"""Shapes, joining and slicing under NumPy's names, composed of a few operations on trailing axes."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tracer
from ..devices import to_numpy
from ..errors import ShapeError
from ..messages import describe, refuse_out
from ..ops import shape as shapes
from .arguments import Array, Axis, as_array, axis_of_number, trailing_axes, trailing_axis
from .elementwise import cast

__all__ = [
    "atleast_1d", "broadcast_arrays", "broadcast_to", "concat", "concatenate", "expand_dims", "flip", "hstack",
    "matrix_transpose", "moveaxis", "permute_dims", "ravel", "reshape", "roll", "split", "squeeze", "stack",
    "swapaxes", "tile", "transpose", "vstack",
]  # fmt: skip


CASTING = ("no", "equiv", "safe", "same_kind", "unsafe")


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)


def reshape(a: Any, shape: int | Sequence[int], order: str = "C", *, copy: bool | None = None) -> Array:
    """Give `a` another shape with the same number of entries; one length may be -1.

    Entries are read row by row, or in the order "F" column by column. With `copy=False` you get a view. Raises
    ShapeError if the numbers differ, ValueError if `copy=False` asks for a view that does not exist.
    """
    a, wanted = as_array(a), _shape(shape)
    if order == "A" and not isinstance(a, Tracer):
        order = "F" if a.flags.fnc else "C"
    if order == "F":
        return transpose(reshape(transpose(a), wanted[::-1], copy=copy))
    if order != "C":
        raise NotImplementedError(
            f"reshape and ravel take the order 'C' or 'F' here, got {order!r}, which depends on the memory layout. A traced "
            "value has none."
        )
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted = tuple((a.size // rest if rest else 0) if n == -1 else n for n in wanted)
    if math.prod(wanted) != a.size:
        raise ShapeError(f"reshape: {describe(a)} has {a.size} entries and cannot take the shape {_shape(shape)}.")
    y = a if wanted == a.shape else shapes.reshape(a, ndim=a.ndim, shape=wanted)
    if copy is False and isinstance(y, np.ndarray) and y.size and not np.may_share_memory(a, y):
        raise ValueError(f"reshape(copy=False): {describe(a)} cannot take the shape {wanted} without a copy.")
    return shapes.copy(y) if copy else y


def ravel(a: Any, order: str = "C") -> Array:
    """Flatten `a` row by row, or in the order "F" column by column: a (...) -> (n,).

    The orders "A" and "K" follow the memory layout, so they are for plain arrays only.
    """
    a = as_array(a)
    if order == "K" and not isinstance(a, Tracer):
        return a.ravel("K")
    return reshape(a, (-1,) if a.size else (0,), order)


def transpose(a: Any, axes: Sequence[int] | None = None) -> Array:
    """Permute the axes of `a` to the order `axes`, or reverse them when None: a (n, ..., m) -> (m, ..., n)."""
    a = as_array(a)
    order = tuple(range(a.ndim))[::-1] if axes is None else tuple(axes)
    perm = tuple(trailing_axis(axis, a.ndim) for axis in order)
    if sorted(perm) != list(range(-a.ndim, 0)):
        raise ShapeError(f"transpose: axes {order} must name each of the {a.ndim} axes of {describe(a)} once.")
    return shapes.permute(a, perm=perm) if perm != tuple(sorted(perm)) else a


permute_dims = transpose


def matrix_transpose(x: Any) -> Array:
    """Swap the last two axes: x (..., n, m) -> (..., m, n)."""
    if as_array(x).ndim < 2:
        raise ShapeError(f"matrix_transpose needs at least two axes, got {describe(as_array(x))}.")
    return swapaxes(x, -1, -2)


def moveaxis(a: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Move the axes `source` to `destination`; the other axes keep their order."""
    a = as_array(a)
    from_, to = ([trailing_axis(i, a.ndim) + a.ndim for i in _shape(axes)] for axes in (source, destination))
    order = [axis for axis in range(a.ndim) if axis not in from_]
    for place, axis in sorted(zip(to, from_, strict=True)):
        order.insert(place, axis)
    return transpose(a, order)


def swapaxes(a: Any, axis1: int, axis2: int) -> Array:
    """Swap two axes."""
    a = as_array(a)
    order = list(range(a.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(a, order)


def broadcast_to(array: Any, shape: int | Sequence[int], subok: bool = False) -> Array:
    """Broadcast `array` to `shape` by NumPy's rule. Raises ShapeError if it does not fit.

    `subok` is accepted as in NumPy; results are plain arrays.
    """
    array, wanted = as_array(array), _shape(shape)
    if len(wanted) < array.ndim:
        raise ShapeError(f"broadcast_to: {describe(array)} has more axes than the shape {wanted}.")
    if array.ndim < len(wanted):
        array = reshape(array, (1,) * (len(wanted) - array.ndim) + array.shape)
    return array if array.shape == wanted else shapes.broadcast(array, shape=wanted)


def broadcast_arrays(*arrays: Any) -> tuple[Array, ...]:
    """Broadcast arrays to their common shape."""
    values = [as_array(x) for x in arrays]
    shape = np.broadcast_shapes(*[x.shape for x in values])
    return tuple(broadcast_to(x, shape) for x in values)


def expand_dims(a: Any, axis: int | Sequence[int]) -> Array:
    """Insert axes of length 1, at the places `axis` of the result: a (n,), axis 0 -> (1, n)."""
    a = as_array(a)
    axes = _shape(axis)
    new = {trailing_axis(i, a.ndim + len(axes)) + a.ndim + len(axes) for i in axes}
    if len(new) < len(axes):
        raise ShapeError(f"expand_dims: axis={axis} names an axis twice.")
    rest = iter(a.shape)
    return reshape(a, tuple(1 if i in new else next(rest) for i in range(a.ndim + len(axes))))


def squeeze(a: Any, axis: Axis = None) -> Array:
    """Remove the axes of length 1 that `axis` names (all of them when None). Raises ShapeError for longer axes."""
    a = as_array(a)
    ones = tuple(i for i in range(-a.ndim, 0) if a.shape[i] == 1)
    drop = ones if axis is None else trailing_axes(() if axis_of_number(axis, a.ndim) is None else axis, a.ndim)
    if not set(drop) <= set(ones):
        raise ShapeError(f"squeeze: axis {axis} of {describe(a)} does not have length 1.")
    return reshape(a, tuple(n for i, n in enumerate(a.shape, -a.ndim) if i not in drop))


def atleast_1d(*arrays: Any) -> Any:
    """Arrays with at least one axis: () becomes (1,)."""
    made = [x if x.ndim else reshape(x, (1,)) for x in map(as_array, arrays)]
    return made[0] if len(made) == 1 else tuple(made)


def line_of(x: Any, axis: int | None) -> tuple[Array, int]:
    """(array, trailing axis) of the lines to work along; the array is flattened when `axis` is None."""
    x = as_array(x)
    return (ravel(x), -1) if axis is None else (x, trailing_axis(axis, x.ndim))


def line_along(x: Any, axis: int | None) -> tuple[Array, int]:
    """Like `line_of`, but a value without axes is a line of one entry."""
    x = as_array(x)
    return line_of(x, axis_of_number(axis, x.ndim))


def promoted(arrays: Sequence[Any], dtype: Any = None, casting: str = "same_kind") -> list[Array]:
    """Cast the arrays to their common dtype, or to `dtype` where `casting` allows that."""
    values = [as_array(x) for x in arrays]
    if casting != "same_kind" and casting not in CASTING:
        raise ValueError(f"casting must be one of {', '.join(map(repr, CASTING))}, got {casting!r}.")
    if dtype is None:
        if len({x.dtype for x in values}) == 1:
            return values
        numbers = (bool, int, float, complex)  # weak, as in NumPy
        dtype = np.result_type(*[x if type(x) in numbers else y.dtype for x, y in zip(arrays, values, strict=True)])
    elif any(not np.can_cast(x.dtype, dtype, casting) for x in values):  # type: ignore[arg-type]  # a dtype is not None here
        raise TypeError(
            f"cannot cast {', '.join(map(describe, values))} to {np.dtype(dtype)} by the rule casting={casting!r}."
        )
    return [x if x.dtype == dtype else cast(x, dtype) for x in values]


def concatenate(
    arrays: Sequence[Any], axis: int | None = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Array:
    """Join arrays along `axis` (flattened when None); dtypes are promoted, or cast to `dtype`. Raises ShapeError.

    `casting` says which casts to `dtype` are allowed, as in `numpy.can_cast`; other casts are a TypeError.
    """
    if out is not None:
        refuse_out(out)
    values = promoted(arrays, dtype, casting)
    if not values:
        raise ValueError("concatenate and stack need at least one array, got none.")
    if axis is None:
        values, axis = [ravel(x) for x in values], 0
    place = trailing_axis(axis, values[0].ndim)
    if len({(x.ndim, *x.shape[:place], *x.shape[x.ndim + place + 1 :]) for x in values}) > 1:
        raise ShapeError(
            f"concatenate: all axes but axis {axis} must agree, got {', '.join(map(describe, values))}. "
            "x[None] adds an axis; stack joins arrays of the same shape along a new axis."
        )
    return shapes.concatenate(*values, axis=place)


concat = concatenate


def stack(
    arrays: Sequence[Any], axis: int = 0, out: None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Array:
    """Join k arrays of the same shape along a new axis: k arrays (...) -> (k, ...). Raises ShapeError.

    `dtype` and `casting` are as for `concatenate`.
    """
    refuse_out(out)
    values = [as_array(x) for x in arrays]
    if len({x.shape for x in values}) > 1:
        raise ShapeError(f"stack: all arrays must have the same shape, got {', '.join(map(describe, values))}.")
    return concatenate([expand_dims(x, axis) for x in values], axis, dtype=dtype, casting=casting)


def vstack(tup: Sequence[Any], *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """Join the arrays of `tup` as rows: k vectors (n,) -> (k, n). `dtype` and `casting` are as for `concatenate`."""
    rows = [x if x.ndim > 1 else reshape(x, (1, x.size)) for x in map(as_array, tup)]
    return concatenate(rows, 0, dtype=dtype, casting=casting)


def hstack(tup: Sequence[Any], *, dtype: Any = None, casting: str = "same_kind") -> Array:
    """Join vectors end to end, (n,), (m,) -> (n + m,), and other arrays along axis 1.

    `dtype` and `casting` are as for `concatenate`.
    """
    values = [atleast_1d(x) for x in tup]
    return concatenate(values, 0 if values and values[0].ndim == 1 else 1, dtype=dtype, casting=casting)


def slice_axis(x: Any, axis: int, start: int | None, stop: int | None, step: int | None = None) -> Array:
    """`x[..., start:stop:step, ...]`, sliced along `axis`."""
    axis = trailing_axis(axis, x.ndim)
    return shapes.slice_axes(x, index=shapes.cut(axis, start, stop, step))


def split(ary: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Split `ary` along `axis` into equal parts, or at the given indices. Raises ShapeError."""
    ary, parts = as_array(ary), as_parts(indices_or_sections)
    n = ary.shape[trailing_axis(axis, ary.ndim)]
    if isinstance(parts, int):
        if parts < 1 or n % parts:
            raise ShapeError(
                f"split: the {n} entries along axis {axis} of {describe(ary)} do not divide into {parts} equal parts."
            )
        parts = [i * (n // parts) for i in range(1, parts)]
    return [slice_axis(ary, axis, start, stop) for start, stop in itertools.pairwise([0, *parts, n])]


def as_parts(indices_or_sections: Any) -> int | list[int]:
    """The argument of `split`: a number of parts, or the indices at which to cut."""
    if isinstance(indices_or_sections, int | np.integer):
        return int(indices_or_sections)
    if not isinstance(indices_or_sections, list | tuple):
        indices_or_sections = np.asarray(to_numpy(indices_or_sections))
        if not indices_or_sections.ndim:
            return int(indices_or_sections)
    return [int(cut) for cut in indices_or_sections]


def flip(m: Any, axis: Axis = None) -> Array:
    """Reverse the entries along `axis` (every axis when None)."""
    m = as_array(m)
    for a in trailing_axes(axis, m.ndim):
        m = slice_axis(m, a, None, None, -1)
    return m


def roll(a: Any, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Array:
    """Shift the entries along `axis` (of the flattened array when None); those beyond the end come in at the start.

    Shifts and axes broadcast: one shift serves several axes, and several shifts of one axis add up.
    """
    a = given = as_array(a)
    if axis is None:
        return reshape(roll(ravel(a), shift, 0), a.shape)
    for s, place in np.broadcast(_shape(shift), _shape(axis)):  # several shifts of one axis add up
        n = a.shape[trailing_axis(place, a.ndim)]
        if n and s % n:
            a = concatenate([slice_axis(a, place, n - s % n, None), slice_axis(a, place, 0, n - s % n)], place)
    return a.copy() if a is given else a


def tile(A: Any, reps: int | Sequence[int]) -> Array:
    """Repeat `A` as a whole along each axis: A (n,), 2 -> (2 n,)."""
    A, times = as_array(A), _shape(reps)
    ndim = max(A.ndim, len(times))
    shape = (1,) * (ndim - A.ndim) + A.shape
    times = (1,) * (ndim - len(times)) + times
    twice = tuple(m for n, r in zip(shape, times, strict=True) for m in (r, n))
    wide = broadcast_to(reshape(A, tuple(m for n in shape for m in (1, n))), twice)
    return reshape(wide, tuple(n * r for n, r in zip(shape, times, strict=True)))
