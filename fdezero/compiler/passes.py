"""The passes, graph -> graph: what need not be computed, or not so, before buffers are planned. All keep the same bits."""

import math
import sys
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from ..core import Region
from ..devices import parse_device
from ..ops import elementwise as ops
from ..ops import shape as shape_ops
from .graph import Atom, Constant, Graph, Instruction, Variable
from .lines import LINE
from .record import record
from .slices import put_slices_together

Pass = Callable[[Graph], Graph]


def optimise(graph: Graph, check: Callable[[Graph], Graph] = lambda graph: graph) -> Graph:
    """All passes in their order; `check` is called after each."""
    lent = lent_outputs(graph)
    for step in PASSES:
        graph = check(step(graph))
    return check(own_outputs(graph, lent))


def inline(graph: Graph) -> Graph:
    """The programs of regions that have one (`graph`) in their place."""
    if not any(hasattr(instruction.operation, "graph") for instruction in graph.instructions):
        return graph
    instructions: list[Instruction] = []
    replaced: dict[Atom, Atom] = {}
    for instruction in graph.instructions:
        body = getattr(instruction.operation, "graph", None)
        instruction = _renamed(instruction, replaced)
        if body is None:
            instructions.append(instruction)
            continue
        body = inline(body)
        inner: dict[Atom, Atom] = dict(zip(body.inputs, instruction.inputs, strict=True))
        for step in body.instructions:
            fresh = tuple(attrs.evolve(v) for v in step.outputs)
            instructions.append(attrs.evolve(_renamed(step, inner), outputs=fresh))
            inner.update(zip(step.outputs, fresh, strict=True))
        for variable, atom in zip(instruction.outputs, body.outputs, strict=True):
            replaced[variable] = inner.get(atom, atom)
    return _finish(graph, instructions, replaced)


def _renamed(instruction: Instruction, names: dict[Atom, Atom]) -> Instruction:
    if not any(atom in names for atom in instruction.inputs):
        return instruction
    return attrs.evolve(instruction, inputs=tuple([names.get(atom, atom) for atom in instruction.inputs]))


def _finish(graph: Graph, instructions: list[Instruction], replaced: dict[Atom, Atom]) -> Graph:
    outputs = tuple([replaced.get(atom, atom) for atom in graph.outputs])
    return attrs.evolve(graph, instructions=tuple(instructions), outputs=outputs)


def drop_dead(graph: Graph) -> Graph:
    """Without what nobody reads."""
    needed = set(graph.outputs)
    kept: list[Instruction] = []
    for instruction in reversed(graph.instructions):
        if any(v in needed for v in instruction.outputs):
            needed.update(instruction.inputs)
            kept.append(instruction)
    return attrs.evolve(graph, instructions=tuple(reversed(kept)))


def merge_common(graph: Graph) -> Graph:
    """The same operation on the same operands is computed once."""
    found: dict[Any, Variable] = {}
    replaced: dict[Atom, Atom] = {}
    instructions = []
    for instruction in graph.instructions:
        instruction = _renamed(instruction, replaced)
        if not isinstance(instruction.operation, Region):
            key = _key(instruction)
            known = found.get(key) if key is not None else None
            if known is not None:
                replaced[instruction.output] = known
                continue
            if key is not None:
                found[key] = instruction.output
        instructions.append(instruction)
    return _finish(graph, instructions, replaced)


def _key(instruction: Instruction) -> Any:
    operands = tuple([atom.key if isinstance(atom, Constant) else atom for atom in instruction.inputs])
    key = (instruction.name, operands, tuple(instruction.params.items()))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def fold_constants(graph: Graph) -> Graph:
    """What depends on constants alone is computed now."""
    replaced: dict[Atom, Atom] = {}
    instructions = []
    for instruction in graph.instructions:
        instruction = _renamed(instruction, replaced)
        if isinstance(instruction.operation, Region) or not all(isinstance(atom, Constant) for atom in instruction.inputs):
            instructions.append(instruction)
            continue
        with np.errstate(all="ignore"):
            value = instruction.operation(*[atom.value for atom in instruction.inputs], **instruction.params)  # type: ignore[union-attr]
        replaced[instruction.output] = Constant(value)
    return _finish(graph, instructions, replaced)


def simplify(graph: Graph) -> Graph:
    """Algebra that keeps the same bits: x * 1, x / 1, x - 0, x ** 2, double transposes, broadcasts that NumPy does by itself."""
    replaced: dict[Atom, Atom] = {}
    makers: dict[Atom, Instruction] = {}
    instructions = []
    for instruction in graph.instructions:
        instruction = _renamed(instruction, replaced)
        if isinstance(instruction.operation, Region):
            instructions.append(instruction)
            continue
        for rule in (_same, _fast_power, _transposed_twice, _broadcast_by_itself):
            result = rule(instruction, makers)
            if isinstance(result, Instruction):
                instruction = result
            else:
                replaced[instruction.output] = result
                break
        else:
            makers[instruction.output] = instruction
            instructions.append(instruction)
    return _finish(graph, instructions, replaced)


