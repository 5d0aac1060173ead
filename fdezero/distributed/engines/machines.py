"""The engine of ranks on several machines, equally many on each: sums pass through each machine's memory, then between machines.

Every rank adds one part of its machine's arrays, and exchanges that part with the ranks of the same number on the other machines. So
what travels between machines is the least there can be, and all ranks take part in it.
"""

from collections.abc import Callable
from typing import Any

from ..waiting import EVERY
from .engine import Engine
from .mpi import Mpi, mpi, operation_of
from .shared import Shared

__all__ = ["Machines"]

SMALL = 1 << 16  # bytes: less goes by MPI's own call, because three steps would take longer than one


class Machines(Mpi):
    """The ranks of `comm`. `here` has those of this machine, as many as on every other one."""

    def __init__(self, comm: Any, here: Any, make: Callable[[Any], Engine] | None = None, small: int = SMALL) -> None:
        super().__init__(comm, make)
        self.here, self.small = Shared(here, watch=self.watch), small
        self.watch.every = EVERY  # shared memory compares each message of its own, but not those between machines
        self.across = comm.Split(self.here.rank, self.rank)

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        if x.nbytes <= self.small:
            super().all_reduce(x, out, op)
            return
        count = self.here.size
        whole = x.size - x.size % count
        rows, results = x[:whole].reshape(count, -1), out[:whole].reshape(count, -1)
        part = results[self.here.rank]
        self.here.reduce_scatter_each([rows], [part], [x.dtype], op)
        self._reduce_across(part, op)
        self.here.all_gather_each([part], [results])
        if whole < x.size:
            self.here.all_reduce(x[whole:], out[whole:], op)
            self._reduce_across(out[whole:], op)

    def _reduce_across(self, x: Any, op: str) -> None:
        """The reduction over machines, in place."""
        self.watch.wait(self.across.Iallreduce(mpi().IN_PLACE, x, operation_of(op, x.dtype.kind)).Test)
