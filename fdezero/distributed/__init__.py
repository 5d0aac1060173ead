"""Several processes: the same script on one core, many cores, many machines. See docs/guides/processes.md.

Nothing here imports MPI before `world()` finds that a launcher started the process.
"""

from .operations import all_gather, all_reduce, barrier, broadcast, permute, reduce_scatter
from .worlds import World, world

__all__ = ["World", "all_gather", "all_reduce", "barrier", "broadcast", "permute", "reduce_scatter", "world"]
