"""Memory that the ranks of one machine share, by a window of MPI, and the steps that they take in it together."""

import os
from typing import Any

import attrs
import numpy as np

from .mpi import mpi

__all__ = ["LINE", "Memory"]

LINE = 64  # bytes: what one rank writes never shares a cache line with what another one writes
TOTAL = 32 << 20  # bytes that all ranks of a machine use at most, so that the memory stays in the last cache
LARGEST = 2 << 20  # bytes of one slot: a larger one saves nothing, because steps are rare already
SLOTS = 4  # two that this rank fills in turn for the others, two with results in turn
ROOM = "/dev/shm"  # where MPI libraries keep such memory on Linux


class Memory:
    """Slots of every rank that all ranks read, and a counter of each rank's steps. All ranks make it together.

    What a rank wrote before a step, the others read after it.
    """

    def __init__(self, comm: Any, capacity: int, watch: Any) -> None:
        """`capacity`: the bytes of a slot. `watch` waits for ranks that come late."""
        self.rank, self.size, self.capacity, self.watch = comm.Get_rank(), comm.Get_size(), capacity, watch
        self.window = mpi().Win.Allocate_shared(LINE + SLOTS * capacity, 1, comm=comm)
        self.window.Lock_all()
        segments = [np.frombuffer(self.window.Shared_query(rank)[0], np.uint8) for rank in range(self.size)]
        notes = [segment[:LINE].view(np.int64).data for segment in segments]
        self.mine, self.theirs = notes[self.rank], [*notes[self.rank + 1 :], *notes[: self.rank]]
        self.mine[0] = self.count = 0
        self.slots = [
            [segment[LINE + k * capacity : LINE + (k + 1) * capacity] for segment in segments] for k in range(SLOTS)
        ]
        self.window.Sync()
        comm.Barrier()

    def step(self, token: int) -> None:
        """Wait until all ranks have taken as many steps as this one. They pass the same token, which says for what.

        With the token goes a digest of all calls until now: messages may look alike and be another tree's.

        Raises what the watch raises: DisagreementError where tokens differ, WaitingError after the limit.
        """
        self.count = count = self.count + 1
        token ^= self.watch.history
        turn = 1 + (count & 1)  # a rank may be one step ahead, but not two
        self.mine[turn] = token
        self.window.Sync()  # the counter is never seen before what was written until now
        self.mine[0] = count
        for notes in self.theirs:
            if notes[0] < count:
                self.watch.wait(self._have_come)
                break
        self.window.Sync()
        for notes in self.theirs:
            if notes[turn] != token:
                raise self.watch.compared()

    def _have_come(self) -> bool:
        count = self.count
        return all(notes[0] >= count for notes in self.theirs)


def capacity_for(size: int) -> int:
    """The bytes of a slot, where `size` ranks share a machine."""
    return max(min(LARGEST, TOTAL // (SLOTS * size)) // LINE * LINE, 64 * LINE)


@attrs.define
class Promised:
    """Memory that this process's worlds may take with their first messages: the room still looks empty."""

    bytes_of_rank: int = 0
    ranks: int = 0  # on this machine

    def add(self, size: int) -> None:
        """A world has `size` ranks on this machine, and shares memory."""
        self.bytes_of_rank += SLOTS * capacity_for(size)


PROMISED = Promised()


def has_room(size: int, promised: Promised = PROMISED) -> bool:
    """Whether the machine has twice the memory that `size` ranks share, beside what is promised. Too little ends a process.

    A container may limit it. The other ranks of the machine have promised as much as this one.
    """
    promised.ranks = max(promised.ranks, size)
    if not os.path.isdir(ROOM):
        return True
    status = os.statvfs(ROOM)
    needed = SLOTS * capacity_for(size)
    return status.f_bavail * status.f_frsize > (2 * needed + promised.bytes_of_rank) * promised.ranks
