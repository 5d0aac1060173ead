"""Groups of numbers: a run of operations on single numbers becomes one C++ function, because each is a call of Python by itself.

Only floating numbers and truth values are computed there. Integers of Python have no bounds, and those of NumPy warn where they
overflow. Where Python refuses an operation on its own numbers, such as 1.0 / 0.0, the operation stays outside.
"""

import operator
from collections.abc import Callable

import attrs

from ...core import Primitive
from ..graph import Atom, Constant, Graph, Instruction, Variable
from .fuse import Fused

TOTAL = {operator.add, operator.sub, operator.mul, operator.neg, operator.pos}  # of floats: they never refuse
MOST_GIVEN = 256  # operands and results of a group
# A call costs as much as a few operations, and so do operands and results: about 0.4, 0.1 and 0.06 us each (timeit).
CALL, EACH = 5, 0.7


def group_numbers(graph: Graph, is_native: Callable[[Instruction], bool]) -> Graph:
    """The graph with runs of operations on numbers as one instruction each, where that pays.

    A run grows until an operation outside needs one of its results. It runs just before that operation.
    """
    last: dict[Atom, int] = {atom: number for number, step in enumerate(graph.instructions) for atom in step.inputs}
    last.update(dict.fromkeys(graph.outputs, len(graph.instructions)))
    instructions: list[Instruction] = []
    waiting: list[Instruction] = []
    made: set[Atom] = set()
    given: set[Atom] = set()

    def close(number: int) -> None:
        instructions.extend(_as_one(waiting, last, number))
        waiting.clear()
        made.clear()
        given.clear()

    for number, step in enumerate(graph.instructions):
        if _is_of_numbers(step, last) and is_native(step):
            new = {atom for atom in step.inputs if isinstance(atom, Variable) and atom not in made}
            if len(given | new) > MOST_GIVEN:
                close(number)
                new = {atom for atom in step.inputs if isinstance(atom, Variable)}
            waiting.append(step)
            made.add(step.output)
            given |= new
        else:
            if not made.isdisjoint(step.inputs):
                close(number)
            instructions.append(step)
    close(len(graph.instructions))
    return attrs.evolve(graph, instructions=tuple(instructions))


def _is_of_numbers(step: Instruction, last: dict[Atom, int]) -> bool:
    """Whether a group may contain the operation: on numbers, with a number as its result, which something reads."""
    y, operation = step.output, step.operation
    if not isinstance(operation, Primitive) or not step.elementwise or y.kind == "array" or y not in last:
        return False
    if y.dtype.kind not in "fb" or not any(isinstance(atom, Variable) for atom in step.inputs):
        return False
    written = [type(atom.value) is int if isinstance(atom, Constant) else False for atom in step.inputs]  # as a literal
    if any(atom.shape or not (atom.dtype.kind in "fb" or w) for atom, w in zip(step.inputs, written, strict=True)):
        return False
    return y.kind == "scalar" or (y.dtype.kind == "f" and operation.impl in TOTAL)


def _as_one(steps: list[Instruction], last: dict[Atom, int], number: int) -> list[Instruction]:
    """The steps as one instruction, if that pays; `number` is that of the instruction that follows them."""
    made = {step.output for step in steps}
    read = tuple(dict.fromkeys([a for step in steps for a in step.inputs if isinstance(a, Variable) and a not in made]))
    outputs = tuple([step.output for step in steps if last[step.output] >= number])
    if len(steps) < CALL + EACH * (len(read) + len(outputs)) or len(outputs) > MOST_GIVEN:
        return list(steps)
    # Results of one type lie in one array.
    outputs = tuple(sorted(outputs, key=lambda y: (y.dtype.name, y.kind)))
    return [
        Instruction(Fused(Graph("fused", read, tuple(steps), outputs), "numbers"), read, {}, outputs, steps[0].line)
    ]
