"""Fusion on a GPU, for few launches: a value is computed in the kernel that needs it, and a sum or a maximum takes its operand along.

An elementwise operation does not run where it stands. It waits, as a definition, until another kind of operation or the program
needs its value. Then one kernel computes that value from arrays that exist, together with other values of its shape that are needed
later. Operands broadcast, so values of smaller shapes are computed inside, as often as they are needed: a launch takes longer than
some arithmetic. A sum or a maximum over axes of such a value is a `Reduced`: its kernel computes the value entry by entry, and
elementwise operations on the result alone follow in the same kernel.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ...ops import shape as shapes
from ..graph import Atom, Constant, Graph, Instruction, Variable, row_strides
from . import expressions
from .fuse import Fused
from .joins import Joins, is_join
from .regions import Reduced
from .waiting import WHOLE, Slices, adds_axes, is_lazy, is_reduction, is_slice, operand_count, read_by, turned_shape

MOST_REPEATED = 12  # operations that are computed again, if another kernel also needs their value
MOST_CHEAP = 2  # operations of a value that is not worth memory: a later kernel computes it again


def launches(graph: Graph) -> Graph:
    """The graph of a program on a GPU, with one instruction for each kernel."""
    return _Launches(graph).run()


class _Launches:
    """One run over a graph. `waiting` are the definitions of values that do not exist yet, in the order in which they stand."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.joins = Joins(self)
        self.order: list[Instruction] = []
        self.waiting: dict[Variable, Instruction] = {}
        self.numbers: dict[Variable, int] = {}  # of definitions, in their order
        # Wanted values that wait, by shape and device
        self.together: dict[tuple[tuple[int, ...], str], dict[Variable, None]] = {}
        self.views: dict[Variable, Instruction] = {}  # of arrays that exist, made when a kernel needs them
        # Values in another shape, with axes of length 1 more or less
        self.turned: dict[tuple[Atom, tuple[int, ...]], Atom] = {}
        self.parts: dict[tuple[Atom, Slices], Atom] = {}  # slices of values
        self.readers: dict[Atom, list[Instruction]] = {}
        self.makers: dict[Atom, int] = {}  # the position in `order` of the sum or maximum that makes a value
        self.passed: set[Instruction] = set()  # operations that wait or stand in `order`
        self.wanted: set[Atom] = set(graph.outputs)
        for instruction in graph.instructions:
            for atom in dict.fromkeys(instruction.inputs):
                self.readers.setdefault(atom, []).append(instruction)
            may_wait = (is_lazy, is_reduction, adds_axes, is_slice, is_join)
            if not any(may(instruction) for may in may_wait):
                self.wanted.update(instruction.inputs)

    def run(self) -> Graph:
        for instruction in self.graph.instructions:
            self.passed.add(instruction)
            if self.joins.takes(instruction):
                continue
            if is_lazy(instruction):
                self._wait(instruction)
            elif adds_axes(instruction) and instruction.inputs[0] in self.waiting:
                self._define_as(instruction.output, instruction)
            elif is_slice(instruction) and self._is_worth_slicing(instruction.inputs[0]):
                self._define_part(instruction)
            elif is_reduction(instruction) and instruction.inputs[0] in self.waiting:
                self._reduce(instruction)
            else:
                self.need(instruction.inputs)
                if adds_axes(instruction):
                    x, y = instruction.inputs[0], instruction.output
                    self.turned.setdefault((x, y.shape), y)
                    self.turned.setdefault((y, x.shape), x)
                if is_reduction(instruction):
                    self.makers[instruction.output] = len(self.order)
                self.order.append(instruction)
        self.need(self.graph.outputs)
        return attrs.evolve(self.graph, instructions=tuple(self.order))

    def _define_as(self, y: Variable, reshape: Instruction) -> None:
        """Define the reshaped value y of a value that waits: the same operation on reshaped operands."""
        same = self._turned(reshape.inputs[0], reshape.inputs[0].shape, y.shape)
        assert isinstance(same, Variable)
        self.add(attrs.evolve(self.waiting[same], outputs=(y,)))
        self.turned[reshape.inputs[0], y.shape] = y

    def _is_worth_slicing(self, x: Atom) -> bool:
        """Whether slices of a value that waits are made of slices of its operands: nobody needs all of it, or it is cheap."""
        if x not in self.waiting:
            return False
        alone = x not in self.wanted and all(is_slice(reader) for reader in self.readers[x])
        return alone or len(self.steps_of([x])) <= MOST_REPEATED

    def _define_part(self, step: Instruction) -> None:
        """Define a slice of a value that waits: the same operation on slices of its operands."""
        x, y = step.inputs[0], step.output
        same = self.part_of(x, step.params["index"])
        assert isinstance(same, Variable)
        self.add(attrs.evolve(self.waiting[same], outputs=(y,)))

    def part_of(self, atom: Atom, index: Slices) -> Atom:
        """The slices of an operand that broadcasts, for a value whose trailing axes are sliced. It waits if the operand waits."""
        index = index[max(0, len(index) - len(atom.shape)) :]
        lengths = atom.shape[len(atom.shape) - len(index) :]
        index = tuple([WHOLE if n == 1 else part for part, n in zip(index, lengths, strict=True)])
        if all(part == WHOLE for part in index):
            return atom
        if (known := self.parts.get((atom, index))) is not None:
            return known
        place: Any = (..., *[slice(*part) for part in index])
        if isinstance(atom, Constant):
            part: Atom = Constant(atom.value[place])
        else:
            shape = np.broadcast_to(0, atom.shape)[place].shape
            strides = row_strides(shape, atom.dtype.itemsize)
            if atom not in self.waiting and atom.strides is not None:
                steps = [1] * (len(shape) - len(index)) + [step or 1 for _, _, step in index]
                strides = tuple([step * stride for step, stride in zip(steps, atom.strides, strict=True)])
            part = Variable(shape, atom.dtype, strides, atom.kind, atom.device)
            if atom in self.waiting:
                made = self.waiting[atom]
                self.add(
                    attrs.evolve(made, inputs=tuple([self.part_of(x, index) for x in made.inputs]), outputs=(part,))
                )
            else:
                self.views[part] = Instruction(shapes.slice_axes, (atom,), {"index": index}, (part,), None, 0)
        self.parts[atom, index] = part
        return part

    def _wait(self, step: Instruction) -> None:
        y = step.output
        self.waiting[y] = step
        self.numbers[y] = len(self.numbers)
        if y in self.wanted:
            self.together.setdefault((y.shape, y.device), {})[y] = None

    def add(self, step: Instruction) -> None:
        """Add a definition that does not stand in the graph."""
        self._wait(step)
        self.passed.add(step)
        for x in dict.fromkeys(step.inputs):
            self.readers.setdefault(x, []).append(step)

    def done(self, y: Variable) -> None:
        """A value that waited exists now."""
        del self.waiting[y]
        self.together.get((y.shape, y.device), {}).pop(y, None)

    def _turned(self, atom: Atom, old: tuple[int, ...], new: tuple[int, ...]) -> Atom:
        """The operand `atom` of a value of shape `old`, for that value in the shape `new`. It waits if the operand waits."""
        shape = turned_shape(atom.shape, old, new)
        if not atom.shape or shape == atom.shape:
            return atom
        if (known := self.turned.get((atom, shape))) is not None:
            return known
        if isinstance(atom, Constant):
            turned: Atom = Constant(atom.value.reshape(shape))
        else:
            turned = Variable(shape, atom.dtype, row_strides(shape, atom.dtype.itemsize), atom.kind, atom.device)
            if atom in self.waiting:
                made = self.waiting[atom]
                inputs = tuple([self._turned(x, atom.shape, shape) for x in made.inputs])
                self.add(attrs.evolve(made, inputs=inputs, outputs=(turned,)))
            else:
                params = {"ndim": len(atom.shape), "shape": shape}
                self.views[turned] = Instruction(shapes.reshape, (atom,), params, (turned,), None, 0)
                self.turned[turned, atom.shape] = atom
        self.turned[atom, shape] = turned
        return turned

    # Kernels

    def need(self, atoms: Sequence[Atom]) -> None:
        for atom in atoms:
            if isinstance(atom, Variable) and atom in self.waiting:
                self._compute(atom)
            elif atom in self.joins.pieces:
                self.joins.make(atom)

    def _compute(self, y: Variable) -> None:
        """Write the kernel that computes the value y, and with it the values of its shape that are needed later."""
        together = sorted({y, *self.together.get((y.shape, y.device), {})}, key=self.numbers.__getitem__)
        if self._fits(together):
            self._write(together)
            return
        parts: list[list[Variable]] = []
        for values in self._related(together):
            if not parts or not self._fits([*parts[-1], *values]):
                parts.append([])
            parts[-1] += values
        for part in parts:
            self._write([v for v in together if v in part])

    def _fits(self, values: Sequence[Atom]) -> bool:
        """Whether one kernel can compute these values."""
        return operand_count(self.steps_of(values)) + len(values) <= expressions.MOST_OPERANDS

    def _related(self, values: Sequence[Variable]) -> list[list[Variable]]:
        """The values, those together that are computed from common operations."""
        groups: list[tuple[set[Instruction], list[Variable]]] = []
        for v in values:
            steps, related = set(self.steps_of([v])), [v]
            for group in [group for group in groups if not steps.isdisjoint(group[0])]:
                groups.remove(group)
                steps |= group[0]
                related = [*group[1], *related]
            groups.append((steps, related))
        return [related for _, related in groups]

    def _write(self, values: Sequence[Atom]) -> None:
        values = [v for v in values if v in self.waiting]
        if not values:
            return
        steps = self.steps_of(values)
        if operand_count(steps) + len(values) > expressions.MOST_OPERANDS and len(steps) > 1:
            if len(values) > 1:
                self._write(values[: len(values) // 2])
                self._write(values[len(values) // 2 :])
                return
            # A value with many operands: those of other shapes come first, then the first half of its own operations.
            small = [step.output for step in steps[:-1] if step.output.shape != values[0].shape]
            self._write([small[-1]] if small else [steps[(len(steps) - 1) // 2].output])
            self._write(values)
            return
        if self._follows(values, steps):
            return
        shape = values[0].shape
        within = set(steps)
        leaving = [
            step.output
            for step in steps
            if step.output in values or (step.output.shape == shape and self.is_kept(step, within))
        ]
        self.show(steps)
        if len(steps) == 1:
            self.order.append(steps[0])
        else:
            read = read_by(steps)
            fused = Fused(Graph("fused", read, tuple(steps), tuple(leaving)), "kernel")
            self.order.append(Instruction(fused, read, {}, tuple(leaving), steps[0].line))
        for v in leaving:
            self.done(v)

    def is_kept(self, step: Instruction, within: set[Instruction]) -> bool:
        """Whether a value inside a kernel is also written: another kernel needs it, and would have to repeat some operations."""
        return self._is_needed(step.output, within) and len(self.steps_of([step.output])) > MOST_CHEAP

    def _is_needed(self, value: Variable, within: set[Instruction]) -> bool:
        """Whether the program, or an operation outside a kernel that may still run, reads a value that waits."""
        seen, stack = {value}, [value]
        while stack:
            v = stack.pop()
            if v in self.wanted or v in self.joins.held:
                return True
            for reader in self.readers.get(v, ()):
                if reader in within:
                    continue
                if reader not in self.passed:
                    return True
                y = reader.output
                if y in self.waiting and y not in seen:
                    seen.add(y)
                    stack.append(y)
        return False

    def steps_of(self, values: Sequence[Atom]) -> list[Instruction]:
        """The operations that compute these values from arrays that exist, in order."""
        found: dict[Variable, Instruction] = {}
        stack = [v for v in values if v in self.waiting]
        while stack:
            v = stack.pop()
            if v not in found:
                found[v] = step = self.waiting[v]
                stack += [x for x in step.inputs if x in self.waiting]
        return [found[v] for v in sorted(found, key=self.numbers.__getitem__)]

    def show(self, steps: Sequence[Instruction]) -> None:
        """Make the views that these operations read."""
        for step in steps:
            for x in step.inputs:
                self._make(x)

    def _make(self, x: Atom) -> None:
        if isinstance(x, Variable) and x in self.views:
            view = self.views.pop(x)
            self._make(view.inputs[0])
            self.order.append(view)

    # Reductions

    def _reduce(self, instruction: Instruction) -> None:
        x, y = instruction.inputs[0], instruction.output
        steps = self.steps_of([x])
        alone = len(self.readers[x]) == 1
        fits = operand_count(steps) + 1 <= expressions.MOST_OPERANDS
        if x in self.wanted or not fits or not (alone or len(steps) <= MOST_REPEATED):
            self.need([x])
            self.makers[y] = len(self.order)
            self.order.append(instruction)
            return
        self.show(steps)
        read = read_by(steps)
        self.makers[y] = len(self.order)
        self.order.append(
            Instruction(
                Reduced(Graph("reduced", read, tuple(steps), (x,)), instruction), read, {}, (y,), instruction.line
            )
        )

    def _is_read(self, source: Atom, within: set[Instruction]) -> bool:
        """Whether an operation outside a kernel reads a value that exists, or will."""
        others = [reader for reader in self.readers.get(source, ()) if reader not in within]
        return any(reader not in self.passed or reader.output in self.waiting for reader in others)

    def _follows(self, values: Sequence[Atom], steps: Sequence[Instruction]) -> bool:
        """Whether the operations need nothing but the result of a sum or a maximum, and join its kernel."""
        if len(values) != 1 or not isinstance(values[0], Variable):
            return False
        arrays = {x for x in read_by(steps) if x in self.makers}
        if len(arrays) != 1 or operand_count(steps) != 1:
            return False
        source = arrays.pop()
        within = set(steps)
        if source in self.graph.outputs or self._is_read(source, within):
            return False
        if any(
            step.output.shape != source.shape or (step.output is not values[0] and self._is_needed(step.output, within))
            for step in steps
        ):
            return False
        place = self.makers.pop(source)
        maker = self.order[place]
        if isinstance(maker.operation, Reduced):
            body, reduction = maker.operation.body, maker.operation.reduction
        else:
            body, reduction = Graph("reduced", tuple(maker.inputs), (), tuple(maker.inputs)), maker  # type: ignore[arg-type]  # a reduction's operand is a variable
        reduced = Reduced(body, reduction, tuple(steps))
        self.order[place] = attrs.evolve(maker, operation=reduced, params={}, inputs=body.inputs, outputs=(values[0],))
        self.done(values[0])
        return True
