"""A sum of a sum is one sum on a GPU: the adjoint of broadcasting over axes in front and axes of length 1 comes in two steps."""

from collections import Counter
from typing import Any

from ...ops.reductions import sum_axes
from ...ops.shape import reshape
from ..graph import Graph, Instruction, Rewritten, Variable, rewritten, row_strides, uses
from .waiting import is_reduction


def join_sums(graph: Graph) -> Graph:
    """The graph with one sum in place of two, where nothing else reads the first."""
    read = Counter(uses(graph))
    makers: dict[Any, Instruction] = {}

    def joined(instruction: Instruction) -> Rewritten:
        if instruction.operation is not sum_axes or not is_reduction(instruction):
            return None
        first = makers.get(instruction.inputs[0])
        if first is None or read[first.output] > 1:
            makers[instruction.output] = instruction
            return None
        x, y = first.inputs[0], instruction.output
        ndim, kept = len(x.shape), first.params["keepdims"]
        gone = {axis % ndim for axis in first.params["axes"]}
        left = list(range(ndim)) if kept else [axis for axis in range(ndim) if axis not in gone]
        axes = tuple(sorted(gone | {left[axis % len(left)] for axis in instruction.params["axes"]}))
        params = {"axes": tuple([axis - ndim for axis in axes]), "keepdims": False}
        shape = tuple([n for axis, n in enumerate(x.shape) if axis not in axes])
        total = Variable(shape, y.dtype, row_strides(shape, y.dtype.itemsize), y.kind, y.device)
        steps = [Instruction(sum_axes, (x,), params, (total,), instruction.line)]
        if shape == y.shape:
            makers[total] = steps[0]
            return steps, (total,)
        steps.append(Instruction(reshape, (total,), {"ndim": len(shape), "shape": y.shape}, (y,), instruction.line, 0))
        return steps, (y,)

    return rewritten(graph, joined)
