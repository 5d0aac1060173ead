"""The passes, graph -> graph: what need not be computed, or not so, before buffers are planned. All keep the same bits."""

import sys
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from ..core import Primitive, Region
from ..devices import parse_device
from ..ops import shape as shape_ops
from .algebra import simplify
from .graph import Atom, Constant, Graph, Instruction, Rewritten, Variable, renamed, rewritten
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

    def opened(instruction: Instruction) -> Rewritten:
        body = getattr(instruction.operation, "graph", None)
        if body is None:
            return None
        body = inline(body)
        inner: dict[Atom, Atom] = dict(zip(body.inputs, instruction.inputs, strict=True))
        steps = []
        for step in body.instructions:
            fresh = tuple(attrs.evolve(v) for v in step.outputs)
            steps.append(attrs.evolve(renamed(step, inner), outputs=fresh))
            inner.update(zip(step.outputs, fresh, strict=True))
        return steps, [inner.get(atom, atom) for atom in body.outputs]

    return rewritten(graph, opened)


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
    found: dict[Any, tuple[Variable, ...]] = {}

    def merged(instruction: Instruction) -> Rewritten:
        key = None if isinstance(instruction.operation, Region) else _key(instruction)
        if key is None:
            return None
        known = found.setdefault(key, instruction.outputs)
        return None if known is instruction.outputs else ([], known)

    return rewritten(graph, merged)


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

    def folded(instruction: Instruction) -> Rewritten:
        operation = instruction.operation
        if isinstance(operation, Region) or not all(isinstance(atom, Constant) for atom in instruction.inputs):
            return None
        with np.errstate(all="ignore"):
            value = operation(*[atom.value for atom in instruction.inputs if isinstance(atom, Constant)], **instruction.params)
        return [], [Constant(value)]

    return rewritten(graph, folded)


def expand(graph: Graph) -> Graph:
    """The operations that an implementation is made of, in place of the whole: recorded, as a user's function is."""

    def opened(instruction: Instruction) -> Rewritten:
        operation, variables = instruction.operation, [atom for atom in instruction.inputs if isinstance(atom, Variable)]
        if isinstance(operation, Region) or not operation.expand or not any(v.kind == "array" for v in variables):
            return None
        body = _implementation(operation, instruction)
        names: dict[Atom, Atom] = dict(zip(body.inputs, variables, strict=True))
        steps, y = [renamed(step, names) for step in body.instructions], names.get(body.outputs[0], body.outputs[0])
        if steps and steps[-1].elementwise and steps[-1].output is y:
            # It is written in the layout of eager code, which may follow from operands before they were broadcast: views build on it.
            y = attrs.evolve(steps[-1].output, strides=instruction.output.strides)
            steps[-1] = attrs.evolve(steps[-1], outputs=(y,))
        return steps, [y]

    return rewritten(graph, opened)


def _implementation(primitive: Primitive, instruction: Instruction) -> Graph:
    """The program of what the implementation does, recorded on ones."""
    variables = [atom for atom in instruction.inputs if isinstance(atom, Variable)]

    def run(*traced: Any) -> tuple[Any]:
        rest = iter(traced)
        args = [atom.value if isinstance(atom, Constant) else next(rest) for atom in instruction.inputs]
        return (primitive.impl(*args, **instruction.params),)

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
