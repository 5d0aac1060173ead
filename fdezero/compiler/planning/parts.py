"""Parts of arrays in native loops: a slice is an operand with an offset of its own, and results are stored side by side in one array."""

from collections import Counter

import attrs

from ..graph import Atom, Graph, Instruction, Variable, uses
from ..passes.dead import drop_dead
from ..passes.pieces import parts_along, slice_along
from .fuse import Fused, Part


def with_parts(graph: Graph) -> Graph:
    """The graph with slices taken into the groups that read them, and arrays put together by the groups that make their parts."""
    makers = {y: step for step in graph.instructions for y in step.outputs}
    steps = [_with_slices(step, makers) if _has_loops(step) else step for step in graph.instructions]
    return drop_dead(_with_stores(attrs.evolve(graph, instructions=tuple(steps))))


def _has_loops(step: Instruction) -> bool:
    operation = step.operation
    return isinstance(operation, Fused) and operation.mode == "loops" and operation.schedule is None


def _with_slices(step: Instruction, makers: dict[Variable, Instruction]) -> Instruction:
    """The group with whole arrays in place of the slices that it reads."""
    fused = _loops_of(step)
    views: dict[Atom, Part] = {}
    inputs: list[Atom] = []
    for x in step.inputs:
        part = _part(x, makers)
        if part is not None:
            views[x] = part
        inputs.append(x if part is None else part.whole)
    if not views:
        return step
    return attrs.evolve(step, operation=fused.with_parts(views, fused.stores), inputs=tuple(dict.fromkeys(inputs)))


def _part(x: Atom, makers: dict[Variable, Instruction]) -> Part | None:
    """The part of another array that x is, if it is a slice, or a slice of a slice along the same axis."""
    maker = makers.get(x) if isinstance(x, Variable) else None
    found = slice_along(maker) if maker is not None and maker.alias is not None else None
    if maker is None or found is None:
        return None
    axis, start, _ = found
    whole = maker.inputs[0]
    outer = _part(whole, makers)
    if outer is not None and outer.axis == axis:
        return Part(outer.whole, axis, outer.start + start)
    return Part(whole, axis, start)


def _with_stores(graph: Graph) -> Graph:
    """The graph without those instructions that put the results of one group side by side: the group itself stores them so."""
    counts = Counter(uses(graph))
    groups: dict[Atom, int] = {
        y: number for number, step in enumerate(graph.instructions) if _has_loops(step) for y in step.outputs
    }
    steps: dict[int, Instruction] = dict(enumerate(graph.instructions))
    for number, join in enumerate(graph.instructions):
        axis, parts = parts_along(join) or (0, [])
        places = {groups.get(x) for x, _, _ in parts}
        place = places.pop() if len(places) == 1 else None
        if place is None:
            continue
        group, fused = steps[place], _loops_of(steps[place])
        total = fused.total.output if fused.total is not None else None
        if any(x is total for x, _, _ in parts):
            continue
        stores = dict(fused.stores)
        for x, start, _ in parts:
            stores[x] = (*stores.get(x, ()), Part(join.output, axis, start))
            counts[x] -= 1  # type: ignore[index]  # a result of a group is a variable
        outputs = [*[y for y in group.outputs if y is not total], join.output, *([total] if total is not None else [])]
        steps[place] = attrs.evolve(group, operation=fused.with_parts(fused.views, stores), outputs=tuple(outputs))
        del steps[number]
    for number, step in steps.items():
        # What is read only as a part has no array of its own.
        if _has_loops(step) and (fused := _loops_of(step)).stores:
            own = {y: (Part(y, -1, 0), *parts) for y, parts in fused.stores.items() if counts[y]}  # type: ignore[index]  # results are variables
            outputs = [y for y in step.outputs if counts[y] or y not in fused.stores]
            made = fused.with_parts(fused.views, {**fused.stores, **own})
            steps[number] = attrs.evolve(step, operation=made, outputs=tuple(outputs))
    return attrs.evolve(graph, instructions=tuple(steps.values()))


def _loops_of(step: Instruction) -> Fused:
    assert isinstance(step.operation, Fused)
    return step.operation
