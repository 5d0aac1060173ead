"""Groups of native loops with reductions: which operations may join.

A group works on arrays of one full shape. Its reductions are over the same axes, and what these axes span is a *line*. Values of the
full shape are *entries*, values that a line shares are *line values*. A reduction needs a whole pass over its line, so what depends on
its result belongs to a later pass. While one line is worked on, it stays in the cache. A *column* reduction is over all other axes: its
results are complete after the last line, and no operation of the group may read them.
"""

import math
from collections.abc import Callable, Sequence

import attrs
import numpy as np

from ...core import Region
from ...ops import shape as shapes
from ...ops.normalisation import moments, sums
from ...ops.reductions import maximum_of, minimum_of, sum_axes
from ..graph import Atom, Constant, Instruction, strides_of

ALONE = (sum_axes, maximum_of, minimum_of)  # what NumPy does well alone
OPERATIONS = (sum_axes, maximum_of, minimum_of, moments, sums)
MOST_PASSES = 12  # of one group
MOST_STEPS = 192  # of one group, which bounds the time of the C++ compiler
MOST_ATOMS = 120  # that one group reads or makes in memory
SHORT = 16  # entries of a line below which the innermost loop goes over lines
LATE = "late"  # the kind of a value that is complete after the last line
ENTRY, LINE, PARTS = "entry", "line", "parts"  # parts are line values that lie side by side, as `moments` makes them
WIDEST_COLUMNS = 1 << 16  # entries of a line that columns are summed for


def length(shape: tuple[int, ...]) -> int:
    """The number of entries."""
    return math.prod(shape)


@attrs.frozen
class Frame:
    """The full shape of a group, its layout (strides in entries), and the reduced axes longer than 1."""

    shape: tuple[int, ...]
    layout: tuple[int, ...]
    axes: frozenset[int]

    @property
    def kept(self) -> tuple[int, ...]:
        """The shape of a line value with all axes."""
        return tuple([1 if axis in self.axes else n for axis, n in enumerate(self.shape)])

    @property
    def crosswise(self) -> tuple[int, ...]:
        """The shape of a column's result with all axes."""
        return tuple([n if axis in self.axes else 1 for axis, n in enumerate(self.shape)])

    def in_memory_order(self) -> list[int]:
        """The axes longer than 1, the innermost last."""
        return sorted([i for i, n in enumerate(self.shape) if n > 1], key=lambda i: (-abs(self.layout[i]), i))

    @property
    def is_in_lanes(self) -> bool:
        """Whether the innermost loop goes over lines, which lie beside each other, and not along a line."""
        order = self.in_memory_order()
        run = 1
        for axis in reversed(order):
            if axis not in self.axes:
                return run == 1 or (run < SHORT <= self.shape[axis])
            run *= self.shape[axis]
        return False


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The lengths of the axes that are longer than 1."""
    return tuple([n for n in shape if n != 1])


@attrs.define(eq=False)
class Lines:
    """What a group that still grows knows about its values: their kinds, and from which pass on each can be read."""

    frame: Frame
    kinds: dict[Atom, str] = attrs.field(factory=dict)
    ready: dict[Atom, int] = attrs.field(factory=dict)
    read: set[Atom] = attrs.field(factory=set)
    count: int = 0

    def is_full(self) -> bool:
        return self.count >= MOST_STEPS or len(self.read) >= MOST_ATOMS

    def takes(self, instruction: Instruction, shape: tuple[int, ...]) -> bool:
        """Whether the group has room for an operation under this shape, and the operation reads its values as the loops do."""
        return not self.is_full() and self.start_of(instruction) < MOST_PASSES and self.can_read(instruction, shape)

    def kind_of(self, reduction: Instruction, frame: Frame) -> str:
        """The kind of a reduction's result; empty if the group cannot take it."""
        if not self.takes(reduction, frame.shape):
            return ""
        if frame.axes == self.frame.axes:
            return LINE
        others = frozenset(i for i, n in enumerate(frame.shape) if n > 1 and i not in self.frame.axes)
        is_sum = reduction.operation in (sum_axes, sums)
        small = length(self.frame.crosswise) <= WIDEST_COLUMNS
        return LATE if is_sum and small and frame.axes == others and not self.frame.is_in_lanes else ""

    def kind_of_value(self, instruction: Instruction, is_native: Callable[[Instruction], bool]) -> str:
        """The kind of an operation on line values of the group, or of a view of one; empty for any other instruction."""
        given = [self.kinds[atom] for atom in instruction.inputs if atom in self.kinds]
        if not given or ENTRY in given or LATE in given:
            return ""
        y = instruction.output
        if PARTS in given:
            return LINE if instruction.alias is not None and part_of(instruction) is not None else ""
        if instruction.alias is not None:
            if is_other_form(instruction, self.frame):
                return LINE
            return ENTRY if _is_repeated_along(instruction, self.frame) else ""
        if not instruction.elementwise or y.kind != "array" or squeezed(y.shape) != squeezed(self.frame.kept):
            return ""
        return LINE if is_native(instruction) and self.takes(instruction, y.shape) else ""

    def can_read(self, instruction: Instruction, shape: tuple[int, ...]) -> bool:
        """Whether values of the group lie under `shape`, that of the operation, as the loops read them."""
        for atom in instruction.inputs:
            kind = self.kinds.get(atom)
            if kind is None or (kind == ENTRY and shape == self.frame.shape):
                continue
            aligned = (1,) * (len(shape) - len(atom.shape)) + atom.shape
            expected = self.frame.kept if shape == self.frame.shape else shape
            if kind != LINE or aligned != expected:
                return False
        return True

    def start_of(self, instruction: Instruction) -> int:
        """The first pass in which an operation can run."""
        return max([self.ready.get(atom, 0) for atom in instruction.inputs], default=0)

    def add(self, instruction: Instruction, kind: str) -> None:
        y, start = instruction.output, self.start_of(instruction)
        reduces = 0
        if kind == LINE and is_reduction(instruction) and self.kinds.get(instruction.inputs[0], ENTRY) != LINE:
            reduces = 2 if instruction.operation is moments and instruction.params["centred"] else 1
        self.kinds[y] = PARTS if kind == LINE and reduces and instruction.operation in (moments, sums) else kind
        self.ready[y] = start + reduces
        self.read.update(atom for atom in instruction.inputs if atom not in self.kinds)
        self.count += 1


