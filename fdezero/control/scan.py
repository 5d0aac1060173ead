"""`scan`: a loop over rows that stays a loop when it is compiled, differentiated or batched. Only one round is recorded."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np

from .. import tree as trees
from ..compiler.graph import Constant
from ..compiler.passes.lifting import Lifting
from ..compiler.program import MOST_DERIVED, Program, program_of
from ..compiler.recording.examples import example_of, harmless, of_leaves, ones_like
from ..compiler.recording.record import is_recorded, owned, record, record_unrun, tried, unheard
from ..compiler.release import rest
from ..compiler.running.store import Recent
from ..core import Region, Tracer, unwrap
from ..core.cotangents import chosen, filled, merged, zeros_like
from ..errors import ShapeError, StructureError
from ..messages import describe
from ..numpy import astype, reshape, stack
from ..numpy.arguments import as_array
from ..transforms import vmap
from ..transforms.arguments import name_of
from ..transforms.batching import in_axes_of
from ..values import is_inexact, shape_of, with_shape
from .rounds import Rounds, empty_rows


class Parts(NamedTuple):
    """The leaves of a loop: carry, xs with a row for each round, constants. Or one item for each of these leaves, such as a mask."""

    carry: Sequence[Any]
    xs: Sequence[Any]
    constants: Sequence[Any]

    def leaves(self) -> list[Any]:
        return [*self.carry, *self.xs, *self.constants]

    def where(self, masks: "Parts") -> "Parts":
        """The leaves whose mask is true."""
        return Parts(*[chosen(part, mask) for part, mask in zip(self, masks, strict=True)])


class Scan(Region):
    """`length` rounds of `body(*carry, *xs[i], *constants) -> (*carry, *ys[i])`. Leaves: carry, xs, constants; results: carry, ys."""

    def __init__(self, body: Program, carries: int, columns: int, length: int, reverse: bool) -> None:
        self.name, self.body = "scan", body
        self.carries, self.columns, self.length, self.reverse = carries, columns, length, reverse
        self._derived: Recent[Any, Scan] = Recent(MOST_DERIVED)

    def split(self, leaves: Sequence[Any]) -> Parts:
        return parts_of(leaves, self.carries, self.columns)

    def run(self, *leaves: Any, into: Sequence[Any] | None = None) -> tuple[Any, ...]:
        carry, xs, constants = self.split(leaves)
        if not self.length:
            return (*owned(carry, leaves), *self._no_rows())
        carry, columns = Rounds(self.body, carry, xs, constants, self.length, self.reverse, into).run()
        return (*carry, *columns)

    def filled(self, results: Sequence[Any]) -> tuple[int, ...]:
        found = enumerate(results) if self.length else ()
        return tuple([i for i, y in found if y.kind == "array" and y.shape and y.contiguous])

    def lifted(self, instruction: Any, read: Any, free: bool) -> Any:
        if not self.length:
            return None
        lifting = Lifting(self.body.graph, instruction, self.carries, self.columns, self.length, free)
        lifting.lift(read, free)
        body = Program(lifting.graph(), self.body.options)
        loop = Scan(body, len(lifting.carry), len(lifting.xs), self.length, self.reverse)
        return lifting.rewritten(instruction, loop)

    def steps(self, *leaves: Any) -> tuple[Any, ...]:
        carry, xs, constants = self.split(leaves)
        rounds: list[Any] = []
        for i in range(self.length - 1, -1, -1) if self.reverse else range(self.length):
            results = self.body(*carry, *[x[i] for x in xs], *constants)
            carry = list(results[: self.carries])
            rounds.append(results[self.carries :])
        if self.reverse:
            rounds.reverse()
        if not rounds:
            return (*carry, *self._no_rows())
        return (*carry, *[_stacked(column) for column in zip(*rounds, strict=True)])

    def _no_rows(self) -> list[Any]:
        """The stacked ys of a loop without rounds."""
        ys = self.body.graph.outputs[self.carries :]
        return [empty_rows(with_shape(y.value if isinstance(y, Constant) else ones_like(y)), 0) for y in ys]

    def _loop(self, key: Any, body: Callable[..., Any], given: Parts, backwards: bool = False) -> "Scan":
        """A loop derived from this one: its rounds are `body`, recorded on first use."""
        found = self._derived.find(key)
        if found is not None:
            return found
        program = program_of(body, _first_round(given), f"scan_{key[0]}")
        rest(self.body)  # the recording has run programs of the body, which the loop does not need
        loop = Scan(program, len(given.carry), len(given.xs), self.length, self.reverse != backwards)
        return self._derived.keep(key, loop)

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        # Any floating carry may come to depend on a traced leaf, so all of them count as traced.
        mask = (*[True] * self.carries, *is_traced[self.carries :])
        out, rule = self.body.reverse(mask, _first_round(self.split(leaves)))
        inputs: dict[Any, int] = {variable: i for i, variable in enumerate(out.graph.inputs)}
        count = len(self.body.graph.outputs)
        saved = out.graph.outputs[count:]
        # The position of each residual that is a leaf already (a row of the xs, or a constant); None for one that needs a column.
        positions = [inputs.get(variable) for variable in saved]
        positions = [None if i is not None and i < self.carries else i for i in positions]
        loop = self._derived.find(("out", mask))
        if loop is None:
            outputs = (
                *out.graph.outputs[:count],
                *[variable for variable, i in zip(saved, positions, strict=True) if i is None],
            )
            program = Program(attrs.evolve(out.graph, outputs=outputs), out.options)
            loop = Scan(program, self.carries, self.columns, self.length, self.reverse)
            self._derived.keep(("out", mask), loop)
        results = loop(*leaves)
        columns = iter(results[count:])
        residuals = [next(columns) if i is None else leaves[i] for i in positions]
        return results[:count], (residuals, tuple(positions), rule, self.split(leaves))

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        saved, positions, (back, is_active, is_floating), leaves = residuals
        active = self.split(is_active)
        has_rows = [
            i is None or i < self.carries + self.columns for i in positions
        ]  # whether a residual differs from round to round
        is_fixed = [not rows for rows in has_rows]
        of_carry = chosen(cotangents[: self.carries], is_floating[: self.carries])
        of_ys = chosen(cotangents[self.carries :], is_floating[self.carries :])
        sums = [zeros_like(constant) for constant in chosen(leaves.constants, active.constants)]
        if self.length:  # -0 + t is t, also for t = -0; so the sum has the bits of the sum of the rounds alone
            sums = [-zeros for zeros in sums]
        given = Parts([*of_carry, *sums], [*chosen(saved, has_rows), *of_ys], chosen(saved, is_fixed))

        def round_back(*now: Any) -> tuple[Any, ...]:
            carry, xs, constants = parts_of(now, len(given.carry), len(given.xs))
            ts, totals = carry[: len(of_carry)], carry[len(of_carry) :]
            rows, dys = xs[: sum(has_rows)], xs[sum(has_rows) :]
            values = merged(has_rows, rows, merged(is_fixed, constants))
            gradients = self.split(merged(is_active, back(*values, *ts, *dys))).where(active)
            added = [total + t for total, t in zip(totals, gradients.constants, strict=True)]
            return (*gradients.carry, *added, *gradients.xs)

        loop = self._loop(("back", is_active, positions), round_back, given, backwards=True)
        results = loop.split(loop(*given.leaves()))  # the gradients of the xs are its ys
        count = len(of_carry)
        found = Parts(
            merged(active.carry, results.carry[:count]),
            merged(active.xs, [*results.xs, *results.constants]),
            merged(active.constants, results.carry[count:]),
        )
        return tuple(found.leaves())

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        examples = [example_of(leaf) for leaf in leaves]
        pairs = enumerate(zip(examples, tangents, strict=True))
        is_active = tuple([trees.is_differentiable(x) and (t is not None or i < self.carries) for i, (x, t) in pairs])
        active, values = self.split(is_active), self.split(leaves)
        moved = self.split(filled(leaves, tangents, is_active)).where(active)
        given = Parts(*[[*part, *ts] for part, ts in zip(values, moved, strict=True)])
        is_floating = [is_inexact(atom.dtype) for atom in self.body.graph.outputs]
        of_carry, of_ys = is_floating[: self.carries], is_floating[self.carries :]

        def round_forward(*now: Any) -> tuple[Any, ...]:
            parts = parts_of(now, len(given.carry), len(given.xs))
            xs = [x for part, mask in zip(parts, active, strict=True) for x in part[: len(mask)]]
            ts = [t for part, mask in zip(parts, active, strict=True) for t in merged(mask, part[len(mask) :])]
            ys, dys = self.body.push(xs, ts)
            moved = filled(ys, dys, is_floating)
            carry, columns = ys[: self.carries], ys[self.carries :]
            return (*carry, *chosen(moved[: self.carries], of_carry), *columns, *chosen(moved[self.carries :], of_ys))

        loop = self._loop(("push", is_active), round_forward, given)
        results = loop(*given.leaves())
        carry, columns = results[: loop.carries], results[loop.carries :]
        ys = (*carry[: self.carries], *columns[: len(of_ys)])
        return ys, (*merged(of_carry, carry[self.carries :]), *merged(of_ys, columns[len(of_ys) :]))

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        def run(*leaves: Any) -> tuple[Any, ...]:
            carry, xs, constants = self.split(leaves)
            of_carry, of_xs, of_constants = self.split(is_batched)
            carry = [x if batched else repeated(x, size) for x, batched in zip(carry, of_carry, strict=True)]
            xs = [np.moveaxis(x, 0, 1) if batched else x for x, batched in zip(xs, of_xs, strict=True)]
            axes = in_axes_of([*[True] * self.carries, *of_xs, *of_constants])
            given = Parts(carry, xs, constants)
            results = self._loop(("batched", is_batched, size), vmap(self.body.evaluate, axes), given)(*given.leaves())
            return (*results[: self.carries], *[np.moveaxis(y, 1, 0) for y in results[self.carries :]])

        return run


def parts_of(leaves: Sequence[Any], carries: int, columns: int) -> Parts:
    """The leaves in their parts: `carries` of the carry, `columns` of the xs, and the rest."""
    return Parts(leaves[:carries], leaves[carries : carries + columns], leaves[carries + columns :])


def repeated(x: Any, size: int) -> Any:
    """`x` for each member of a batch."""
    x = with_shape(x)
    return np.broadcast_to(x, (size, *x.shape))


def _stacked(rows: Sequence[Any]) -> Any:
    """The rows as one array in C order, as compiled loops write it. NumPy would keep the order of the rows."""
    return stack([_in_order(row) for row in rows])


def _in_order(row: Any) -> Any:
    plain = unwrap(row)
    if not isinstance(plain, np.ndarray) or plain.flags.c_contiguous:
        return row
    return reshape(reshape(row, (-1,)), row.shape)


def _first_round(given: Parts) -> list[Any]:
    """Plain values like those that one round gets."""
    carry, xs, constants = ([example_of(leaf) for leaf in part] for part in given)
    return [*carry, *[x[0] if len(x) else _example_of_row(x) for x in xs], *constants]


def _example_of_row(x: Any) -> Any:
    """A value like a row of an array that has no rows."""
    row = harmless(np.zeros_like(x, shape=(1, *x.shape[1:])))[0]
    return row if row.shape else row[()]


def scan(
    function: Callable[..., Any], carry: Any, xs: Any = None, length: int | None = None, *, reverse: bool = False
) -> tuple[Any, Any]:
    """Loop over the rows x of `xs` with `function(carry, x) -> (carry, y)`; return the last carry and the stacked ys.

    xs: a tree of arrays (length, ...), or None together with `length`. The carry keeps its structure, shapes and dtypes; a Python
    number in it takes the dtype that it has after a round. The ys are stacked in C order. Without rows you get the carry itself and
    empty ys, whose shapes come from a call of the function on ones. With `reverse`, the loop goes from the last row to the first.
    Eagerly it is a Python loop. Within `fd.compile` it is one operation of any length, and so are its derivatives in both modes and
    its batched form.

    Raises StructureError or ShapeError, naming the leaf, when lengths differ or the carry changes.
    """
    name = name_of("scan", function)
    xs_leaves, xs_def = trees.flatten(xs)
    length = _length(name, xs, length)
    if not length:
        return _structured(name, function, carry, xs, length, reverse)
    order = range(length - 1, -1, -1) if reverse else range(length)
    start, ys, y_def = carry, [], None
    for i in order:
        # The first carry is used again if the loop is recorded. So the function, which may write `carry += x`, gets an alias.
        given = (
            trees.map(lambda leaf: leaf.alias() if isinstance(leaf, Tracer) else leaf, carry)
            if carry is start
            else carry
        )
        row = trees.unflatten(xs_def, [x[i] for x in xs_leaves])
        new, y = _pair(name, tried(function, given, row) if carry is start else function(given, row))
        if carry is start:
            if (strong := promoted(start, new)) is not None:
                return scan(function, strong, xs, length, reverse=reverse)
            check_carry(name, start, new)
            if any(map(is_recorded, [*trees.leaves((start, new, y)), *xs_leaves])):
                return _structured(name, function, start, xs, length, reverse)
        carry = new
        y_leaves, y_def = trees.flatten(y)
        ys.append(y_leaves)
    if reverse:
        ys.reverse()
    assert y_def is not None
    return carry, trees.unflatten(y_def, [_stacked(column) for column in zip(*ys, strict=True)])


def _structured(
    name: str, function: Callable[..., Any], carry: Any, xs: Any, length: int, reverse: bool
) -> tuple[Any, Any]:
    carries = len(trees.leaves(carry))
    leaves, treedef = trees.flatten((carry, xs))
    flat, structure = of_leaves(lambda given: function(*given), treedef, leaves, range(len(leaves)))
    examples = _first_round(parts_of(leaves, carries, len(leaves) - carries))
    made = unheard(record, flat, examples, name) if length else record_unrun(flat, examples, name)
    if not length:
        new, _ = _pair(name, trees.unflatten(structure[-1], made.outputs))
        before = trees.map(example_of, carry)
        if (strong := promoted(carry, new)) is not None:
            return scan(function, strong, xs, length, reverse=reverse)
        check_carry(name, before, new)
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
            raise ShapeError(f"{name}: xs {path or 'itself'} is {describe(leaf)} and has no rows to loop over.")
        found.setdefault(leaf.shape[0], f"xs {path or 'itself'} has {leaf.shape[0]} rows ({describe(leaf)})")
    if len(found) > 1:
        raise ShapeError(f"{name}: the lengths differ: {', '.join(found.values())}.")
    if not found:
        raise ShapeError(f"{name}: without xs, pass the number of rounds, such as length=10.")
    return next(iter(found))


def promoted(start: Any, new: Any) -> Any:
    """The carry `start` with its Python numbers in the dtypes that they have after a round, or None if nothing changes.

    Their dtypes are weak, so another round may give other dtypes only where this one does: two rounds find the final ones.
    """
    before, treedef = trees.flatten(start)
    after, structure = trees.flatten(new)
    if structure != treedef:
        return None
    leaves = [_promoted(x, y) for x, y in zip(before, after, strict=True)]
    return None if all(x is y for x, y in zip(leaves, before, strict=True)) else trees.unflatten(treedef, leaves)


def _promoted(x: Any, y: Any) -> Any:
    if not is_number(x) or shape_of(y) != ():
        return x
    plain = unwrap(x)
    if is_number(y):  # Python's own promotion, from int to float or complex
        kind = type(plain + unwrap(y))
        return x if kind in (type(plain), bool) else kind(x) if x is plain else x + kind(0)
    dtype = np.result_type(plain, y.dtype)
    return dtype.type(x) if x is plain else astype(as_array(x)[()], dtype)


def is_number(x: Any) -> bool:
    """Whether a value is a Python number, traced or not."""
    return isinstance(unwrap(x), int | float | complex) and not isinstance(unwrap(x), np.generic)


def check_carry(name: str, old: Any, new: Any) -> None:
    """Raise StructureError or ShapeError if a round changes the structure, a shape or a dtype of the carry."""
    if trees.flatten(old)[1] != trees.flatten(new)[1]:
        raise trees.structure_error(old, new, f"the carry of {name} before a round", "the carry after it")
    for (path, before), after in zip(trees.flatten_with_path(old), trees.leaves(new), strict=True):
        kinds = [(getattr(leaf, "shape", None), getattr(leaf, "dtype", None)) for leaf in (before, after)]
        if kinds[0] != kinds[1]:
            raise ShapeError(
                f"{name}: the carry {path or 'itself'} is {describe(before)} before a round and {describe(after)} after it, but a loop "
                "must keep shape and dtype. Start with an array of the shape and dtype after the round."
            )
