"""What an engine is: it carries flat arrays between the ranks of a world."""

from typing import Any


class Engine:
    """The messages of one world. Arrays are contiguous in C order, of a dtype that NumPy has, and alike on all ranks.

    `op` is "sum", "max" or "min". NaN is the greatest and the least of all, as in NumPy. `out` may be `x` itself where the shapes
    are equal, and never overlaps it otherwise. A call returns when `out` is complete.
    """

    name: str
    rank: int
    size: int
    watch: Any = (
        None  # compares the ranks' calls, and waits with a limit: a `Watch`; None where nobody can be waited for
    )
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

    def split(self, colour: int) -> "Engine":
        """The engine of those ranks that call this with the same colour, in their order."""
        raise NotImplementedError

    def local(self) -> tuple[int, int]:
        """This rank's number among the ranks on its machine, and how many these are."""
        return self.rank, self.size

    def gathered(self, number: int) -> list[int]:
        """The whole numbers that the ranks pass, in the order of ranks."""
        return [number]
