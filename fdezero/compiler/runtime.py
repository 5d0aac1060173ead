"""What generated programs run on: memory of a given layout, outputs that are written again when nobody holds them, blocks."""

import itertools
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Spec = tuple[Shape, Any, Shape]  # shape, dtype, strides


def memory(nbytes: int) -> np.ndarray:
    """A slot of the arena, which begins on a cache line."""
    raw = np.empty(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes]


def array(slot: np.ndarray, shape: Shape, dtype: Any, strides: Shape) -> np.ndarray:
    """The array of this layout at the start of a slot."""
    return np.ndarray(shape, dtype, slot, 0, strides)


class Generation:
    """One set of outputs: `owners` own the memory, `written` are what programs write, `handed` the read-only views callers get."""

    __slots__ = ("handed", "owners", "written")

    def __init__(self, specs: Sequence[Spec]) -> None:
        self.owners: list[np.ndarray] = []
        self.written: list[np.ndarray] = []
        self.handed: list[np.ndarray] = []
        for spec in specs:
            self.add(spec)

    def add(self, spec: Spec) -> None:
        """A new array at the end."""
        shape, dtype, strides = spec
        owner = np.empty(math.prod(shape), dtype)
        order = sorted(range(len(shape)), key=lambda axis: (-abs(strides[axis]), axis)) if owner.size else list(range(len(shape)))
        written = owner.reshape([shape[axis] for axis in order]).transpose([order.index(axis) for axis in range(len(order))])
        handed = written.view()
        handed.flags.writeable = False
        self.owners.append(owner)
        self.written.append(written)
        self.handed.append(handed)

    def counts(self) -> list[int]:
        """The references to owners and to views: whoever holds a view of what was handed out holds its owner, for NumPy lets
        the base of a view of a view be the owner."""
        return [*map(sys.getrefcount, self.owners), *map(sys.getrefcount, self.handed)]


