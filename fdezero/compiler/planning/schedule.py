"""The passes of a group with reductions: which of its values each pass over a line computes, takes from memory, reduces and stores.

Arithmetic is done again in a later pass, because that is cheaper than memory. Functions such as exp are computed once. So an entry
has the same bits in every pass, and `x == max(x)` finds the maximum.
"""

from typing import NamedTuple

import attrs

from ..graph import Atom, Graph, Instruction, Variable
from . import expressions
from .lines import ENTRY, LATE, LINE, Lines, is_reduction, part_of, squeezed

DEAR = 12  # the cost from which on a result is stored instead of computed again in a later pass
COSTS = {"add": 1, "subtract": 1, "multiply": 1, "divide": 4, "sqrt": 4, "shifted": 4, "mixed": 5}
FUNCTIONS = "exp log sin cos tan pow hypot erf fmod cbrt".split()  # as parts of C's names


class Value(NamedTuple):
    """A value of a group: a variable, or one of the parts that lie side by side in a variable."""

    variable: Atom
    part: int | None = None


@attrs.define(eq=False)
class Reduction:
    """One reduction in a pass. `stage` counts the passes of one operation; `is_column` if it is over all other axes."""

    step: Instruction
    stage: int
    is_column: bool = False


@attrs.define(eq=False)
class Pass:
    """One pass over a line: the entries that it computes, takes from memory, reduces and stores."""

    steps: list[Instruction] = attrs.field(factory=list)
    taken: list[Variable] = attrs.field(factory=list)
    reductions: list[Reduction] = attrs.field(factory=list)
    stored: list[Variable] = attrs.field(factory=list)
    sums_total: bool = False
    before: list[Instruction] = attrs.field(factory=list)  # operations on line values that run before the pass


