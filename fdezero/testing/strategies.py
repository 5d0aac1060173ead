"""Hypothesis strategies for arrays, shapes that broadcast, axes, indices and keys; they shrink to small, readable examples."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import MissingExtraError, RangeError
from .layouts import LAYOUTS, lay_out

try:
    import hypothesis.stateful
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise MissingExtraError("fdezero.testing's strategies need hypothesis: pip install 'fdezero[testing]'") from error

Strategy: TypeAlias = "st.SearchStrategy[Any]"
GAP = 1 / 64  # between distinct entries; a power of two, so every floating type holds them exactly
INDEX_KINDS = ("slice", "integer", "array", "mask", "newaxis", "ellipsis")


def arrays(
    dtype: Any = np.float64,
    shape: Any = None,
    *,
    min_value: float = -2.0,
    max_value: float = 2.0,
    allow_nan: bool = False,
    allow_infinity: bool = False,
    allow_subnormal: bool = False,
    distinct: bool | float = False,
    layouts: str | Sequence[str] = "C",
) -> Strategy:
    """Arrays of numbers in [min_value, max_value] (for complex numbers, both parts); they shrink to zeros.

    `dtype` is a dtype, several dtypes or a strategy. `shape` is a shape or a strategy, by default 0 to 3 axes of length 1 to 4.
    `distinct` avoids ties: entries are 1/64 apart, or as far as the gap you pass, and closer if they would not fit otherwise.
    `layouts` is one or more of "C", "F", "reversed" (negative strides), "strided" (every second entry) and "readonly", or "any".

    Raises RangeError for unknown layouts or empty bounds.
    """
    shapes = _shapes() if shape is None else shape if isinstance(shape, st.SearchStrategy) else st.just(shape)
    dtypes = (
        dtype
        if isinstance(dtype, st.SearchStrategy)
        else st.sampled_from(dtype if isinstance(dtype, list | tuple) else [dtype])
    )
    names = LAYOUTS if layouts == "any" else (layouts,) if isinstance(layouts, str) else tuple(layouts)
    if unknown := set(names) - set(LAYOUTS):
        raise RangeError(
            f"arrays: layouts are {', '.join(LAYOUTS)} or 'any', got {', '.join(map(repr, sorted(unknown)))}."
        )
    if not min_value <= max_value:
        raise RangeError(f"arrays: no number is in [{min_value}, {max_value}]. Pass min_value <= max_value.")
    special = [math.nan] if allow_nan else []
    if allow_infinity:
        special += [math.inf, -math.inf]
    gap = float(distinct) if distinct is not True else GAP

    def drawn(chosen: tuple[Any, Any]) -> Strategy:
        kind, size = np.dtype(chosen[0]), math.prod(np.atleast_1d(chosen[1]).tolist())
        elements = (
            _grid(kind, min_value, max_value, gap, size)
            if gap
            else _elements(kind, min_value, max_value, special, allow_subnormal)
        )
        return hnp.arrays(kind, chosen[1], elements=elements, unique=bool(gap), fill=st.nothing() if gap else None)

    made = st.tuples(dtypes, shapes).flatmap(drawn)
    return made if names == ("C",) else st.builds(_noted, made, st.sampled_from(names))


def _shapes() -> Strategy:
    return hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)


def _elements(dtype: np.dtype, low: float, high: float, special: list[float], subnormal: bool) -> Strategy:
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        parts = _elements(part, low, high, special, subnormal)
        return st.builds(complex, parts, parts)
    if dtype.kind == "f":
        lowest, highest = _inside(dtype, low, high)
        finite = st.floats(lowest, highest, width=8 * dtype.itemsize, allow_subnormal=subnormal)  # type: ignore[arg-type]  # a literal
        return st.one_of(finite, st.sampled_from(special)) if special else finite
    if dtype.kind == "b":
        return st.booleans()
    info = np.iinfo(dtype)
    return st.integers(max(math.ceil(low), int(info.min)), min(math.floor(high), int(info.max)))


def _inside(dtype: np.dtype, low: float, high: float) -> tuple[float, float]:
    """The bounds as numbers of `dtype`, rounded inwards."""
    least, most = dtype.type(low), dtype.type(high)
    least = np.nextafter(least, dtype.type(np.inf)) if float(least) < low else least
    most = np.nextafter(most, dtype.type(-np.inf)) if float(most) > high else most
    return float(least), float(most)


def _grid(dtype: np.dtype, low: float, high: float, gap: float, size: int) -> Strategy:
    """Multiples of a gap, small enough that `size` of them fit within the bounds."""
    if dtype.kind not in "fc":
        return _elements(dtype, low, high, [], False)
    while low < high and (high - low) / gap < size:
        gap /= 2
    steps = st.integers(math.ceil(low / gap), math.floor(high / gap))
    real = steps.map(lambda k: k * gap)
    return st.builds(complex, real, real) if dtype.kind == "c" else real


def _noted(array: np.ndarray, layout: str) -> np.ndarray:
    """`array` in a layout, which hypothesis notes: the repr of an example does not show it."""
    made = lay_out(array, layout)
    if layout != "C" and hypothesis.currently_in_test_context():
        hypothesis.note(f"laid out as {layout}: {array!r}")
    return made


def broadcastable_shapes(count: int = 2, *, max_dims: int = 3, max_side: int = 4) -> Strategy:
    """Tuples of `count` shapes that broadcast together."""
    return hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=max_dims, max_side=max_side).map(
        lambda found: found.input_shapes
    )


def broadcastable_arrays(
    count: int = 2, dtype: Any = np.float64, *, max_dims: int = 3, max_side: int = 4, **options: Any
) -> Strategy:
    """Tuples of `count` arrays that broadcast together; `options` are those of `arrays`."""
    shapes = broadcastable_shapes(count, max_dims=max_dims, max_side=max_side)
    return shapes.flatmap(lambda found: st.tuples(*[arrays(dtype, shape, **options) for shape in found]))


def keys() -> Strategy:
    """Random keys, as `fdezero.random.key` makes them."""
    from ..random import key

    return st.integers(0, 2**32 - 1).map(key)


def axes(shape: Any, *, tuples: bool = True, min_size: int = 0, max_size: int | None = None) -> Strategy:
    """An axis of `shape` (a shape or a number of axes), or a tuple of different axes; axes may be negative. Shrinks to 0.

    A shape without axes gives `()`. With `tuples=False` you get a single axis. Raises RangeError if there is no axis to give.
    """
    ndim = shape if isinstance(shape, int) else len(shape)
    if not ndim and not tuples:
        raise RangeError("axes: cannot draw an axis of a shape without axes. Leave tuples=True, which draws ().")
    single = st.integers(-ndim, ndim - 1)
    several = st.lists(
        single, min_size=min_size, max_size=ndim if max_size is None else max_size, unique_by=lambda axis: axis % ndim
    )
    if not ndim:
        return st.just(())
    return st.one_of(single, several.map(tuple)) if tuples else single


def index_expressions(shape: tuple[int, ...], *, kinds: Sequence[str] = INDEX_KINDS, max_length: int = 4) -> Strategy:
    """Any index of an array of `shape`; shrinks to `()`, which selects the whole array.

    `kinds` are one or more of "slice", "integer", "array" (of integers; several broadcast together), "mask", "newaxis" and
    "ellipsis". Raises RangeError for other kinds.
    """
    if unknown := set(kinds) - set(INDEX_KINDS):
        raise RangeError(
            f"index_expressions: kinds are {', '.join(INDEX_KINDS)}, got {', '.join(map(repr, sorted(unknown)))}."
        )
    return _index(tuple(shape), tuple(kinds), max_length)


@st.composite
def _index(draw: Any, shape: tuple[int, ...], kinds: tuple[str, ...], max_length: int) -> Any:
    per_axis = [kind for kind in ("slice", "integer", "array", "mask") if kind in kinds]
    entries: list[Any] = []
    count = draw(st.integers(0, len(shape))) if per_axis else 0
    from_the_end = draw(st.booleans()) if "ellipsis" in kinds else False
    axes_taken = range(len(shape) - count, len(shape)) if from_the_end else range(count)
    length = draw(st.integers(1, max_length)) if {"array", "mask"} & set(kinds) else 1
    for n in (shape[axis] for axis in axes_taken):
        kind = draw(st.sampled_from(per_axis if n else ["slice"]))
        if kind == "slice":
            entries.append(draw(st.slices(n)))
        elif kind == "integer":
            entries.append(draw(st.integers(-n, n - 1)))
        elif kind == "mask":
            # Masks broadcast with integer arrays: a mask has as many true entries as those have entries, or one.
            true = draw(st.sets(st.integers(0, n - 1), min_size=min(length, n), max_size=min(length, n)))
            true = true if len(true) == length else set(sorted(true)[:1])
            entries.append(np.isin(np.arange(n), list(true)))
        else:
            sizes = draw(st.sampled_from([(length,), (1,), (2, length), ()]))
            entries.append(draw(hnp.arrays(np.int64, sizes, elements=st.integers(-n, n - 1))))
    if from_the_end:
        entries.insert(0, ...)
    for _ in range(draw(st.integers(0, 2)) if "newaxis" in kinds else 0):
        entries.insert(draw(st.integers(0, len(entries))), None)
    alone = len(entries) == 1 and draw(st.booleans())
    return entries[0] if alone else tuple(entries)


def sizes(size: Any, low: int, high: int) -> Strategy:
    """A strategy for a size: `size` itself if it is a strategy, the number `size`, or low to high for None."""
    return st.integers(low, high) if size is None else size if isinstance(size, st.SearchStrategy) else st.just(size)
