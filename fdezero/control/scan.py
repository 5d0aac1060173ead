"""`scan`: a program of the length of one round, run for each row, differentiated and batched as a loop."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..compiler.program import Program, program_of
from ..compiler.recording.examples import example_of, of_leaves
from ..compiler.recording.record import is_recorded, owned, record
from ..core import Region
from ..core.cotangents import chosen, filled, merged, zeros_like
from ..errors import ShapeError, StructureError
from ..messages import describe
from ..numpy import stack
from ..transforms import vmap
from ..transforms.batching import in_axes_of
from ..transforms.reverse import name_of
from ..values import as_array


class Scan(Region):
    """`length` rounds of `body(*carry, *xs[i], *constants) -> (*carry, *ys[i])`; leaves: carry, xs, constants; results: carry, ys."""

    def __init__(self, body: Program, carries: int, columns: int, length: int, reverse: bool) -> None:
        self.name, self.body = "scan", body
        self.carries, self.columns, self.length, self.reverse = carries, columns, length, reverse
        self._derived: dict[Any, Any] = {}

    def split(self, leaves: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Carry, xs and constants."""
        c, x = self.carries, self.carries + self.columns
        return list(leaves[:c]), list(leaves[c:x]), list(leaves[x:])

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        carry, xs, constants = self.split(leaves)
        columns: list[Any] = []
        for i in range(self.length - 1, -1, -1) if self.reverse else range(self.length):
            results = self.body.run(*carry, *[x[i] for x in xs], *constants)
            carry = list(results[: self.carries])
            if not columns:
                columns = [_column(y, self.length) for y in results[self.carries :]]
            for column, y in zip(columns, results[self.carries :], strict=True):
                column[i] = y
        return owned((*carry, *columns), leaves)

    def steps(self, *leaves: Any) -> tuple[Any, ...]:
        carry, xs, constants = self.split(leaves)
        rounds: list[Any] = []
        for i in range(self.length - 1, -1, -1) if self.reverse else range(self.length):
            results = self.body(*carry, *[x[i] for x in xs], *constants)
            carry = list(results[: self.carries])
            rounds.append(results[self.carries :])
        if self.reverse:
            rounds.reverse()
        return (*carry, *[stack(column) for column in zip(*rounds, strict=True)])

    def _loop(
        self, key: Any, body: Callable[..., Any], leaves: Sequence[Any], carries: int, columns: int, backwards: bool = False
    ) -> "Scan":
        """The loop derived from this one that has the rounds of `body`, recorded when it is first asked for."""
        if key not in self._derived:
            examples = _first_round(leaves, carries, columns)
            program = program_of(body, examples, f"scan_{key[0]}")
            self._derived[key] = Scan(program, carries, columns, self.length, self.reverse != backwards)
        return self._derived[key]

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        # Every floating carry may come to depend on what is active.
        mask = (*[True] * self.carries, *is_traced[self.carries :])
        out, rule = self.body.reverse(mask, _first_round(leaves, self.carries, self.columns))
        inputs: dict[Any, int] = {variable: i for i, variable in enumerate(out.graph.inputs)}
        count = len(self.body.graph.outputs)
        saved = out.graph.outputs[count:]
        # What a round saves of the xs and the constants is there already; the rest goes into columns.
        again = [inputs.get(v, -1) if inputs.get(v, -1) >= self.carries else -1 for v in saved]
        kept = [i for i, place in enumerate(again) if place < 0]
        if ("out", mask) not in self._derived:
            outputs = (*out.graph.outputs[:count], *[saved[i] for i in kept])
            program = Program(attrs.evolve(out.graph, outputs=outputs), out.options)
            self._derived["out", mask] = Scan(program, self.carries, self.columns, self.length, self.reverse)
        results = self._derived["out", mask](*leaves)
        columns = iter(results[count:])
        residuals = [next(columns) if place < 0 else leaves[place] for place in again]
        return results[:count], (residuals, tuple(again), rule, list(leaves))

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        saved, again, rule, leaves = residuals
        back, is_active, is_floating = rule
        first, last = self.carries, self.carries + self.columns
        column = [i for i, place in enumerate(again) if place < last]  # residuals that differ from round to round
        fixed = [i for i, place in enumerate(again) if place >= last]
        moved_carry = [i for i in range(first) if is_active[i]]
        moved_constants = [i for i in range(last, len(is_active)) if is_active[i]]
        moved_xs = [i for i in range(first, last) if is_active[i]]
        carried = chosen(cotangents[:first], is_floating[:first])
        of_ys = chosen(cotangents[first:], is_floating[first:])
        sums = [zeros_like(leaves[i]) for i in moved_constants]

        def round_back(*given: Any) -> tuple[Any, ...]:
            parts = iter(given)
            ts = [next(parts) for _ in carried]
            totals = [next(parts) for _ in sums]
            varied = {i: next(parts) for i in column}
            ys = [next(parts) for _ in of_ys]
            full = varied | {i: next(parts) for i in fixed}
            results = back(*[full[i] for i in range(len(again))], *ts, *ys)
            gradients = merged(is_active, results)
            return (
                *[gradients[i] for i in moved_carry],
                *[total + gradients[i] for total, i in zip(totals, moved_constants, strict=True)],
                *[gradients[i] for i in moved_xs],
            )

        given = [*carried, *sums, *[saved[i] for i in column], *of_ys, *[saved[i] for i in fixed]]
        count, columns = len(carried) + len(sums), len(column) + len(of_ys)
        results = self._loop(("back", is_active, again), round_back, given, count, columns, backwards=True)(*given)
        found = dict(zip([*moved_carry, *moved_constants, *moved_xs], results, strict=True))
        return tuple([found.get(i) for i in range(len(is_active))])

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        examples = [example_of(leaf) for leaf in leaves]
        pairs = enumerate(zip(examples, tangents, strict=True))
        is_active = tuple([trees.is_differentiable(x) and (t is not None or i < self.carries) for i, (x, t) in pairs])
        values, moved = self.split(leaves), self.split(filled(leaves, tangents, is_active))
        parts = [[*part, *[t for t in ts if t is not None]] for part, ts in zip(values, moved, strict=True)]
        count = [len(part) for part in parts]
        masks = self.split(is_active)
        outputs = self.body.graph.outputs
        is_floating = [atom.dtype.kind in "fc" for atom in outputs]

        def round_forward(*given: Any) -> tuple[Any, ...]:
            parts = [given[: count[0]], given[count[0] : count[0] + count[1]], given[count[0] + count[1] :]]
            xs: list[Any] = []
            ts: list[Any] = []
            for part, mask in zip(parts, masks, strict=True):
                xs += part[: len(mask)]
                ts += merged(mask, part[len(mask) :])
            ys, dys = self.body.push(xs, ts)
            new, c = filled(ys, dys, is_floating), self.carries
            carry = [*ys[:c], *[dy for dy in new[:c] if dy is not None]]
            return (*carry, *ys[c:], *[dy for dy in new[c:] if dy is not None])

        given = [leaf for part in parts for leaf in part]
        results, c = self._loop(("push", is_active), round_forward, given, count[0], count[1])(*given), self.carries
        columns = results[count[0] :]
        ys = [*results[:c], *columns[: len(outputs) - c]]
        return tuple(ys), tuple(merged(is_floating, [*results[c : count[0]], *columns[len(outputs) - c :]]))

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        def run(*leaves: Any) -> tuple[Any, ...]:
            carry, xs, constants = self.split(leaves)
            of_carry, of_xs, of_constants = self.split(is_batched)
            carry = [x if batched else repeated(x, size) for x, batched in zip(carry, of_carry, strict=True)]
            xs = [np.moveaxis(x, 0, 1) if batched else x for x, batched in zip(xs, of_xs, strict=True)]
            axes = in_axes_of([*[True] * self.carries, *of_xs, *of_constants])
            given = [*carry, *xs, *constants]
            results = self._loop(("batched", is_batched, size), vmap(self.body.evaluate, axes), given, self.carries, self.columns)(*given)
            return (*results[: self.carries], *[np.moveaxis(y, 1, 0) for y in results[self.carries :]])

        return run


