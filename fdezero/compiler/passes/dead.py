"""Dead code: instructions whose results nobody reads are dropped, unless they may raise an error that eager code raises."""

from collections.abc import Sequence
from typing import Any

import attrs

from ...core import Region
from ..graph import Atom, Graph, Instruction, Variable


def drop_dead(graph: Graph) -> Graph:
    """Drop instructions whose results nobody reads, and which cannot fail."""
    makers: dict[Atom, Instruction] = {
        y: instruction for instruction in graph.instructions for y in instruction.outputs
    }
    needed = set(graph.outputs)
    kept: list[Instruction] = []
    for instruction in reversed(graph.instructions):
        if any(v in needed for v in instruction.outputs) or may_raise(instruction, makers):
            needed.update(instruction.inputs)
            kept.append(instruction)
    return attrs.evolve(graph, instructions=tuple(reversed(kept)))


def may_raise(instruction: Instruction, makers: dict[Atom, Instruction]) -> bool:
    """Whether the instruction raises an error for some values of its operands."""
    operation, inputs = instruction.operation, instruction.inputs
    if isinstance(operation, Region):
        return region_may_raise(operation)
    if any(isinstance(atom, Variable) and atom.kind == "number" for atom in inputs):
        return (
            True  # Python's own arithmetic: a division by zero, or an integer that is too large for the dtype beside it
        )
    raises: Any = operation.raises
    return bool(raises(_unchecked(inputs, makers)) if callable(raises) else raises)


def region_may_raise(region: Any) -> bool:
    """Whether a loop or a branch contains an operation that may raise an error. A region without a program may do anything."""
    graphs = [getattr(part, "graph", None) for part in (region, *vars(region).values())]
    programs = [graph for graph in graphs if isinstance(graph, Graph)]
    return not programs or any(
        may_raise(step, {y: i for i in graph.instructions for y in i.outputs})
        for graph in programs
        for step in graph.instructions
    )


def _unchecked(inputs: Sequence[Atom], makers: dict[Atom, Instruction]) -> list[Atom]:
    """The first operand, and those others that no operation has checked."""
    return [*inputs[:1], *[atom for atom in inputs[1:] if not _is_checked(atom, makers)]]


def _is_checked(atom: Atom, makers: dict[Atom, Instruction]) -> bool:
    maker = makers.get(atom)
    while maker is not None and maker.alias is not None:
        maker = makers.get(maker.inputs[maker.alias])
    return maker is not None and not isinstance(maker.operation, Region) and maker.operation.checked