def _calibrated() -> tuple[int, int] | None:
    """The reference counts of an owner and of a view that nobody holds.

    None where counts do not tell, because a holder does not raise them, as in interpreters without reference counting.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    generation = Generation([((2, 3), np.float32, (12, 4))])
    free = generation.counts()
    part, whole = generation.handed[0][:1].T, generation.handed[0]
    held = generation.counts()
    del part, whole
    told = held == [free[0] + 1, free[1] + 1] and generation.counts() == free
    return (free[0], free[1]) if told else None


class Outputs:
    """The outputs of a program: a few generations, of which one that nobody refers to is written again.

    With the two that a loop `state = step(state)` holds in turn, three are enough for ever. An array that somebody keeps
    is given away: the generation gets a new one in its place.
    """

    MOST = 3

    def __init__(self, specs: Sequence[Spec]) -> None:
        self.specs = list(specs)
        self.generations: list[Generation] = []
        self.free = [FREE[0]] * len(self.specs) + [FREE[1]] * len(self.specs) if FREE is not None else None

    def take(self) -> Generation:
        """Arrays to write into, and what to hand out for them."""
        if self.free is None:
            return Generation(self.specs)
        for number, generation in enumerate(self.generations):
            if generation.counts() == self.free:
                if number:  # the one before it, which is held now, is free when this one is held
                    self.generations.append(self.generations.pop(0))
                return generation
        old = self.generations.pop(0) if len(self.generations) == self.MOST else None
        generation = Generation(self.specs) if old is None else self._without_held(old)
        self.generations.append(generation)
        return generation

    def _without_held(self, old: Generation) -> Generation:
        new, counts, n = Generation([]), old.counts(), len(self.specs)
        for i, spec in enumerate(self.specs):
            if (counts[i], counts[n + i]) == FREE:
                new.owners.append(old.owners[i])
                new.written.append(old.written[i])
                new.handed.append(old.handed[i])
            else:
                new.add(spec)
        return new


FREE = _calibrated()

CACHE = 1 << 21  # bytes of operands and temporaries that go through a group at a time
FEWEST = 128  # entries of a block, for NumPy sums up so many at once
SHARE = 1 << 20  # entries from which a second thread pays


class Blocks:
    """A group of elementwise operations, run block by block: `blocks(*operands)`.

    `function(*operands, *temporaries)` computes one block. `sliced` tells which operands are cut into blocks, the others
    being whole in each; `order` turns them so that their entries follow each other, for blocks that are stretches of memory.
    `width` are the bytes of one entry in all arrays that are cut.
    A group that ends in a sum returns it: its blocks are the halves of halves that NumPy's pairwise summation makes.
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
    ) -> None:
        size = int(np.prod(shape, dtype=np.int64))
        self.function, self.sliced, self.order, self.total = function, tuple(sliced), order, total
        self.length, self.rest = (size, ()) if order is not None else (shape[0], tuple(shape[1:]))
        count = max(1, min(threads, size // SHARE))
        # Threads meet at the interpreter's lock after every operation: larger blocks let them meet less often.
        block = max(1, max(FEWEST, (CACHE if count == 1 else 2 * CACHE) // width) * self.length // size)
        self.bounds = halves(0, self.length, block) if total else even(self.length, block)
        cuts = [len(self.bounds) * i // count for i in range(count + 1)]
        self.parts = [self.bounds[a:b] for a, b in itertools.pairwise(cuts)]
        longest = max(stop - start for start, stop in self.bounds)
        self.temporaries = [[np.empty((longest, *self.rest), dtype) for dtype in temporaries] for _ in self.parts]

    def __call__(self, *operands: Any) -> Any:
        if self.order is not None:
            operands = tuple([x.transpose(self.order).reshape(-1) if cut else x for x, cut in zip(operands, self.sliced, strict=True)])
        if len(self.parts) == 1:
            sums = self._run(operands, self.parts[0], self.temporaries[0])
        else:
            others = [WORKERS.submit(self._quietly, operands, *work) for work in zip(self.parts[1:], self.temporaries[1:], strict=True)]
            try:
                sums = self._run(operands, self.parts[0], self.temporaries[0])
            finally:  # an exception must not leave threads that write while the next call runs
                wait(others)
            for future in others:
                sums += future.result()
        return add_halves(iter(sums), 0, self.length, max(stop - start for start, stop in self.bounds)) if self.total else None

    def _quietly(self, *work: Any) -> list[Any]:
        with np.errstate(all="ignore"):
            return self._run(*work)

    def _run(self, operands: Sequence[Any], bounds: Iterable[tuple[int, int]], temporaries: list[np.ndarray]) -> list[Any]:
        function, pairs, sums = self.function, list(zip(operands, self.sliced, strict=True)), []
        length = len(temporaries[0]) if temporaries else 0
        for start, stop in bounds:
            scratch = temporaries if stop - start == length else [t[: stop - start] for t in temporaries]
            sums.append(function(*[x[start:stop] if cut else x for x, cut in pairs], *scratch))
        return sums


def even(length: int, block: int) -> list[tuple[int, int]]:
    """The bounds of blocks of nearly one size."""
    count = -(-length // block)
    cuts = [length * i // count for i in range(count + 1)]
    return list(itertools.pairwise(cuts))


def halves(start: int, length: int, block: int) -> list[tuple[int, int]]:
    """The bounds of blocks of at most `block`, cut as NumPy's pairwise summation cuts: in halves, at multiples of 8."""
    if length <= block:
        return [(start, start + length)]
    half = length // 2 - length // 2 % 8
    return [*halves(start, half, block), *halves(start + half, length - half, block)]


def add_halves(sums: Any, start: int, length: int, block: int) -> Any:
    """The sums of the blocks of `halves`, added in the order of pairwise summation."""
    if length <= block:
        return next(sums)
    half = length // 2 - length // 2 % 8
    first = add_halves(sums, start, half, block)
    return first + add_halves(sums, start + half, length - half, block)


def available_threads() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Workers:
    """Threads for blocks, started when first needed; a forked child starts its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: ThreadPoolExecutor | None = None
        self.process = 0

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        with self.lock:
            if self.pool is None or self.process != os.getpid():
                self.pool = ThreadPoolExecutor(available_threads(), "fdezero")
                self.process = os.getpid()
        return self.pool.submit(function, *args)


WORKERS = _Workers()
