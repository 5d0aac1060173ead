"""Pieces: an elementwise operation on an array that is read in slices, or put together from parts, runs on the pieces instead.

The gates of a recurrent cell are slices of one array. In pieces, all operations on the gates and on the state have one shape, so that
one native loop serves them. Arrays are cut along one axis, into pieces of one length. The last bits stay, but not the sign of a zero.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from ...core import Region
from ...ops import shape as shapes
from ..graph import Atom, Graph, Instruction, Variable, row_strides, strides_of

MOST = 8  # pieces of an array
IsNative = Callable[[Instruction], bool]
Part = tuple[Atom, int, int]  # an array, and where it begins and ends in the one that it is a part of


def in_pieces(graph: Graph, is_native: IsNative) -> Graph:
    """The graph with operations on pieces, along each axis that slices cut."""
    for axis in sorted({axis for step in graph.instructions for axis in _cut_axes(step)}, reverse=True):
        graph = _Cutting(graph, axis, is_native).graph()
    return graph


def slice_along(step: Instruction) -> tuple[int, int, int] | None:
    """The trailing axis that a slice cuts, with its start and stop there; None unless it cuts one axis, with step 1."""
    if step.operation is not shapes.slice_axes or step.inputs[0].kind != "array":
        return None
    index, shape = step.params["index"], step.inputs[0].shape
    if not all(isinstance(entry, tuple) for entry in index):
        return None
    spans = [slice(*entry).indices(n) for entry, n in zip(index, shape[len(shape) - len(index) :], strict=True)]
    cut = [(i - len(index), *span) for i, span in enumerate(spans) if span != (0, shape[i - len(index)], 1)]
    if len(cut) != 1 or cut[0][3] != 1 or cut[0][1] >= cut[0][2]:
        return None
    return cut[0][:3]


def parts_along(step: Instruction) -> tuple[int, list[Part]] | None:
    """The trailing axis along which the step puts arrays side by side, and these in their order; None if it does not."""
    if isinstance(step.operation, Region) or step.operation not in (shapes.unslice_all, shapes.concatenate):
        return None
    y = step.output
    if step.operation is shapes.concatenate:
        axis, order = step.params["axis"], list(range(len(step.inputs)))
    else:
        found = shapes.side_by_side(step.params["indices"]) if step.params["whole"] else None
        if found is None:
            return None
        axis, order = found
    parts, start = [], 0
    for i in order:
        x = step.inputs[i]
        if x.kind != "array" or x.dtype != y.dtype or len(x.shape) != len(y.shape):
            return None
        parts.append((x, start, start + x.shape[axis]))
        start += x.shape[axis]
    same = all(_without(x.shape, axis) == _without(y.shape, axis) for x, _, _ in parts)
    return (axis, parts) if same and start == y.shape[axis] else None


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[: len(shape) + axis] + shape[len(shape) + axis + 1 :]


def _cut_axes(step: Instruction) -> Iterator[int]:
    if isinstance(step.operation, Region):
        return
    for found in (slice_along(step), parts_along(step)):
        if found is not None:
            yield found[0]


class _Cutting:
    """One axis of a graph. `cuts` are the positions where each array is cut; `links` say which arrays are parts of which."""

    def __init__(self, graph: Graph, axis: int, is_native: IsNative) -> None:
        self.before, self.axis = graph, axis
        self.makers = {step.output: step for step in graph.instructions if not isinstance(step.operation, Region)}
        self.computed = {y for y, step in self.makers.items() if self._is_computed(step, is_native)}
        self.slices: dict[Variable, tuple[int, int]] = {}
        self.joins: dict[Variable, list[Part]] = {}
        self.cuts: dict[Atom, set[int]] = {}
        self.links: list[Part] = []  # with the array that it is a part of in `wholes`
        self.wholes: list[Variable] = []
        for step in self.makers.values():
            self._link(step)
        self._spread()
        self.length = self._lengths()
        self.parts: dict[Atom, list[Atom]] = {}
        self.shown: dict[Any, Variable] = {}
        self.names: dict[Atom, Atom] = {}
        self.steps: list[Instruction] = []
        self.waiting: dict[Atom, Instruction] = {}

    def _is_computed(self, step: Instruction, is_native: IsNative) -> bool:
        y = step.output
        return (
            step.elementwise and y.kind == "array" and len(y.shape) >= -self.axis and y.contiguous and is_native(step)
        )

    def _link(self, step: Instruction) -> None:
        y = step.output
        if y in self.computed:
            for x in step.inputs:
                if self._is_known(x) and len(x.shape) >= -self.axis and x.shape[self.axis] == y.shape[self.axis]:
                    self._add(y, (x, 0, y.shape[self.axis]))
        elif (found := slice_along(step)) is not None and found[0] == self.axis:
            (x,), (_, start, stop) = step.inputs, found
            if self._is_known(x):
                self.slices[y] = start, stop
                self._add(x, (y, start, stop))  # type: ignore[arg-type]  # known: a variable
        elif (joined := parts_along(step)) is not None and joined[0] == self.axis and y.contiguous:
            self.joins[y] = joined[1]
            for part in joined[1]:
                self._add(y, part)

    def _is_known(self, x: Atom) -> bool:
        return x in self.computed or x in self.slices or x in self.joins

    def _add(self, whole: Variable, part: Part) -> None:
        x, start, stop = part
        self.wholes.append(whole)
        self.links.append(part)
        self.cuts.setdefault(whole, set()).update(p for p in (start, stop) if 0 < p < whole.shape[self.axis])
        self.cuts.setdefault(x, set())

    def _spread(self) -> None:
        """A part is cut where the whole is, and the other way round."""
        changed = True
        while changed:
            changed = False
            for whole, (x, start, stop) in zip(self.wholes, self.links, strict=True):
                up = {start + p for p in self.cuts[x]} if self._is_known(x) else set()
                down = {p - start for p in self.cuts[whole] if start < p < stop} if self._is_known(x) else set()
                if not up <= self.cuts[whole] or not down <= self.cuts[x]:
                    self.cuts[whole] |= up
                    self.cuts[x] |= down
                    changed = True

    def _lengths(self) -> dict[Atom, int]:
        """The length of the pieces of each array, for connected arrays whose pieces all have one length."""
        leader: dict[Atom, Atom] = {v: v for v in self.cuts}

        def top(v: Atom) -> Atom:
            while leader[v] is not v:
                leader[v] = leader[leader[v]]  # a shorter way for the next time
                v = leader[v]
            return v

        for whole, (x, _, _) in zip(self.wholes, self.links, strict=True):
            if self._is_known(x):
                leader[top(x)] = top(whole)
        sets: dict[Atom, list[Atom]] = {}
        for v in self.cuts:
            if self._is_known(v):
                sets.setdefault(top(v), []).append(v)
        found: dict[Atom, int] = {}
        for members in sets.values():
            ends = [(v, sorted({0, v.shape[self.axis], *self.cuts[v]})) for v in members]
            lengths = {b - a for _, bounds in ends for a, b in itertools.pairwise(bounds)}
            most = max(len(bounds) for _, bounds in ends) - 1
            computes = any(v in self.computed and len(bounds) > 2 for v, bounds in ends)
            if len(lengths) == 1 and 1 < most <= MOST and computes:
                found.update(dict.fromkeys(members, lengths.pop()))
        return found

    def graph(self) -> Graph:
        """The graph in pieces."""
        if not self.length:
            return self.before
        whole = self._read_whole()
        for step in self.before.instructions:
            y = step.outputs[0] if step.outputs else None
            if y not in self.length or not self._in_parts(step):
                for x in step.inputs:
                    self._join(x)
                named = [self.names.get(atom, atom) for atom in step.inputs]
                self.steps.append(attrs.evolve(step, inputs=tuple(named)))
                continue
            assert y is not None
            if y in self.computed:
                self.parts[y] = self._computed(step)
            elif y in self.slices:
                (x,), (start, stop), n = step.inputs, self.slices[y], self.length[y]
                self.parts[y] = self._parts_of(x, n)[start // n : stop // n]
            else:
                self.parts[y] = [part for x, _, _ in self.joins[y] for part in self._parts_of(x, self.length[y])]
            if len(self.parts[y]) == 1:
                self.names[y] = self.parts[y][0]
            elif y in whole:
                self.waiting[y] = step
        for atom in self.before.outputs:
            self._join(atom)
        outputs = tuple([self.names.get(atom, atom) for atom in self.before.outputs])
        return attrs.evolve(self.before, instructions=tuple(self.steps), outputs=outputs)

    def _in_parts(self, step: Instruction) -> bool:
        """Whether the step works on pieces: it computes several, or it only says what is a part of what."""
        y = step.output
        return y in self.slices or y in self.joins or y.shape[self.axis] > self.length[y]

    def _read_whole(self) -> set[Atom]:
        found: set[Atom] = set(self.before.outputs)
        for step in self.before.instructions:
            if not step.outputs or step.outputs[0] not in self.length or not self._in_parts(step):
                found.update(step.inputs)
        return found

    def _parts_of(self, x: Atom, n: int) -> list[Atom]:
        """The pieces of length n of an array; views, if nothing has made them."""
        if x in self.parts:
            return self.parts[x]
        x = self.names.get(x, x)
        count = x.shape[self.axis] // n
        return [x] if count == 1 else [self._view(x, i, n) for i in range(count)]

    def _view(self, x: Atom, number: int, n: int) -> Variable:
        key = (x, number, n)
        if key not in self.shown:
            device = x.device if isinstance(x, Variable) else "cpu"
            y = Variable(self._shape(x.shape, n), x.dtype, strides_of(x), "array", device)
            index = shapes.cut(self.axis, number * n, (number + 1) * n)
            self.steps.append(Instruction(shapes.slice_axes, (x,), {"index": index}, (y,), None, 0))
            self.shown[key] = y
        return self.shown[key]

    def _shape(self, shape: tuple[int, ...], n: int) -> tuple[int, ...]:
        return (*shape[: len(shape) + self.axis], n, *shape[len(shape) + self.axis + 1 :])

    def _computed(self, step: Instruction) -> list[Atom]:
        y, n = step.output, self.length[step.output]
        shape = self._shape(y.shape, n)
        made: list[Atom] = []
        operands = []
        for x in step.inputs:
            is_cut = x.kind == "array" and len(x.shape) >= -self.axis and x.shape[self.axis] == y.shape[self.axis]
            operands.append(self._parts_of(x, n) if is_cut else None)
        for i in range(y.shape[self.axis] // n):
            inputs = [
                self.names.get(x, x) if parts is None else parts[i]
                for x, parts in zip(step.inputs, operands, strict=True)
            ]
            piece = attrs.evolve(y, shape=shape, strides=row_strides(shape, y.dtype.itemsize))
            self.steps.append(attrs.evolve(step, inputs=tuple(inputs), outputs=(piece,)))
            made.append(piece)
        return made

    def _join(self, y: Atom) -> None:
        """Make the array from its pieces, if nothing has done that yet. It is done late, because it ends the group of the pieces."""
        step = self.waiting.pop(y, None)
        if step is None or not isinstance(y, Variable):
            return
        n, shape = self.length[y], y.shape
        indices = tuple([shapes.cut(self.axis, i * n, (i + 1) * n) for i in range(shape[self.axis] // n)])
        shape = shape[len(shape) + self.axis :]
        params = {"indices": indices, "shape": shape, "whole": True}
        self.steps.append(Instruction(shapes.unslice_all, tuple(self.parts[y]), params, (y,), step.line))
