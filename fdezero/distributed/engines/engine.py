"""What an engine is: it carries flat arrays between the ranks of a world."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

Arrays = Sequence[Any]

SHARED = 1 << 13  # bytes; below, fewer messages take less time than shorter ones


class Engine:
    """The messages of one world. Arrays are contiguous in C order, of a dtype that NumPy has, and alike on all ranks.

    `op` is "sum", "max" or "min". NaN is the greatest and the least of all, as in NumPy. `out` may be `x` itself where the shapes
    are equal, and never overlaps it otherwise. A call returns when `out` is complete.
    """

    name: str
    rank: int
    size: int
    watch: Any = None  # a `Watch`, which compares the ranks' calls and waits with a limit; None in a world of one
    remark: str = ""  # what a user should know, beside the name

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        """Write the reduction over ranks into `out`, entry by entry: x (n,) -> out (n,)."""
        raise NotImplementedError

    def all_gather(self, x: Any, out: Any) -> None:
        """Write the arrays of all ranks into the rows of `out`: x (n,) -> out (size, n)."""
        raise NotImplementedError

    def reduce_scatter(self, x: Any, out: Any) -> None:
        """Write this rank's row of the sum over ranks into `out`: x (size, n) -> out (n,)."""
        raise NotImplementedError

    def broadcast(self, x: Any, root: int) -> None:
        """Write the array of rank `root` into x (n,) on every other rank."""
        raise NotImplementedError

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        """Send x (n,) to rank `to`, and write what rank `source` sends into `out` (n,)."""
        raise NotImplementedError

    def barrier(self) -> None:
        """Wait until all ranks have come here."""
        raise NotImplementedError

    def tree_sum(self, x: Any, out: Any) -> None:
        """Write the sum over ranks, a power of two, into `out`, added in one binary tree: 0 + 1, 2 + 3, then these sums, and so on.

        Each pair exchanges halves and adds its own; then quarters, over pairs of pairs. So every rank adds a part of the entries, and
        sends and gets as little as in a ring. At the end the parts go back the same way. Few entries are exchanged whole. Halves of an
        odd number share an entry, which both add, so that all messages of a step are equally long.
        """
        if out is not x:
            out[...] = x
        shares = out.nbytes >= SHARED
        received = np.empty_like(out, shape=((out.size + 1) // 2 if shares else out.size,))
        start, stop = 0, out.size
        steps: list[tuple[int, int, int]] = []
        distance = 1
        while distance < self.size:
            other, is_left = self.rank ^ distance, not self.rank & distance
            mine = theirs = (start, stop)
            if shares:
                steps.append((other, start, stop))
                count = (stop - start + 1) // 2
                mine, theirs = (start, start + count), (stop - count, stop)
                if not is_left:
                    mine, theirs = theirs, mine
            here, got = out[slice(*mine)], received[: mine[1] - mine[0]]
            self._exchange(out[slice(*theirs)], got, other)
            np.add(*((here, got) if is_left else (got, here)), out=here)
            start, stop = mine
            distance *= 2
        for other, first, last in reversed(steps):
            count = stop - start
            rest = (last - count, last) if start == first else (first, first + count)
            self._exchange(out[start:stop], out[slice(*rest)], other)
            start, stop = first, last

    def _exchange(self, x: Any, out: Any, other: int) -> None:
        """Send x to another rank, and write what it sends into `out`."""
        self.permute(x.view(np.uint8), out.view(np.uint8), other, other)

    def streaming(self, xs: Sequence[Any]) -> "Streaming | None":
        """What carries these arrays as one message without packing them; None where they are packed for this engine."""
        return None

    def colours(self, colour: int) -> list[int]:
        """The colours that the ranks pass, in the order of ranks, before they split. Raises WaitingError if a rank does not come."""
        return self.gathered(colour)

    def split(self, colour: int) -> "Engine":
        """The engine of those ranks that call this with the same colour, in their order. All have asked for `colours` before."""
        raise NotImplementedError

    def local(self) -> tuple[int, int]:
        """This rank's number among the ranks on its machine, and how many these are."""
        return self.rank, self.size

    def gathered(self, number: int) -> list[int]:
        """The whole numbers that the ranks pass, in the order of ranks."""
        return [number]


class Streaming(Protocol):
    """An engine that takes several arrays as one message. It computes each in its dtype of `dtypes`, and rounds the result once.

    `op` is also "mean", and "tree" for the sum as `tree_sum` adds. Arrays are those of `Engine`, one by one, and none is empty.
    """

    size: int

    def all_reduce_each(self, xs: Arrays, outs: Arrays, dtypes: Arrays, op: str) -> None: ...

    def all_gather_each(self, xs: Arrays, outs: Arrays) -> None: ...

    def reduce_scatter_each(self, xs: Arrays, outs: Arrays, dtypes: Arrays) -> None: ...

    def broadcast_each(self, xs: Arrays, root: int) -> None: ...


class StreamingEngine(Engine, Streaming):
    """An engine for which one array is a message of several arrays, with one in it."""

    def streaming(self, xs: Arrays) -> Streaming:
        return self

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        self.all_reduce_each([x], [out], [x.dtype], op)

    def all_gather(self, x: Any, out: Any) -> None:
        self.all_gather_each([x], [out])

    def reduce_scatter(self, x: Any, out: Any) -> None:
        self.reduce_scatter_each([x], [out], [x.dtype])

    def broadcast(self, x: Any, root: int) -> None:
        self.broadcast_each([x], root)
