"""Entries that windows name by their number, as positions in memory: read by `take`, written by an index, added by `add.at`.

Passes over all windows for each position of the kernel would take as many times as long as the kernel has positions.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .window_steps import Windows, along, blocks


def _line(x: Any) -> tuple[list[int], Any] | None:
    """The axes of x in the order of its memory, and its entries as one line; None if there are gaps between them."""
    order = sorted(range(x.ndim), key=lambda axis: (-x.strides[axis], axis))
    ordered = x.transpose(order)
    return (order, ordered.reshape(-1)) if ordered.flags.c_contiguous else None


def _outer_sum(lines: list[Any]) -> Any:
    """The sums of one entry of each line: an axis for each."""
    return functools.reduce(np.add.outer, lines) if lines else np.zeros((), np.intp)


def table_of(windows: Windows, steps: Sequence[int]) -> Any:
    """For each number of an entry within the kernel, how far the entry is from that with number 0; `steps` are those of the axes."""
    return _outer_sum(
        [np.arange(kernel) * (dilation * s) for (_, kernel, _, _, dilation), s in zip(windows, steps, strict=True)]
    ).reshape(-1)


class Places:
    """The positions in the lines of arrays x (..., *n) that lie alike, for windows (..., *sizes) with numbers of entries."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.known: Any = None
        self.first: Any = None  # the position of the entry with number 0 of each window, which may lie in the padding
        self.table: Any = None  # how far the entries lie behind it

    def __call__(self, x: Any, order: list[int], numbers: Any) -> Any:
        """For each window, in the order of x's memory, the position of the entry with its number."""
        numbers = np.ascontiguousarray(numbers.transpose(order))
        known = (x.shape, order, numbers.shape)
        if self.known != known:
            self.known = known
            steps, step = [0] * x.ndim, 1
            for axis in reversed(order):
                steps[axis] = step
                step *= x.shape[axis]
            count = len(self.windows)
            lines = [np.arange(n) * s for n, s in zip(x.shape[: x.ndim - count], steps[: x.ndim - count], strict=True)]
            inner = zip(self.windows, steps[x.ndim - count :], strict=True)
            lines += [(np.arange(size) * stride - before) * s for (size, _, stride, before, _), s in inner]
            self.first = _outer_sum([lines[axis] for axis in order]).reshape(-1)
            self.table = table_of(self.windows, steps[x.ndim - count :])
        places = self.table.take(numbers.reshape(-1))
        places += self.first
        return places


def _inside(windows: Windows, lengths: tuple[int, ...], numbers: Any) -> Any:
    """Which numbers name entries of arrays (..., *lengths), and not the padding; None for all of them, as is usual."""
    found, kernels = None, [window[1] for window in windows]
    for axis, (window, n) in enumerate(zip(windows, lengths, strict=True), -len(windows)):
        size, kernel, stride, before, dilation = window
        for o in range(size):
            start = o * stride - before
            if start >= 0 and start + (kernel - 1) * dilation < n:
                continue
            place, at = along(axis, o), start + np.arange(kernel) * dilation
            line = ((at >= 0) & (at < n)).reshape([-1 if a == axis else 1 for a in range(-len(kernels), 0)])
            is_inside = np.broadcast_to(line, kernels).reshape(-1).take(numbers[place])
            if not is_inside.all():
                found = np.ones(numbers.shape, dtype=bool) if found is None else found
                found[place] &= is_inside
    return found


def chosen(out: Any, x: Any, numbers: Any, windows: Windows) -> bool:
    """Write the entries of x that the numbers name. False if nothing was done, because x has gaps in memory."""
    places = Places(windows)
    for y, block, number in blocks(len(windows), out, x, numbers):
        laid = _line(block)
        if laid is None:
            return False
        order, line = laid
        inside = _inside(windows, block.shape[block.ndim - len(windows) :], number)
        entries = line.take(places(block, order, number), mode="raise" if inside is None else "clip")
        ordered = y.transpose(order)
        ordered[...] = entries.reshape(ordered.shape)
        if inside is not None:
            y[~inside] = 0
    return True


def placed(out: Any, t: Any, numbers: Any, windows: Windows, *, is_apart: bool) -> bool:
    """Add t to the entries that the numbers name, in the order of memory, zeros elsewhere. False if nothing was done: `out` has gaps."""
    places = Places(windows)
    for x, block, number in blocks(len(windows), out, t, numbers):
        laid = _line(x)
        if laid is None:
            return False
        order, line = laid
        line.fill(0)
        at, terms = places(x, order, number), np.ascontiguousarray(block.transpose(order)).reshape(-1)
        inside = _inside(windows, x.shape[x.ndim - len(windows) :], number)
        if inside is not None:
            inside = inside.transpose(order).reshape(-1)
            at, terms = at[inside], terms[inside]
        if is_apart:
            line[at] = terms
        else:
            np.add.at(line, at, terms)
    return True
