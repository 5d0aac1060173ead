"""Moves what takes no time down to where it is needed, because a group runs before an operation that reads one of its results."""

import attrs

from ...core import Region
from ..graph import Atom, Graph, Instruction


def sunk(graph: Graph) -> Graph:
    """The graph with views and operations on numbers moved down to their first reader.

    A group runs before an operation that reads one of its results. So a loss that is divided by a number would end the group of its
    sum, although nobody needs the quotient yet.
    """
    waiting: dict[Atom, Instruction] = {}
    order: list[Instruction] = []

    def place(instruction: Instruction) -> None:
        stack = [(instruction, iter(instruction.inputs))]
        while stack:
            step, inputs = stack[-1]
            missing = next((atom for atom in inputs if atom in waiting), None)
            if missing is None:
                order.append(step)
                stack.pop()
            else:  # one at a time, because the next one may read this one
                maker = waiting.pop(missing)
                stack.append((maker, iter(maker.inputs)))

    for instruction in graph.instructions:
        if _is_free(instruction):
            waiting[instruction.output] = instruction
        else:
            place(instruction)
    while waiting:
        place(waiting.pop(next(iter(waiting))))
    return attrs.evolve(graph, instructions=tuple(order))


def _is_free(instruction: Instruction) -> bool:
    """Whether the instruction takes no time worth mentioning, and raises no error."""
    operation = instruction.operation
    if isinstance(operation, Region) or operation.raises:
        return False
    if instruction.alias is not None:
        return True
    return instruction.elementwise and instruction.output.kind != "array"
