"""`scan` and `while_loop`: loops of the length of one round, differentiated and batched as loops."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..core import Region, Tracer
from ..core.batch import BatchTracer
from ..core.kinds import zeros_like
from ..errors import ShapeError, StructureError, TraceError, describe
from ..numpy import stack
from ..transforms import vmap
from ..transforms.reverse import name_of
from .program import Program
from .record import RecordTracer, example_of, is_recorded, owned, record


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

    def forward(self, active: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        # Every floating carry may come to depend on what is active.
        mask = tuple([my or i < self.carries for i, my in enumerate(active)])
        out, rule = self.body.reverse(mask, _first_round(leaves, self.carries, self.columns))
        inputs: dict[Any, int] = {variable: i for i, variable in enumerate(out.graph.inputs)}
        count = len(self.body.graph.outputs)
        saved = out.graph.outputs[count:]
        # What a round saves of the xs and the constants is there already; the rest goes into columns.
        again = [inputs.get(v, -1) if inputs.get(v, -1) >= self.carries else -1 for v in saved]
        kept = [i for i, place in enumerate(again) if place < 0]
        if ("out", mask) not in self._derived:
            outputs = (*out.graph.outputs[:count], *[saved[i] for i in kept])
            program = Program(attrs.evolve(out.graph, outputs=outputs), out.threads)
            self._derived["out", mask] = Scan(program, self.carries, self.columns, self.length, self.reverse)
        results = self._derived["out", mask](*leaves)
        columns = iter(results[count:])
        residuals = [next(columns) if place < 0 else leaves[place] for place in again]
        return results[:count], (residuals, tuple(again), rule, list(leaves))

    def backward(self, active: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        saved, again, rule, leaves = residuals
        back, moving, floating = rule
        first, last = self.carries, self.carries + self.columns
        column = [i for i, place in enumerate(again) if place < last]  # residuals that differ from round to round
        fixed = [i for i, place in enumerate(again) if place >= last]
        moved_carry = [i for i in range(first) if moving[i]]
        moved_constants = [i for i in range(last, len(moving)) if moving[i]]
        moved_xs = [i for i in range(first, last) if moving[i]]
        carried = [t for t, counts in zip(cotangents[:first], floating[:first], strict=True) if counts]
        of_ys = [t for t, counts in zip(cotangents[first:], floating[first:], strict=True) if counts]
        sums = [zeros_like(leaves[i]) for i in moved_constants]

        def round_back(*given: Any) -> tuple[Any, ...]:
            parts = iter(given)
            ts = [next(parts) for _ in carried]
            totals = [next(parts) for _ in sums]
            varied = {i: next(parts) for i in column}
            ys = [next(parts) for _ in of_ys]
            full = varied | {i: next(parts) for i in fixed}
            results = back(*[full[i] for i in range(len(again))], *ts, *ys)
            gradients = dict(zip([i for i, moves in enumerate(moving) if moves], results, strict=True))
            return (
                *[gradients[i] for i in moved_carry],
                *[total + gradients[i] for total, i in zip(totals, moved_constants, strict=True)],
                *[gradients[i] for i in moved_xs],
            )

        given = [*carried, *sums, *[saved[i] for i in column], *of_ys, *[saved[i] for i in fixed]]
        count, columns = len(carried) + len(sums), len(column) + len(of_ys)
        results = self._loop(("back", moving, again), round_back, given, count, columns, backwards=True)(*given)
        found = dict(zip([*moved_carry, *moved_constants, *moved_xs], results, strict=True))
        return tuple([found.get(i) for i in range(len(moving))])

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        examples = [example_of(leaf) for leaf in leaves]
        pairs = enumerate(zip(examples, tangents, strict=True))
        moving = tuple([trees.is_differentiable(x) and (t is not None or i < self.carries) for i, (x, t) in pairs])
        filled = _filled(leaves, tangents, moving)
        values, moved = self.split(leaves), self.split(filled)
        parts = [[*part, *[t for t in ts if t is not None]] for part, ts in zip(values, moved, strict=True)]
        count = [len(part) for part in parts]
        which = self.split(moving)
        outputs = self.body.graph.outputs
        floating = [atom.dtype.kind in "fc" for atom in outputs]

        def round_forward(*given: Any) -> tuple[Any, ...]:
            parts = [given[: count[0]], given[count[0] : count[0] + count[1]], given[count[0] + count[1] :]]
            xs: list[Any] = []
            ts: list[Any] = []
            for part, marks in zip(parts, which, strict=True):
                rest = iter(part[len(marks) :])
                xs += part[: len(marks)]
                ts += [next(rest) if mark else None for mark in marks]
            ys, dys = self.body.push(xs, ts)
            filled = [zeros_like(y) if dy is None else dy for y, dy in zip(ys, dys, strict=True)]
            new, c = [dy if counts else None for dy, counts in zip(filled, floating, strict=True)], self.carries
            carry = [*ys[:c], *[dy for dy in new[:c] if dy is not None]]
            return (*carry, *ys[c:], *[dy for dy in new[c:] if dy is not None])

        given = [leaf for part in parts for leaf in part]
        results, c = self._loop(("push", moving), round_forward, given, count[0], count[1])(*given), self.carries
        columns = results[count[0] :]
        ys = [*results[:c], *columns[: len(outputs) - c]]
        rest = iter([*results[c : count[0]], *columns[len(outputs) - c :]])
        return tuple(ys), tuple([next(rest) if counts else None for counts in floating])

    def batched(self, size: int, mine: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        def run(*leaves: Any) -> tuple[Any, ...]:
            carry, xs, constants = self.split(leaves)
            of_carry, of_xs, of_constants = self.split(mine)
            carry = [x if my else np.broadcast_to(_array(x), (size, *np.shape(x))) for x, my in zip(carry, of_carry, strict=True)]
            xs = [np.moveaxis(x, 0, 1) if my else x for x, my in zip(xs, of_xs, strict=True)]
            axes = tuple([0 if my else None for my in [*[True] * self.carries, *of_xs, *of_constants]])
            given = [*carry, *xs, *constants]
            results = self._loop(("batched", mine, size), vmap(self.body.evaluate, axes), given, self.carries, self.columns)(*given)
            return (*results[: self.carries], *[np.moveaxis(y, 1, 0) for y in results[self.carries :]])

        return run


def _filled(leaves: Sequence[Any], tangents: Sequence[Any], moving: Sequence[bool]) -> list[Any]:
    """The tangents of what moves, zeros where there are none; None for the rest."""
    triples = zip(leaves, tangents, moving, strict=True)
    return [(zeros_like(x) if t is None else t) if moves else None for x, t, moves in triples]


def _array(x: Any) -> Any:
    return x if hasattr(x, "shape") else np.asarray(x)


def _column(y: Any, length: int) -> Any:
    """An uninitialised array for `length` values like `y`."""
    return np.empty_like(_array(y), shape=(length, *np.shape(y)))


def program_of(function: Callable[..., Any], examples: Sequence[Any], name: str) -> Program:
    """The program of `function`, recorded on examples."""
    with np.errstate(all="ignore"):
        return Program(record(function, examples, name).graph)


def _first_round(leaves: Sequence[Any], carries: int, columns: int) -> list[Any]:
    """Plain values like those that a round gets."""
    examples = [example_of(leaf) for leaf in leaves]
    return [*examples[:carries], *[x[0] for x in examples[carries : carries + columns]], *examples[carries + columns :]]


def scan(
    function: Callable[..., Any], carry: Any, xs: Any = None, length: int | None = None, *, reverse: bool = False
) -> tuple[Any, Any]:
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
            _check_carry(name, start, new)
            if any(map(is_recorded, [*trees.leaves((start, new, y)), *xs_leaves])):
                return _structured(function, start, xs_leaves, xs_def, length, reverse)
        carry = new
        y_leaves, y_def = trees.flatten(y)
        ys.append(y_leaves)
    if y_def is None:
        raise ShapeError(f"{name}: there is no row to go through: the length is 0.")
    if reverse:
        ys.reverse()
    return carry, trees.unflatten(y_def, [stack(column) for column in zip(*ys, strict=True)])


def _structured(function: Callable[..., Any], carry: Any, xs: list[Any], xs_def: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    leaves, carry_def = trees.flatten(carry)
    structure: list[Any] = []

    def flat(*given: Any) -> list[Any]:
        new, y = function(trees.unflatten(carry_def, given[: len(leaves)]), trees.unflatten(xs_def, given[len(leaves) :]))
        y_leaves, y_def = trees.flatten(y)
        structure.append(y_def)
        return [*trees.leaves(new), *y_leaves]

    made = record(flat, [*map(example_of, leaves), *[example_of(x)[0] for x in xs]], name_of("scan", function))
    loop = Scan(Program(made.graph), len(leaves), len(xs), length, reverse)
    results = loop(*leaves, *xs, *made.captures)
    return trees.unflatten(carry_def, results[: len(leaves)]), trees.unflatten(structure[0], results[len(leaves) :])


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


def _check_carry(name: str, old: Any, new: Any) -> None:
    if trees.flatten(old)[1] != trees.flatten(new)[1]:
        raise trees.structure_error(old, new, "the carry before", "the carry after a round")
    for (path, before), after in zip(trees.flatten_with_path(old), trees.leaves(new), strict=True):
        kinds = [(getattr(leaf, "shape", None), getattr(leaf, "dtype", None)) for leaf in (before, after)]
        if kinds[0] != kinds[1]:
            raise ShapeError(
                f"{name}: the carry {path or 'itself'} is {describe(before)} before and {describe(after)} after a round, and must stay "
                "the same: start with an array of the dtype and shape that it gets."
            )


class While(Region):
    """`while condition(*carry, *constants): carry = body(*carry, *constants)`; leaves: carry, constants; results: carry."""

    def __init__(self, condition: Program, body: Program, carries: int) -> None:
        self.name, self.condition, self.body, self.carries = "while_loop", condition, body, carries

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        carry, constants = leaves[: self.carries], leaves[self.carries :]
        while self.condition.run(*carry, *constants)[0]:
            carry = self.body.run(*carry, *constants)
        return owned(carry, leaves)

    def steps(self, *leaves: Any) -> tuple[Any, ...]:
        carry, constants = leaves[: self.carries], leaves[self.carries :]
        while self.condition(*carry, *constants)[0]:
            carry = self.body(*carry, *constants)
        return carry

    def forward(self, active: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        raise TraceError(
            "while_loop has no reverse mode where it is compiled: how many rounds it takes is not known before. Use fd.scan with a "
            "fixed length and fd.numpy.where, or forward mode, fd.jvp."
        )

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        c = self.carries
        pairs = enumerate(zip(leaves, tangents, strict=True))
        moving = [trees.is_differentiable(example_of(x)) and (t is not None or i < c) for i, (x, t) in pairs]
        filled = _filled(leaves, tangents, moving)
        moved = [i for i in range(c) if moving[i]]
        given = [*leaves[:c], *[filled[i] for i in moved], *leaves[c:], *[t for t in filled[c:] if t is not None]]
        both, n = c + len(moved), len(leaves)

        def parts(all_given: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            xs = [*all_given[:c], *all_given[both : both + n - c]]
            carried, rest = iter(all_given[c:both]), iter(all_given[both + n - c :])
            return xs, [(next(carried) if i < c else next(rest)) if moving[i] else None for i in range(n)]

        def round_forward(*all_given: Any) -> tuple[Any, ...]:
            ys, dys = self.body.push(*parts(all_given))
            return (*ys, *[zeros_like(ys[i]) if dys[i] is None else dys[i] for i in moved])

        examples = [example_of(leaf) for leaf in given]
        condition = program_of(lambda *g: self.condition(*parts(g)[0]), examples, "condition")
        results = While(condition, program_of(round_forward, examples, "while_jvp"), both)(*given)
        found = dict(zip(moved, results[c:], strict=True))
        return results[:c], tuple([found.get(i) for i in range(c)])

    def batched(self, size: int, mine: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        def run(*leaves: Any) -> tuple[Any, ...]:
            c = self.carries
            carry = [x if my else np.broadcast_to(_array(x), (size, *np.shape(x))) for x, my in zip(leaves[:c], mine[:c], strict=True)]
            axes = tuple([0 if my or i < c else None for i, my in enumerate(mine)])

            def chosen(*given: Any) -> tuple[Any, ...]:
                going = self.condition.evaluate(*given)[0]
                return tuple([np.where(going, new, old) for new, old in zip(self.body.evaluate(*given), given[:c], strict=True)])

            given = [*carry, *leaves[c:]]
            examples = [example_of(leaf) for leaf in given]
            condition = program_of(lambda *g: (np.any(vmap(self.condition.evaluate, axes)(*g)[0]),), examples, "condition")
            return While(condition, program_of(vmap(chosen, axes), examples, "while_vmap"), c)(*given)

        return run


def while_loop(condition: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any) -> Any:
    """The carry after `while condition(carry): carry = body(carry)`; the carry keeps structure, shapes and dtypes.

    Within `fd.compile` the loop is one operation, with forward mode and a batched form; a reverse mode has it eagerly only,
    where it is a Python loop. Raises StructureError or ShapeError when the carry changes.
    """
    name = name_of("while_loop", body)
    leaves, treedef = trees.flatten(carry)
    going = condition(carry)
    new = body(carry) if any(map(is_structured, [*leaves, going])) else None
    if new is None:
        while going:
            following = body(carry)
            _check_carry(name, carry, following)
            carry = following
            going = condition(carry)
            if is_structured(going) or any(map(is_structured, trees.leaves(carry))):
                return while_loop(condition, body, carry)
        return carry
    _check_carry(name, carry, new)
    examples = [example_of(leaf) for leaf in leaves]
    tested = record(lambda *given: (condition(trees.unflatten(treedef, given)),), examples, "condition")
    made = record(lambda *given: trees.leaves(body(trees.unflatten(treedef, given))), examples, name)
    # One list of constants for both: each program leaves aside what is the other's.
    t, b, c = len(tested.captures), len(made.captures), len(leaves)
    more = [example_of(leaf) for leaf in (*tested.captures, *made.captures)]
    whole, round_ = Program(tested.graph), Program(made.graph)
    condition_program = program_of(lambda *g: whole(*g[: c + t]), [*examples, *more], "condition")
    body_program = program_of(lambda *g: round_(*g[:c], *g[c + t : c + t + b]), [*examples, *more], name)
    results = While(condition_program, body_program, c)(*leaves, *tested.captures, *made.captures)
    return trees.unflatten(treedef, results)


def is_structured(leaf: Any) -> bool:
    """Whether the truth of a value is not known while the function runs: it is recorded, or batched."""
    while isinstance(leaf, Tracer):
        if isinstance(leaf, BatchTracer | RecordTracer):
            return True
        leaf = leaf.value
    return False

