"""Decides where each value of a program is stored, in the arena, in an output or in its own array, and for how long.

A *storage* is memory that variables of one layout use one after the other: an operation writes over an operand that is
no longer needed. A storage that holds an output belongs to the outputs, which callers receive. The others get slots of
the arena, and storages that are not alive at the same time share a slot.
"""

from typing import Any

import attrs
import numpy as np

from ...core import Region
from ...devices import backend_named
from ..graph import Atom, Graph, Instruction, Variable, ufunc_of
from ..passes.views import roots_of
from .fuse import Fused, depends_on_a_number, layout

# NumPy before 2.2 goes through an array with a negative stride in another order when it is given `out`.
OUT_KEEPS_ORDER = np.lib.NumpyVersion(np.__version__) >= "2.2.0"


@attrs.define(eq=False)
class Storage:
    """Memory of one layout, from the step that first writes it to the step that last reads it; `slot` is its place in the arena."""

    like: Variable
    first: int
    last: int
    output: bool = False
    slot: int = -1


@attrs.frozen(eq=False)
class Plan:
    """`storages` of the variables that are written into given memory, `roots` of views, and the sizes of the arena's slots in bytes."""

    storages: dict[Variable, Storage]
    roots: dict[Atom, Atom]
    slots: tuple[int, ...]

    def storage_of(self, atom: Atom) -> Storage | None:
        """The memory that holds the variable, or the variable that it is a view of."""
        root = self.roots.get(atom, atom)
        return self.storages.get(root) if isinstance(root, Variable) else None


class Places:
    """Where the values of a group live while one block is computed: in an output's memory until that is written, or in a temporary."""

    def __init__(self, fused: Fused, plan: Plan, names: dict[Atom, str]) -> None:
        """`names` are the names of the group's operands and outputs."""
        self.steps = fused.body.instructions
        self.last = {atom: i for i, step in enumerate(self.steps) for atom in step.inputs}
        if fused.total is not None:
            self.last[fused.total.inputs[0]] = len(self.steps)
        self.temporaries: list[np.dtype[Any]] = []
        self.holders: dict[str, Variable] = {}  # the last variable stored in each place
        self.spans: dict[
            str, tuple[np.dtype[Any], int, int]
        ] = {}  # of each place: the dtype, its first and its last step
        for i, step in enumerate(self.steps):
            if (y := step.output) in fused.body.outputs:
                is_read_twice = _read_twice(step) is not None
                under = [x for x in fused.body.inputs if plan.storage_of(x) is plan.storages[y]]
                self.spans[names[y]] = (
                    y.dtype,
                    max([self._done(x) for x in under], default=0),
                    i - 1 if is_read_twice else i,
                )

    def _done(self, x: Atom | None) -> int:
        """The first step that may write over x: the step that reads it last, or the one after if that step reads it twice."""
        last = self.last.get(x, 0) if x is not None else 0
        is_read_twice = x is not None and last < len(self.steps) and _read_twice(self.steps[last]) is x
        return last + 1 if is_read_twice else last

    def take(self, number: int) -> str:
        """The place for the result of a step: over an operand that is no longer needed, in an output, or in a temporary."""
        y = self.steps[number].output
        end = self.last.get(y, number)
        free = [
            place
            for place, (dtype, first, last) in self.spans.items()
            if dtype == y.dtype and first <= number and end <= last and self._done(self.holders.get(place)) <= number
        ]
        dying = [place for place in free if self.holders.get(place) in self.steps[number].inputs]
        place = next(iter(dying or free), None)
        if place is None:
            place = f"t{len(self.temporaries)}"
            self.temporaries.append(y.dtype)
            self.spans[place] = (y.dtype, 0, len(self.steps))
        self.holders[place] = y
        return place


def is_written(instruction: Instruction) -> bool:
    """Whether compiled code can write the result into given memory."""
    operation = instruction.operation
    if isinstance(operation, Region):  # which may have no result
        return isinstance(operation, Fused) and operation.mode not in ("kernel", "reduction", "joint")
    y = instruction.output
    if y.kind != "array" or instruction.alias is not None or y.dtype.kind not in "biufc":
        return False
    if not backend_named(y.device).plans_memory:
        return False
    if ufunc_of(operation) is not None:
        # NumPy chooses the function of a power by the exponent's value, so a varying number has no `out=` form.
        if operation.arrays_only and any(atom.kind != "array" for atom in instruction.inputs):
            return False
        return not depends_on_a_number(instruction)
    return operation.write is not None and (OUT_KEEPS_ORDER or not any(map(_is_read_backwards, instruction.inputs)))


