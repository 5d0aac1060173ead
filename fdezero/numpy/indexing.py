"""Indexing: `x[index]` as NumPy defines it, take, take_along_axis, and functional updates `at(x)[index].set(y)`."""

import math
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any, NoReturn

import numpy as np

from ..devices import array_module
from ..errors import ImmutableError, RangeError, ShapeError
from ..messages import describe, refuse_out
from ..ops import elementwise, indexing
from ..ops import shape as shapes
from ..ops.checks import checked
from ..values import broadcasts_to
from .arguments import Array, ArrayOrNumber, as_array, beside, plain_values
from .elementwise import cast, nonzero
from .reductions import argsort
from .shape import broadcast_to, concatenate, expand_dims, line_along, line_of, moveaxis, ravel, reshape, slice_axis

__all__ = ["at", "getitem", "take", "take_along_axis", "unravel_index"]

Number = int | np.integer
BASIC = Number | slice | EllipsisType | None


def getitem(x: Any, index: Any) -> ArrayOrNumber:
    """`x[index]`, as NumPy defines it: integers, slices, None, ..., integer and boolean arrays, and mixtures."""
    x, entries = _complete(as_array(x), index if isinstance(index, tuple) else (index,))
    arrays = [i for i, entry in enumerate(entries) if _is_array(entry)]
    if not arrays:
        return shapes.slice_axes(x, index=tuple(_basic(entry) for entry in entries))
    # Beside an array, an integer also counts as an array. The rest of the index is applied first.
    advanced = [i for i, entry in enumerate(entries) if _is_array(entry) or isinstance(entry, Number)]
    basic = tuple((None, None, None) if i in advanced else _basic(entry) for i, entry in enumerate(entries))
    if any(entry != (None, None, None) for entry in basic):
        x = shapes.slice_axes(x, index=basic)
    indices = [entries[i] if _is_array(entries[i]) else np.asarray(entries[i]) for i in advanced]
    if advanced != list(range(advanced[0], advanced[-1] + 1)):  # with a slice between them NumPy puts their axes first
        x, advanced = moveaxis(x, advanced, list(range(len(advanced)))), list(range(len(advanced)))
    return _gather(x, indices, advanced[0])


def _gather(x: Array, indices: list[Array], axis: int) -> ArrayOrNumber:
    try:
        points = np.broadcast_shapes(*[index.shape for index in indices])
    except ValueError:
        shapes = ", ".join(str(index.shape) for index in indices)
        raise IndexError(f"the index arrays have shapes that do not go together: {shapes}.") from None
    indices = [broadcast_to(index, points) for index in indices]
    return indexing.gather(x, *indices, points=len(points), rest=x.ndim - axis - len(indices))


def _is_array(entry: Any) -> bool:
    return hasattr(entry, "dtype") and not isinstance(entry, np.integer)


def _basic(entry: Any) -> Any:
    if isinstance(entry, slice):
        return tuple(None if part is None else int(part) for part in (entry.start, entry.stop, entry.step))
    return None if entry is None else int(entry)


class _Choice(int):
    """The index True or False: a new axis of length 1 or 0."""


def _complete(x: Array, index: tuple[Any, ...]) -> tuple[Array, list[Any]]:
    """(x, entries), with an entry for each axis and None for each new one: no ellipsis, and integer arrays for masks."""
    entries: list[Any] = []
    choices = 0
    for entry in index:
        kind = type(entry)
        if kind is slice or kind is int:
            entries.append(entry)
            continue
        if isinstance(entry, list | tuple | range):
            entry = as_array(entry)
            entry = entry if entry.size else entry.astype(np.intp)  # NumPy accepts [] as integers
        if isinstance(entry, bool | np.bool_) or (_is_array(entry) and entry.dtype == bool and not entry.ndim):
            entries.append(_Choice(plain_values(entry, "an index by a truth value")))
            choices += 1
        elif _is_array(entry) and entry.dtype == bool:
            entries += nonzero(entry)
        elif isinstance(entry, BASIC) or (_is_array(entry) and entry.dtype.kind in "iu"):
            entries.append(entry)
        else:
            raise IndexError(
                f"an index consists of integers, slices, None, ..., integer and boolean arrays, got {describe(entry)}."
            )
    used = sum(entry is not None and entry is not Ellipsis for entry in entries) - choices
    if used > x.ndim:
        raise IndexError(f"too many indices: {used} for {describe(x)}.")
    spread = [slice(None)] * (x.ndim - used)
    at = next((i for i, entry in enumerate(entries) if entry is Ellipsis), None)
    if at is None:
        entries += spread
    else:
        entries[at:] = [*spread, *[entry for entry in entries[at + 1 :] if entry is not Ellipsis]]
    return _with_choices(x, entries) if choices else (x, entries)


def _with_choices(x: Array, entries: list[Any]) -> tuple[Array, list[Any]]:
    """Give `x` an axis of length 1 for each index True or False, and index that axis by [0] or []."""
    axes = [entry for entry in entries if entry is not None]
    x = expand_dims(x, [i for i, entry in enumerate(axes) if type(entry) is _Choice])
    return x, [np.zeros(entry, np.intp) if type(entry) is _Choice else entry for entry in entries]


