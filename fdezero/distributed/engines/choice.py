"""Which engine carries the messages of a communicator: by where its ranks are."""

from typing import Any

from .memory import has_room
from .mpi import Mpi, mpi
from .shared import Shared

__all__ = ["engine_of"]


def engine_of(comm: Any) -> Mpi:
    """The engine of a communicator of MPI. All of its ranks ask together, and decide alike.

    Ranks on one machine use its memory. MPI carries messages to other machines, and where memory cannot be shared.
    """
    here = comm.Split_type(mpi().COMM_TYPE_SHARED, comm.Get_rank())
    size = here.Get_size()
    here.Free()
    is_shared = comm.allreduce(1 < size == comm.Get_size() and has_room(size), mpi().LAND)
    return (Shared if is_shared else Mpi)(comm, engine_of)
