"""Programs for batches of any size: recordings for three or four sizes become one program, whose numbers may depend on the size."""

import copy
from collections.abc import Callable, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np

from ..compiler.graph import Atom, Constant, Graph, Instruction, Variable
from ..core import Region
from ..errors import ExportError
from .shares import Share, share_of


class Size(int):
    """An integer that is `per * batch + more`. Used as a plain integer, it is the number of the first recording."""

    per: Fraction
    more: Fraction

    def __new__(cls, number: int, per: Fraction, more: Fraction) -> "Size":
        size = super().__new__(cls, number)
        size.per, size.more = per, more
        return size


@attrs.frozen(eq=False)
class Rows:
    """An array that has a row for each member of the batch along `axis`: all alike, or `row`, `row + step`, and so on.

    The row itself may be a `Share`.
    """

    row: Any  # with length 1 along the axis
    axis: int
    shape: tuple[int, ...]
    step: Any = None

    @property
    def dtype(self) -> Any:
        return self.row.dtype


@attrs.frozen(eq=False)
class Sized(Constant):
    """A constant that depends on the batch; `like` is its value in the first recording, which has its dtype and kind."""

    like: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape if isinstance(self.value, Rows) else ()

    @property
    def dtype(self) -> Any:
        return Constant(self.like).dtype

    @property
    def kind(self) -> str:
        return Constant(self.like).kind


def is_sized(number: Any) -> bool:
    """Whether a number depends on the batch."""
    return isinstance(number, Size)


def difference(x: int, y: int) -> int:
    """`x - y` for numbers that may depend on the batch."""
    (a, b), (c, d) = ((n.per, n.more) if isinstance(n, Size) else (Fraction(0), Fraction(n)) for n in (x, y))
    return Size(int(x) - int(y), a - c, b - d) if a != c else int(b - d)


