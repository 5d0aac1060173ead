"""Sums of slices: the derivative of reading an array part by part becomes one array, written in one pass.

The derivative of `x[0]` is an array of zeros with one row filled in. For a loop over the rows it is the sum of as many such
arrays. If no two parts overlap, each part is written into its place of a single array.
"""

import math
from typing import Any

import attrs
import numpy as np

from ...ops import elementwise
from ...ops.shape import unslice_all, unslice_axes
from ..graph import Atom, Graph, Instruction, Variable, uses

MOST_PAIRS = 1 << 8  # from this many pairs of slices on, looking for overlaps one by one takes too long
Touched = tuple[np.ndarray, ...]  # for every axis, the positions that a slice touches


@attrs.frozen(eq=False)
class _Sum:
    """Slices that are added up, each with its own place; `touched` are the positions of all of them."""

    parts: tuple[tuple[Atom, tuple[Any, ...], Touched], ...]
    shape: tuple[int, ...]
    touched: Touched
    count: int


def put_slices_together(graph: Graph) -> Graph:
    """Replace a sum of slices that do not overlap by one instruction."""
    counts: dict[Variable, int] = {}
    for variable in uses(graph):
        counts[variable] = counts.get(variable, 0) + 1
    sums: dict[Atom, _Sum] = {}
    instructions: list[Instruction] = []
    for instruction in graph.instructions:
        if instruction.operation is unslice_axes and counts.get(instruction.output) == 1:
            if (alone := _alone(instruction)) is not None:
                sums[instruction.output] = alone
        elif instruction.operation is elementwise.add:
            first, second = (sums.get(atom) for atom in instruction.inputs)
            if first is not None and second is not None and (joined := _joined(first, second)) is not None:
                sums[instruction.output] = joined
                parts, indices, _ = zip(*joined.parts, strict=True)
                params = {"indices": indices, "shape": joined.shape, "whole": joined.count == math.prod(joined.shape)}
                instruction = Instruction(unslice_all, parts, params, instruction.outputs, instruction.line)
        instructions.append(instruction)
    return attrs.evolve(graph, instructions=tuple(instructions))


def _alone(instruction: Instruction) -> _Sum | None:
    index, shape = instruction.params["index"], instruction.params["shape"]
    if instruction.output.kind != "array" or None in index:
        return None
    touched = tuple([np.zeros(n, bool) for n in shape])
    for axis, entry in zip(touched, index, strict=True):
        axis[slice(*entry) if isinstance(entry, tuple) else entry] = True
    count = math.prod([int(axis.sum()) for axis in touched])
    return _Sum(((instruction.inputs[0], index, touched),), shape, touched, count)


def _joined(first: _Sum, second: _Sum) -> _Sum | None:
    """Both sums in one, if they cut the same axes and their slices do not overlap."""
    if first.shape != second.shape:
        return None
    if not _apart(first.touched, second.touched):
        if len(first.parts) * len(second.parts) > MOST_PAIRS:
            return None
        if not all(_apart(a, b) for _, _, a in first.parts for _, _, b in second.parts):
            return None
    touched = tuple([a | b for a, b in zip(first.touched, second.touched, strict=True)])
    return _Sum((*first.parts, *second.parts), first.shape, touched, first.count + second.count)


def _apart(first: Touched, second: Touched) -> bool:
    """Whether the two slices are disjoint along some axis."""
    return any(not (a & b).any() for a, b in zip(first, second, strict=True))
