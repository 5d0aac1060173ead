"""Kernels on a GPU that do not read each other's results run as one launch, each over its own shape: updates of parameters, for example.

A kernel waits until one of its results is read. Kernels that come before then join the launch, and so do later small kernels whose
operands exist. A thread of the launch makes one entry of one of the kernels, which it finds by its number.
"""

from collections.abc import Sequence

import attrs

from ..graph import Atom, Constant, Graph, Instruction, Variable
from .fuse import Fused
from .regions import MOST_BYTES, Joint, bytes_of
from .waiting import is_lazy

SMALL = 1 << 16  # bytes of results that may be made earlier than they are needed


def joint(graph: Graph) -> Graph:
    """The graph of a program on a GPU, whose kernels are known, with independent kernels in one launch."""
    return _Joining(graph).run()


class _Joining:
    """One run over a graph. `waiting` are kernels that were met, `early` small ones further on whose operands may exist already."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.order: list[Instruction] = []
        self.known: set[Atom] = set(graph.inputs)  # values that exist
        self.sizes = {step: size for step in graph.instructions if (size := _bytes_of(step)) is not None}
        self.waiting: dict[Instruction, None] = {}
        self.early: dict[Instruction, None] = {}
        self.makers = {y: step for step in self.sizes for y in step.outputs}

    def run(self) -> Graph:
        ready = self._ready()
        for number, instruction in enumerate(self.graph.instructions):
            self.early.update(dict.fromkeys(ready.get(number, ())))
            if instruction in self.sizes:
                self.early.pop(instruction, None)
            self._launch([self.makers[x] for x in instruction.inputs if isinstance(x, Variable) and x in self.makers])
            if instruction not in self.sizes:
                self._append(instruction)
            elif not self.known.issuperset(instruction.outputs):
                self.waiting[instruction] = None
        self._launch([*self.waiting])
        return attrs.evolve(self.graph, instructions=tuple(self.order))

    def _ready(self) -> dict[int, list[Instruction]]:
        """Small kernels by the number of the instruction before which their operands exist at the earliest."""
        numbers = {y: i for i, step in enumerate(self.graph.instructions) for y in step.outputs}
        found: dict[int, list[Instruction]] = {}
        for step in self.sizes:
            if sum([y.nbytes for y in step.outputs]) <= SMALL:
                last = max([numbers[x] for x in step.inputs if isinstance(x, Variable) and x in numbers], default=-1)
                found.setdefault(last + 1, []).append(step)
        return found

    def _launch(self, needed: Sequence[Instruction]) -> None:
        """Launch those of these kernels that have not run, and what fits beside them."""
        while needed := [step for step in needed if not self.known.issuperset(step.outputs)]:
            members: list[Instruction] = []
            left, device = MOST_BYTES, needed[0].output.device
            for step in dict.fromkeys([*needed, *self.waiting, *self.early]):
                fits = not members or (step.output.device == device and self.sizes[step] <= left)
                if fits and all(isinstance(x, Constant) or x in self.known for x in step.inputs):
                    members.append(step)
                    left -= self.sizes[step]
            for step in members:
                self.waiting.pop(step, None)
                self.early.pop(step, None)
            self._append(_joined(members))

    def _append(self, instruction: Instruction) -> None:
        self.order.append(instruction)
        self.known.update(instruction.outputs)


def _joined(members: Sequence[Instruction]) -> Instruction:
    if len(members) == 1:
        return members[0]
    operation = Joint([_program_of(member) for member in members])
    body = operation.body
    return Instruction(operation, body.inputs, {}, body.outputs, members[0].line)  # type: ignore[arg-type]  # outputs of kernels are variables


def _bytes_of(instruction: Instruction) -> int | None:
    """The bytes of a kernel's arguments; None for what is no kernel."""
    is_kernel = isinstance(instruction.operation, Fused) and instruction.operation.mode == "kernel"
    return bytes_of(_program_of(instruction)) if is_kernel or is_lazy(instruction) else None


def _program_of(instruction: Instruction) -> Graph:
    """The program of a kernel, also of one operation."""
    if isinstance(instruction.operation, Fused):
        return instruction.operation.body
    inputs = tuple(dict.fromkeys([x for x in instruction.inputs if isinstance(x, Variable)]))
    return Graph("kernel", inputs, (instruction,), instruction.outputs)
