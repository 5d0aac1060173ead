"""Pooling: the greatest entry and the sum of every window, with adjoints of their own.

`windows` has one entry for each of the last axes: (size, kernel, stride, before, dilation). The result has `size` windows along
the axis. Window o has the positions o * stride - before + k * dilation for k below `kernel`. Positions outside the array are
padding, which is nothing: it is never the greatest, and adds nothing.

Work goes axis by axis over strided slices, a few images at a time, so what lies between stays in the cache. Results have the
memory order of their operand, so channels that are last in memory stay last.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core import Linear, Primitive, discrete, linear
from ..core.kinds import Aval
from ..devices import backend_of
from ..values import is_floating, with_shape
from . import native_pooling, window_places
from . import window_kernels as kernels
from .elementwise import BITS
from .shape import common_loops, stretched
from .window_steps import (
    Index,
    Window,
    Windows,
    along,
    axis_by_axis,
    blocks,
    by_memory,
    covers,
    is_apart,
    part_of,
    result_shape,
    steps_of,
)

# The greatest entry


def _least(dtype: Any) -> Any:
    """What is never greater than an entry."""
    return -math.inf if is_floating(dtype) else False if dtype.kind == "b" else np.iinfo(dtype).min


def _combine(out: Any, x: Any, axis: int, window: Window, ufunc: Any, nothing: Any) -> None:
    """Write the windows of x along an axis into `out`, their entries combined by a ufunc; windows without an entry get `nothing`."""
    size, kernel, *_ = window
    n = x.shape[axis]
    if size < kernel:
        for o in range(size):
            _, part = part_of(window, n, o)
            into, inside = out[along(axis, o)], x[along(axis, part)]
            inside.sum(axis=axis, dtype=out.dtype, out=into) if ufunc is np.add else inside.max(axis=axis, out=into)
        return
    steps = [step for step in steps_of(window, n) if step]
    whole = [(k, low, part) for k, low, part in steps if low.stop - low.start == size]
    if len(whole) > 1:  # two operands at once save a copy
        ufunc(x[along(axis, whole[0][2])], x[along(axis, whole[1][2])], out=out)
    elif whole:
        out[...] = x[along(axis, whole[0][2])]
    else:
        out.fill(nothing)
    done = [k for k, *_ in whole[:2]]
    for k, windows, part in steps:
        if k not in done:
            target = out[along(axis, windows)]
            ufunc(target, x[along(axis, part)], out=target)


@kernels.or_kernel(kernels.write_greatest)
def _write_greatest(out: Any, x: Any, *, windows: Windows) -> None:
    nothing = _least(out.dtype)
    axis_by_axis(out, x, by_memory(x, len(windows)), lambda y, x, axis: _combine(y, x, axis, windows[axis], np.maximum, nothing))


def _greatest(x: Any, *, windows: Windows) -> Any:
    y = np.empty_like(x, shape=result_shape(x, tuple([window[0] for window in windows])))
    _write_greatest(y, x, windows=windows)
    return y


def _core(args: tuple[Any, ...], params: dict[str, Any]) -> tuple[int, ...]:
    return (len(params["windows"]),) * len(args)


# Up to so many positions of windows side by side, and in images up to so many bytes, passes over all windows are faster (timeit).
FEW, LARGE = 4, 1 << 24
FACTS: dict[str, Any] = {"core": _core, "fresh": True}


def _places(windows: Windows, lengths: tuple[int, ...]) -> Iterator[tuple[int, Index, Index] | None]:
    """For each position of the kernel, in C order: its number, the index of the windows that have it, and that of their entries."""
    steps = [list(steps_of(window, n)) for window, n in zip(windows, lengths, strict=True)]
    for number, place in enumerate(np.ndindex(*[window[1] for window in windows])):
        chosen = [step[k] for step, k in zip(steps, place, strict=True)]
        found = [step for step in chosen if step is not None]
        if len(found) == len(chosen):
            yield number, (..., *[step[1] for step in found]), (..., *[step[2] for step in found])
        else:
            yield None


def _has_few(windows: Windows) -> bool:
    """Whether there are fewer windows than entries of a window."""
    return math.prod([window[0] for window in windows]) < math.prod([window[1] for window in windows])


def _numbers(windows: Windows, lengths: tuple[int, ...], xp: Any) -> Iterator[tuple[Index, Index, Any]]:
    """For each window: its index, the index of its entries in the array, and the numbers of these entries within the kernel."""
    kernel = tuple([window[1] for window in windows])
    numbers = xp.arange(math.prod(kernel)).reshape(kernel)
    for place in np.ndindex(*[window[0] for window in windows]):
        parts = [part_of(window, n, o) for window, n, o in zip(windows, lengths, place, strict=True)]
        counts = [len(range(*part.indices(n))) for (_, part), n in zip(parts, lengths, strict=True)]
        inside = numbers[tuple([slice(first, first + count) for (first, _), count in zip(parts, counts, strict=True)])]
        yield (..., *place), (..., *[part for _, part in parts]), inside


def _index_dtype(windows: Windows) -> Any:
    count = math.prod([window[1] for window in windows])
    return np.dtype(np.uint8 if count <= 1 << 8 else np.uint16 if count <= 1 << 16 else np.int64)


def _first_greatest(x: Any, y: Any, *, windows: Windows) -> Any:
    x, y = _common(len(windows), x, y)
    index = np.empty_like(y, dtype=_index_dtype(windows))
    _write_first_greatest(index, x, y, windows=windows)
    return index


@kernels.or_kernel(kernels.write_first_greatest)
def _write_first_greatest(out: Any, x: Any, y: Any, *, windows: Windows) -> None:
    count = len(windows)
    for index, block, top in blocks(count, out, *_common(count, x, y)):
        lengths = block.shape[block.ndim - count :]
        if _has_few(windows):
            for place, entries, numbers in _numbers(windows, lengths, backend_of(out).module):
                inside = block[entries]
                at = inside.reshape((*inside.shape[: inside.ndim - count], -1)).argmax(axis=-1)
                index[place] = numbers.reshape(-1)[at]
            continue
        _count_before(index, block, top, windows, lengths)
        is_lost = top != top
        if not backend_of(out).reads_at_once or is_lost.any():  # the first NaN, which is not equal to y
            of_nan = np.empty_like(index)
            _count_before(of_nan, np.isnan(block), np.ones_like(is_lost), windows, lengths)
            index[...] = np.where(is_lost, of_nan, index)


def _count_before(index: Any, x: Any, y: Any, windows: Windows, lengths: tuple[int, ...]) -> None:
    """Count the entries of each window that stand before the first entry equal to y."""
    index.fill(0)
    sought = np.ones_like(y, dtype=bool)
    differs = np.empty_like(sought)
    *places, _ = _places(windows, lengths)
    for place in places:
        if place is not None:
            _, has, entries = place
            np.not_equal(x[entries], y[has], out=differs[has])
            np.logical_and(sought[has], differs[has], out=sought[has])
        np.add(index, sought, out=index, casting="unsafe") if index.dtype != np.uint8 else np.add(index, sought.view(np.uint8), out=index)


# x (..., *n), y (..., *sizes), the greatest entries -> (..., *sizes): the number of the first of them within its window, in C order.
first_greatest = discrete(
    "first_greatest",
    _first_greatest,
    **FACTS,
    write=_write_first_greatest,
    native=native_pooling.of("first_greatest", (1, 2, 0), 0),
)


def _masked(t: Any, mask: Any, out: Any) -> None:
    """Write t where `mask`, and 0 elsewhere."""
    bits = BITS.get(t.dtype) if isinstance(t, np.ndarray) else None
    if bits:  # a product of integers, which has no branch that is mispredicted
        np.multiply(t.view(bits), mask.view(np.uint8), out=out.view(bits))
    else:
        out[...] = np.where(mask, t, t.dtype.type(0))


def _common(count: int, *arrays: Any) -> list[Any]:
    loops = common_loops(*[(x, count) for x in arrays])
    return [stretched(x, loops + x.shape[x.ndim - count :]) for x in arrays]


def _chosen(s: Any, index: Any, *, windows: Windows) -> Any:
    s, index = _common(len(windows), s, index)
    y = np.empty_like(index, dtype=s.dtype)
    _write_chosen(y, s, index, windows=windows)
    return y


@kernels.or_kernel(kernels.write_chosen)
def _write_chosen(out: Any, s: Any, index: Any, *, windows: Windows) -> None:
    count = len(windows)
    s, index = _common(count, s, index)
    if isinstance(out, np.ndarray) and window_places.chosen(out, s, index, windows):
        return
    for y, block, numbers in blocks(count, out, s, index):
        lengths = block.shape[block.ndim - count :]
        y.fill(0)
        if _has_few(windows):
            for place, entries, inside in _numbers(windows, lengths, backend_of(out).module):
                is_it = numbers[place].reshape((*numbers.shape[: numbers.ndim - count], *[1] * count)) == inside
                y[place] = np.where(is_it, block[entries], y.dtype.type(0)).sum(axis=tuple(range(-count, 0)))
            continue
        for place in filter(None, _places(windows, lengths)):
            number, has, entries = place
            np.copyto(y[has], block[entries], where=numbers[has] == number)


def _placed(t: Any, index: Any, *, windows: Windows, shape: tuple[int, ...]) -> Any:
    t, index = _common(len(windows), t, index)
    like = t if 0 in index.strides else index
    x = np.empty_like(like, shape=result_shape(t, shape), dtype=t.dtype)
    _write_placed(x, t, index, windows=windows, shape=shape)
    return x


@kernels.or_kernel(kernels.write_placed)
def _write_placed(out: Any, t: Any, index: Any, *, windows: Windows, shape: tuple[int, ...]) -> None:
    count = len(windows)
    t, index = _common(count, t, index)
    apart = all(map(is_apart, windows))
    is_whole = apart and all(map(covers, windows, shape))
    has_passes = is_whole and math.prod([window[1] for window in windows]) <= FEW and out.nbytes <= LARGE
    if isinstance(out, np.ndarray) and not has_passes and window_places.placed(out, t, index, windows, is_apart=apart):
        return
    for x, block, numbers in blocks(count, out, t, index):
        if not is_whole:
            x.fill(0)
        if _has_few(windows):
            if is_whole:
                x.fill(0)
            for place, entries, inside in _numbers(windows, shape, backend_of(out).module):
                at, given = (z[place].reshape((*z.shape[: z.ndim - count], *[1] * count)) for z in (numbers, block))
                x[entries] += np.where(at == inside, given, x.dtype.type(0))
            continue
        if by_memory(block, block.ndim) != by_memory(numbers, block.ndim):  # a copy in the order of x is cheaper than strides
            ordered = np.empty_like(numbers, dtype=block.dtype)
            ordered[...] = block
            block = ordered
        room = None if apart else np.empty_like(block)
        for place in filter(None, _places(windows, shape)):
            number, has, entries = place
            into = x[entries] if room is None else room[has]
            _masked(block[has], numbers[has] == number, into)
            if room is not None:
                target = x[entries]
                np.add(target, into, out=target)


def _lengths(x: Any, windows: Windows) -> tuple[int, ...]:
    shape: tuple[int, ...] = x.shape
    return shape[len(shape) - len(windows) :]


# The entries of s (..., *n) that `index` names, one for each window -> (..., *sizes).
chosen_of: Linear = linear(
    "chosen_of",
    _chosen,
    lambda t, s, index, *, windows: placed_at(t, index, windows=windows, shape=_lengths(s, windows)),
    None,
    **FACTS,
    write=_write_chosen,
    native=native_pooling.of("chosen_of", (1, 0, 2), 2),
)
# t (..., *sizes) added to the entries that `index` names, zeros elsewhere -> (..., *shape).
placed_at: Linear = linear(
    "placed_at",
    _placed,
    lambda s, t, index, *, windows, shape: chosen_of(s, index, windows=windows),
    None,
    **FACTS,
    write=_write_placed,
    native=native_pooling.of("placed_at", (0, 1, 2), 2),
)


class Greatest(Primitive):
    """The greatest entry of each window. The derivative belongs to the first entry that is as great.

    Its number within the window is all that reverse mode keeps: one byte for each window, and neither x nor y.
    """

    mask = 1

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        return chosen_of(tangents[0], first_greatest(args[0], y, **params), **params)

    def save(self, y: Any, args: list[Any], active: int, params: dict[str, Any]) -> tuple[Any, ...]:
        return (first_greatest(args[0], y, **params), Aval(with_shape(args[0])))

    def pull(self, cotangent: Any, node: Any) -> Iterator[tuple[Any, Any]]:
        index, x = node.saved
        windows = node.params["windows"]
        yield node.parents[0], placed_at(cotangent, index, windows=windows, shape=_lengths(x, windows))


# x (..., *n) -> (..., *sizes)
greatest = Greatest("greatest", _greatest, **FACTS, write=_write_greatest, native=native_pooling.of("greatest", (1, 0, 0)))


# Sums


@kernels.or_kernel(kernels.write_summed)
def _write_summed(out: Any, x: Any, *, windows: Windows) -> None:
    axis_by_axis(out, x, by_memory(x, len(windows)), lambda y, x, axis: _combine(y, x, axis, windows[axis], np.add, 0))


def _summed(x: Any, *, windows: Windows) -> Any:
    y = np.empty_like(x, shape=result_shape(x, tuple([window[0] for window in windows])))
    _write_summed(y, x, windows=windows)
    return y


def _spread_along(out: Any, t: Any, axis: int, window: Window) -> None:
    size, kernel, *_ = window
    n = out.shape[axis]
    apart = is_apart(window)
    if not (apart and covers(window, n)):
        out.fill(0)
    if size < kernel:
        pairs = [(slice(o, o + 1), part_of(window, n, o)[1]) for o in range(size)]
    else:
        pairs = [(windows, part) for _, windows, part in filter(None, steps_of(window, n))]
    for windows, part in pairs:
        target = out[along(axis, part)]
        if apart:
            target[...] = t[along(axis, windows)]
        else:
            np.add(target, t[along(axis, windows)], out=target)


@kernels.or_kernel(kernels.write_spread)
def _write_spread(out: Any, t: Any, *, windows: Windows, shape: tuple[int, ...]) -> None:
    # The innermost axis in memory first: the outermost one, last, writes long stretches.
    axis_by_axis(out, t, by_memory(t, len(windows))[::-1], lambda x, t, axis: _spread_along(x, t, axis, windows[axis]))


def _spread(t: Any, *, windows: Windows, shape: tuple[int, ...]) -> Any:
    x = np.empty_like(t, shape=result_shape(t, shape))
    _write_spread(x, t, windows=windows, shape=shape)
    return x


# x (..., *n) -> (..., *sizes): the sum of each window.
summed: Linear = linear(
    "summed",
    _summed,
    lambda t, x, *, windows: spread(t, windows=windows, shape=_lengths(x, windows)),
    **FACTS,
    write=_write_summed,
    native=native_pooling.of("summed", (1, 0, 0)),
)
# t (..., *sizes) -> (..., *shape): each entry becomes the sum of t over the windows that have the entry.
spread: Linear = linear(
    "spread",
    _spread,
    lambda s, t, *, windows, shape: summed(s, windows=windows),
    **FACTS,
    write=_write_spread,
    native=native_pooling.of("spread", (0, 1, 1)),
)