def repeated(x: Any, size: int) -> Any:
    """`x` for each member of a batch."""
    x = as_array(x)
    return np.broadcast_to(x, (size, *x.shape))


def _column(y: Any, length: int) -> Any:
    """An uninitialised array for `length` values like `y`."""
    return np.empty_like(as_array(y), shape=(length, *np.shape(y)))


def _first_round(leaves: Sequence[Any], carries: int, columns: int) -> list[Any]:
    """Plain values like those that a round gets."""
    examples = [example_of(leaf) for leaf in leaves]
    return [*examples[:carries], *[x[0] for x in examples[carries : carries + columns]], *examples[carries + columns :]]


def scan(function: Callable[..., Any], carry: Any, xs: Any = None, length: int | None = None, *, reverse: bool = False) -> tuple[Any, Any]:
    """`function(carry, x) -> (carry, y)` for the rows x of `xs`, one after the other: `(the last carry, the ys stacked)`.

    xs: a tree of arrays (length, ...), or None with `length`; the carry keeps structure, shapes and dtypes. Within `fd.compile`
    the loop is one operation however long it is, and so are its derivatives in both modes and its batched form; eagerly it is
    a Python loop. With `reverse`, from the last row to the first.

    Raises StructureError or ShapeError, naming the leaf, when lengths differ or the carry changes.
    """
    name = name_of("scan", function)
    xs_leaves, xs_def = trees.flatten(xs)
    length = _length(name, xs, length)
    order = range(length - 1, -1, -1) if reverse else range(length)
    start, ys, y_def = carry, [], None
    for i in order:
        new, y = _pair(name, function(carry, trees.unflatten(xs_def, [x[i] for x in xs_leaves])))
        if carry is start:
            check_carry(name, start, new)
            if any(map(is_recorded, [*trees.leaves((start, new, y)), *xs_leaves])):
                return _structured(name, function, start, xs, length, reverse)
        carry = new
        y_leaves, y_def = trees.flatten(y)
        ys.append(y_leaves)
    if y_def is None:
        raise ShapeError(f"{name}: there is no row to go through: the length is 0.")
    if reverse:
        ys.reverse()
    return carry, trees.unflatten(y_def, [stack(column) for column in zip(*ys, strict=True)])


