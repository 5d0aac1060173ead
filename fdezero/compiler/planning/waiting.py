"""What kernels on a GPU are made of: operations that may wait, reductions, and reshapes and slices that compute nothing."""

from collections.abc import Sequence

from ...core import Primitive, Region
from ...devices import backend_named
from ...ops import shape as shapes
from ...ops.reductions import maximum_of, minimum_of, sum_axes
from ..graph import Graph, Instruction, Variable
from . import expressions

Slices = tuple[tuple[int | None, int | None, int | None], ...]  # of trailing axes
WHOLE = (None, None, None)
REDUCTIONS = (sum_axes, maximum_of, minimum_of)


def is_lazy(instruction: Instruction) -> bool:
    if not instruction.elementwise or not isinstance(instruction.operation, Primitive):
        return False
    y = instruction.output
    return (
        y.kind == "array"
        and instruction.alias is None
        and backend_named(y.device).fuses_into_kernels
        and expressions.is_expressible(instruction)
    )


def is_reduction(instruction: Instruction) -> bool:
    """Whether a kernel of ours can reduce: a sum or an extreme of floats on a GPU."""
    if isinstance(instruction.operation, Region) or instruction.operation not in REDUCTIONS:
        return False
    x, y = instruction.inputs[0], instruction.output
    if (
        x.kind != "array"
        or y.kind != "array"
        or not backend_named(y.device).fuses_into_kernels
        or 0 in (*x.shape, len(x.shape))
    ):
        return False
    return y.dtype.kind == "f" and x.dtype == y.dtype and y.dtype.name in expressions.C_TYPES


def adds_axes(instruction: Instruction) -> bool:
    """Whether the result is the operand with axes of length 1 added or removed."""
    if instruction.operation is not shapes.reshape or not backend_named(instruction.output.device).fuses_into_kernels:
        return False
    x, y = instruction.inputs[0], instruction.output
    return x.kind == y.kind == "array" and [n for n in x.shape if n != 1] == [n for n in y.shape if n != 1]


def is_slice(instruction: Instruction) -> bool:
    """Whether the result is a slice of the operand that is not empty and cuts only axes longer than 1."""
    if (
        instruction.operation is not shapes.slice_axes
        or not backend_named(instruction.output.device).fuses_into_kernels
    ):
        return False
    x, y, index = instruction.inputs[0], instruction.output, instruction.params["index"]
    if x.kind != "array" or y.kind != "array" or 0 in y.shape:
        return False
    if not all(isinstance(part, tuple) for part in index):  # an integer, or a new axis
        return False
    return all(n > 1 or part == WHOLE for part, n in zip(index, x.shape[len(x.shape) - len(index) :], strict=True))


def turned_shape(shape: tuple[int, ...], old: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an operand that broadcasts to `old`, for the same value in the shape `new`."""
    full = (1,) * (len(old) - len(shape)) + shape
    long = iter([n for n, whole in zip(full, old, strict=True) if whole != 1])
    return tuple([next(long) if n != 1 else 1 for n in new])


def read_by(steps: Sequence[Instruction]) -> tuple[Variable, ...]:
    made = {step.output for step in steps}
    return tuple(dict.fromkeys([x for step in steps for x in step.inputs if isinstance(x, Variable) and x not in made]))


def operand_count(steps: Sequence[Instruction]) -> int:
    """How many operands a kernel of these operations has."""
    return len(expressions.operands_of(Graph("", read_by(steps), tuple(steps), ())))
