"""Lifting: what all rounds of a loop share leaves the loop. It is computed once before the loop, or once after it.

Before the loop: operations on constants alone, and matrix products of xs and constants, as one product for all rounds. After the
loop: a sum over the rounds, such as the gradient of a weight. The sum of the products a_t.T @ b_t is one product of the columns of
a and b. Products of all rounds round in another order than those of one round, so eager code and compiled code would differ: they are
lifted only where programs are `free` in this, in native code and on a GPU.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ...core import Multilinear, Region
from ...ops import elementwise
from ...ops import shape as shapes
from ...ops.products import matmul
from ...ops.reductions import sum_axes
from ...transforms import vmap
from ..graph import Atom, Constant, Graph, Instruction, Variable, evaluate, renamed, rewritten, row_strides, uses
from ..recording.examples import ones_like
from ..recording.record import record
from .algebra import simplify
from .common import merge_common
from .constants import fold_constants
from .dead import drop_dead, may_raise
from .inline import inline
from .pieces import parts_along

LARGEST = 1 << 26  # bytes of the products of all rounds: beyond, each round makes its own


def lift(graph: Graph, free: bool) -> Graph:
    """The graph with its loops lifted."""
    if not any(isinstance(step.operation, Region) for step in graph.instructions):
        return graph
    graph = drop_dead(inline(graph))
    read = set(uses(graph))
    return rewritten(
        graph,
        lambda step: step.operation.lifted(step, read, free) if isinstance(step.operation, Region) else None,
    )


def _alike(x: Atom, y: Variable) -> bool:
    return isinstance(x, Variable) and (x.shape, x.dtype, x.kind, x.strides) == (y.shape, y.dtype, y.kind, y.strides)


class Lifting:
    """One loop: `body(*carry, *xs[i], *constants) -> (*carry, *ys[i])`. Dicts lead from variables of the body to atoms around the loop.

    `before` and `after` are instructions around the loop; `results` are the atoms that replace its results.
    """

    def __init__(
        self, body: Graph, instruction: Instruction, carries: int, columns: int, length: int, free: bool
    ) -> None:
        body = inline(lift(body, free))
        for step in (fold_constants, simplify, merge_common, drop_dead):
            body = step(body)
        self.body, self.length, self.line = body, length, instruction.line
        pairs = list(zip(body.inputs, instruction.inputs, strict=True))
        self.carry, self.xs, self.constants = (
            dict(part) for part in (pairs[:carries], pairs[carries : carries + columns], pairs[carries + columns :])
        )
        self.steps = list(body.instructions)
        self.carried = list(body.outputs[:carries])  # what each carry becomes
        self.ys = list(body.outputs[carries:])
        self.columns: list[Variable] = list(instruction.outputs[carries:])
        self.last: list[Variable] = list(instruction.outputs[:carries])
        self.results: dict[Variable, Atom] = {}
        self.before: list[Instruction] = []
        self.after: list[Instruction] = []

    def lift(self, read: set[Variable], free: bool) -> None:
        self._drop_zeros()
        self._lift_constants()
        if free:
            self._lift_products()
            self._lay_out_factors()
            self._lift_sums(read)
        self._drop_unread(read)

    def _makers(self) -> dict[Atom, Instruction]:
        return {y: step for step in self.steps for y in step.outputs}

    def _drop_zeros(self) -> None:
        """Rows of zeros, the cotangents of ys that nobody reads, are not added. Eager code does not have them."""
        zeros = {x for x, column in self.xs.items() if isinstance(column, Constant) and not np.any(column.value)}
        names: dict[Atom, Atom] = {}
        steps = []
        for step in self.steps:
            step = renamed(step, names)
            others = [atom for atom in step.inputs if atom not in zeros]
            if step.operation is elementwise.add and len(others) == 1 and _alike(others[0], step.output):
                names[step.output] = others[0]
            else:
                steps.append(step)
        self.steps = steps
        self.carried, self.ys = ([names.get(y, y) for y in part] for part in (self.carried, self.ys))

    def _lift_constants(self) -> None:
        """Operations on constants alone go before the loop."""
        makers, left = self._makers(), []
        known: dict[Atom, Atom] = dict(self.constants.items())
        for step in self.steps:
            if not all(isinstance(atom, Constant) or atom in known for atom in step.inputs) or may_raise(step, makers):
                left.append(step)
                continue
            fresh = tuple([attrs.evolve(y) for y in step.outputs])
            self.before.append(attrs.evolve(renamed(step, known), outputs=fresh))
            known.update(zip(step.outputs, fresh, strict=True))
        self.steps = left
        for atom in dict.fromkeys([*[a for step in left for a in step.inputs], *self.carried, *self.ys]):
            if isinstance(atom, Variable) and atom in known:
                self.constants[atom] = known[atom]

    def _lift_products(self) -> None:
        """Products of xs and constants alone become one for all rounds; so does what they are computed from."""
        makers = self._makers()
        of_rows, found = set(self.xs), []
        steps = []  # others must not be there: those that may fail stay, though nobody needs them
        for step in self.steps:
            taken = [atom for atom in step.inputs if isinstance(atom, Variable)]
            if any(isinstance(step.operation, Region) or not (v in of_rows or v in self.constants) for v in taken):
                continue
            if not any(v in of_rows for v in taken) or may_raise(step, makers):
                continue
            of_rows.update(step.outputs)
            steps.append(step)
            if isinstance(step.operation, Multilinear) and step.output.nbytes * self.length <= LARGEST:
                found.append(step)
        if not found:
            return
        inputs = (*self.xs, *self.constants)
        outputs = tuple([step.output for step in found])
        rows = drop_dead(attrs.evolve(self.body, inputs=inputs, instructions=tuple(steps), outputs=outputs))
        needed = set(uses(rows))
        given = {v: atom for v, atom in {**self.xs, **self.constants}.items() if v in needed}
        rows = attrs.evolve(rows, inputs=tuple(given), names=())
        axes = tuple([0 if v in self.xs else None for v in given])
        examples = [atom.value if isinstance(atom, Constant) else ones_like(atom) for atom in given.values()]
        made = record(vmap(lambda *leaves: evaluate(rows, leaves), axes), examples, self.body.name).graph
        names: dict[Atom, Atom] = dict(zip(made.inputs, given.values(), strict=True))
        self.before += [renamed(step, names) for step in made.instructions]
        rename: dict[Atom, Atom] = {}
        for y, column in zip(outputs, made.outputs, strict=True):
            row = attrs.evolve(y, strides=column.strides[1:])  # type: ignore[union-attr,index]  # a variable that vmap made
            self.xs[row] = column
            rename[y] = row
        self.steps = [renamed(step, rename) for step in self.steps if step not in found]
        self.ys = [rename.get(y, y) for y in self.ys]
        self.carried = [rename.get(y, y) for y in self.carried]

    def _lay_out_factors(self) -> None:
        """A constant second factor of products is copied into C order once: BLAS is slower with a transposed one, if it is small."""
        copies: dict[Atom, Atom] = {}
        for i, step in enumerate(self.steps):
            if step.operation is not matmul:
                continue
            x, factor = step.inputs
            if not isinstance(factor, Variable) or factor not in self.constants or factor.contiguous:
                continue
            if factor not in copies:
                strides = row_strides(factor.shape, factor.dtype.itemsize)
                copy, outside = (attrs.evolve(factor, strides=strides) for _ in range(2))
                self.before.append(Instruction(shapes.copy, (self.constants[factor],), {}, (outside,), step.line))
                self.constants[copy] = outside
                copies[factor] = copy
            self.steps[i] = attrs.evolve(step, inputs=(x, copies[factor]))

    # Sums over the rounds

    def _lift_sums(self, read: set[Variable]) -> None:
        """A carry to which every round adds becomes a sum after the loop."""
        makers, counts = self._makers(), self._counts()
        kept = list(range(len(self.carry)))
        for p in (*kept, *kept):  # the columns of a product may serve other sums
            x, start = list(self.carry.items())[p]
            term = self._term(x, self.carried[p], makers, counts) if p in kept else None
            total = self._sum(term, makers) if term is not None else None
            if total is not None:
                is_zero = isinstance(start, Constant) and not start.value.any()
                y = total if is_zero else self._made(elementwise.add, (start, total), {}, x.shape, x.dtype)
                self.results[self.last[p]] = y
                kept.remove(p)
        self.carry = {x: start for p, (x, start) in enumerate(self.carry.items()) if p in kept}
        self.carried, self.last = [self.carried[p] for p in kept], [self.last[p] for p in kept]

    def _counts(self) -> dict[Atom, int]:
        counts: dict[Atom, int] = {}
        for atom in [*[a for step in self.steps for a in step.inputs], *self.carried, *self.ys]:
            counts[atom] = counts.get(atom, 0) + 1
        return counts

    def _term(self, x: Variable, y: Atom, makers: dict[Atom, Instruction], counts: dict[Atom, int]) -> Variable | None:
        """What a round adds to the carry x, if it does nothing else with it."""
        step = makers.get(y)
        if step is None or step.operation is not elementwise.add or (counts.get(x), counts[y]) != (1, 1):
            return None
        others = [atom for atom in step.inputs if atom is not x]
        if len(others) != 1 or not isinstance(others[0], Variable) or others[0].kind != "array" or x.kind != "array":
            return None
        term = others[0]
        return term if (term.shape, term.dtype) == (x.shape, x.dtype) else None

    def _sum(self, t: Variable, makers: dict[Atom, Instruction]) -> Atom | None:
        """The sum of t over all rounds, if it leads to columns or to a product of columns."""
        step = makers.get(t)
        if (column := self._column(t)) is not None:
            return self._summed(column, (-len(column.shape),), t)
        if step is None or isinstance(step.operation, Region):
            return None
        if step.operation is elementwise.add and all(
            isinstance(atom, Variable) and (atom.shape, atom.dtype) == (t.shape, t.dtype) for atom in step.inputs
        ):
            totals = [self._sum(atom, makers) for atom in step.inputs]  # type: ignore[arg-type]  # variables
            if None not in totals:
                return self._made(elementwise.add, totals, {}, t.shape, t.dtype)  # type: ignore[arg-type]  # no None
        if step.operation is sum_axes and isinstance(step.inputs[0], Variable):
            column = self._column(step.inputs[0]) or self._column_of_part(step.inputs[0])
            ndim, axes = len(step.inputs[0].shape), step.params["axes"]
            if column is not None and not step.params["keepdims"]:
                return self._summed(column, (-ndim - 1, *axes), t)
        factors = self._factors(step, makers)
        return self._product(*factors, t) if factors is not None else None

    def _factors(self, step: Instruction, makers: dict[Atom, Instruction]) -> tuple[Variable, Variable] | None:
        """a and b, if the step computes a.T @ b of matrices, or a column times a row."""
        if step.operation is not matmul and step.operation is not elementwise.multiply:
            return None
        first, b = step.inputs
        turned = makers.get(first)
        if not isinstance(first, Variable) or not isinstance(b, Variable) or (len(first.shape), len(b.shape)) != (2, 2):
            return None
        if step.operation is elementwise.multiply and (first.shape[1], b.shape[0]) != (1, 1):
            return None
        if turned is None or turned.operation is not shapes.permute or turned.params["perm"] != (-1, -2):
            return None
        (a,) = turned.inputs
        return (a, b) if isinstance(a, Variable) and a.dtype == b.dtype == step.output.dtype else None

    def _product(self, a: Variable, b: Variable, t: Variable) -> Atom | None:
        """The sum of a.T @ b over all rounds: one product of their columns, unless new columns need more memory than t."""
        new = dict.fromkeys(v for v in (a, b) if self._column(v) is None)
        if sum(v.nbytes for v in new) > t.nbytes or any(v in self.constants for v in new):
            return None
        for v in new:
            strides = row_strides((self.length, *v.shape), v.dtype.itemsize)
            self.ys.append(v)
            self.columns.append(Variable((self.length, *v.shape), v.dtype, strides, "array", v.device))
        first, second = (self._rows_of(self._column(v), v) for v in (a, b))
        turned = Variable(first.shape[::-1], a.dtype, (first.strides or ())[::-1], "array", a.device)
        self.after.append(Instruction(shapes.permute, (first,), {"perm": (-1, -2)}, (turned,), self.line, 0))
        return self._made(matmul, (turned, second), {}, t.shape, t.dtype)

    def _column(self, v: Variable) -> Any:
        """What holds v of all rounds; None if nothing does."""
        return self.columns[self.ys.index(v)] if v in self.ys else self.xs.get(v)

    def _column_of_part(self, v: Variable) -> Variable | None:
        """A view of the column of an array that has v as a part."""
        for join in self.steps:
            axis, parts = parts_along(join) or (0, [])
            column = self._column(join.output) if parts else None
            for x, start, stop in parts:
                if x is v and isinstance(column, Variable):
                    shape = (self.length, *v.shape)
                    y = Variable(shape, v.dtype, column.strides, "array", v.device)
                    index = shapes.cut(axis, start, stop)
                    self.after.append(Instruction(shapes.slice_axes, (column,), {"index": index}, (y,), self.line, 0))
                    return y
        return None

    def _rows_of(self, column: Any, v: Variable) -> Variable:
        """The rows of all rounds in one matrix."""
        rows = (self.length * v.shape[0], v.shape[1])
        y = Variable(rows, v.dtype, row_strides(rows, v.dtype.itemsize), "array", v.device)
        alias = 0 if isinstance(column, Variable) and column.contiguous else None
        self.after.append(Instruction(shapes.reshape, (column,), {"ndim": 3, "shape": rows}, (y,), self.line, alias))
        return y

    def _summed(self, column: Atom, axes: tuple[int, ...], t: Variable) -> Variable:
        return self._made(sum_axes, (column,), {"axes": tuple(sorted(axes)), "keepdims": False}, t.shape, t.dtype)

    def _made(
        self, operation: Any, inputs: Sequence[Atom], params: dict[str, Any], shape: tuple[int, ...], dtype: Any
    ) -> Variable:
        """The result of a further instruction after the loop."""
        device = next(atom.device for atom in inputs if isinstance(atom, Variable))
        y = Variable(shape, dtype, row_strides(shape, dtype.itemsize), "array", device)
        self.after.append(Instruction(operation, tuple(inputs), params, (y,), self.line))
        return y

    def _drop_unread(self, read: set[Variable]) -> None:
        """Columns that nobody reads are not written."""
        needed = read | set(uses(attrs.evolve(self.body, instructions=tuple(self.after), outputs=())))
        kept = [(y, column) for y, column in zip(self.ys, self.columns, strict=True) if column in needed]
        self.ys, self.columns = [y for y, _ in kept], [column for _, column in kept]

    # The new loop

    def graph(self) -> Graph:
        """The body of the new loop."""
        outputs = (*self.carried, *self.ys)
        inputs = (*self.carry, *self.xs, *self.constants)
        body = drop_dead(attrs.evolve(self.body, inputs=inputs, instructions=tuple(self.steps), outputs=outputs))
        needed = set(uses(body))
        self.xs, self.constants = ({v: a for v, a in part.items() if v in needed} for part in (self.xs, self.constants))
        inputs = (*self.carry, *self.xs, *self.constants)
        known = dict(zip(self.body.inputs, self.body.names, strict=True)) if self.body.names else {}
        names = tuple([known.get(v, f"given{i}") for i, v in enumerate(inputs)])
        return attrs.evolve(body, inputs=inputs, names=names)

    def rewritten(self, instruction: Instruction, loop: Region) -> tuple[list[Instruction], list[Atom]]:
        """The instructions in place of this one, and the atoms in place of its results; `loop` has the body `graph()`."""
        inputs = (*self.carry.values(), *self.xs.values(), *self.constants.values())
        run = Instruction(loop, inputs, {}, (*self.last, *self.columns), instruction.line)
        return [*self.before, run, *self.after], [self.results.get(y, y) for y in instruction.outputs]
