"""Dead code: instructions whose results nobody reads are dropped."""

import attrs

from ..graph import Graph, Instruction


def drop_dead(graph: Graph) -> Graph:
    """Drop instructions whose results nobody reads."""
    needed = set(graph.outputs)
    kept: list[Instruction] = []
    for instruction in reversed(graph.instructions):
        if any(v in needed for v in instruction.outputs):
            needed.update(instruction.inputs)
            kept.append(instruction)
    return attrs.evolve(graph, instructions=tuple(reversed(kept)))
