"""Where the arrays of a group with reductions lie in its C++ loops: which loops there are, and the index of an entry in them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...ops.normalisation import moments, sums
from ..graph import Atom, Constant, Instruction, Variable, row_strides, strides_of
from ..planning import expressions
from ..planning.fuse import Fused
from ..planning.lines import ENTRY, LATE
from ..planning.schedule import Schedule
from .loops import by_value

WIDEST = 1024  # lines that are worked on beside each other
Steps = dict[Any, list[int]]  # of each array under each shape: its steps along loops or axes, in entries
AS_LINE, AS_COLUMN = "line", "column"  # how results lie that are not entries


class LineArrays:
    """The loops of a group. i0, i1, ... count lines, r0, r1, ... and n entries of a line.

    If the lines lie beside each other in memory, n counts lines, and the innermost loop goes over some of them at a time.
    """

    def __init__(self, fused: Fused, is_steady: Callable[[Atom], bool]) -> None:
        assert fused.schedule is not None
        self.schedule: Schedule = fused.schedule
        self.frame, self.body, self.total = fused.schedule.frame, fused.body, fused.total
        self.is_steady = is_steady
        self.operands = expressions.operands_of(fused.body)
        self.outputs = [y for y in fused.body.outputs if isinstance(y, Variable)]  # all are
        self.names: dict[Atom, str] = {atom: f"x{i}" for i, atom in enumerate(self.operands)}
        self.names.update({y: f"out{i}" for i, y in enumerate(self.outputs)})
        self.local: dict[Atom, str] = {step.output: f"t{i}" for i, step in enumerate(self.body.instructions)}
        self.reductions = {part.step for each in self.schedule.passes for part in each.reductions}
        order = self.frame.in_memory_order()
        moves = self._moves()
        kept, reduced = ([a for a in order if (a in self.frame.axes) is is_reduced] for is_reduced in (False, True))
        self.outer, self.outer_steps = merged(kept, self.frame.shape, moves)
        self.inner, self.inner_steps = merged(reduced, self.frame.shape, moves)
        self.in_lanes = self.frame.is_in_lanes
        self.width = self.beside = 1  # lines that are worked on at a time, and all that lie beside each other
        self.beside_steps: dict[Any, int] = dict.fromkeys(moves, 0)
        if self.in_lanes:
            self.beside = self.outer.pop()
            self.beside_steps = {key: steps.pop() for key, steps in self.outer_steps.items()}
            self.width = min(self.beside, WIDEST)
        self.span = math.prod(self.inner)  # entries of a line
        self.rounds = self.outer[0] if self.outer else -(-self.beside // self.width)  # of the outermost loop

    # Steps along the axes of the full shape

    def _moves(self) -> Steps:
        moves: Steps = {}
        for step in self.body.instructions:
            if step.alias is None:
                shape = None if self.is_over_entries(step) else step.output.shape
                for atom in step.inputs:
                    if self.is_array(atom):
                        moves[atom, shape] = self._along(atom, shape)
        for y in self.outputs:
            kind, shape, own = self.schedule.kinds[y], y.shape, y.strides or ()
            if self.parts_of(y):
                shape, own = shape[:-1], own[:-1]
            if kind == ENTRY:
                moves[y, None] = self._along(y, None)
            elif kind == LATE:
                moves[y, AS_COLUMN] = placed(shape, own, y.dtype.itemsize, self.frame.crosswise)
            else:
                moves[y, AS_LINE] = placed(shape, own, y.dtype.itemsize, self.frame.kept)
        return moves

    def is_over_entries(self, step: Instruction) -> bool:
        """Whether an operation reads its operands under the full shape."""
        return step in self.reductions or self.schedule.kinds[step.output] == ENTRY

    def is_array(self, atom: Atom) -> bool:
        """Whether an operand is an array from outside the group."""
        return atom in self.names and atom not in self.schedule.makers and not by_value(atom)

    def parts_of(self, y: Atom) -> int:
        """How many parts of a value lie side by side; 0 for a single value."""
        operation = self.schedule.makers[y].operation
        return 3 if operation is moments else 2 if operation is sums else 0

    def _along(self, atom: Atom, shape: tuple[int, ...] | None) -> list[int]:
        """Steps of an operand that is read under the full shape (None), or under the shape of an operation on line values."""
        itemsize = atom.dtype.itemsize
        own = strides_of(atom) if self.is_steady(atom) else row_strides(atom.shape, itemsize)
        if shape is None:
            steps = [0 if n == 1 else s // itemsize for n, s in zip(atom.shape, own, strict=True)]
            return [0] * (len(self.frame.shape) - len(steps)) + steps
        more = len(shape) - len(atom.shape)
        return placed((1,) * more + atom.shape, (0,) * more + tuple(own), itemsize, self.frame.kept, shape)

    # Indices

    def entry(self, key: Any) -> str:
        """The index of an entry of an array."""
        steps = self.inner_steps[key]
        counters = [f"r{axis}" for axis in range(len(steps))]
        if not self.in_lanes:
            counters[-1] = "n"
        return index([*self._line_terms(key), *zip(counters, steps, strict=True)])

    def of_line(self, key: Any) -> str:
        """The index of a line value."""
        return index(self._line_terms(key))

    def of_column(self, key: Any) -> str:
        """The index of a column's sum, after the loops over lines."""
        return index(
            [*zip([*[f"r{axis}" for axis in range(len(self.inner) - 1)], "n"], self.inner_steps[key], strict=True)]
        )

    def _line_terms(self, key: Any) -> list[tuple[str, int]]:
        terms = [(f"i{axis}", step) for axis, step in enumerate(self.outer_steps[key])]
        return [*terms, ("n", self.beside_steps[key])]

    def within(self) -> str:
        """The number of an entry in its line; in lanes, in the lines that are worked on at a time."""
        lengths = self.inner if self.in_lanes else self.inner[:-1]
        text = ""
        for axis, n in enumerate(lengths):
            text = f"({text}) * {n} + r{axis}" if text else f"r{axis}"
        if self.in_lanes:
            return f"({text}) * {self.width} + k"
        return f"({text}) * {self.inner[-1]} + n" if text else "n"