class Schedule:
    """The passes of a group over each line."""

    def __init__(self, lines: Lines, body: Graph, total: Instruction | None) -> None:
        self.frame, self.body, self.total = lines.frame, body, total
        self.kinds, self.ready = lines.kinds, lines.ready
        self.values: dict[Atom, Value] = {}  # of views: the value that they show
        self.makers: dict[Atom, Instruction] = {}
        self.order: dict[Instruction, int] = {}
        for number, step in enumerate(body.instructions):
            if step.alias is None:
                self.makers[step.output], self.order[step] = step, number
            else:
                below = self.value_of(step.inputs[0])
                self.values[step.output] = Value(below.variable, part_of(step) if below.part is None else below.part)
        self.passes = [Pass() for _ in range(self._count())]
        self._reduce()
        self.homes: dict[Atom, int] = {}  # of entries in scratch memory: the pass that stores them
        self.scratch = self._chosen()
        self._fill()
        self.last_reads = self._reads()

    def value_of(self, atom: Atom) -> Value:
        return self.values.get(atom, Value(atom))

    def is_entry(self, atom: Atom) -> bool:
        return self.kinds.get(self.value_of(atom).variable) == ENTRY

    @property
    def columns(self) -> list[Instruction]:
        """The reductions over all other axes."""
        return [part.step for each in self.passes for part in each.reductions if part.is_column]

    def _count(self) -> int:
        return 1 + max(self.ready.get(step.output, 0) for step in self.body.instructions)

    def _start(self, step: Instruction) -> int:
        return max([self.ready.get(self.value_of(atom).variable, 0) for atom in step.inputs], default=0)

    def _reduce(self) -> None:
        """Put reductions, the total and the operations on line values into their passes."""
        for step in self.makers.values():
            start, kind = self._start(step), self.kinds[step.output]
            if is_reduction(step):
                stages = 1 if kind == LATE else self.ready[step.output] - start
                for stage in range(stages):
                    self.passes[start + stage].reductions.append(Reduction(step, stage, kind == LATE))
            elif kind == LINE:
                self.passes[start].before.append(step)
        if self.total is not None and self.is_entry(self.total.inputs[0]):
            self.passes[self.ready[self.value_of(self.total.inputs[0]).variable]].sums_total = True

    def _roots(self, number: int) -> list[Atom]:
        """The entries that a pass must have: those it reduces, and the outputs that it computes first."""
        each = self.passes[number]
        roots = [atom for part in each.reductions for atom in part.step.inputs]
        if each.sums_total and self.total is not None:
            roots.append(self.total.inputs[0])
        roots += [y for y in self.body.outputs if self.kinds[y] == ENTRY and self.ready[y] == number]
        return [v for atom in roots if self.is_entry(v := self.value_of(atom).variable)]

    def _needed(self, number: int, kept: set[Atom]) -> tuple[list[Instruction], list[Variable]]:
        """The operations of a pass, in order, and the entries that an earlier pass has kept in memory."""
        steps: set[Instruction] = set()
        taken: dict[Variable, None] = {}
        stack = self._roots(number)
        while stack:
            atom = stack.pop()
            if atom in kept and self.homes.get(atom, self.ready[atom]) < number:
                taken[atom] = None  # type: ignore[index]  # only variables are kept
                continue
            step = self.makers[atom]
            if step not in steps:
                steps.add(step)
                stack += [v for x in step.inputs if self.is_entry(v := self.value_of(x).variable)]
        return sorted(steps, key=self.order.__getitem__), list(taken)

    def _chosen(self) -> list[Variable]:
        """Entries that go into scratch memory, because a later pass needs them and to compute them again would take longer."""
        kept: set[Atom] = {y for y in self.body.outputs if self.kinds[y] == ENTRY}
        seen: dict[Instruction, list[int]] = {}
        for number in range(len(self.passes)):
            for step in self._needed(number, kept)[0]:
                seen.setdefault(step, []).append(number)
        costs: dict[Atom, int] = {}
        scratch: list[Variable] = []
        for step in self.makers.values():
            y = step.output
            if self.kinds[y] != ENTRY:
                continue
            cost = COSTS.get(step.name, _cost(step)) + sum(costs.get(self.value_of(x).variable, 0) for x in step.inputs)
            if y in kept:
                cost = 0
            elif len(seen.get(step, ())) > 1 and cost >= DEAR:
                scratch.append(y)
                self.homes[y] = seen[step][0]
                cost = 0
            costs[y] = min(cost, DEAR)
        return scratch

    def _fill(self) -> None:
        stored: set[Atom] = {y for y in self.body.outputs if self.kinds[y] == ENTRY}
        scratch = set(self.scratch)
        for _ in range(2):  # the second time without scratch that no later pass takes
            taken: set[Variable] = set()
            for number, each in enumerate(self.passes):
                each.steps, each.taken = self._needed(number, {*stored, *scratch})
                taken.update(each.taken)
            scratch &= taken
        self.scratch = [y for y in self.scratch if y in scratch]
        for number, each in enumerate(self.passes):
            each.stored = [s.output for s in each.steps if self._is_home(s.output, number, stored, scratch)]

    def _is_home(self, y: Variable, number: int, stored: set[Atom], scratch: set[Variable]) -> bool:
        return (y in stored and self.ready[y] == number) or (y in scratch and self.homes[y] == number)

    def _reads(self) -> dict[Atom, int]:
        """For every operand that entries read: the last pass that reads it."""
        reads: dict[Atom, int] = {}
        for number, each in enumerate(self.passes):
            atoms = [x for step in each.steps for x in step.inputs]
            atoms += [x for part in each.reductions for x in part.step.inputs]
            reads.update(dict.fromkeys(atoms, number))
        return reads

    def reads_before(self, x: Atom, y: Variable) -> bool:
        """Whether the result y may lie over the operand x: the loops have read each entry of x before they write the one of y."""
        kind = self.kinds[y]
        if kind == ENTRY:
            return x.shape == self.frame.shape and self.last_reads.get(x, 0) <= self.ready[y]
        # A line value is written when its line is done.
        return kind == LINE and x.shape == y.shape and squeezed(x.shape) == squeezed(self.frame.kept)


def _cost(step: Instruction) -> int:
    loop = expressions.loop_of(step)
    text = loop.c if loop is not None else ""
    return DEAR if "(" in text and any(name in text for name in FUNCTIONS) else 2
