"""The engine of MPI, through mpi4py."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import MissingExtraError
from ..failing import notes_of_run
from ..waiting import Watch
from .engine import Engine


@functools.cache
def mpi() -> Any:
    """The module `mpi4py.MPI`, whose import starts MPI. Raises MissingExtraError where it is not installed."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise MissingExtraError(
            "several processes need mpi4py and an MPI library: pip install 'fdezero[mpi]'"
        ) from error
    except RuntimeError as error:  # mpi4py is there, but the library of MPI is not
        raise MissingExtraError(
            f"mpi4py does not find an MPI library ({error}): pip install 'fdezero[mpi]', or install Open MPI or MPICH."
        ) from error
    return MPI


@functools.cache
def operation_of(op: str, kind: str) -> Any:
    """MPI's operation for a kind of dtype. MPI's own max drops NaN or keeps it, as it comes, so floats have NumPy's."""
    MPI = mpi()
    if op == "sum":
        return MPI.SUM
    if kind == "b":
        return MPI.LOR if op == "max" else MPI.LAND
    if kind != "f":
        return MPI.MAX if op == "max" else MPI.MIN
    ufunc = np.maximum if op == "max" else np.minimum

    def extreme(x: Any, y: Any, datatype: Any) -> None:
        dtype = np.dtype(f"f{datatype.Get_size()}")
        total = np.frombuffer(y, dtype)
        ufunc(np.frombuffer(x, dtype), total, out=total)

    return MPI.Op.Create(extreme, commute=True)


class Mpi(Engine):
    """The ranks of one communicator of MPI.

    Calls do not block: a rank looks again and again whether its message has come. So it can give the core away, take Ctrl-C, and
    say which rank does not come.
    """

    name = "mpi"

    def __init__(self, comm: Any, make: Callable[[Any], Engine] | None = None, watch: Watch | None = None) -> None:
        """`make` gives the engine of a part of the world; by default that of MPI. `watch` is that of another engine."""
        self.comm, self.make = comm, make or Mpi
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.watch = watch or Watch(comm, notes_of_run(mpi()))

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        given = mpi().IN_PLACE if x is out else x
        self.watch.wait(self.comm.Iallreduce(given, out, operation_of(op, x.dtype.kind)).Test)

    def all_gather(self, x: Any, out: Any) -> None:
        self.watch.wait(self.comm.Iallgather(x, out).Test)

    def reduce_scatter(self, x: Any, out: Any) -> None:
        self.watch.wait(self.comm.Ireduce_scatter_block(x, out, mpi().SUM).Test)

    def broadcast(self, x: Any, root: int) -> None:
        self.watch.wait(self.comm.Ibcast(x, root).Test)

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        arriving = self.comm.Irecv(out, source)
        leaving = self.comm.Isend(x, to)
        self.watch.wait(lambda: arriving.Test() and leaving.Test())

    def barrier(self) -> None:
        self.watch.wait(self.comm.Ibarrier().Test)

    def colours(self, colour: int) -> list[int]:
        self.watch.meet_for("split")  # MPI's own call would wait without a limit
        self.barrier()
        return self.gathered(colour)

    def split(self, colour: int) -> Engine:
        return self.make(self.comm.Split(colour, self.rank))

    def local(self) -> tuple[int, int]:
        MPI = mpi()
        here = self.comm.Split_type(MPI.COMM_TYPE_SHARED, self.rank)
        try:
            return here.Get_rank(), here.Get_size()
        finally:
            here.Free()

    def gathered(self, number: int) -> list[int]:
        return list(self.comm.allgather(number))