def is_written_out(atom: Atom, names: dict[Atom, str]) -> bool:
    """Whether an operand is a number in the text."""
    return isinstance(atom, Constant) and atom not in names


def index(terms: Sequence[tuple[str, int]]) -> str:
    """An index as a sum of counters times their steps."""
    return " + ".join([counter if step == 1 else f"{counter} * {step}" for counter, step in terms if step]) or "0"


def placed(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    itemsize: int,
    target: tuple[int, ...],
    like: tuple[int, ...] | None = None,
) -> list[int]:
    """Steps along the axes of `target`. Those longer than 1 are, in their order, the axes longer than 1 of `like`."""
    steps, axes = [0] * len(target), iter([axis for axis, n in enumerate(target) if n > 1])
    for n, whole, stride in zip(shape, shape if like is None else like, strides, strict=True):
        if whole > 1:
            steps[next(axes)] = stride // itemsize if n > 1 else 0
    return steps


def merged(axes: Sequence[int], shape: tuple[int, ...], moves: Steps) -> tuple[list[int], Steps]:
    """The lengths of loops over these axes, and each array's steps; neighbours become one loop if all arrays allow it."""
    lengths: list[int] = []
    found: Steps = {key: [] for key in moves}
    for axis in axes:
        n = shape[axis]
        if lengths and all(found[key][-1] == steps[axis] * n for key, steps in moves.items()):
            lengths[-1] *= n
            for key, steps in moves.items():
                found[key][-1] = steps[axis]
        else:
            lengths.append(n)
            for key, steps in moves.items():
                found[key].append(steps[axis])
    return lengths, found