def take(a: Any, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise") -> ArrayOrNumber:
    """The entries of `a` at `indices` along `axis` (of the flattened array when None).

    For an index outside 0 to n - 1 the mode "wrap" starts again from the other end, and "clip" takes the nearest entry.
    The mode "raise" counts negative indices from the end, and raises IndexError for other indices.
    """
    refuse_out(out)
    a, axis = line_along(a, axis)
    return _gather(a, [places_in(indices, a.shape[axis], mode, "take")], axis + a.ndim)


def places_in(indices: Any, n: int, mode: str, what: str) -> Array:
    """Integers `indices` (...) into an axis of length `n`, with those outside treated as NumPy's `mode` says."""
    indices = as_array(indices)
    if mode == "raise" and n and indices.dtype.kind in "iu":
        return indices
    if indices.dtype.kind not in "biu" and indices.size:
        raise TypeError(f"{what}: indices must be integers, got {describe(indices)}.")
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"{what}: mode must be 'raise', 'wrap' or 'clip', got {mode!r}.")
    if not n and indices.size:
        raise IndexError(f"{what}: no entry can be taken along an axis of length 0.")
    if indices.dtype.kind not in "iu":
        indices = cast(indices, np.intp)
    if mode == "raise":
        return indices
    indices = cast(indices, np.int64)  # a narrow dtype may not hold n
    return elementwise.remainder(indices, max(n, 1)) if mode == "wrap" else elementwise.clip(indices, 0, max(n - 1, 0))


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Array:
    """Pick the entries at `indices` from each line of `arr` along `axis`: arr (..., n), indices (..., m) -> (..., m)."""
    arr, axis = line_of(arr, axis)
    indices = as_array(indices)
    lines, picks = moveaxis(arr, axis, -1), moveaxis(indices, axis, -1)
    loops = np.broadcast_shapes(lines.shape[:-1], picks.shape[:-1])
    picks = broadcast_to(picks, (*loops, picks.shape[-1]))
    return moveaxis(indexing.gather(lines, picks, points=1, rest=0), -1, axis)


def unravel_index(indices: Any, shape: int | Sequence[int], order: str = "C") -> tuple[ArrayOrNumber, ...]:
    """Convert flat indices for the shape `shape` to an index for each axis: indices (...) -> ndim arrays (...).

    Raises RangeError for an index outside the shape.
    """
    rest, shape = as_array(indices), (shape,) if isinstance(shape, Number) else tuple(shape)
    if order not in ("C", "F"):
        raise ValueError(f"unravel_index: order must be 'C' or 'F', got {order!r}.")
    size, text = math.prod(shape), f"unravel_index: indices for the shape {shape} go from 0 to {math.prod(shape) - 1}"
    checked(rest, test=lambda x: (x >= 0) & (x < size), error=lambda x: RangeError(f"{text}, got {x}."))
    places = []
    for n in shape[::-1] if order == "C" else shape:
        places.append(elementwise.remainder(rest, n))
        rest = elementwise.floor_divide(rest, n)
    return tuple(places[::-1] if order == "C" else places)


