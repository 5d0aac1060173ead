"""The engine of ranks on one machine: arrays go piece by piece through memory that all ranks share, and nothing is packed.

A piece is added while it is in a cache. Two ranks exchange whole pieces. Of more ranks each adds one share, and reads the sums of
the others. So every entry is added once, on one rank.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...compiler.running.store import Recent
from ..waiting import Watch
from .engine import Arrays, Engine, StreamingEngine
from .memory import LINE, SLOTS, Memory, capacity_for
from .mpi import Mpi
from .pieces import Piece, rounds

__all__ = ["Shared"]

UFUNCS: dict[str, Any] = {"sum": np.add, "tree": np.add, "mean": np.add, "max": np.maximum, "min": np.minimum}
SMALL = 1 << 16  # bytes: for less, every rank adds what all ranks have, because a second step would take longer
MOST_PLANS = 64  # signatures whose pieces are kept


class Cell:
    """One piece: its views of the slots of one turn. They live as long as the memory."""

    __slots__ = ("array", "mine", "owner", "result", "start", "stop", "theirs")

    def __init__(self, piece: Piece, owner: int, mine: Arrays, theirs: Arrays, result: Any) -> None:
        """`mine`: where this rank writes; `theirs`: what it reads, rank by rank; `result`: the sum of the rank that adds."""
        self.array, self.start, self.stop = piece.array, piece.start, piece.stop
        self.owner, self.mine, self.theirs, self.result = owner, mine, theirs, result

    def of(self, arrays: Arrays) -> Any:
        """The entries of this piece."""
        return arrays[self.array][self.start : self.stop]


class Plan(NamedTuple):
    """How a message passes: for each round its cells in even and in odd steps. The token is the same on all ranks."""

    rounds: list[tuple[list[Cell], list[Cell]]]
    token: int


class Shared(StreamingEngine, Mpi):
    """The ranks of one communicator, which are all on one machine. Arrays are NumPy's.

    Sums are binary trees over ranks, ((0 + 1) + (2 + 3)) + ..., for messages of every size. All ranks get the same bits.
    """

    def __init__(
        self,
        comm: Any,
        make: Callable[[Any], Engine] | None = None,
        watch: Watch | None = None,
        capacity: int | None = None,
    ) -> None:
        """`capacity`: the bytes of a slot."""
        super().__init__(comm, make, watch)
        self.watch.every = 0  # the shared memory compares every step
        self._capacity = capacity_for(self.size) if capacity is None else capacity
        self._memory: Memory | None = None
        self._plans: Recent[Any, Plan] = Recent(MOST_PLANS)
        self._scratch: list[Any] = []

    @property
    def memory(self) -> Memory:
        """The shared memory. The first message makes it, and all ranks send that."""
        if self._memory is None:
            self._memory = Memory(self.comm, self._capacity, self.watch)
        return self._memory

    def tree_sum(self, x: Any, out: Any) -> None:
        self.all_reduce_each([x], [out], [x.dtype], "tree")

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        memory, plan = self.memory, self._plan("all", "permute", [x], [x.dtype])
        for turns in plan.rounds:
            cells = turns[memory.count & 1]
            for cell in cells:
                cell.mine[0][...] = cell.of([x])
            memory.step(plan.token)
            for cell in cells:
                cell.of([out])[...] = cell.theirs[source]

    def _exchange(self, x: Any, out: Any, other: int) -> None:
        super().permute(x.view(np.uint8), out.view(np.uint8), other, other)  # lengths differ from rank to rank

    def barrier(self) -> None:
        self.memory.step(0)

    def all_reduce_each(self, xs: Arrays, outs: Arrays, dtypes: Arrays, op: str) -> None:
        with np.errstate(all="ignore"):  # as MPI does
            if self.size == 2 or sum([x.nbytes for x in xs]) <= SMALL:
                self._all_add(xs, outs, dtypes, op)
            else:
                self._add_shares(xs, outs, dtypes, op)

    def all_gather_each(self, xs: Arrays, outs: Arrays) -> None:
        memory, rank, plan = self.memory, self.rank, self._plan("all", "gather", xs, [x.dtype for x in xs])
        for turns in plan.rounds:
            cells = turns[memory.count & 1]
            for cell in cells:
                cell.mine[0][...] = x = cell.of(xs)
                outs[cell.array][rank, cell.start : cell.stop] = x
            memory.step(plan.token)
            for cell in cells:
                rows = outs[cell.array][:, cell.start : cell.stop]
                for other, theirs in enumerate(cell.theirs):
                    if other != rank:
                        rows[other] = theirs

    def reduce_scatter_each(self, xs: Arrays, outs: Arrays, dtypes: Arrays, op: str = "sum") -> None:
        memory, plan = self.memory, self._plan("rows", f"scatter {op}", outs, dtypes)
        with np.errstate(all="ignore"):
            for turns in plan.rounds:
                cells = turns[memory.count & 1]
                for cell in cells:
                    rows = xs[cell.array][:, cell.start : cell.stop]
                    for row, mine in zip(rows, cell.mine, strict=True):
                        mine[...] = row
                memory.step(plan.token)
                for cell in cells:
                    self._reduce(cell.theirs, cell.of(outs), op)

    def broadcast_each(self, xs: Arrays, root: int) -> None:
        memory, plan = self.memory, self._plan("all", f"from {root}", xs, [x.dtype for x in xs])
        for turns in plan.rounds:
            cells = turns[memory.count & 1]
            if self.rank == root:
                for cell in cells:
                    cell.mine[0][...] = cell.of(xs)
            memory.step(plan.token)
            if self.rank != root:
                for cell in cells:
                    cell.of(xs)[...] = cell.theirs[root]

    def _all_add(self, xs: Arrays, outs: Arrays, dtypes: Arrays, op: str) -> None:
        """Every rank adds all entries of all ranks: one step for each round."""
        memory, rank, is_pair = self.memory, self.rank, self.size == 2
        plan = self._plan("all", op, xs, dtypes)
        for turns in plan.rounds:
            cells = turns[memory.count & 1]
            for cell in cells:
                cell.mine[0][...] = cell.of(xs)
            memory.step(plan.token)
            for cell in cells:
                operands = cell.theirs
                x = cell.of(xs)
                if is_pair and x.dtype == operands[0].dtype:  # it is nearer than the copy in the slot
                    operands = (x, operands[1]) if rank == 0 else (operands[0], x)
                self._reduce(operands, cell.of(outs), op)

    def _add_shares(self, xs: Arrays, outs: Arrays, dtypes: Arrays, op: str) -> None:
        """Every rank adds its share of a round. While it does, the next round is written, and the sums of the last one are read."""
        memory, rank = self.memory, self.rank
        plan, first = self._plan("shares", op, xs, dtypes), memory.count
        rounds, steps = plan.rounds, len(plan.rounds)
        for step in range(steps + 2):
            if step < steps:
                for cell in rounds[step][first + step & 1]:
                    cell.mine[0][...] = cell.of(xs)
            if 0 < step <= steps:
                for cell in rounds[step - 1][first + step - 1 & 1]:
                    if cell.owner == rank:
                        self._reduce(cell.theirs, cell.result, op)
                        np.copyto(cell.of(outs), cell.result, casting="unsafe")
            if step > 1:
                for cell in rounds[step - 2][first + step & 1]:
                    if cell.owner != rank:
                        np.copyto(cell.of(outs), cell.result, casting="unsafe")
            if step <= steps:
                memory.step(plan.token)

    def _reduce(self, operands: Arrays, out: Any, op: str) -> None:
        """Write the reduction of one piece into `out`, rounded once if it has another dtype."""
        target = out if out.dtype == operands[0].dtype else self._room(operands[0], 0)
        self._tree(UFUNCS[op], operands, target, 1)
        if op == "mean":
            np.divide(target, self.size, out=target)
        if target is not out:
            np.copyto(out, target, casting="unsafe")

    def _tree(self, ufunc: Callable[..., Any], operands: Arrays, out: Any, level: int) -> None:
        """Two operands or more in a binary tree."""
        half = 1 << (len(operands) - 1).bit_length() - 1
        left, right = operands[0], operands[-1]
        if half > 1:
            self._tree(ufunc, operands[:half], out, level)
            left = out
        if len(operands) - half > 1:
            right = self._room(out, level)
            self._tree(ufunc, operands[half:], right, level + 1)
        ufunc(left, right, out=out)

    def _room(self, like: Any, level: int) -> Any:
        """Scratch memory for a piece; each level of a tree has its own."""
        while len(self._scratch) <= level:
            self._scratch.append(np.empty(self.memory.capacity, np.uint8))
        return self._scratch[level][: like.nbytes].view(like.dtype)

    def _plan(self, kind: str, name: str, arrays: Arrays, dtypes: Arrays) -> Plan:
        """The plan of a message. `kind`: "all" ranks read a whole slot, "shares" have owners, "rows" are one for each rank."""
        key = (kind, name, *[(x.size, dtype) for x, dtype in zip(arrays, dtypes, strict=True)])
        found = self._plans.find(key)
        return found if found is not None else self._plans.keep(key, self._planned(kind, name, key[2:]))

    def _planned(self, kind: str, name: str, arrays: Sequence[Any]) -> Plan:
        memory = self.memory
        words = repr((kind, name, [(size, dtype.str) for size, dtype in arrays])).encode()
        capacity = memory.capacity // self.size if kind == "rows" else memory.capacity
        made = []
        for parts in rounds(arrays, capacity, self.size if kind == "shares" else 1):
            both = []
            for turn in range(2):
                slots, results = memory.slots[turn], memory.slots[SLOTS // 2 + turn]
                both.append(
                    [
                        self._cell(kind, piece, owner, arrays[piece.array][1], slots, results)
                        for owner, pieces in enumerate(parts)
                        for piece in pieces
                    ]
                )
            made.append((both[0], both[1]))
        return Plan(made, int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little") >> 2)

    def _cell(self, kind: str, piece: Piece, owner: int, dtype: Any, slots: Arrays, results: Arrays) -> Cell:
        def view(slot: Any, row: int = 0) -> Any:
            at = piece.at + row * row_length
            return slot[at : at + (piece.stop - piece.start) * dtype.itemsize].view(dtype)

        row_length = self.memory.capacity // self.size // LINE * LINE
        mine = slots[self.rank]
        if kind == "rows":
            rows = range(self.size)
            return Cell(
                piece, owner, [view(mine, row) for row in rows], [view(slot, self.rank) for slot in slots], None
            )
        return Cell(
            piece,
            owner,
            [view(mine)],
            [view(slot) for slot in slots],
            view(results[owner]) if kind == "shares" else None,
        )
