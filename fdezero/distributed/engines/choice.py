"""Which engine carries the messages of a communicator: by where its ranks are."""

from typing import Any

from .machines import Machines
from .memory import PROMISED, has_room
from .mpi import Mpi, mpi
from .shared import Shared

__all__ = ["engine_of"]


def engine_of(comm: Any) -> Mpi:
    """The engine of a communicator of MPI. All of its ranks ask together, and decide alike.

    Ranks of one machine use its memory, also where there are several machines with equally many ranks. MPI carries all other messages.
    """
    here = comm.Split_type(mpi().COMM_TYPE_SHARED, comm.Get_rank())
    counts = comm.allgather(here.Get_size() if has_room(here.Get_size()) else 0)
    if min(counts) == max(counts) > 1:
        PROMISED.add(counts[0])
        if counts[0] == len(counts):
            here.Free()
            return Shared(comm, engine_of)
        return Machines(comm, here, engine_of)
    here.Free()
    return Mpi(comm, engine_of)
