"""Decides where each value of a program is stored, in the arena, in an output or in its own array, and for how long.

A *storage* is memory that variables of one layout use one after the other: an operation writes over an operand that is
no longer needed. A storage that holds an output belongs to the outputs, which callers receive. The others get slots of
the arena, and storages that are not alive at the same time share a slot.
"""

import bisect
import collections
import heapq

import attrs
import numpy as np

from ...core import Region
from ...devices import backend_named
from ..graph import Atom, Graph, Instruction, Variable, ufunc_of
from ..passes.talking import talks
from ..passes.views import roots_of
from .fuse import Fused, depends_on_a_number
from .lines import layout
from .places import read_twice

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
    for instruction in graph.instructions:
        # What other processes said stays as it is, for a call that fails and is done again.
        if talks(instruction.operation):
            last_use.update(dict.fromkeys(instruction.outputs, len(graph.instructions)))
    kept = {roots.get(atom, atom) for atom in graph.outputs}
    storages: dict[Variable, Storage] = {}
    for number, instruction in enumerate(graph.instructions):
        operands: _Operands | None = None
        for y in written_outputs(instruction):
            operands = operands or _Operands(instruction, number, roots, last_use, storages)
            if y not in last_use and not is_written(instruction):  # a result of a loop that nobody reads
                continue
            storage = operands.take(y) or Storage(y, number, number)
            storage.last = max(storage.last, last_use.get(y, number))
            storage.output = storage.output or y in kept
            storages[y] = storage
    return Plan(storages, roots, _place(list(dict.fromkeys(storages.values()))))


class _Operands:
    """The memory of operands that the results of an instruction may be written over, because this is its last use."""

    def __init__(
        self,
        instruction: Instruction,
        number: int,
        roots: dict[Atom, Atom],
        last_use: dict[Atom, int],
        storages: dict[Variable, Storage],
    ) -> None:
        operation = instruction.operation
        self.found: list[tuple[Variable, Storage]] = []
        self.pairs: dict[Variable, Atom] | None = None  # the only operand that each result may be written over
        if isinstance(operation, Region) and operation.in_place:
            self.pairs = dict(zip(instruction.outputs, instruction.inputs, strict=True))
        elif not (instruction.elementwise or isinstance(operation, Fused)):
            return
        times = collections.Counter([roots.get(x, x) for x in instruction.inputs])
        for x in dict.fromkeys(instruction.inputs):
            root = roots.get(x, x)
            if not isinstance(x, Variable) or x.kind != "array" or not isinstance(root, Variable):
                continue
            storage = storages.get(root)
            if storage is None or storage.last != number or last_use[root] != number or not _lie_alike(storage.like, x):
                continue
            if times[root] > instruction.inputs.count(x):
                continue  # another operand reads the same memory in another order
            if self.pairs is not None and times[root] > 1:
                continue  # the other one may be read after this result is written
            self.found.append((x, storage))
        steps = operation.body.instructions if isinstance(operation, Fused) and self.found else (instruction,)
        self.schedule = operation.schedule if isinstance(operation, Fused) else None
        self.has_parts = isinstance(operation, Fused) and bool(operation.views or operation.stores)
        self.reads = {x: i for i, step in enumerate(steps) for x in step.inputs}
        self.writes = {y: i for i, step in enumerate(steps) for y in step.outputs}
        # What an operation still reads after its first write.
        self.twice = {step.output: read_twice(step) for step in steps}

    def take(self, y: Variable) -> Storage | None:
        """The storage of an operand that has been read when `y` is written, and lies alike. No other result gets it."""
        if y.dtype.kind == "c" and y.size == 1:
            return None  # NumPy rounds the product of one pair of complex numbers in another way when it is written over an operand
        for place, (x, storage) in enumerate(self.found):
            if self.pairs is not None and self.pairs[y] is not x:
                continue
            if _lie_alike(x, y) and self._is_read_before(x, y) and self.twice.get(y) is not x:
                del self.found[place]
                return storage
        return None

    def _is_read_before(self, x: Variable, y: Variable) -> bool:
        """Whether the operand x has been read when y is written."""
        if self.schedule is not None:
            return self.schedule.reads_before(x, y)
        if self.has_parts:
            return False  # parts of one array may lie where other parts are read
        return self.reads[x] <= self.writes[y]


def _lie_alike(x: Variable, y: Variable) -> bool:
    return (x.shape, x.dtype, layout(x)) == (y.shape, y.dtype, layout(y))


def _place(storages: list[Storage]) -> tuple[int, ...]:
    """Give each storage of the arena the tightest free slot; return the sizes of the slots."""
    sizes: list[int] = []
    busy: list[tuple[int, int]] = []  # a heap: the last step of a slot, and the slot
    free: list[tuple[int, int, int]] = []  # sorted: the size of a slot, its last step (negative), and the slot
    for storage in sorted((s for s in storages if not s.output), key=lambda s: s.first):
        size = storage.like.nbytes
        while busy and busy[0][0] < storage.first:
            last, slot = heapq.heappop(busy)
            bisect.insort(free, (sizes[slot], -last, slot))
        # The smallest slot that is large enough; otherwise the largest slot, which grows. Of several, the one that was used last.
        found = bisect.bisect_left(free, (size,))
        if found == len(free) and free:
            found = bisect.bisect_left(free, (free[-1][0],))
        if found == len(free) or free[found][0] > 8 * size or free[found][0] < size / 8:
            slot = len(sizes)
            sizes.append(size)
        else:
            slot = free.pop(found)[2]
            sizes[slot] = max(sizes[slot], size)
        heapq.heappush(busy, (storage.last, slot))
        storage.slot = slot
    return tuple(sizes)
