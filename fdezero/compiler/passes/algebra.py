"""Algebra that keeps the same bits: one pass, and its rules. Each rule looks at one instruction."""

import math
import weakref
from typing import Any

import attrs
import numpy as np

from ...core import Region
from ...devices import CPU, backend_named
from ...ops import elementwise
from ...ops import shape as shapes
from ..graph import Atom, Constant, Graph, Instruction, Rewritten, Variable, rewritten
from .views import read_only


def simplify(graph: Graph) -> Graph:
    """Simplify x * 1, x / 1, x - 0, x ** 2, double transposes, and broadcasts that NumPy does by itself. The bits stay the same."""
    makers: dict[Atom, Instruction] = {}

    def simpler(instruction: Instruction) -> Rewritten:
        if isinstance(instruction.operation, Region):
            return None
        for rule in RULES:
            result = rule(instruction, makers)
            if not isinstance(result, Instruction):
                return [], [result]
            instruction = result
        makers[instruction.output] = instruction
        return [instruction], instruction.outputs

    return rewritten(graph, simpler)


def _is(atom: Atom, number: int) -> bool:
    value = _one_value(atom) if isinstance(atom, Constant) else None
    if not isinstance(value, int | float | np.floating) or isinstance(value, bool):
        return False
    return bool(value == number) and math.copysign(1, value) > 0  # x - -0.0 is not x


def _one_value(constant: Constant) -> Any:
    """The value of a number, or of an array that repeats one number; None for other constants."""
    value = constant.value
    if constant.kind != "array":
        return value
    if not value.size:
        return None
    first = value[(0,) * len(value.shape)]
    repeats = all(s == 0 or n == 1 for n, s in zip(value.shape, value.strides, strict=True))
    # Folding makes whole arrays of ones, as products of cotangents. Nobody can write into those.
    if not repeats and (not isinstance(value, np.ndarray) or value.flags.writeable or not (value == first).all()):
        return None
    return first if isinstance(value, np.ndarray) else value.dtype.type(first.item())


def _repeated(constant: Constant, shape: tuple[int, ...]) -> bool:
    """Whether NumPy reads one entry of a constant repeatedly for a result of `shape`, as it reads a number.

    An array of the result's own single entry does not count: NumPy chooses its loop by the memory layout of the operands.
    """
    value = constant.value
    whole = shape[len(shape) - value.ndim :]
    return value.size > 0 and all(
        s == 0 or (n == 1 and m > 1) for n, s, m in zip(value.shape, value.strides, whole, strict=True)
    )


