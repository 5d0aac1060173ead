"""Kernels on a GPU that do not read each other's results run as one launch, each over a shape of its own: the updates of parameters, say.

A kernel waits until the first of its results is read. Others that are met until then join it. A thread of the launch makes one entry of
one of the kernels, which it finds by its number.
"""

import math
from collections.abc import Sequence

import attrs

from ..graph import Atom, Graph, Instruction, Variable
from . import expressions
from .fuse import Fused
from .launches import is_lazy

MOST_BYTES = 3900  # of arguments: CUDA takes 4 KB in one launch
LINE, AXIS, NUMBER = (
    32,
    32,
    8,
)  # bytes of an array in a line, and of each further axis of one that does not lie like that


class Joint(Fused):
    """Kernels in one launch. `parts` are their programs."""

    def __init__(self, parts: Sequence[Graph]) -> None:
        inputs = tuple(dict.fromkeys([x for part in parts for x in part.inputs]))
        steps = tuple([step for part in parts for step in part.instructions])
        super().__init__(Graph("joint", inputs, steps, tuple([y for part in parts for y in part.outputs])), "joint")
        self.parts = tuple(parts)

    @property
    def entries(self) -> int:
        """How many threads the launch needs."""
        return sum(map(entries_of, self.parts))


def entries_of(part: Graph) -> int:
    """How many entries each result of a kernel has."""
    return math.prod(part.outputs[0].shape)


class _Group:
    """Kernels that may run at one time. It ends where an instruction reads one of their results."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.members: list[Instruction] = []
        self.made: set[Atom] = set()
        self.bytes = 0

    def add(self, instruction: Instruction, nbytes: int) -> None:
        self.members.append(instruction)
        self.made.update(instruction.outputs)
        self.bytes += nbytes

    def joined(self) -> Instruction:
        if len(self.members) == 1:
            return self.members[0]
        operation = Joint([_program_of(member) for member in self.members])
        body = operation.body
        return Instruction(operation, body.inputs, {}, body.outputs, self.members[0].line)  # type: ignore[arg-type]  # outputs of kernels are variables


def joint(graph: Graph) -> Graph:
    """The graph of a program on a GPU, whose kernels are known, with independent kernels in one launch."""
    order: list[Instruction] = []
    groups: list[_Group] = []

    def close_readers(atoms: Sequence[Atom]) -> None:
        for group in [group for group in groups if not group.made.isdisjoint(atoms)]:
            groups.remove(group)
            order.append(group.joined())

    for instruction in graph.instructions:
        close_readers(instruction.inputs)
        nbytes = _bytes_of(instruction)
        if nbytes is None:
            order.append(instruction)
            continue
        device = instruction.output.device
        group = next((g for g in groups if g.device == device and g.bytes + nbytes <= MOST_BYTES), None)
        if group is None:
            groups.append(group := _Group(device))
        group.add(instruction, nbytes)
    order += [group.joined() for group in groups]
    return attrs.evolve(graph, instructions=tuple(order))


def _bytes_of(instruction: Instruction) -> int | None:
    """The bytes of a kernel's arguments; None for what is no kernel, or one with operands that broadcast."""
    is_kernel = isinstance(instruction.operation, Fused) and instruction.operation.mode == "kernel"
    if not is_kernel and not is_lazy(instruction):
        return None
    shape, total = instruction.output.shape, 0
    for atom in (*expressions.operands_of(_program_of(instruction)), *instruction.outputs):
        if atom.kind != "array":
            total += NUMBER
        elif atom.shape not in (shape, ()):
            return None
        else:
            is_line = not isinstance(atom, Variable) or atom.contiguous
            total += LINE if is_line else LINE + AXIS * (len(shape) - 1)
    return total


def _program_of(instruction: Instruction) -> Graph:
    """The program of a kernel, also of one operation."""
    if isinstance(instruction.operation, Fused):
        return instruction.operation.body
    inputs = tuple(dict.fromkeys([x for x in instruction.inputs if isinstance(x, Variable)]))
    return Graph("kernel", inputs, (instruction,), instruction.outputs)
