"""Residuals: what the way back reads of the way there. Views and cheap arithmetic are done again instead of being kept.

A loop copies each residual in every round, and a copied view has other strides than the view of eager code.
"""

from collections.abc import Iterable, Sequence

import attrs

from ...ops import elementwise
from ..graph import Atom, Constant, Graph, Instruction, Variable, uses
from .dead import drop_dead

CHEAP = (
    elementwise.add,
    elementwise.subtract,
    elementwise.multiply,
    elementwise.negative,
    elementwise.square,
    elementwise.one_minus_square,
)


def split(joint: Graph, n: int, count: int) -> tuple[Graph, Graph]:
    """The graph of a derivative, cut in two: the part that needs no cotangent, and the rest.

    `joint` takes `n` leaves and then cotangents, and returns `count` results and then gradients. The first part returns the
    results and then the residuals. The second part takes residuals and cotangents.
    """
    late: set[Atom] = set(joint.inputs[n:])
    first: list[Instruction] = []
    second: list[Instruction] = []
    for instruction in joint.instructions:
        waits = any(atom in late for atom in instruction.inputs)
        (second if waits else first).append(instruction)
        if waits:
            late.update(instruction.outputs)
    leaves, names = joint.inputs[:n], joint.names
    results = attrs.evolve(
        joint, inputs=leaves, names=names[:n], instructions=tuple(first), outputs=joint.outputs[:count]
    )
    back = drop_dead(
        attrs.evolve(joint, name=f"{joint.name}_backward", instructions=tuple(second), outputs=joint.outputs[count:])
    )
    back, residuals = with_fewer_residuals(back, results, joint.inputs[n:])
    out = drop_dead(attrs.evolve(results, name=f"{joint.name}_forward", outputs=(*results.outputs, *residuals)))
    known: dict[Variable, str] = dict(zip(leaves, names, strict=False))
    called = tuple([known.get(v, f"saved{i}") for i, v in enumerate(residuals)])
    return out, attrs.evolve(back, inputs=(*residuals, *joint.inputs[n:]), names=(*called, *names[n:]))


def with_fewer_residuals(back: Graph, first: Graph, given: Iterable[Variable]) -> tuple[Graph, tuple[Variable, ...]]:
    """The second part of a derivative, and its residuals: variables of the first part, which it reads besides those `given`.

    It also has those views and sums or products of the first part that need no more memory for their operands than for
    themselves. What the first part needs for its own results is not computed twice.
    """
    moving = _Moving(first, residuals_of(back, given))
    for y in moving.residuals:
        moving.try_to_move(y)
    for y in moving.residuals:  # some operands are kept by now
        moving.try_to_move(y)
    again = [step for step in first.instructions if step.output in moving.moved]
    back = drop_dead(attrs.evolve(back, instructions=(*again, *back.instructions)))
    return back, residuals_of(back, given)


def residuals_of(back: Graph, given: Iterable[Variable]) -> tuple[Variable, ...]:
    """What the graph reads, but neither makes nor is given."""
    made = {v for instruction in back.instructions for v in instruction.outputs} | set(given)
    return tuple(dict.fromkeys(v for v in uses(back) if v not in made))


class _Moving:
    """The residuals, and the instructions that move to the second part."""

    def __init__(self, first: Graph, residuals: Sequence[Variable]) -> None:
        self.residuals = residuals
        self.kept = set(residuals)
        self.leaves = set(first.inputs)
        self.makers: dict[Atom, Instruction] = {y: step for step in first.instructions for y in step.outputs}
        self.needed = {y for step in drop_dead(first).instructions for y in step.outputs}
        self.moved: set[Variable] = set()

    def try_to_move(self, y: Variable) -> None:
        """Replace the residual `y` by what it is computed from, unless that is larger."""
        if y not in self.kept:
            return
        steps, sources = self._origin(y)
        added = [x for x in sources if x not in self.kept]
        if steps and (_is_view_of(self.makers[y], self.leaves) or sum(x.nbytes for x in added) <= y.nbytes):
            self.kept.discard(y)
            self.kept.update(added)
            self.moved.update(steps)

    def _origin(self, y: Variable) -> tuple[set[Variable], set[Variable]]:
        """The results of the instructions to do again for `y`, and the variables that they begin with."""
        steps: set[Variable] = set()
        sources: set[Variable] = set()
        waiting = [y]
        while waiting:
            x = waiting.pop()
            step = self.makers.get(x)
            if x in steps or x in sources:
                continue
            if step is None or (x in self.kept and x is not y) or not self._is_cheap(step):
                sources.add(x)
            else:
                steps.add(x)
                waiting += [atom for atom in step.inputs if isinstance(atom, Variable)]
        return steps, sources

    def _is_cheap(self, step: Instruction) -> bool:
        if step.alias is not None:
            return len(step.inputs) == 1
        is_array = all(isinstance(atom, Constant) or atom.kind == "array" for atom in (*step.inputs, step.output))
        return step.operation in CHEAP and is_array and step.output not in self.needed


def _is_view_of(step: Instruction, leaves: set[Variable]) -> bool:
    """Whether it looks into an argument, which is there anyway."""
    return step.alias is not None and step.inputs[step.alias] in leaves
