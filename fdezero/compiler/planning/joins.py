"""Values that lie side by side in one array: a GPU's kernel writes each where it is to lie, so no launch copies them there.

The adjoint of splitting an array, such as the gates of a recurrent cell, is such a join. It waits like an elementwise operation, as the
definitions of its pieces. An elementwise operation on a join is the join of that operation on the pieces.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from ...devices import backend_named
from ...ops import shape as shapes
from ...ops.elementwise import add
from ..graph import Atom, Constant, Graph, Instruction, Variable, row_strides
from .regions import MOST_BYTES, Joint, bytes_of
from .waiting import WHOLE, Slices, is_lazy, read_by

MOST_PIECES = 8


def is_join(instruction: Instruction) -> bool:
    """Whether an operation on a GPU puts pieces side by side, which are dense slices of its result and cover it."""
    y = instruction.output
    if instruction.operation is not shapes.unslice_all or not backend_named(y.device).fuses_into_kernels:
        return False
    indices = instruction.params["indices"]
    return (
        instruction.params["whole"]
        and len(indices) <= MOST_PIECES
        and y.dtype.kind in "iuf"
        and 0 not in y.shape
        and all(isinstance(part, tuple) and part[2] in (None, 1) for index in indices for part in index)
        and all(
            x.kind == "array" and x.dtype == y.dtype and x.shape == _shape_of(y.shape, index)
            for x, index in zip(instruction.inputs, indices, strict=True)
        )
    )


def _spans(shape: tuple[int, ...], index: Slices) -> list[tuple[int, int]]:
    """The start and the end of slices along every axis."""
    full = (*[WHOLE] * (len(shape) - len(index)), *index)
    return [slice(*part).indices(n)[:2] for part, n in zip(full, shape, strict=True)]


def _shape_of(shape: tuple[int, ...], index: Slices) -> tuple[int, ...]:
    return tuple([stop - start for start, stop in _spans(shape, index)])


def _plain(shape: tuple[int, ...], spans: Sequence[tuple[int, int]]) -> Slices:
    """Slices from start to end, where whole axes have no numbers."""
    return tuple([WHOLE if span == (0, n) else (*span, None) for span, n in zip(spans, shape, strict=True)])


class Planner(Protocol):
    """What joins need of the planning of launches."""

    waiting: dict[Variable, Instruction]
    together: dict[tuple[tuple[int, ...], str], dict[Variable, None]]
    views: dict[Variable, Instruction]
    parts: dict[tuple[Atom, Slices], Atom]
    wanted: set[Atom]
    order: list[Instruction]

    def add(self, step: Instruction) -> None:
        """Define a value that does not stand in the graph."""

    def done(self, y: Variable) -> None:
        """Note that a value that waited exists."""

    def need(self, atoms: Sequence[Atom]) -> None:
        """Compute those of the values that wait."""

    def part_of(self, atom: Atom, index: Slices) -> Atom:
        """Slices of an operand, which wait if the operand waits."""

    def steps_of(self, values: Sequence[Atom]) -> list[Instruction]:
        """The operations that compute values from arrays that exist."""

    def is_kept(self, step: Instruction, within: set[Instruction]) -> bool:
        """Whether a value inside a kernel is also written."""

    def show(self, steps: Sequence[Instruction]) -> None:
        """Make the views that operations read."""


class Joins:
    """The joins of one program: `pieces` are those of the joins that wait, by their slices; `held` are all of these pieces."""

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.pieces: dict[Atom, dict[Slices, Variable]] = {}
        self.held: set[Atom] = set()

    def takes(self, instruction: Instruction) -> bool:
        """Whether the result of an instruction is a join that waits."""
        if is_join(instruction):
            return self._define(instruction)
        if is_lazy(instruction) and not self.pieces.keys().isdisjoint(instruction.inputs):
            return self._distribute(instruction)
        return False

    def _define(self, instruction: Instruction) -> bool:
        """Let a join wait whose pieces wait. A piece that is a join itself comes as its own pieces."""
        y, found = instruction.output, dict[Slices, Variable]()
        for x, index in zip(instruction.inputs, instruction.params["indices"], strict=True):
            outer = _spans(y.shape, index)
            if x in self.pieces:
                for inner, piece in self.pieces[x].items():
                    spans = [
                        (start + a, start + b) for (start, _), (a, b) in zip(outer, _spans(x.shape, inner), strict=True)
                    ]
                    found[_plain(y.shape, spans)] = piece
            elif isinstance(x, Variable) and x in self.planner.waiting:
                piece = _like(x, x.shape)  # as in a sum, -0 becomes 0
                self.planner.add(Instruction(add, (x, Constant(0)), {}, (piece,), instruction.line))
                found[_plain(y.shape, outer)] = piece
            else:
                return False
        if len(found) > MOST_PIECES:
            return False
        self._hold(y, found)
        return True

    def _distribute(self, instruction: Instruction) -> bool:
        """Let an operation on joins wait as a join of operations on their pieces, if all are cut alike."""
        joins = [x for x in instruction.inputs if x in self.pieces]
        y, indices = instruction.output, [*self.pieces[joins[0]]]
        if any([*self.pieces[x]] != indices or x.shape != y.shape for x in joins):
            self.planner.need(joins)
            return False
        found = {}
        for index in indices:
            inputs = tuple([self.planner.part_of(x, index) for x in instruction.inputs])
            found[index] = _like(y, _shape_of(y.shape, index))
            self.planner.add(attrs.evolve(instruction, inputs=inputs, outputs=(found[index],)))
        self._hold(y, found)
        return True

    def _hold(self, y: Variable, pieces: dict[Slices, Variable]) -> None:
        self.pieces[y] = pieces
        self.held.update(pieces.values())
        self.planner.parts.update({(y, index): piece for index, piece in pieces.items()})

    def make(self, y: Atom) -> None:
        """Write the launch that computes the pieces of a join where they are to lie."""
        assert isinstance(y, Variable)
        pieces = self.pieces.pop(y)
        self.held.difference_update(pieces.values())
        for index in pieces:
            del self.planner.parts[y, index]
        if not self._write(y, pieces):
            self.planner.need([*pieces.values()])
            params: dict[str, Any] = {"indices": tuple(pieces), "shape": y.shape, "whole": True}
            step = Instruction(shapes.unslice_all, tuple(pieces.values()), params, (y,), None)
            self.planner.show([step])
            self.planner.order.append(step)
            return
        for index, piece in pieces.items():  # those who still need a piece read it there
            self.planner.done(piece)
            self.planner.views[piece] = Instruction(shapes.slice_axes, (y,), {"index": index}, (piece,), None, 0)

    def _write(self, y: Variable, pieces: dict[Slices, Variable]) -> bool:
        """Whether one launch computes all pieces, and with them what is needed later of the same operations."""
        if not all(piece in self.planner.waiting for piece in pieces.values()):
            return False
        by_shape: dict[tuple[int, ...], list[tuple[Slices, Variable]]] = {}
        for index, piece in pieces.items():
            by_shape.setdefault(piece.shape, []).append((index, piece))
        parts: list[Graph] = []
        places: dict[Atom, tuple[Variable, Slices]] = {}
        done: list[Variable] = []
        for shape, group in by_shape.items():
            part, beside = self._part(y, shape, group, places)
            parts.append(part)
            done += beside
        if sum(map(bytes_of, parts)) > MOST_BYTES:
            return False
        joint = Joint(parts, places)
        self.planner.show(joint.body.instructions)
        self.planner.order.append(
            Instruction(joint, joint.body.inputs, {}, joint.body.outputs, joint.body.instructions[0].line)  # type: ignore[arg-type]  # outputs of kernels are variables
        )
        for v in done:
            self.planner.done(v)
        return True

    def _part(
        self,
        y: Variable,
        shape: tuple[int, ...],
        group: list[tuple[Slices, Variable]],
        places: dict[Atom, tuple[Variable, Slices]],
    ) -> tuple[Graph, list[Variable]]:
        """The kernel of pieces of one shape, whose places are noted, and the values beside them that it also writes."""
        pieces = [piece for _, piece in group]
        own = self.planner.steps_of(pieces)
        together = self.planner.together.get((shape, y.device), {})
        beside = [v for v in together if not set(own).isdisjoint(self.planner.steps_of([v]))]
        steps = self.planner.steps_of([*pieces, *beside])
        within = set(steps)
        beside += [
            step.output
            for step in steps
            if step.output.shape == shape
            and step.output not in (*beside, *pieces)
            and self.planner.is_kept(step, within)
        ]
        placed = {piece: _like(piece, shape) for _, piece in group}
        places.update({placed[piece]: (y, index) for index, piece in group})
        # The pieces have other names here, because later kernels read them as views of the whole.
        last = [attrs.evolve(self.planner.waiting[piece], outputs=(placed[piece],)) for _, piece in group]
        rest = [step for step in steps if step.output not in placed or self._is_read(step.output, steps)]
        outputs = (*placed.values(), *beside)
        return Graph("part", read_by([*rest, *last]), (*rest, *last), outputs), beside

    def _is_read(self, x: Variable, steps: Sequence[Instruction]) -> bool:
        return any(x in step.inputs for step in steps)


def _like(x: Variable, shape: tuple[int, ...]) -> Variable:
    return Variable(shape, x.dtype, row_strides(shape, x.dtype.itemsize), x.kind, x.device)
