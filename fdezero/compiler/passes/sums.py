"""Sums of cotangents as NumPy's `sum`, which groups of native loops and kernels of a GPU compute along with other operations."""

import attrs

from ...ops.reductions import sum_axes, sum_in_front
from ..graph import Graph, Instruction


def with_plain_sums(graph: Graph) -> Graph:
    """The graph with `sum` in place of `sum_in_front`. The bits may change, which loops of ours do not promise anyway."""

    def plain(step: Instruction) -> Instruction:
        if step.operation is not sum_in_front:
            return step
        count, ndim = step.params["count"], step.params["ndim"]
        params = {"axes": tuple(range(-ndim - count, -ndim)), "keepdims": False}
        return attrs.evolve(step, operation=sum_axes, params=params)

    return attrs.evolve(graph, instructions=tuple(map(plain, graph.instructions)))