def written_outputs(instruction: Instruction) -> list[Variable]:
    """The results that compiled code writes into given memory."""
    operation, outputs = instruction.operation, instruction.outputs
    if is_written(instruction):
        return [y for y in outputs if y.kind == "array"]
    if not isinstance(operation, Region):
        return []
    filled = [outputs[i] for i in operation.filled(outputs)]
    return [y for y in filled if backend_named(y.device).plans_memory and y.dtype.kind in "biufc"]


def _is_read_backwards(atom: Atom) -> bool:
    return atom.kind == "array" and min(layout(atom), default=0) < 0


def plan(graph: Graph) -> Plan:
    """The storage of every value of a graph, after fusion."""
    roots = roots_of(graph)
    last_use: dict[Atom, int] = {}
    for number, instruction in enumerate(graph.instructions):
        for atom in instruction.inputs:
            last_use[roots.get(atom, atom)] = number
    for atom in graph.outputs:
        last_use[roots.get(atom, atom)] = len(graph.instructions)
    kept = {roots.get(atom, atom) for atom in graph.outputs}
    storages: dict[Variable, Storage] = {}
    for number, instruction in enumerate(graph.instructions):
        for y in written_outputs(instruction):
            if y not in last_use and not is_written(instruction):  # a result of a loop that nobody reads
                continue
            reusable = _overwritten(graph, instruction, y, number, roots, last_use, storages)
            storage = reusable or Storage(y, number, number)
            storage.last = max(storage.last, last_use.get(y, number))
            storage.output = storage.output or y in kept
            storages[y] = storage
    return Plan(storages, roots, _place(list(dict.fromkeys(storages.values()))))


def _overwritten(
    graph: Graph,
    instruction: Instruction,
    y: Variable,
    number: int,
    roots: dict[Atom, Atom],
    last_use: dict[Atom, int],
    storages: dict[Variable, Storage],
) -> Storage | None:
    """The storage of an operand that is last used here, if the result may be written over it."""
    if not (instruction.elementwise or isinstance(instruction.operation, Fused)):
        return None
    if y.dtype.kind == "c" and y.size == 1:
        return None  # NumPy rounds the product of one pair of complex numbers in another way when it is written over an operand
    taken = {storages.get(other) for other in instruction.outputs}
    for x in instruction.inputs:
        root = roots.get(x, x)
        if not isinstance(x, Variable) or x.kind != "array" or not isinstance(root, Variable):
            continue
        storage = storages.get(root)
        if storage is None or storage.last != number or storage in taken or last_use[root] != number:
            continue
        if not _lie_alike(x, y) or not _lie_alike(storage.like, y):
            continue
        if any(other is not x and roots.get(other, other) is root for other in instruction.inputs):
            continue  # another operand reads the same memory in another order
        if isinstance(instruction.operation, Fused) and not _read_before_written(instruction.operation, x, y):
            continue
        steps = instruction.operation.body.instructions if isinstance(instruction.operation, Fused) else (instruction,)
        if any(step.output is y and _read_twice(step) is x for step in steps):
            continue  # the operation still reads x after its first write
        return storage
    return None


def _read_twice(step: Instruction) -> Atom | None:
    """The operand that the step still reads after its first write, if any."""
    position = None if isinstance(step.operation, Region) else step.operation.reads_twice
    return None if position is None else step.inputs[position]


def _lie_alike(x: Variable, y: Variable) -> bool:
    return (x.shape, x.dtype, layout(x)) == (y.shape, y.dtype, layout(y))


def _read_before_written(fused: Fused, x: Variable, y: Variable) -> bool:
    """Whether a group has finished reading the operand x when it writes y."""
    if fused.schedule is not None:
        return fused.schedule.reads_before(x, y)
    if fused.views or fused.stores:
        return False  # parts of one array may lie where other parts are read
    steps = fused.body.instructions
    reads = [i for i, step in enumerate(steps) if x in step.inputs]
    writes = [i for i, step in enumerate(steps) if y in step.outputs]
    return max(reads) <= writes[0]


def _place(storages: list[Storage]) -> tuple[int, ...]:
    """Give each storage of the arena the tightest free slot; return the sizes of the slots."""
    sizes: list[int] = []
    free_from: list[int] = []
    for storage in sorted((s for s in storages if not s.output), key=lambda s: s.first):
        size = storage.like.nbytes
        free = [slot for slot, step in enumerate(free_from) if step < storage.first]
        # The smallest slot that is large enough; otherwise the largest slot, which grows.
        slot = min(free, key=lambda s: (sizes[s] < size, abs(sizes[s] - size), -free_from[s]), default=None)
        if slot is None or sizes[slot] > 8 * size or sizes[slot] < size / 8:
            slot = len(sizes)
            sizes.append(0)
            free_from.append(-1)
        sizes[slot] = max(sizes[slot], size)
        free_from[slot] = storage.last
        storage.slot = slot
    return tuple(sizes)
