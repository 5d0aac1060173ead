"""Views: which values share memory with others, and which outputs must own theirs."""

from typing import Any

import attrs
import numpy as np

from ...ops import shape as shapes
from ..graph import Atom, Constant, Graph, Instruction, Variable


def empty_like(variable: Variable) -> np.ndarray:
    """A new array with the variable's memory layout, as far as its axes have an order."""
    order = sorted(range(len(variable.shape)), key=lambda axis: (-abs((variable.strides or ())[axis]), axis))
    dense = np.empty([variable.shape[axis] for axis in order], variable.dtype)
    return dense.transpose([order.index(axis) for axis in range(len(order))])


def lent_outputs(graph: Graph) -> set[int]:
    """The positions of outputs that are inputs, constants or views of them. Eager code also returns those as they are."""
    given = {*graph.inputs, *[atom for atom in graph.outputs if isinstance(atom, Constant)]}
    roots = roots_of(graph)
    return {
        i
        for i, atom in enumerate(graph.outputs)
        if roots.get(atom, atom) in given or isinstance(roots.get(atom, atom), Constant)
    }


def lent_by_inputs(graph: Graph) -> list[bool]:
    """For every output, whether it is an input or a view of one."""
    roots, inputs = roots_of(graph), set(graph.inputs)
    return [roots.get(atom, atom) in inputs for atom in graph.outputs]


def is_repeated(atom: Atom) -> bool:
    """Whether an array shows one number of its memory at several places, as `broadcast_to` makes it."""
    strides = getattr(atom, "strides", None) or ()
    return any(stride == 0 and n > 1 for stride, n in zip(strides, atom.shape, strict=True))


def roots_of(graph: Graph) -> dict[Atom, Atom]:
    """For every view, the value whose memory it finally looks into."""
    roots: dict[Atom, Atom] = {}
    for instruction in graph.instructions:
        if instruction.alias is not None:
            viewed = instruction.inputs[instruction.alias]
            roots[instruction.output] = roots.get(viewed, viewed)
    return roots


def own_outputs(graph: Graph, lent: set[int]) -> Graph:
    """Copy inputs that a pass has put in place of results, because a result must not change with an input."""
    roots, inputs, outputs, copies = roots_of(graph), set(graph.inputs), list(graph.outputs), []
    for i, atom in enumerate(graph.outputs):
        root = roots.get(atom, atom)
        if atom.kind != "array":
            continue
        if isinstance(atom, Constant):
            outputs[i] = Constant(read_only(atom.value if i in lent else atom.value.copy(order="K")))
        elif i not in lent and (root in inputs or isinstance(root, Constant)):
            copy = attrs.evolve(atom, strides=tuple(empty_like(atom).strides))
            copies.append(Instruction(shapes.copy, (atom,), {}, (copy,)))
            outputs[i] = copy
    return attrs.evolve(graph, instructions=(*graph.instructions, *copies), outputs=tuple(outputs))


def read_only(array: Any) -> Any:
    """A read-only view of an array, if its library has such views."""
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.flags.writeable = False
    return view