def _is(atom: Atom, number: int) -> bool:
    value = _one_value(atom) if isinstance(atom, Constant) else None
    if not isinstance(value, int | float | np.floating) or isinstance(value, bool):
        return False
    return bool(value == number) and math.copysign(1, value) > 0  # x - -0.0 is not x


def _one_value(constant: Constant) -> Any:
    """The value of a number, or of an array that is one number broadcast; None for other constants."""
    value = constant.value
    if constant.kind != "array":
        return value
    if not value.size or not all(s == 0 or n == 1 for n, s in zip(value.shape, value.strides, strict=True)):
        return None
    first = value[(0,) * len(value.shape)]
    return first if isinstance(value, np.ndarray) else value.dtype.type(first.item())


def _same(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction | Atom:
    """x for stop_gradient(x), x * 1, 1 * x, x / 1 and x - 0, where dtype and shape stay."""
    operation, inputs = instruction.operation, instruction.inputs
    x: Atom | None = None
    if operation is ops.stop_gradient:
        return inputs[0]
    if operation is ops.multiply:
        x = inputs[0] if _is(inputs[1], 1) else inputs[1] if _is(inputs[0], 1) else None
    elif (operation is ops.divide and _is(inputs[1], 1)) or (operation is ops.subtract and _is(inputs[1], 0)):
        x = inputs[0]
    if x is None or not isinstance(x, Variable) or not _like(x, instruction.output):
        return instruction
    return x if x.dtype.kind == "f" else instruction  # inf * (1 + 0j) has a NaN


def _like(x: Atom, y: Variable) -> bool:
    return isinstance(x, Variable) and (x.shape, x.dtype, x.kind, x.strides) == (y.shape, y.dtype, y.kind, y.strides)


POWERS = {2: ops.square, 0.5: ops.sqrt, 1: ops.positive, -1: ops.reciprocal}


def _fast_power(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction:
    """What ndarray.__pow__ calls for x ** 2 and its like."""
    if instruction.operation is not ops.power or instruction.output.kind != "array":
        return instruction
    x, exponent = instruction.inputs
    value = exponent.value if isinstance(exponent, Constant) else None
    if type(value) not in (int, float) or value not in POWERS or x.dtype.kind not in "fc" or x.dtype != instruction.output.dtype:
        return instruction
    return attrs.evolve(instruction, operation=POWERS[value], inputs=(x,))


def _transposed_twice(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction | Atom:
    """One transpose for two, none for two that cancel."""
    if instruction.operation is not shape_ops.permute:
        return instruction
    x = instruction.inputs[0]
    before, perm = makers.get(x), instruction.params["perm"]
    if before is None or before.operation is not shape_ops.permute or len(before.params["perm"]) != len(perm):
        return instruction
    both = tuple(before.params["perm"][axis] for axis in perm)
    if both == tuple(range(-len(both), 0)):
        return before.inputs[0]
    return attrs.evolve(instruction, inputs=before.inputs, params={"perm": both})


def _broadcast_by_itself(instruction: Instruction, makers: dict[Atom, Instruction]) -> Instruction:
    """Operands before they were broadcast, where the operation broadcasts them anyway."""
    if not instruction.elementwise or instruction.output.kind != "array":
        return instruction
    inputs = list(instruction.inputs)
    for i, atom in enumerate(inputs):
        maker = makers.get(atom)
        before: Atom | None = None
        if isinstance(atom, Constant):
            before = Constant(_one_value(atom)) if atom.kind == "array" and _one_value(atom) is not None else None
        elif maker is not None and maker.operation is shape_ops.broadcast and maker.inputs[0].kind != "number":
            before = maker.inputs[0]
        if before is not None:
            narrow = [*inputs[:i], before, *inputs[i + 1 :]]
            # On the GPU an array has to be left among them: of numbers alone a number would be made, on the host.
            left = instruction.output.device == "cpu" or any(operand.kind == "array" for operand in narrow)
            if left and np.broadcast_shapes(*[operand.shape for operand in narrow]) == instruction.output.shape:
                inputs = narrow
    return instruction if tuple(inputs) == instruction.inputs else attrs.evolve(instruction, inputs=tuple(inputs), alias=None)


def expand(graph: Graph) -> Graph:
    """The operations that an implementation is made of, in place of the whole: recorded, as a user's function is."""
    replaced: dict[Atom, Atom] = {}
    instructions: list[Instruction] = []
    for instruction in graph.instructions:
        instruction = _renamed(instruction, replaced)
        operation = instruction.operation
        arrays = any(isinstance(atom, Variable) and atom.kind == "array" for atom in instruction.inputs)
        if isinstance(operation, Region) or not operation.expand or not arrays:
            instructions.append(instruction)
            continue
        body = _implementation(instruction)
        names: dict[Atom, Atom] = dict(zip(body.inputs, [a for a in instruction.inputs if isinstance(a, Variable)], strict=True))
        instructions += [_renamed(step, names) for step in body.instructions]
        replaced[instruction.output] = names.get(body.outputs[0], body.outputs[0])
    return _finish(graph, instructions, replaced)


def _implementation(instruction: Instruction) -> Graph:
    """The program of what the implementation does, recorded on ones."""
    variables = [atom for atom in instruction.inputs if isinstance(atom, Variable)]

    def run(*traced: Any) -> tuple[Any]:
        rest = iter(traced)
        args = [atom.value if isinstance(atom, Constant) else next(rest) for atom in instruction.inputs]
        return (instruction.operation.impl(*args, **instruction.params),)  # type: ignore[union-attr]

    LINE.now, before = instruction.line, LINE.now
    try:
        with np.errstate(all="ignore"):
            return record(run, [ones_like(variable) for variable in variables], instruction.name).graph
    finally:
        LINE.now = before


def ones_like(variable: Variable) -> Any:
    """An example for a variable: ones, laid out in memory as it is."""
    if variable.kind == "number":
        return variable.dtype.type(1).item()
    if variable.kind == "scalar":
        return variable.dtype.type(1)
    shape, strides, itemsize = variable.shape, variable.strides or (), variable.dtype.itemsize
    if (index := parse_device(variable.device)) is not None:  # where a layout changes nothing but the time that an operation takes
        with sys.modules["cupy"].cuda.Device(index):
            return sys.modules["cupy"].ones(shape, variable.dtype)
    if not variable.size or any(s % itemsize for s in strides):
        return np.ones(shape, variable.dtype)
    spans = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    before, after = -sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans)
    memory = np.ones((before + after) // itemsize + 1, variable.dtype)
    return np.ndarray(shape, variable.dtype, memory, before, strides)


def empty_like(variable: Variable) -> np.ndarray:
    """A new array laid out in memory as the variable is, as far as its axes have an order."""
    order = sorted(range(len(variable.shape)), key=lambda axis: (-abs((variable.strides or ())[axis]), axis))
    dense = np.empty([variable.shape[axis] for axis in order], variable.dtype)
    return dense.transpose([order.index(axis) for axis in range(len(order))])


def lent_outputs(graph: Graph) -> set[int]:
    """The numbers of the outputs that are inputs or constants, or views of them: eager code hands those out, too."""
    given = {*graph.inputs, *[atom for atom in graph.outputs if isinstance(atom, Constant)]}
    roots = roots_of(graph)
    return {i for i, atom in enumerate(graph.outputs) if roots.get(atom, atom) in given or isinstance(roots.get(atom, atom), Constant)}


def lent_by_inputs(graph: Graph) -> list[bool]:
    """For every output whether it is an input, or a view of one."""
    roots = roots_of(graph)
    return [roots.get(atom, atom) in graph.inputs for atom in graph.outputs]


def roots_of(graph: Graph) -> dict[Atom, Atom]:
    """For every view what it looks into, in the end."""
    roots: dict[Atom, Atom] = {}
    for instruction in graph.instructions:
        if instruction.alias is not None:
            viewed = instruction.inputs[instruction.alias]
            roots[instruction.output] = roots.get(viewed, viewed)
    return roots


def own_outputs(graph: Graph, lent: set[int]) -> Graph:
    """Copies of inputs where a pass has put them in the place of results: a result must not change with an input."""
    roots, outputs, copies = roots_of(graph), list(graph.outputs), []
    for i, atom in enumerate(graph.outputs):
        root = roots.get(atom, atom)
        if atom.kind != "array":
            continue
        if isinstance(atom, Constant):
            outputs[i] = Constant(read_only(atom.value if i in lent else atom.value.copy(order="K")))
        elif i not in lent and (root in graph.inputs or isinstance(root, Constant)):
            copy = attrs.evolve(atom, strides=tuple(empty_like(atom).strides))
            copies.append(Instruction(shape_ops.copy, (atom,), {}, (copy,)))
            outputs[i] = copy
    return attrs.evolve(graph, instructions=(*graph.instructions, *copies), outputs=tuple(outputs))


def read_only(array: Any) -> Any:
    """A view of an array that cannot be written to, as far as its library has such."""
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.flags.writeable = False
    return view


PASSES: tuple[Pass, ...] = (
    inline, fold_constants, simplify, merge_common, drop_dead, expand, simplify, merge_common, put_slices_together, drop_dead
)  # fmt: skip
