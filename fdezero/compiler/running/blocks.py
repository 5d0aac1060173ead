"""Blocks: a group of elementwise operations runs on pieces of its arrays that fit the cache, on several threads if asked."""

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...native.workers import run_all
from .memory import Shape

CACHE = 1 << 21  # bytes of operands and temporaries that a group works on at a time
FEWEST = 128  # the smallest block in entries, because NumPy sums this many at once
SHARE = 1 << 20  # from this many entries on, a second thread pays
# NumPy before 2.3 sums this many entries by halves, and adds these sums from left to right. Later versions sum any length by halves.
SUMMED = None if np.lib.NumpyVersion(np.__version__) >= "2.3.0" else np.getbufsize()


class Blocks:
    """A group of elementwise operations, run block by block: `blocks(*operands)`.

    `function(*operands, *temporaries)` computes one block. `sliced` says which operands are cut into blocks; every block sees the
    others whole. With an axis `order`, blocks are stretches of memory: the axes are permuted so that entries are adjacent.
    Without it, blocks are runs of rows, in which entries lie in the order of `axes`. `width` is the number of bytes per entry, summed
    over all arrays that are cut. A group that ends in a sum returns the sum; its blocks are then the pieces that NumPy's summation makes.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        shape: Shape,
        sliced: Sequence[bool],
        temporaries: Sequence[Any],
        width: int,
        threads: int,
        order: Shape | None = None,
        total: bool = False,
        axes: Shape | None = None,
    ) -> None:
        size = int(np.prod(shape, dtype=np.int64))
        self.function, self.sliced, self.order, self.total = function, tuple(sliced), order, total
        self.length, self.rest = (size, ()) if order is not None else (shape[0], tuple(shape[1:]))
        count = max(1, min(threads, size // SHARE))
        # Threads wait for the interpreter's lock after every operation. Larger blocks make these waits rarer.
        block = max(1, max(FEWEST, (CACHE if count == 1 else 2 * CACHE) // width) * self.length // size)
        self.bounds = pieces(self.length, block) if total else even(self.length, block)
        cuts = [len(self.bounds) * i // count for i in range(count + 1)]
        self.parts = [self.bounds[a:b] for a, b in itertools.pairwise(cuts)]
        longest = max(stop - start for start, stop in self.bounds)
        self.temporaries = [
            [_laid_out((longest, *self.rest), dtype, axes) for dtype in temporaries] for _ in self.parts
        ]

    def __call__(self, *operands: Any) -> Any:
        if self.order is not None:
            operands = tuple(
                [
                    x.transpose(self.order).reshape(-1) if cut else x
                    for x, cut in zip(operands, self.sliced, strict=True)
                ]
            )
        if len(self.parts) == 1:
            sums = self._run(operands, self.parts[0], self.temporaries[0])
        else:
            calls = [(operands, *work) for work in zip(self.parts, self.temporaries, strict=True)]
            sums = [each for part in run_all(self._quietly, calls, here=self._run) for each in part]
        return add_pieces(sums, self.bounds) if self.total else None

    def _quietly(self, *work: Any) -> list[Any]:
        with np.errstate(all="ignore"):
            return self._run(*work)

    def _run(
        self, operands: Sequence[Any], bounds: Iterable[tuple[int, int]], temporaries: list[np.ndarray]
    ) -> list[Any]:
        function, pairs, sums = self.function, list(zip(operands, self.sliced, strict=True)), []
        length = len(temporaries[0]) if temporaries else 0
        for start, stop in bounds:
            scratch = temporaries if stop - start == length else [t[: stop - start] for t in temporaries]
            sums.append(function(*[x[start:stop] if cut else x for x, cut in pairs], *scratch))
        return sums


def _laid_out(shape: Shape, dtype: Any, axes: Shape | None) -> np.ndarray:
    """A new array whose axes follow each other in memory in the order `axes`."""
    if axes is None:
        return np.empty(shape, dtype)
    return np.empty([shape[axis] for axis in axes], dtype).transpose([axes.index(axis) for axis in range(len(axes))])


def even(length: int, block: int) -> list[tuple[int, int]]:
    """The bounds of blocks of nearly equal size."""
    count = -(-length // block)
    cuts = [length * i // count for i in range(count + 1)]
    return list(itertools.pairwise(cuts))


def pieces(length: int, block: int) -> list[tuple[int, int]]:
    """The bounds of blocks of at most `block` entries, cut like NumPy's summation."""
    return [bounds for start, stop in _summed(length) for bounds in _halves(start, stop - start, block)]


def add_pieces(sums: Iterable[Any], bounds: Sequence[tuple[int, int]]) -> Any:
    """The sum of the block sums of `pieces`, added in the order of NumPy's summation."""
    left, longest = iter(sums), max(stop - start for start, stop in bounds)
    totals = [_add_halves(left, stop - start, longest) for start, stop in _summed(bounds[-1][1])]
    return functools.reduce(operator.add, totals)


def _summed(length: int) -> list[tuple[int, int]]:
    """The bounds of the stretches that NumPy sums by halves."""
    step = SUMMED or length
    return [(start, min(start + step, length)) for start in range(0, length, step)]


def _halves(start: int, length: int, block: int) -> list[tuple[int, int]]:
    """The bounds of blocks of at most `block` entries, cut like NumPy's pairwise summation: in halves, at multiples of 8."""
    if length <= block:
        return [(start, start + length)]
    half = length // 2 - length // 2 % 8
    return [*_halves(start, half, block), *_halves(start + half, length - half, block)]


def _add_halves(sums: Iterator[Any], length: int, block: int) -> Any:
    """The sum of the block sums of `_halves`, added in the order of pairwise summation."""
    if length <= block:
        return next(sums)
    half = length // 2 - length // 2 % 8
    first = _add_halves(sums, half, block)
    return first + _add_halves(sums, length - half, block)