def is_reduction(instruction: Instruction) -> bool:
    return not isinstance(instruction.operation, Region) and instruction.operation in OPERATIONS


def full_shape(instruction: Instruction) -> tuple[int, ...]:
    """The shape of what a reduction reads."""
    return np.broadcast_shapes(*[atom.shape for atom in instruction.inputs])


def frames_of(instruction: Instruction) -> list[Frame]:
    """The frames that a reduction fits, one for each layout of its operands; none for what native loops cannot do."""
    if not is_reduction(instruction):
        return []
    y = instruction.output
    arrays = [atom for atom in instruction.inputs if atom.kind == "array"]
    if y.kind != "array" or y.dtype.name not in ("float32", "float64") or not y.dtype.isnative or not arrays:
        return []
    if any(
        atom.dtype != y.dtype or not _is_array_or_constant(atom) for atom in instruction.inputs if not _is_plain(atom)
    ):
        return []
    shape = full_shape(instruction)
    if 0 in shape or any(stride % y.dtype.itemsize for a in arrays for stride in strides_of(a)):
        return []
    axes = frozenset([axis % len(shape) for axis in instruction.params["axes"] if shape[axis] > 1])
    likes = [layout(atom) for atom in arrays if atom.shape == shape]
    whole = [like for like in dict.fromkeys(likes) if all(step or n == 1 for step, n in zip(like, shape, strict=True))]
    return [Frame(shape, like, axes) for like in whole] if axes else []


def _is_plain(atom: Atom) -> bool:
    return isinstance(atom, Constant) and atom.kind == "number"


def _is_array_or_constant(atom: Atom) -> bool:
    return atom.kind == "array" and bool(atom.shape)


def layout(atom: Atom) -> tuple[int, ...]:
    """The strides in entries, with 0 for axes of length 1. Arrays with the same memory layout have the same value."""
    itemsize = atom.dtype.itemsize
    return tuple([0 if n == 1 else s // itemsize for n, s in zip(atom.shape, strides_of(atom), strict=True)])


def begun(frame: Frame, instructions: Sequence[Instruction]) -> Lines:
    """What is known about a group of elementwise operations that gets its first reduction."""
    lines = Lines(frame)
    for instruction in instructions:
        lines.add(instruction, ENTRY)
    return lines


def part_of(instruction: Instruction) -> int | None:
    """The part that a slice takes out of moments or sums; None for any other instruction."""
    if instruction.operation is not shapes.slice_axes:
        return None
    *others, last = instruction.params["index"]
    x = instruction.inputs[0]
    whole = len(others) < len(x.shape) and all(entry == (None, None, None) for entry in others)
    return int(last) if whole and not isinstance(last, tuple) and last is not None and last >= 0 else None


def is_other_form(instruction: Instruction, frame: Frame) -> bool:
    """Whether the result is a line value with axes of length 1 more or less."""
    y = instruction.output
    return y.kind == "array" and instruction.operation is shapes.reshape and squeezed(y.shape) == squeezed(frame.kept)


def _is_repeated_along(instruction: Instruction, frame: Frame) -> bool:
    """Whether the result is a line value that is repeated along its line."""
    x, y = instruction.inputs[0], instruction.output
    aligned = (1,) * (len(y.shape) - len(x.shape)) + x.shape
    return instruction.operation is shapes.broadcast and y.shape == frame.shape and aligned == frame.kept
