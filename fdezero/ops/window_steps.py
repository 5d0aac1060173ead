"""Windows along axes: their positions in an array, and work along one axis after the other, a few images at a time."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..devices import backend_of

Window = tuple[int, int, int, int, int]
Windows = tuple[Window, ...]
Index = tuple[Any, ...]

BLOCK = 1 << 20  # bytes of an operand that are worked on at a time


def steps_of(window: Window, n: int) -> Iterator[tuple[int, slice, slice] | None]:
    """For each k of the kernel: k, the windows whose position k is in the array, and these positions. None where no window has it."""
    size, kernel, stride, before, dilation = window
    for k in range(kernel):
        at = k * dilation - before
        low, high = max(0, -(at // stride)), min(size, (n - 1 - at) // stride + 1)
        yield (k, slice(low, high), slice(at + low * stride, at + (high - 1) * stride + 1, stride)) if low < high else None


def part_of(window: Window, n: int, o: int) -> tuple[int, slice]:
    """The first k of window number `o` that is in the array, and the positions of the window in the array."""
    _, kernel, stride, before, dilation = window
    start = o * stride - before
    first = max(0, -(start // dilation))
    return first, slice(start + first * dilation, min(n, start + (kernel - 1) * dilation + 1), dilation)


def all_have_entries(window: Window, n: int) -> bool:
    """Whether every window along an axis of length n has an entry of the array."""
    return all(part.start < part.stop for _, part in [part_of(window, n, o) for o in range(window[0])])


def is_apart(window: Window) -> bool:
    """Whether no entry is in two windows."""
    _, kernel, stride, _, dilation = window
    return kernel == 1 or (kernel <= stride and dilation == 1)


def covers(window: Window, n: int) -> bool:
    """Whether every entry is in a window, for windows that are apart."""
    return bool(n == sum(step[1].stop - step[1].start for step in steps_of(window, n) if step))


def along(axis: int, part: Any) -> Index:
    """The index of `part` along the trailing axis number `axis`."""
    return (..., part, *[slice(None)] * (-axis - 1))


def by_memory(x: Any, count: int) -> list[int]:
    """The last `count` axes, the outermost in memory first. Along that one, slices are long stretches of memory."""
    return sorted(range(-count, 0), key=lambda axis: (-abs(x.strides[axis]), axis))


def blocks(count: int, out: Any, *arrays: Any) -> Iterator[tuple[Any, ...]]:
    """`out` and `arrays`, which have the same loop axes, cut along the outermost of these, a few entries at a time."""
    largest = max((out, *arrays), key=lambda x: x.size)
    loops = range(largest.ndim - count)
    outer = max(loops, key=lambda axis: abs(largest.strides[axis]), default=None)
    if outer is None or not backend_of(out).reads_at_once or largest.nbytes <= 2 * BLOCK:
        yield out, *arrays
        return
    step = max(1, BLOCK * largest.shape[outer] // largest.nbytes)
    for start in range(0, largest.shape[outer], step):
        index = (slice(None),) * outer + (slice(start, start + step),)
        yield tuple([x[index] for x in (out, *arrays)])


def result_shape(x: Any, sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (*x.shape[: x.ndim - len(sizes)], *sizes)


def axis_by_axis(out: Any, x: Any, order: list[int], one: Any) -> None:
    """`one(out, x, axis)` along every axis of `order`; the results in between are as long as `out` along the axes that are done."""
    between: dict[int, Any] = {}
    for target, block in blocks(len(order), out, x):
        shape = list(block.shape)
        for axis in order[:-1]:
            shape[axis] = target.shape[axis]
            room = between.get(axis)
            if room is None or room.shape != tuple(shape):
                room = between[axis] = np.empty_like(block, shape=tuple(shape))
            one(room, block, axis)
            block = room
        one(target, block, order[-1])


def phases_of(n: int, k: int, stride: int, before: int, dilation: int) -> Iterator[tuple[slice, slice, int, int]]:
    """conv_input along one axis, as convolutions of y with stride 1, one for each phase of the stride.

    Each comes as the slice of x that it gives, the slice of the kernel that it takes, in reverse order, and its `before` and `dilation`.
    """
    step = stride // math.gcd(stride, dilation)  # entries of the kernel that serve one phase lie so far apart
    for phase in range(min(stride, n)):
        first = next((i for i in range(min(step, k)) if (i * dilation - phase - before) % stride == 0), None)
        if first is None:
            yield slice(phase, None, stride), slice(0, 0), 0, 1
            continue
        count = -(-(k - first) // step)
        last = first + (count - 1) * step
        taken = slice(last, first - 1 if first else None, -step)
        yield slice(phase, None, stride), taken, (last * dilation - phase - before) // stride, step * dilation // stride
