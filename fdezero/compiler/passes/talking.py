"""Which operations talk to other processes: collectives, and loops, branches and programs that contain some.

All ranks must run these the same number of times in the same order. So no pass drops, merges, folds or moves them: a region that
may fail is neither dead nor constant. What a call has heard from other ranks is kept until the call ends, and a call that is done
again, operation by operation, hears the same.
"""

from typing import Any

from ...core import Region
from ...ops.collectives import Collective
from ..graph import Graph


def talks(operation: Any) -> bool:
    """Whether an operation talks to other processes."""
    if not isinstance(operation, Region):
        return False
    if isinstance(operation, Collective):
        return True
    parts = [getattr(part, "graph", None) for part in (operation, *vars(operation).values())]
    return any(any_talks(graph) for graph in parts if isinstance(graph, Graph))


def any_talks(graph: Graph) -> bool:
    """Whether any operation of a graph talks to other processes."""
    return any(talks(step.operation) for step in graph.instructions)
