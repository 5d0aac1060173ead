"""What one launch computes on a GPU, beside a plain group: a reduction with what lies around it, and several kernels side by side."""

import math
from collections.abc import Mapping, Sequence

from ..graph import Atom, Graph, Instruction, Variable, row_strides
from . import expressions
from .fuse import Fused
from .waiting import Slices

MOST_BYTES = 3900  # of arguments: CUDA takes 4 KB in one launch
# Bytes of an argument: of an array in a line, of each further axis of another array, and of a number.
LINE, AXIS, NUMBER = 32, 32, 8


class Reduced(Fused):
    """A reduction with the elementwise operations before it, which `body` holds, and those after it, `after`, in one kernel."""

    def __init__(self, body: Graph, reduction: Instruction, after: tuple[Instruction, ...] = ()) -> None:
        super().__init__(body, "reduction")
        self.reduction, self.after = reduction, after

    @property
    def shape(self) -> tuple[int, ...]:
        return self.reduction.inputs[0].shape


class Joint(Fused):
    """Kernels in one launch. `parts` are their programs.

    `places` has the larger array and the place in it for each result that is a part of one. These arrays come last among the results.
    """

    def __init__(self, parts: Sequence[Graph], places: Mapping[Atom, tuple[Variable, Slices]] | None = None) -> None:
        self.parts, self.places = tuple(parts), places or {}
        inputs = tuple(dict.fromkeys([x for part in parts for x in part.inputs]))
        steps = tuple([step for part in parts for step in part.instructions])
        single = [y for part in parts for y in part.outputs if y not in self.places]
        self.wholes = list(dict.fromkeys([whole for whole, _ in self.places.values()]))
        super().__init__(Graph("joint", inputs, steps, (*single, *self.wholes)), "joint")

    @property
    def entries(self) -> int:
        """How many threads the launch needs."""
        return sum(map(entries_of, self.parts))


def entries_of(part: Graph) -> int:
    """How many entries each result of a kernel has."""
    return math.prod(part.outputs[0].shape)


def bytes_of(part: Graph) -> int:
    """The bytes of the arguments of a kernel in a `Joint`."""
    total = 0
    for atom in (*expressions.operands_of(part), *part.outputs):
        is_line = not isinstance(atom, Variable) or not is_turned(atom)
        total += NUMBER if atom.kind != "array" else LINE if is_line else LINE + AXIS * (len(atom.shape) - 1)
    return total


def is_turned(x: Variable) -> bool:
    """Whether the entries of an array do not lie in C order."""
    if x.kind != "array" or x.strides is None:
        return False
    rows = row_strides(x.shape, x.dtype.itemsize)
    return any(n > 1 and step != row for n, step, row in zip(x.shape, x.strides, rows, strict=True))


def members(step: Instruction) -> tuple[Instruction, ...]:
    """The operations that a step of a program runs: those of a group, one by one, or the step itself."""
    group = step.operation
    if not isinstance(group, Fused):
        return (step,)
    inner = [*group.body.instructions, *([group.total] if group.total else [])]
    if isinstance(group, Reduced):
        inner += [group.reduction, *group.after]
    return tuple([member for each in inner for member in members(each)])