def _structured(name: str, function: Callable[..., Any], carry: Any, xs: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    carries = len(trees.leaves(carry))
    leaves, treedef = trees.flatten((carry, xs))
    flat, structure = of_leaves(lambda given: function(*given), treedef, leaves, range(len(leaves)))
    made = record(flat, _first_round(leaves, carries, len(leaves) - carries), name)
    loop = Scan(Program(made.graph), carries, len(leaves) - carries, length, reverse)
    carry, ys = trees.unflatten(structure[0], loop(*leaves, *made.captures))
    return carry, ys


def _pair(name: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise StructureError(f"{name}: the function must return (carry, y), got {describe(result)}.")
    return result


def _length(name: str, xs: Any, length: int | None) -> int:
    found = {} if length is None else {length: f"length={length}"}
    for path, leaf in trees.flatten_with_path(xs):
        if not getattr(leaf, "shape", ()):
            raise ShapeError(f"{name}: xs {path or 'itself'} is {describe(leaf)} and has no rows to go through.")
        found.setdefault(leaf.shape[0], f"xs {path or 'itself'} has {leaf.shape[0]} rows ({describe(leaf)})")
    if len(found) > 1:
        raise ShapeError(f"{name}: the lengths differ: {', '.join(found.values())}.")
    if not found:
        raise ShapeError(f"{name}: without xs, say how many rounds: length=10.")
    return next(iter(found))


def check_carry(name: str, old: Any, new: Any) -> None:
    """Raise StructureError or ShapeError where the carry of a loop is not what it was a round before."""
    if trees.flatten(old)[1] != trees.flatten(new)[1]:
        raise trees.structure_error(old, new, f"the carry of {name} before a round", "that after it")
    for (path, before), after in zip(trees.flatten_with_path(old), trees.leaves(new), strict=True):
        kinds = [(getattr(leaf, "shape", None), getattr(leaf, "dtype", None)) for leaf in (before, after)]
        if kinds[0] != kinds[1]:
            raise ShapeError(
                f"{name}: the carry {path or 'itself'} is {describe(before)} before and {describe(after)} after a round, and must stay "
                "the same: start with an array of the dtype and shape that it gets."
            )
