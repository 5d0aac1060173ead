"""Results that native loops store past the caches.

A processor reads a line of memory before a part of it is written. A result that nobody reads before the caches are full again need
not take that way: its lines are written whole. So a step of an optimiser reads and writes each array once.
"""

import collections

from ..graph import Graph, Variable
from .plan import Plan

CACHES = 1 << 25  # bytes of results from which on the next reader finds nothing of them in the caches


def streamed(graph: Graph, plan: Plan) -> frozenset[Variable]:
    """The outputs that the program does not read itself, in memory of their own; none if all outputs fit into the caches."""
    outputs = [atom for atom in graph.outputs if isinstance(atom, Variable) and atom in plan.storages]
    if sum(plan.storages[y].like.nbytes for y in dict.fromkeys(outputs)) < CACHES:
        return frozenset()
    read = {plan.roots.get(atom, atom) for instruction in graph.instructions for atom in instruction.inputs}
    holds = collections.Counter(plan.storages.values())
    return frozenset(y for y in outputs if y not in read and holds[plan.storages[y]] == 1)
