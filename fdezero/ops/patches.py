"""The patches of images that a window sees (im2col), block by block in scratch memory that stays in the cache.

Images are (L, N, *S, G, C): stacks, examples, space, groups, channels of a group. A place (l, n, *o) has a slice for each
of the axes of the result but the last two: of the stacks, the examples, and the pixels.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..devices import array_module

Ints = tuple[int, ...]
Place = tuple[slice, ...]

CACHE = 1 << 19  # bytes of the patches of a block and of their products: with the images, they fit the second-level cache
FEWEST = 512  # pixels of a block that a matrix product needs to run at full speed
NARROW, NARROW_GROUP = 8, 32  # channels; below, patches are laid out with neighbouring pixels side by side
ELSEWHERE = 1 << 28  # bytes of a block on a GPU, where a launch costs more than memory
KEPT = 3 << 24  # bytes of scratch memory that are kept for the next calls: the largest kernels of VGG fit, transformed
_idle: list[np.ndarray] = []  # scratch memory of earlier calls. Calls take an array out, so no two calls share one


class Scratch:
    """Memory for one call. On the CPU it comes from an earlier call: fresh memory costs a page fault for every 4 KB."""

    def __init__(self) -> None:
        self.taken: list[np.ndarray] = []

    def __call__(self, like: Any, count: int, dtype: Any) -> Any:
        """A vector of `count` arbitrary entries, on the device of `like`."""
        if not isinstance(like, np.ndarray):
            return np.empty_like(like, shape=(count,), dtype=dtype)
        size = count * dtype.itemsize
        try:
            memory = _idle.pop()
        except IndexError:
            memory = np.empty(0, np.uint8)
        if memory.size < size:
            memory = np.empty(size, np.uint8)
        self.taken.append(memory)
        return np.ndarray((count,), dtype, memory)

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


def places(stacks: int, examples: int, size: Ints, limit: int) -> tuple[Place, ...]:
    """The blocks, each of at most `limit` pixels, or of one: several images, or a part of one, which is cut along its first axes."""
    pixels = math.prod(size)
    if not stacks * examples * pixels:
        return ()
    whole = tuple([slice(0, n) for n in size])
    if pixels > limit:
        cuts = []
        for axis, n in enumerate(size):
            inner = math.prod(size[axis + 1 :])
            is_whole = n * inner <= limit  # the axes in front are cut into single entries
            cuts.append([slice(0, n)] if is_whole else _even(n, max(1, limit // inner)))
        single = ([slice(i, i + 1) for i in range(count)] for count in (stacks, examples))
        return tuple(itertools.product(*single, *cuts))
    count = max(1, limit // pixels)
    if count >= 2 * examples and stacks > 1:
        return tuple([(part, slice(0, examples), *whole) for part in _even(stacks, count // examples)])
    return tuple([(slice(i, i + 1), part, *whole) for i in range(stacks) for part in _even(examples, count)])


def _even(length: int, most: int) -> list[slice]:
    """Parts of nearly equal length. None is longer than the first."""
    count = -(-length // most)
    cuts = [-(-length * i // count) for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def views(
    x: Any, window: Ints, size: Ints, strides: Ints, before: Ints, dilation: Ints, dtype: Any, entries: int, is_narrow: bool = False
) -> Iterator[tuple[Place, Any]]:
    """Pairs of a place and a view (l, n, *o, *window, G, C) of what the windows of its pixels see.

    The window of pixel o begins at o * strides - before; entries outside x are 0. Views are valid until the next pair. `entries`
    is how many entries a block holds for each pixel. If `is_narrow`, padded images have neighbouring pixels side by side.
    """
    nbytes = CACHE if isinstance(x, np.ndarray) else ELSEWHERE
    limit = max(nbytes // max(dtype.itemsize * entries, 1), FEWEST)
    seen = _seen(x.shape, window, size, strides, before, dilation, limit, is_narrow)
    if seen.is_inside and x.dtype == dtype and (x.strides[-1] == x.itemsize or is_narrow or x.shape[-1] == 1):
        if seen.blocks:
            steps = [s * d for s, d in zip(x.strides[2:-2], dilation, strict=True)]
            moves = [s * t for s, t in zip(x.strides[2:-2], strides, strict=True)]
            every = array_module(x).lib.stride_tricks.as_strided(
                x, seen.all_views, (*x.strides[:2], *moves, *steps, *x.strides[-2:])
            )
            for place in seen.blocks:
                yield place, every[place]
        return
    scratch = Scratch()
    try:
        if seen.blocks:
            yield from _padded(x, seen, dtype, scratch)
    finally:
        scratch.free()


def _padded(x: Any, seen: "_Seen", dtype: Any, scratch: Scratch) -> Iterator[tuple[Place, Any]]:
    """The views of padded images, one block of images at a time."""
    memory = scratch(x, seen.count, dtype)
    memory.fill(0)
    images, every = strided(memory, *seen.images), strided(memory, *seen.views)
    copyto, inner = array_module(x).copyto, (slice(None), slice(None))
    for place, shape, (filled, taken, zeros) in zip(seen.blocks, seen.shapes, seen.parts, strict=True):
        is_largest = shape == every.shape[: len(shape)]
        into = images if is_largest else images[: shape[0], : shape[1]]
        for part in zeros:
            into[(*inner, *part)] = 0
        copyto(into[(*inner, *filled)], x[(*place[:2], *taken)], casting="unsafe")
        yield place, every if is_largest else every[tuple([slice(0, n) for n in shape])]


def strided(memory: Any, shape: Ints, steps: Ints) -> Any:
    """An array of this shape on a vector; `steps` are its strides in entries."""
    strides = tuple([step * memory.itemsize for step in steps])
    if isinstance(memory, np.ndarray):  # ten times as fast as NumPy's as_strided
        return np.ndarray(shape, memory.dtype, memory, 0, strides)
    return array_module(memory).lib.stride_tricks.as_strided(memory, shape, strides)


class _Seen:
    """What can be said of the windows of images before the images are there: blocks, and layouts in scratch memory."""

    def __init__(
        self, shape: Ints, window: Ints, size: Ints, strides: Ints, before: Ints, dilation: Ints, limit: int, is_narrow: bool
    ) -> None:
        space, channels = shape[2:-2], shape[-2:]
        self.blocks = places(shape[0], shape[1], size, limit)
        self.all_views = (*shape[:2], *size, *window, *channels)
        self.shapes = [tuple([part.stop - part.start for part in place]) for place in self.blocks]
        most = tuple([max(lengths) for lengths in zip(*self.shapes, strict=True)]) or (0,) * (2 + len(size))
        largest = most[2:]
        reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(size, strides, window, dilation, strict=True)]
        self.is_inside = not any(before) and all(n <= m for n, m in zip(reach, space, strict=True))
        # Padded images: (L, N, *S, G, C), in memory channels first if pixels are to be neighbours.
        padded = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(largest, strides, window, dilation, strict=True)]
        full = (*most[:2], *padded, *channels)
        rank = len(size)
        order = (0, 1, 2 + rank, 3 + rank, *range(2, 2 + rank)) if is_narrow else range(len(full))
        steps, self.count = [0] * len(full), 1
        for axis in reversed(order):
            steps[axis], self.count = self.count, self.count * full[axis]
        self.images = full, tuple(steps)
        moves = [a * b for a, b in zip(steps[2:-2], strides, strict=True)]
        taps = [a * b for a, b in zip(steps[2:-2], dilation, strict=True)]
        self.views = (*most[:2], *largest, *window, *channels), (*steps[:2], *moves, *taps, *steps[-2:])
        # For each block: where its images lie in the padded ones, where they come from, and what an earlier block may have filled.
        self.parts = []
        for place, lengths in zip(self.blocks, self.shapes, strict=True):
            filled, taken, zeros = [], [], []
            for axis in range(rank):
                first = place[2 + axis].start * strides[axis] - before[axis]  # in the images, or in front of them
                length = (lengths[2 + axis] - 1) * strides[axis] + (window[axis] - 1) * dilation[axis] + 1
                start, stop = max(0, -first), max(0, -first, min(length, space[axis] - first))
                filled.append(slice(start, stop))
                taken.append(slice(first + start, first + stop))
                if largest[axis] < size[axis]:
                    zeros += [(*[slice(None)] * axis, part) for part in (slice(0, start), slice(stop, length))]
            self.parts.append((filled, taken, zeros))


_seen = functools.lru_cache(256)(_Seen)


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
                memory = scratch(x, seen.size, dtype)
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
    whole = [slice(0, n) for n in size]
    if merged(x, 1, x.ndim - 2):
        if x.size:
            yield (slice(0, stacks), slice(0, examples), *whole), x.reshape(stacks, -1, groups, channels).swapaxes(1, 2)
        return
    for n in range(examples):
        yield (slice(0, stacks), slice(n, n + 1), *whole), x[:, n].reshape(stacks, -1, groups, channels).swapaxes(1, 2)