def _same(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction | Atom:
    """x in place of stop_gradient(x), x * 1, 1 * x, x / 1 and x - 0, if dtype and shape stay the same."""
    operation, inputs = instruction.operation, instruction.inputs
    x: Atom | None = None
    if operation is elementwise.stop_gradient:
        return inputs[0]
    if operation is elementwise.multiply:
        x = inputs[0] if _is(inputs[1], 1) else inputs[1] if _is(inputs[0], 1) else None
    elif (operation is elementwise.divide and _is(inputs[1], 1)) or (
        operation is elementwise.subtract and _is(inputs[1], 0)
    ):
        x = inputs[0]
    if x is None or not isinstance(x, Variable) or not _like(x, instruction.output):
        return instruction
    return x if x.dtype.kind == "f" else instruction  # complex: inf * (1 + 0j) contains a NaN


def _like(x: Atom, y: Variable) -> bool:
    return isinstance(x, Variable) and (x.shape, x.dtype, x.kind, x.strides) == (y.shape, y.dtype, y.kind, y.strides)


POWERS = {2: elementwise.square, 0.5: elementwise.sqrt, 1: elementwise.positive, -1: elementwise.reciprocal}


def _fast_power(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction:
    """The function that ndarray.__pow__ calls for x ** 2 and similar powers."""
    if instruction.operation is not elementwise.power or instruction.output.kind != "array":
        return instruction
    x, exponent = instruction.inputs
    value = exponent.value if isinstance(exponent, Constant) else None
    if (
        type(value) not in (int, float)
        or value not in POWERS
        or x.dtype.kind not in "fc"
        or x.dtype != instruction.output.dtype
    ):
        return instruction
    return attrs.evolve(instruction, operation=POWERS[value], inputs=(x,))


def _transposed_twice(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction | Atom:
    """Replace two transposes by one, or by none if they cancel."""
    if instruction.operation is not shapes.permute:
        return instruction
    x = instruction.inputs[0]
    before, perm = makers.get(x), instruction.params["perm"]
    if before is None or before.operation is not shapes.permute or len(before.params["perm"]) != len(perm):
        return instruction
    both = tuple(before.params["perm"][axis] for axis in perm)
    if both == tuple(range(-len(both), 0)):
        return before.inputs[0]
    return attrs.evolve(instruction, inputs=before.inputs, params={"perm": both})


def _broadcast_by_itself(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction:
    """Use operands as they were before broadcasting, where the operation broadcasts them anyway."""
    if not instruction.elementwise or instruction.output.kind != "array":
        return instruction
    inputs = list(instruction.inputs)
    for i, atom in enumerate(inputs):
        maker = makers.get(atom)
        before: Atom | None = None
        if isinstance(atom, Constant):
            before = (
                Constant(_one_value(atom))
                if atom.kind == "array" and _repeated(atom, instruction.output.shape)
                else None
            )
        elif maker is not None and maker.operation is shapes.broadcast and maker.inputs[0].kind != "number":
            before = maker.inputs[0]
        if before is not None:
            narrow = [*inputs[:i], before, *inputs[i + 1 :]]
            # On a GPU one array must remain among the operands: numbers alone would give a number on the host.
            left = backend_named(instruction.output.device) is CPU or any(operand.kind == "array" for operand in narrow)
            if left and np.broadcast_shapes(*[operand.shape for operand in narrow]) == instruction.output.shape:
                inputs = narrow
    return (
        instruction
        if tuple(inputs) == instruction.inputs
        else attrs.evolve(instruction, inputs=tuple(inputs), alias=None)
    )


EXACT = (elementwise.add, elementwise.subtract, elementwise.multiply, elementwise.divide)  # rounded alike by every loop


def _number_for_a_uniform_array(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction:
    """A number in place of an array whose entries are all equal: a number takes no memory traffic."""
    y = instruction.output
    if instruction.operation not in EXACT or y.kind != "array" or y.dtype.kind != "f":
        return instruction
    for i, atom in enumerate(instruction.inputs):
        x = instruction.inputs[1 - i]
        if isinstance(atom, Constant) and atom.kind == "array" and atom.dtype == y.dtype and _like(x, y):
            value = _one_value(atom)
            if value is not None:
                inputs = (x, Constant(value)) if i else (Constant(value), x)
                return attrs.evolve(instruction, inputs=inputs)
    return instruction


DENSE: weakref.WeakKeyDictionary[Constant, Constant] = weakref.WeakKeyDictionary()


def _dense_constants(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction:
    """A copy without gaps of a constant that is a part of another, such as some columns: loops then go over it in one stretch."""
    if instruction.operation not in (*EXACT, shapes.sum_pieces) or instruction.output.kind != "array":
        return instruction
    inputs = tuple([_dense(atom) if isinstance(atom, Constant) else atom for atom in instruction.inputs])
    changed = any(a is not b for a, b in zip(inputs, instruction.inputs, strict=True))
    return attrs.evolve(instruction, inputs=inputs) if changed else instruction


def _dense(constant: Constant) -> Constant:
    value = constant.value
    if not isinstance(value, np.ndarray) or value.dtype.hasobject or min(value.strides, default=0) <= 0:
        return constant
    if sum((n - 1) * s for n, s in zip(value.shape, value.strides, strict=True)) + value.itemsize == value.nbytes:
        return constant
    if constant not in DENSE:
        DENSE[constant] = Constant(read_only(value.copy(order="K")))
    return DENSE[constant]


def _negated(atom: Atom, makers: dict[Atom, Instruction]) -> Atom | None:
    """x, if the atom is -x."""
    maker = makers.get(atom)
    return maker.inputs[0] if maker is not None and maker.operation is elementwise.negative else None


def _without_sign(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction:
    """x - y for x + -y, x + y for x - -y, and x * -2 for -(x * 2) and -x * 2. A change of sign is exact, zeros included."""
    y, operation = instruction.output, instruction.operation
    if y.kind != "array" or y.dtype.kind != "f":
        return instruction
    if operation is elementwise.negative:
        maker = makers.get(instruction.inputs[0])
        if maker is not None and maker.operation is elementwise.multiply and _like(maker.output, y):
            return _times_opposite(instruction, maker.inputs)
    if operation not in (elementwise.add, elementwise.subtract, elementwise.multiply):
        return instruction
    first, second = instruction.inputs
    x, z = _negated(first, makers), _negated(second, makers)
    if operation is elementwise.multiply:
        signed = (first if x is None else x, second if z is None else z)
        alike = all(map(_lies_alike, signed, instruction.inputs))
        if alike and x is not None and z is not None:
            return attrs.evolve(instruction, inputs=signed)
        return _times_opposite(instruction, signed) if alike and (x is None) != (z is None) else instruction
    if z is not None and _lies_alike(z, second):
        other = elementwise.subtract if operation is elementwise.add else elementwise.add
        return attrs.evolve(instruction, operation=other, inputs=(first, z))
    if x is not None and _lies_alike(x, first) and operation is elementwise.add:
        return attrs.evolve(instruction, operation=elementwise.subtract, inputs=(second, x))
    return instruction


def _times_opposite(instruction: Instruction, factors: tuple[Atom, ...]) -> Instruction:
    """The product of the factors with its sign changed, if one of them is a number that is not 0."""
    for i, factor in enumerate(factors):
        value = factor.value if isinstance(factor, Constant) else None
        if isinstance(value, int | float | np.floating) and not isinstance(value, bool) and value != 0:
            opposite = Constant(-value)
            inputs = (factors[0], opposite) if i else (opposite, factors[1])
            return attrs.evolve(instruction, operation=elementwise.multiply, inputs=inputs)
    return instruction


def _lies_alike(x: Atom, y: Atom) -> bool:
    """Whether both are the same, or arrays of one shape, dtype and layout."""
    return x is y or (isinstance(y, Variable) and _like(x, y))


RULES = (
    _same,
    _fast_power,
    _transposed_twice,
    _broadcast_by_itself,
    _number_for_a_uniform_array,
    _dense_constants,
    _without_sign,
)