def broadcast(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shape that these broadcast to, with the lengths that depend on the batch."""
    ndim = max(map(len, shapes))
    columns = zip(*[(1,) * (ndim - len(shape)) + tuple(shape) for shape in shapes], strict=True)
    return tuple([next((n for n in column if is_sized(n) or n != 1), 1) for column in columns])


def of_any_batch(record: Callable[[int], Graph], batch: int) -> Graph:
    """One program for the programs that `record` gives for several sizes of the batch, which differ only in this size.

    Raises ExportError, naming the user's line, where they differ in another way.
    """
    sizes = [batch, 2 * batch, 3 * batch]
    graphs = [record(size) for size in sizes]
    merge = _Merge(sizes)
    made = merge.graph(graphs)
    if not merge.is_rounded:
        return made
    # n // 2 and (n + 1) // 2 are alike for multiples of the batch, but not for one member less.
    sizes.append(4 * batch - 1)
    return _Merge(sizes).graph([*graphs, record(sizes[-1])])


class _Merge:
    def __init__(self, batches: Sequence[int]) -> None:
        self.batches = batches
        self.atoms: dict[Atom, Atom] = {}
        self.where = ""
        self.is_rounded = False

    def refuse(self, what: str) -> ExportError:
        sizes = ", ".join(map(str, self.batches))
        return ExportError(
            f"export.onnx: {what} in a way that has no form for a batch of any size{self.where}. The program was recorded for batches of "
            f"{sizes}. Write this line without the batch's size, or export without batch_axis."
        )

    def graph(self, graphs: Sequence[Graph]) -> Graph:
        first = graphs[0]
        for variables in zip(*[g.inputs for g in graphs], strict=True):
            self.atoms[variables[0]] = self._variable(variables)
        counts = {len(g.instructions) for g in graphs}
        steps = [self._instruction(found) for found in zip(*[g.instructions for g in graphs], strict=False)]
        if len(counts) > 1:
            raise self.refuse("the number of operations depends on the batch's size")
        self.where = ""
        outputs = tuple([self._atom(atoms) for atoms in zip(*[g.outputs for g in graphs], strict=True)])
        inputs: Any = tuple([self.atoms[v] for v in first.inputs])
        return attrs.evolve(first, inputs=inputs, instructions=tuple(steps), outputs=outputs)

    def _variable(self, variables: Sequence[Variable]) -> Variable:
        first = variables[0]
        if any((v.dtype, v.kind) != (first.dtype, first.kind) for v in variables):
            raise self.refuse("the dtype of a value depends on the batch's size")
        return attrs.evolve(first, shape=self.same([v.shape for v in variables], "a shape"))

    def _atom(self, atoms: Sequence[Atom]) -> Atom:
        first = atoms[0]
        if isinstance(first, Variable):
            return self.atoms[first]
        if first not in self.atoms:
            if not all(isinstance(atom, Constant) for atom in atoms):
                raise self.refuse("a value")
            value = self._value([atom.value for atom in atoms])  # type: ignore[union-attr]  # constants, see above
            self.atoms[first] = Sized(value, first.value) if isinstance(value, Size | Share | Rows) else first
        return self.atoms[first]

    def _instruction(self, steps: Sequence[Instruction]) -> Instruction:
        first = steps[0]
        self.where = f", at {first.line.path}, line {first.line.number}" if first.line else ""
        if any(step.name != first.name or len(step.inputs) != len(first.inputs) for step in steps):
            raise self.refuse("the operation depends on the batch's size")
        inputs = tuple([self._atom(atoms) for atoms in zip(*[step.inputs for step in steps], strict=True)])
        outputs = []
        for variables in zip(*[step.outputs for step in steps], strict=True):
            self.atoms[variables[0]] = made = self._variable(variables)
            outputs.append(made)
        params = self.same([step.params for step in steps], f"a parameter of {first.name}")
        operation: Any = first.operation
        if isinstance(operation, Region):
            operation = self._region([step.operation for step in steps])
        return attrs.evolve(first, operation=operation, inputs=inputs, outputs=tuple(outputs), params=params)

    def _region(self, regions: Sequence[Any]) -> Any:
        """A loop or a branch, with the merged programs in it."""
        merged = copy.copy(regions[0])
        for name, value in vars(regions[0]).items():
            values = [getattr(region, name) for region in regions]
            if isinstance(getattr(value, "graph", None), Graph):
                inner = _Merge(self.batches)
                setattr(merged, name, SimpleNamespace(graph=inner.graph([program.graph for program in values])))
                self.is_rounded |= inner.is_rounded
            elif type(value) is int:
                setattr(merged, name, self.same(values, f"the {name} of {merged.name}"))
        return merged

    def same(self, values: Sequence[Any], what: str) -> Any:
        """One value for those of all recordings: equal ones, integers that depend on the batch, or containers of these."""
        first = values[0]
        if isinstance(first, tuple) and len({len(value) for value in values}) == 1:
            return tuple([self.same(entries, what) for entries in zip(*values, strict=True)])
        if isinstance(first, dict):
            return {key: self.same([value[key] for value in values], what) for key in first}
        if isinstance(first, int | np.integer) and not isinstance(first, bool):
            return first if len(set(values)) == 1 else self._size(list(map(int, values)), what)
        if callable(first) or all(value == first for value in values):
            return first
        raise self.refuse(f"{what} depends on the batch's size")

    def _size(self, values: Sequence[int], what: str) -> Size:
        (a, b, *others), (x, y, *more) = self.batches, values
        per = Fraction(y - x, b - a)
        rest = x - per * a
        # The model rounds towards zero. The first recordings have sizes that hide this.
        if any(int(per * batch + rest) != value for batch, value in zip(others, more, strict=True)):
            raise self.refuse(f"{what} depends on the batch's size ({', '.join(map(str, values))})")
        self.is_rounded |= per.denominator > 1 or rest.denominator > 1
        return Size(x, per, rest)

    def _value(self, values: Sequence[Any]) -> Any:
        first = values[0]
        if isinstance(first, np.ndarray) and first.shape:
            return self._array(values)
        if len({repr(value) for value in values}) == 1:
            return first
        if type(first) is int or getattr(getattr(first, "dtype", None), "kind", "f") in "iu":
            return self._size(list(map(int, values)), "a number")
        return self._shared(values, "a number")

    def _array(self, values: Sequence[np.ndarray]) -> Any:
        shape = self.same([value.shape for value in values], "the shape of an array")
        axes = [axis for axis, n in enumerate(shape) if is_sized(n)]
        if not axes:
            return self._shared(values, "the entries of an array")
        rows = []
        for value in values:
            row = value
            for axis in axes:
                row = row[(slice(None),) * axis + (slice(0, 1),)]
            rows.append(np.ascontiguousarray(row))
        if all((value == row).all() for value, row in zip(values, rows, strict=True)):  # rows that are all alike
            return Rows(self._shared(rows, "the entries of an array"), axes[0], shape)
        if values[0].dtype.kind in "iuf" and len(axes) == 1 and all((row == rows[0]).all() for row in rows):
            moved = [np.moveaxis(value, axes[0], 0) for value in values]
            step = moved[-1][1] - moved[-1][0]
            if all((value == value[0] + step * _column(value)).all() for value in moved):
                return Rows(rows[0], axes[0], shape, np.expand_dims(step, axes[0]))
        raise self.refuse("the entries of an array depend on the batch's size")

    def _shared(self, values: Sequence[Any], what: str) -> Any:
        """One value of all recordings, or numbers that follow from the size of the batch."""
        first = np.asarray(values[0])
        if all(np.asarray(value).tobytes() == first.tobytes() for value in values):
            return values[0]
        if (found := share_of(values, self.batches)) is not None:
            return found
        raise self.refuse(
            f"{what} depend on the batch's size"
            if what.startswith("the entries")
            else f"{what} depends on the batch's size"
        )


def _column(x: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... along the first axis."""
    return np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1))
