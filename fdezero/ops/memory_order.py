"""Arrays in the order of their memory, cut into blocks that fit the cache."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..devices import backend_of
from .shape import stretched

Axes = tuple[int, ...]
SMALL = 1 << 16  # bytes of an operand that is worked on as a whole
BLOCK = 1 << 19  # bytes of an operand that are worked on at a time
LONG = 1 << 12  # entries of a line for which NumPy's own work for each line no longer counts
FEW = 16  # an operand may be repeated until it has one in so many of the entries


def is_number(x: Any) -> bool:
    """Whether an operand is a number that leaves out a step."""
    return isinstance(x, int | float)


class Laid:
    """An array and others that broadcast to it, with axes in the order of the array's memory, and as few axes as possible.

    Neighbours that are treated alike are one axis. NumPy takes each innermost line in one go, so a short last axis is joined with
    the axis before, or with a part of it. For that, small operands repeat their entries. The last axis then stands for `tail`:
    pairs of a length, and whether it is reduced, which `fold` does at the end.
    """

    def __init__(self, axes: Axes, x: Any, *others: Any) -> None:
        order = sorted(range(x.ndim), key=lambda i: (-abs(x.strides[i]), i))
        arrays = [y.reshape((1,) * (x.ndim - y.ndim) + y.shape).transpose(order) for y in (x, *others)]
        lengths, of_lines = arrays[0].shape, {order.index(a % x.ndim) for a in axes}
        groups: list[list[int]] = []
        previous: Any = None
        for i in [i for i, n in enumerate(lengths) if n != 1] or [0]:
            kind = (i in of_lines, *[y.shape[i] == 1 for y in arrays[1:]])
            if kind == previous:
                groups[-1].append(i)
            else:
                groups.append([i])
            previous = kind
        self.kept = tuple([1 if i in of_lines else n for i, n in enumerate(lengths)])
        self.back = np.argsort(order)
        self.is_reduced = [group[0] in of_lines for group in groups]
        self.arrays = [y.reshape([math.prod([y.shape[i] for i in group]) for group in groups]) for y in arrays]
        self.tail = [(self.arrays[0].shape[-1], self.is_reduced[-1])]
        while self._joins_last():
            pass
        last = [*self.is_reduced[:-1], all(is_reduced for _, is_reduced in self.tail)]
        self.reduced = tuple([i for i, is_reduced in enumerate(last) if is_reduced])
        self.lines = tuple([1 if i in self.reduced else n for i, n in enumerate(self.arrays[0].shape)])

    def _joins_last(self) -> bool:
        """Join the last axis with the one before, or with a part of it, if that helps."""
        x = self.arrays[0]
        short, long = (32, 256) if any(self.is_reduced) else (512, LONG)  # sums take columns in one product
        if x.ndim < 2 or x.shape[-1] >= short or (self.is_reduced[-1] and not any(self.is_reduced[:-2])):
            return False
        n, m = x.shape[-2:]
        if any(self.is_reduced) and not any(self.is_reduced[:-2]):
            q = _part_of(n, long // m)  # what is reduced must not vanish in the tail
            q = q // 2 if q == n else q
        else:
            mixed = [y for y in self.arrays[1:] if y.shape[-2:] not in ((n, m), (1, 1))]
            repeated = max([math.prod(y.shape[:-2]) * n * m for y in mixed], default=0)
            q = n if repeated * FEW <= x.size and n * m <= long * FEW else _part_of(n, long // m)
        if q <= 1 or n % q:
            return False
        self.arrays = [_joined(y, n, q, m) for y in self.arrays]
        self.tail.insert(0, (q, self.is_reduced[-2]))
        if q == n:
            del self.is_reduced[-2]
            self.arrays = [y.reshape((*y.shape[:-2], y.shape[-1])) for y in self.arrays]
        return bool(q == n)

    def fold(self, y: Any, reduce: Callable[[Any, Axes], Any]) -> Any:
        """What lines share, in the shape that x has along kept axes; `reduce(y, axes)` keeps the axes."""
        count = len(self.tail)
        folded = tuple([i - count for i, (_, is_reduced) in enumerate(self.tail) if is_reduced])
        if folded and y.shape[-1] > 1:
            y = reduce(y.reshape((*y.shape[:-1], *[n for n, _ in self.tail])), folded)
        return y.reshape(self.kept).transpose(self.back)


def _part_of(n: int, most: int) -> int:
    """The greatest power of two that divides n and is at most `most`."""
    return min(n & -n, 1 << max(most, 1).bit_length() - 1)


def _joined(y: Any, n: int, q: int, m: int) -> Any:
    """(..., n, m) as (..., n / q, q * m), where an operand may have 1 in place of n or m."""
    before, (k, j) = y.shape[:-2], y.shape[-2:]
    if (k, j) == (1, 1):
        return y
    y = y.reshape((*before, n // q, q, j)) if k == n else y.reshape((*before, 1, 1, j))
    y = stretched(y, (*y.shape[:-2], q, m))
    return y.reshape((*y.shape[:-2], q * m))


def blocks(x: Any) -> Iterator[tuple[Any, int]]:
    """Slices of the first axis that is not alone, and the axis."""
    axis = next((i for i, n in enumerate(x.shape) if n > 1), 0)
    step = max(1, BLOCK * x.shape[axis] // max(x.nbytes, 1))
    for start in range(0, x.shape[axis], step):
        yield (slice(None),) * axis + (slice(start, start + step),), axis


def at(y: Any, index: Any, axis: int) -> Any:
    """The part of an operand that belongs to a block."""
    return y if is_number(y) or y.shape[axis] == 1 else y[index]


def is_whole(x: Any) -> bool:
    """Whether x is better worked on as a whole: it is small, or on a device where every call is a launch."""
    return x.nbytes <= SMALL or not backend_of(x).reads_at_once


class Rooms:
    """Arrays for what blocks compute, which the next block uses again."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.kept: dict[int, Any] = {}

    def __call__(self, number: int, shape: tuple[int, ...]) -> Any:
        room = self.kept.get(number)
        if room is None or room.shape != shape:
            room = self.kept[number] = np.empty(shape, self.dtype)
        return room


def total(x: Any, axes: Axes) -> Any:
    """The sum over axes, which stay with length 1. Products of matrices add faster than sums do."""
    if axes == (x.ndim - 1,) and x.shape[-1] < LONG:
        return (x @ np.ones(x.shape[-1], x.dtype))[..., None]
    if axes == (x.ndim - 2,):
        return (np.ones(x.shape[-2], x.dtype) @ x)[..., None, :]
    return x.sum(axis=axes, keepdims=True)


def total_of_product(x: Any, y: Any, axes: Axes, room: Any) -> Any:
    """The sum of x y over axes; the product may be written into `room`."""
    if axes == (x.ndim - 1,) and x.shape[-1] < LONG:
        return np.vecdot(x, y)[..., None]
    return total(np.multiply(x, y, out=room), axes)


def weighted_total(x: Any, weights: Any) -> Any:
    """The sum over the axis before the last one, each entry times its weight; 0 if the weights are the number -0.0."""
    return 0 if is_number(weights) else (weights.reshape(-1) @ x)[..., None, :]
