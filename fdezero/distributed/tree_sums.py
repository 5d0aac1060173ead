"""The sum over shards in one binary tree: shard 0 + shard 1, shard 2 + shard 3, then these sums, and so on.

The order of additions depends on the number of shards alone. A program records the function once, whatever the number of shards, and
keeps at most log2(shards) + 1 results at a time.
"""

import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .. import tree as trees
from ..compiler.program import MOST_DERIVED, Executable, Program, program_of
from ..compiler.recording.examples import example_of, layout_of, of_leaves
from ..compiler.recording.record import is_recorded, owned, record
from ..compiler.running.errors import run_quietly
from ..compiler.running.store import Recent
from ..core import Region
from ..transforms import vmap
from ..transforms.batching import in_axes_of

Bounds = tuple[int, ...]  # where shards begin in the rows, and where the last one ends

__all__: list[str] = []


def halved(n: int, parts: int) -> Bounds:
    """The bounds of `parts` parts of n rows, a power of two: each half is halved, and the first half has the odd row.

    So the parts of a part are the parts of the whole, whatever processes there are.
    """
    if parts == 1:
        return (0, n)
    first = (n + 1) // 2
    left, right = halved(first, parts // 2), halved(n - first, parts // 2)
    return (*left, *[first + bound for bound in right[1:]])


def plus(left: Any, right: Any) -> Any:
    """left + right, in the memory of the left one where that is an array of NumPy that nobody else has."""
    if left.__class__ is np.ndarray and right.__class__ is np.ndarray and left.dtype == right.dtype and left.shape:
        return np.add(left, right, out=left)
    return left + right


def in_pairs(make: Callable[[int], Any], count: int, add: Callable[[Any, Any], Any]) -> Any:
    """`add` over `make(0)`, ..., `make(count - 1)`, a power of two, in one binary tree. None stands for nothing."""
    waiting: list[Any] = []  # sums of 2**k items, the largest first
    for i in range(count):
        total = make(i)
        i += 1
        while not i % 2:
            left = waiting.pop()
            total = left if total is None else total if left is None else add(left, total)
            del left  # or it would be kept while the next item is made
            i //= 2
        waiting.append(total)
    return waiting[0]


class Parts(NamedTuple):
    """The leaves of a sum over shards: rows that are cut, items with one for each shard, and constants."""

    rows: Sequence[Any]
    items: Sequence[Any]
    constants: Sequence[Any]

    @classmethod
    def of(cls, leaves: Sequence[Any], counts: Sequence[int]) -> "Parts":
        rows, both = counts[0], sum(counts)
        return cls(leaves[:rows], leaves[rows:both], leaves[both:])


class TreeSum(Region):
    """The sum of `body(*rows[start:stop], *items[i], *constants)` over shards, leaf by leaf, in one binary tree.

    Shards have `most` rows, one less, or none; so there are one or two programs. Leaves: rows, items, constants.
    """

    def __init__(
        self, bodies: Sequence[Program], reads: Sequence[Sequence[int]], counts: Sequence[int], bounds: Bounds
    ) -> None:
        """`reads` has the positions of the constants that each body takes; `counts` are the numbers of rows and items."""
        self.name, self.reads, self.counts, self.bounds = "tree_sum", reads, counts, bounds
        self.body = bodies[0]
        self.other = bodies[1] if bodies[1:] else None
        self.most = bounds[1] - bounds[0]
        self._derived: Recent[Any, Program] = Recent(MOST_DERIVED)

    def shard(self, i: int, leaves: Sequence[Any]) -> tuple[Program, list[Any]] | None:
        """The program of a shard and its leaves; None for a shard without rows."""
        start, stop = self.bounds[i : i + 2]
        if start == stop:
            return None
        rows, items, constants = Parts.of(leaves, self.counts)
        program, reads = self.body, self.reads[0]
        if self.other is not None and stop - start < self.most:
            program, reads = self.other, self.reads[1]
        taken = [constants[k] for k in reads]
        return program, [*[x[start:stop] for x in rows], *[x[i] for x in items], *taken]

    def run(self, *leaves: Any, into: Sequence[Any] | None = None) -> tuple[Any, ...]:
        return _Run(self, leaves, into).results()

    def filled(self, results: Sequence[Any]) -> tuple[int, ...]:
        return tuple([i for i, y in enumerate(results) if y.kind == "array" and y.shape and y.contiguous])

    def steps(self, *leaves: Any) -> tuple[Any, ...]:
        def make(i: int) -> Any:
            found = self.shard(i, leaves)
            return None if found is None else found[0](*found[1])

        def add(left: Any, right: Any) -> Any:
            return tuple([a + b for a, b in zip(left, right, strict=True)])

        return tuple(in_pairs(make, len(self.bounds) - 1, add))

    def _written_out(self, leaves: Sequence[Any]) -> Program:
        """One program of all shards, one after the other. Its derivatives are those of the region."""
        examples = list(map(example_of, leaves))
        key = tuple(map(layout_of, examples))
        found = self._derived.find(key)
        return found if found is not None else self._derived.keep(key, program_of(self.steps, examples, self.name))

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        program = self._written_out(leaves)
        results, residuals = program.save(is_traced, leaves)
        return results, (program, residuals)

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        program, saved = residuals
        gradients: tuple[Any, ...] = program.pull(is_traced, saved, cotangents)
        return gradients

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return self._written_out(leaves).push(leaves, tangents)

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        mapped = vmap(self.steps, in_axes_of(is_batched))
        return lambda *leaves: program_of(mapped, list(map(example_of, leaves)), self.name)(*leaves)


class _Run:
    """One run of a `TreeSum`. `into` has an array, or None, for each result."""

    def __init__(self, region: TreeSum, leaves: Sequence[Any], into: Sequence[Any] | None) -> None:
        self.region, self.leaves, self.into = region, leaves, into
        self.free: dict[int, list[Any]] = {}  # memory of results that have been added to others, by their position
        self.executables: dict[int, Executable] = {}  # by the number of rows: such shards have one memory layout

    def results(self) -> tuple[Any, ...]:
        """The sums, with memory of their own or in the memory that was given."""
        total = in_pairs(self._of_shard, len(self.region.bounds) - 1, self._sum)
        for executable in self.executables.values():
            executable.rest()
        for y, place in zip(total, self.into or (), strict=bool(self.into)):
            if place is not None and y is not place:
                place[...] = y
        return tuple(total)

    def _of_shard(self, i: int) -> list[Any] | None:
        found = self.region.shard(i, self.leaves)
        if found is None:
            return None
        program, leaves = found
        count = self.region.bounds[i + 1] - self.region.bounds[i]
        executable = self.executables.get(count)
        if executable is None:
            executable = self.executables[count] = program.planned_for(leaves).rows
        memory = [self._memory(positions[0], executable, i) for positions in executable.given]
        results = run_quietly(_called(executable, memory), leaves)
        if results is None:  # the caller wants floating-point errors as exceptions
            results = _copied(executable, memory, executable.as_recorded(leaves))
        results, placed = list(results), set()
        for positions, place in zip(executable.given, memory, strict=True):
            placed.add(positions[0])
            results[positions[0]] = place
            for p in positions[1:]:
                placed.add(p)
                results[p] = place.copy()
        others = [p for p, y in enumerate(results) if isinstance(y, np.ndarray) and p not in placed]
        for p, y in zip(others, owned([results[p] for p in others], leaves) if others else (), strict=True):
            results[p] = y
        return results

    def _memory(self, p: int, executable: Executable, i: int) -> Any:
        """Memory for a result of shard i. That of the first shard becomes the sum, so it lies where the sum is to lie."""
        if not i and self.into is not None and self.into[p] is not None:
            return self.into[p]
        found, like = self.free.get(p), executable.recorded.outputs[p]
        return found.pop() if found else np.empty(like.shape, like.dtype)

    def _sum(self, left: list[Any], right: list[Any]) -> list[Any]:
        total = []
        for p, (a, b) in enumerate(zip(left, right, strict=True)):
            total.append(y := plus(a, b))
            if y is a and y is not b:
                self.free.setdefault(p, []).append(b)
        return total


def _called(executable: Executable, memory: Sequence[Any]) -> Callable[..., Any]:
    """A call of an executable that writes into memory."""

    def call(*leaves: Any) -> Any:
        free, instance = executable.taken()
        try:
            results = instance(*leaves, *memory)
        except Exception as error:  # the instance is dropped, because the traceback may hold its arrays
            return _copied(executable, memory, executable.after(error, leaves, instance))
        free.append(instance)
        return results

    return call


def _copied(executable: Executable, memory: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
    """Results that were computed elsewhere, in the memory that was given for them."""
    for positions, place in zip(executable.given, memory, strict=True):
        place[...] = results[positions[0]]
    return results


def tree_sum(
    function: Callable[[Any, Any, Any], Any], rows: Any, items: Any, whole: Any, bounds: Bounds, name: str
) -> Any:
    """The sum of `function(rows[start:stop], items[i], whole)`, a tree, over the shards between `bounds`; the first one has rows.

    `rows` is a tree of arrays (n, ...), `items` one of arrays with a row for each shard. Results of shards add up leaf by leaf.
    """
    leaves, treedef = trees.flatten((rows, items, whole))
    counts = [len(trees.leaves(part)) for part in (rows, items)]
    shards, structure = len(bounds) - 1, treedef

    def of_shard(i: int, start: int, stop: int, values: Sequence[Any]) -> list[Any]:
        parts = Parts.of(values, counts)
        return [*[x[start:stop] for x in parts.rows], *[x[i] for x in parts.items], *parts.constants]

    def shard(i: int) -> Any:
        nonlocal structure
        start, stop = bounds[i : i + 2]
        if start == stop:
            return None
        found, structure = trees.flatten(function(*trees.unflatten(treedef, of_shard(i, start, stop, leaves))))
        return found

    if not any(map(is_recorded, leaves)):
        first = [shard(0)]
        if not any(map(is_recorded, first[0])):
            total = in_pairs(lambda i: shard(i) if i else first.pop(), shards, _sums)  # which must not keep it
            return trees.unflatten(structure, total)
    places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype") or isinstance(leaf, int | float | complex)]
    places = [i for i in places if not isinstance(leaves[i], bool)]
    flat, structures = of_leaves(lambda given: function(*given), treedef, leaves, places)
    sizes = sorted({stop - start for start, stop in pairwise(bounds)} - {0}, reverse=True)
    given = [leaves[i] for i in places]
    made = [record(flat, of_shard(0, 0, n, list(map(example_of, given))), name) for n in sizes]
    captures = list({id(tracer): tracer for each in made for tracer in each.captures}.values())
    reads = [[next(i for i, x in enumerate(captures) if x is tracer) for tracer in each.captures] for each in made]
    own = range(len(given) - sum(counts))
    reads = [[*own, *[len(own) + i for i in taken]] for taken in reads]
    region = TreeSum([Program(each.graph) for each in made], reads, counts, bounds)
    return trees.unflatten(structures[0], region(*given, *captures))


class _Sums(list[Any]):
    """Sums that were made here. What a function returns may belong to the caller, or be the same array twice."""


def _sums(left: list[Any], right: list[Any]) -> list[Any]:
    add = plus if isinstance(left, _Sums) else operator.add
    return _Sums(map(add, left, right))
