"""Memory of generated programs: slots of an arena, and outputs that are reused when nobody holds them."""

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.owners import Reused
from .store import MEMORY

Shape = tuple[int, ...]
Spec = tuple[Shape, Any, Shape]  # shape, dtype, strides
FEW = 1 << 10  # entries of an output from which on it begins on a cache line


def memory(nbytes: int) -> np.ndarray:
    """A slot of the arena. It begins on a cache line."""
    raw = np.empty(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes]


def array(slot: np.ndarray, shape: Shape, dtype: Any, strides: Shape) -> np.ndarray:
    """An array of this layout at the start of a slot."""
    return np.ndarray(shape, dtype, slot, 0, strides)


class Generation:
    """One set of outputs. Programs write to `written`, and every caller gets new views, which hold the `owners` of the memory."""

    __slots__ = ("owners", "written")

    def __init__(self, specs: Sequence[Spec]) -> None:
        self.owners: list[np.ndarray] = []
        self.written: list[np.ndarray] = []
        for spec in specs:
            self.add(spec)

    def add(self, spec: Spec) -> None:
        """Append a new array."""
        shape, dtype, strides = spec
        size, ahead = math.prod(shape), 64 // np.dtype(dtype).itemsize if math.prod(shape) >= FEW else 0
        # NumPy makes this view the base of all others, because its own base has another type.
        owner = Reused((size + ahead,), dtype).view(np.ndarray)
        start = -owner.ctypes.data % 64 // owner.itemsize if ahead else 0
        order = (
            sorted(range(len(shape)), key=lambda axis: (-abs(strides[axis]), axis))
            if owner.size
            else list(range(len(shape)))
        )
        written = (
            owner[start : start + size]
            .reshape([shape[axis] for axis in order])
            .transpose([order.index(axis) for axis in range(len(order))])
        )
        owner.flags.writeable = False  # so that `y.base` of a result cannot be written
        self.owners.append(owner)
        self.written.append(written)

    def counts(self) -> list[int]:
        """The reference counts of the owners. Every view holds its owner."""
        return list(map(sys.getrefcount, self.owners))


def _calibrated() -> int | None:
    """The reference count of an owner that no view holds but the one that programs write through.

    None if counts do not rise with each holder, as in interpreters without reference counting.
    """
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    generation = Generation([((2, 3), np.float32, (12, 4))])
    free = generation.counts()
    whole = generation.written[0].view()
    part = whole[:1].T
    held = generation.counts()
    del whole, part
    told = held == [free[0] + 2] and generation.counts() == free
    return free[0] if told else None


class Outputs:
    """The outputs of a program: a few sets of arrays. A set that nobody refers to is written again.

    A loop `state = step(state)` holds two sets in turn, so three sets suffice. An array that the caller keeps is handed over,
    and its set gets a new array instead.
    """

    MOST_GENERATIONS = 3

    def __init__(self, specs: Sequence[Spec]) -> None:
        self.specs = list(specs)
        self.size = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype, _ in specs)  # of a set, in bytes
        self.generations: list[Generation] = []
        self.free = [FREE] * len(self.specs) if FREE is not None else None

    @property
    def nbytes(self) -> int:
        """The bytes of all sets."""
        return self.size * len(self.generations)

    def take(self) -> Generation:
        """A set of arrays to write into, and what callers get for them."""
        if self.free is None:
            return Generation(self.specs)
        for number, generation in enumerate(self.generations):
            if generation.counts() == self.free:
                if number:  # move the set before it to the end: it is held now, and free when this one is held
                    self.generations.append(self.generations.pop(0))
                return generation
        old = self.generations.pop(0) if len(self.generations) == self.MOST_GENERATIONS else None
        generation = Generation(self.specs) if old is None else self._without_held(old)
        self.generations.append(generation)
        if old is None:
            MEMORY.grow(self.size)
        return generation

    def _without_held(self, old: Generation) -> Generation:
        new, counts = Generation([]), old.counts()
        for i, spec in enumerate(self.specs):
            if counts[i] == FREE:
                new.owners.append(old.owners[i])
                new.written.append(old.written[i])
            else:
                new.add(spec)
        return new


FREE = _calibrated()
