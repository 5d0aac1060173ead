"""Bounds on what compiled code keeps for later calls: the least recently used goes first, by number and by bytes."""

import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST_BYTES = 1 << 30  # of arenas and outputs that idle programs keep, all compiled functions together


class Recent(OrderedDict[K, V]):
    """A dict of at most `most` entries. A further entry takes the place of the one that was found or kept longest ago."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def find(self, key: K) -> V | None:
        """The value of `key`, which is then the most recent one; None if there is none."""
        try:
            self.move_to_end(key)
            return self[key]
        except KeyError:  # also where another thread drops the entry in between
            return None

    def keep(self, key: K, value: V) -> V:
        """Add an entry and return its value."""
        self[key] = value
        while len(self) > self.most:
            self.popitem(last=False)
        return value


class Keeper(Protocol):
    """What keeps memory between its calls: `used` grows with every call, and `release` gives idle memory back."""

    used: int

    @property
    def nbytes(self) -> int: ...

    def release(self) -> None: ...


class Memory:
    """Counts the bytes that programs keep between calls. Above `most`, those used longest ago give theirs back.

    A program that has given its memory back allocates anew in its next call. Nothing is recorded or compiled again. Between two
    sums over all programs, `total` is an upper bound of the bytes.
    """

    def __init__(self, most: int) -> None:
        self.most, self.total = most, 0
        self._keepers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.RLock()

    def add(self, keeper: Keeper) -> None:
        """From now on, the memory of `keeper` counts."""
        with self._lock:
            self._keepers.add(keeper)

    def grow(self, nbytes: int) -> None:
        """A program has allocated `nbytes`, which it will keep."""
        with self._lock:
            self.total += nbytes
            if self.total > self.most:
                self._trim()

    def _trim(self) -> None:
        keepers = sorted(self._keepers, key=lambda keeper: keeper.used)
        held = [keeper.nbytes for keeper in keepers]
        self.total = sum(held)
        for keeper, before in zip(keepers, held, strict=True):
            if self.total <= self.most:
                break
            keeper.release()
            self.total += keeper.nbytes - before


MEMORY = Memory(MOST_BYTES)
USES = itertools.count()
