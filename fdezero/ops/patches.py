"""The patches of images that a window sees (im2col), block by block in scratch memory that stays in the cache.

Images are (L, N, *S, G, C): stacks, examples, space, groups, channels of a group. A place (l, n, r) is three slices: of the stacks, the
examples, and the rows of the result, which are its entries along the first axis in space.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..devices import array_module

Ints = tuple[int, ...]
Place = tuple[slice, slice, slice]

CACHE = 1 << 19  # bytes of the patches of a block and of their products: with the images, they fit the second-level cache
FEWEST = 512  # pixels of a block that a matrix product needs to run at full speed
NARROW, NARROW_GROUP = 8, 32  # channels; below, patches are laid out with neighbouring pixels side by side
ELSEWHERE = 1 << 28  # bytes of a block on a GPU, where a launch costs more than memory
KEPT = 1 << 24  # bytes of scratch memory that are kept for the next calls
_idle: list[np.ndarray] = []  # scratch memory of earlier calls. Calls take an array out, so no two calls share one


class Scratch:
    """Memory for one call. On the CPU it comes from an earlier call: fresh memory costs a page fault for every 4 KB."""

    def __init__(self) -> None:
        self.taken: list[np.ndarray] = []

    def __call__(self, like: Any, shape: Ints, dtype: Any) -> Any:
        """An array of `shape` in C order, on the device of `like`. Its entries are arbitrary."""
        if not isinstance(like, np.ndarray):
            return np.empty_like(like, shape=shape, dtype=dtype, order="C")
        size = math.prod(shape) * np.dtype(dtype).itemsize
        try:
            memory = _idle.pop()
        except IndexError:
            memory = np.empty(0, np.uint8)
        if memory.size < size:
            memory = np.empty(size, np.uint8)
        self.taken.append(memory)
        return memory[:size].view(dtype).reshape(shape)

    def free(self) -> None:
        """Give the memory back."""
        for memory in self.taken:
            if memory.size + sum([idle.size for idle in list(_idle)]) <= KEPT:
                _idle.append(memory)
        self.taken.clear()


def merged(x: Any, first: int, last: int) -> bool:
    """Whether the axes `first` to `last`, last one excluded, can become one axis without a copy."""
    axes = [i for i in range(first, last) if x.shape[i] != 1]
    return all(x.strides[i] == x.strides[j] * x.shape[j] for i, j in itertools.pairwise(axes))


@functools.lru_cache(1024)
def places(stacks: int, examples: int, rows: int, row: int, limit: int) -> tuple[Place, ...]:
    """The blocks, each of at most `limit` pixels if it has more than one row; a row has `row` pixels."""
    if not stacks * examples * rows:
        return ()
    whole = slice(0, rows)
    if rows * row > limit:
        parts = _even(rows, max(1, limit // max(row, 1)))
        single = itertools.product(range(stacks), range(examples))
        return tuple((slice(i, i + 1), slice(j, j + 1), part) for i, j in single for part in parts)
    count = max(1, limit // max(rows * row, 1))
    if count >= 2 * examples and stacks > 1:
        return tuple((part, slice(0, examples), whole) for part in _even(stacks, count // examples))
    return tuple((slice(i, i + 1), part, whole) for i in range(stacks) for part in _even(examples, count))


def _even(length: int, most: int) -> list[slice]:
    """Parts of nearly equal length. None is longer than the first."""
    count = -(-length // most)
    cuts = [-(-length * i // count) for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def views(
    x: Any, window: Ints, size: Ints, strides: Ints, before: Ints, dilation: Ints, dtype: Any, entries: int, is_narrow: bool = False
) -> Iterator[tuple[Place, Any]]:
    """Pairs of a place and a view (l, n, *o, *window, G, C) of what the windows of its pixels see.

    The window of pixel o begins at o * strides - before; entries outside of x are 0. Views are valid until the next pair. `entries`
    is how many entries a block holds for each pixel. If `is_narrow`, padded images have neighbouring pixels side by side.
    """
    space = x.shape[2:-2]
    nbytes = CACHE if isinstance(x, np.ndarray) else ELSEWHERE
    limit = max(nbytes // max(dtype.itemsize * entries, 1), FEWEST)
    blocks = places(*x.shape[:2], size[0], math.prod(size[1:]), limit)
    if not blocks:
        return
    reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(size, strides, window, dilation, strict=True)]
    is_inside = not any(before) and all(n <= m for n, m in zip(reach, space, strict=True))
    if is_inside and x.dtype == dtype and (x.strides[-1] == x.itemsize or is_narrow or x.shape[-1] == 1):
        seen = _windows(x, window, size, strides, dilation)
        for place in blocks:
            yield place, seen[place]
        return
    scratch = Scratch()
    try:
        source = _Padded(x, blocks, window, size, strides, before, dilation, dtype, is_narrow, scratch)
        for place in blocks:
            yield place, source.at(place)
    finally:
        scratch.free()


def patches(
    x: Any, window: Ints, size: Ints, strides: Ints, before: Ints, dilation: Ints, dtype: Any, products: int
) -> Iterator[tuple[Place, Any]]:
    """Pairs of a place and its patches (l, G, pixels, *window and C in one axis), as matrices for products.

    They are valid until the next pair. Every pixel has so many `products` with its patch, which a block holds as well.
    """
    (groups, channels), rank = x.shape[-2:], len(window)
    depth = math.prod(window) * channels
    is_whole = not any(before) and max(strides) == 1 and size == x.shape[2:-2]
    if depth == channels and is_whole and x.dtype == dtype and merged(x, 2, 2 + rank):
        yield from _pixels(x, size)
        return
    is_narrow = channels < NARROW or (groups > 1 and channels < NARROW_GROUP)
    # The axes of views are (L, N, *O, *window, G, C).
    out, taps = range(2, 2 + rank), range(2 + rank, 2 + 2 * rank)
    group, channel = 2 + 2 * rank, 3 + 2 * rank
    order = (0, group, *taps, channel, 1, *out) if is_narrow else (0, group, 1, *out, *taps, channel)
    memory, last, scratch, copyto = None, None, Scratch(), array_module(x).copyto
    try:
        for place, seen in views(
            x, window, size, strides, before, dilation, dtype, depth * groups + products, is_narrow
        ):
            if memory is None:  # no later block is larger
                memory = scratch(x, (seen.size,), dtype)
            if seen is not last:
                last, given = seen, seen.transpose(order)
                columns = memory[: seen.size].reshape(given.shape)
                if is_narrow:
                    matrices = columns.reshape(len(seen), groups, depth, -1).swapaxes(-1, -2)
                else:
                    matrices = columns.reshape(len(seen), groups, -1, depth)
            copyto(columns, given)
            yield place, matrices
    finally:
        scratch.free()


def _pixels(x: Any, size: Ints) -> Iterator[tuple[Place, Any]]:
    """The patches of a window of one entry: the images themselves, all together where they lie one after the other."""
    (stacks, examples), (groups, channels) = x.shape[:2], x.shape[-2:]
    rows = slice(0, size[0])
    if merged(x, 1, x.ndim - 2):
        if x.size:
            yield (slice(0, stacks), slice(0, examples), rows), x.reshape(stacks, -1, groups, channels).swapaxes(1, 2)
        return
    for n in range(examples):
        yield (slice(0, stacks), slice(n, n + 1), rows), x[:, n].reshape(stacks, -1, groups, channels).swapaxes(1, 2)


def _windows(x: Any, window: Ints, size: Ints, strides: Ints, dilation: Ints) -> Any:
    """A view (L, N, *O, *window, G, C) of x (L, N, *S, G, C)."""
    steps = x.strides[2:-2]
    return array_module(x).lib.stride_tricks.as_strided(
        x, (*x.shape[:2], *size, *window, *x.shape[-2:]),
        (*x.strides[:2], *[a * b for a, b in zip(steps, strides, strict=True)],
         *[a * b for a, b in zip(steps, dilation, strict=True)], *x.strides[-2:]),
    )  # fmt: skip


class _Padded:
    """The images of one block at a time, with zeros around them, in scratch memory."""

    def __init__(
        self, x: Any, blocks: tuple[Place, ...], window: Ints, size: Ints, strides: Ints, before: Ints, dilation: Ints,
        dtype: Any, is_narrow: bool, scratch: Scratch,
    ) -> None:  # fmt: skip
        most = [max(place[i].stop - place[i].start for place in blocks) for i in range(3)]
        self.x, self.step, self.before = x, strides[0], before[0]
        self.copyto = array_module(x).copyto
        self.reach = (window[0] - 1) * dilation[0] + 1
        self.is_cut = most[2] < size[0]
        shape = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip((most[2], *size[1:]), strides, window, dilation, strict=True)]
        groups, channels = x.shape[-2:]
        rank = len(window)
        if is_narrow:  # channels first, so that pixels are neighbours
            memory = scratch(x, (most[0], most[1], groups, channels, *shape), dtype)
            self.memory = memory.transpose(0, 1, *range(4, 4 + rank), 2, 3)
        else:
            self.memory = scratch(x, (most[0], most[1], *shape, groups, channels), dtype)
        self.memory[...] = 0
        self.views = _windows(self.memory, window, (most[2], *size[1:]), strides, dilation)
        # Where the images lie in the padded ones, along all axes in space but the first.
        starts = [max(0, b) for b in before]
        stops = [min(length, n + b) for length, n, b in zip(shape, x.shape[2:-2], before, strict=True)]
        self.into = [slice(a, max(a, b)) for a, b in zip(starts, stops, strict=True)][1:]
        self.taken = [slice(i.start - b, i.stop - b) for i, b in zip(self.into, before[1:], strict=True)]

    def at(self, place: Place) -> Any:
        """The view of the windows of a block, filled with its images."""
        stacks, examples, rows = place
        whole = slice(None)
        first = rows.start * self.step - self.before  # the row of x that the block begins with, perhaps a row of zeros
        length = (rows.stop - rows.start - 1) * self.step + self.reach
        start, stop = max(0, -first), max(0, -first, min(length, self.x.shape[2] - first))
        is_largest = (stacks.stop - stacks.start, examples.stop - examples.start) == self.memory.shape[:2]
        into = self.memory if is_largest else self.memory[: stacks.stop - stacks.start, : examples.stop - examples.start]
        if self.is_cut:
            into[:, :, :start] = 0
            into[:, :, stop:length] = 0
        self.copyto(
            into[(whole, whole, slice(start, stop), *self.into)],
            self.x[(stacks, examples, slice(first + start, first + stop), *self.taken)],
            casting="unsafe",
        )
        if is_largest and rows.stop - rows.start == self.views.shape[2]:
            return self.views
        return self.views[: len(into), : into.shape[1], : rows.stop - rows.start]