class at:  # noqa: N801, a function in use
    """Functional update: `at(x)[index].set(y)` returns a copy of `x` with `x[index] = y`, and is differentiable.

    `.add`, `.multiply`, `.min` and `.max` combine `y` with the indexed entries. If an index occurs twice, they combine
    all its values, and `set` keeps the last. A mask of truth values chooses entries. With a number, or a `y` that is the same for
    all of them, the mask also works under vmap and compile.
    """

    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = as_array(x)

    def __getitem__(self, index: Any) -> "_Place | _Masked":
        mask = index[0] if isinstance(index, tuple) and len(index) == 1 else index
        mask = as_array(mask) if isinstance(mask, list) and mask else mask
        if _is_array(mask) and mask.dtype == bool and len(mask.shape):
            return _Masked(self.x, mask)
        return _Place(self.x, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ImmutableError(
            "fd.at(x) cannot change x in place. Instead of fd.at(x)[index] = y, write x = fd.at(x)[index].set(y)."
        )


class _Masked:
    """The entries of `x` where a mask over its first axes is true. If all get the same `y`, an update is a choice at every entry."""

    __slots__ = ("mask", "rest", "x")

    def __init__(self, x: Array, mask: Any) -> None:
        fits = len(mask.shape) <= x.ndim and tuple(mask.shape) == x.shape[: len(mask.shape)]
        if not fits:
            raise IndexError(
                f"at(x)[mask]: the mask {describe(mask)} must have the shape of the first axes of {describe(x)}."
            )
        self.x, self.mask, self.rest = x, mask, x.shape[len(mask.shape) :]

    def _update(self, name: str, y: Any, choice: Callable[[Array, Array], Array]) -> Array:
        values = array_module(self.x).asarray(y) if isinstance(y, int | float | complex | np.generic) else as_array(y)
        if values.ndim == len(self.rest) + 1 and values.shape[0] == 1:
            values = reshape(values, values.shape[1:])
        if not broadcasts_to(values.shape, self.rest):  # a value for each entry, whose number depends on the mask
            found: Array = getattr(_Place(self.x, self.mask), name)(y)
            return found
        wide = reshape(self.mask, (*self.mask.shape, *[1] * len(self.rest)))
        return choice(wide, cast(values, self.x.dtype))

    def set(self, y: Any) -> Array:
        """`x` with `y` in place of the chosen entries."""
        return self._update("set", y, lambda mask, y: elementwise.where(mask, y, self.x))

    def add(self, y: Any) -> Array:
        """`x` with `y` added to the chosen entries."""
        return self._combined("add", y, elementwise.add, 0)

    def multiply(self, y: Any) -> Array:
        """`x` with the chosen entries multiplied by `y`."""
        return self._combined("multiply", y, elementwise.multiply, 1)

    def min(self, y: Any) -> Array:
        """`x` with the lesser of `y` and each chosen entry."""
        return self._combined("min", y, elementwise.minimum, _end(self.x.dtype, greatest=True))

    def max(self, y: Any) -> Array:
        """`x` with the greater of `y` and each chosen entry."""
        return self._combined("max", y, elementwise.maximum, _end(self.x.dtype, greatest=False))

    def _combined(self, name: str, y: Any, operation: Callable[..., Array], safe: Any) -> Array:
        # A `safe` number stands in for the other entries. Infinite entries, times a cotangent of 0, would make the derivative of a
        # product NaN, and so would ties in a second derivative of min and max.
        def choice(mask: Array, y: Array) -> Array:
            chosen = elementwise.where(mask, self.x, cast(beside(safe, self.x), self.x.dtype))
            return elementwise.where(mask, operation(chosen, y), self.x)

        return self._update(name, y, choice)


def _end(dtype: np.dtype[Any], greatest: bool) -> Any:
    """The greatest or the least number of a dtype."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return limits.max if greatest else limits.min
    return greatest if dtype.kind == "b" else math.inf if greatest else -math.inf


class _Place:
    """The entries of `x` at `index`, as positions in the flattened array."""

    __slots__ = ("positions", "shape", "x")

    def __init__(self, x: Array, index: Any) -> None:
        numbers = array_module(x).arange(x.size).reshape(x.shape)
        positions = getitem(numbers, index)
        self.x, self.shape, self.positions = x, positions.shape, reshape(positions, (-1,) if positions.size else (0,))

    def _values(self, y: Any) -> Array:
        y = array_module(self.x).asarray(y) if isinstance(y, int | float | np.generic) else as_array(y)
        try:
            wide = broadcast_to(y, self.shape)
        except ValueError:
            raise ShapeError(f"at(x)[index] has shape {self.shape}; {describe(y)} does not broadcast to it.") from None
        return cast(reshape(wide, self.positions.shape), self.x.dtype)

    def _put(self, values: Array) -> Array:
        return reshape(indexing.put(ravel(self.x), values, self.positions), self.x.shape)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"fd.at(x)[index] has set, add, multiply, min and max, which return a new array, but no {name}. x[index] reads."
        )

    def set(self, y: Any) -> Array:
        """`x` with `y` in place of the indexed entries."""
        return self._put(self._values(y))

    def add(self, y: Any) -> Array:
        """`x` with `y` added to the indexed entries."""
        added = indexing.scatter_add(self._values(y), self.positions, points=1, rest=0, shape=(self.x.size,))
        return elementwise.add(self.x, reshape(added, self.x.shape))

    def multiply(self, y: Any) -> Array:
        """`x` with the indexed entries multiplied by `y`."""
        return self._combine(elementwise.multiply, y, 1)

    def min(self, y: Any) -> Array:
        """`x` with the lesser of `y` and each indexed entry."""
        return self._combine(elementwise.minimum, y, _end(self.x.dtype, greatest=True))

    def max(self, y: Any) -> Array:
        """`x` with the greater of `y` and each indexed entry."""
        return self._combine(elementwise.maximum, y, _end(self.x.dtype, greatest=False))

    def _combine(self, operation: Callable[..., Array], y: Any, safe: Any) -> Array:
        # Sorting by position brings the values of one position together. A scan in doubling steps combines each run
        # into its last value, and `put` keeps the last value of each position.
        values = self._values(y)
        order = argsort(self.positions)
        values, positions = take(values, order), take(self.positions, order)
        step, n = 1, values.shape[0]
        while step < n:
            same = elementwise.equal(slice_axis(positions, 0, step, None), slice_axis(positions, 0, 0, n - step))
            later, earlier = slice_axis(values, 0, step, None), slice_axis(values, 0, 0, n - step)
            # A `safe` number stands in for values of other positions, with which there could be ties.
            earlier = elementwise.where(same, earlier, cast(beside(safe, values), values.dtype))
            combined = elementwise.where(same, operation(later, earlier), later)
            values = concatenate([slice_axis(values, 0, 0, step), combined], 0)
            step *= 2
        old = take(ravel(self.x), positions)
        place: Any = _Place.__new__(_Place)
        place.x, place.shape, place.positions = self.x, self.shape, positions
        return place._put(operation(old, values))
