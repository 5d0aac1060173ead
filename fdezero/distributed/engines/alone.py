"""Engines without messages: that of a world of one, where every message is a copy, and that of a process which is no rank."""

from typing import Any, NoReturn

from ...errors import StructureError
from .engine import Engine


class Alone(Engine):
    """One rank. Nothing is imported, and nobody is asked."""

    name = "none"
    rank, size = 0, 1

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        if out is not x:
            out[...] = x

    def all_gather(self, x: Any, out: Any) -> None:
        out[0] = x

    def reduce_scatter(self, x: Any, out: Any) -> None:
        out[...] = x[0]

    def broadcast(self, x: Any, root: int) -> None:
        pass

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        out[...] = x

    def barrier(self) -> None:
        pass

    def split(self, colour: int) -> Engine:
        return self


class Absent(Engine):
    """The engine of a process that a rank has started. It has the rank's place, and refuses to talk."""

    name = "mpi"
    remark = "in a process that this rank has started, which takes part in no collective"

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def refuse(self, *arguments: Any, **options: Any) -> NoReturn:
        """Raise StructureError."""
        raise StructureError(
            f"a collective was called in a process that rank {self.rank} has started, such as a worker of a pool or of a loader. Only the "
            'processes that the launcher started take part: call it there, or compute alone with fd.distributed.world("none").'
        )

    all_reduce = all_gather = reduce_scatter = broadcast = permute = barrier = tree_sum = colours = split = (
        streaming
    ) = refuse
