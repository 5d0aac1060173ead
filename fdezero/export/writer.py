"""Writes the nodes of an ONNX model: names for values, constants, casts and sizes that depend on the batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np

from ..compiler.graph import Atom, Constant, Graph, Instruction
from ..errors import ExportError
from .shares import Share
from .sizes import Rows, Size, is_sized

SCALARS = "biuf"


class Writer:
    """The nodes of a model in their order, and its initialisers. `here` are the nodes of the graph that is written now."""

    def __init__(self, helper: Any, forms: Any) -> None:
        self.helper, self.forms = helper, forms
        self.prelude: list[Any] = []  # nodes in front of all others: the batch's size and what is computed from it
        self.nodes: list[Any] = []
        self.here = self.nodes
        self.names: dict[Atom, str] = {}
        self.taken: set[str] = set()
        self.initialisers: dict[str, np.ndarray] = {}
        self.constants: dict[Any, str] = {}
        self.casts: dict[tuple[str, Any, int], str] = {}
        self.alive: list[Any] = []  # large constants, which are known by their identity
        self.scope, self.scopes = 0, 0  # the number of the graph that is written now, and how many there are
        self.sizes: dict[Any, str] = {}
        self.batch: tuple[str, int] | None = None  # the input and its axis that tell the size of the batch
        self.step: Instruction | None = None

    # Names and nodes

    def fresh(self, stem: str) -> str:
        """A name that no value has yet."""
        name, number = stem, 1
        while name in self.taken:
            name, number = f"{stem}_{number}", number + 1
        self.taken.add(name)
        return name

    def emit(self, kind: str, *inputs: str, count: int = 1, **attributes: Any) -> Any:
        """A node; the name of its output, or the names of its `count` outputs."""
        outputs = [self.fresh(kind.lower()) for _ in range(count)]
        self.here.append(self._node(kind, inputs, outputs, attributes))
        return outputs[0] if count == 1 else outputs

    def _node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]) -> Any:
        node = self.helper.make_node(kind, list(inputs), list(outputs), name=f"{kind}:{outputs[0]}", **attributes)
        if self.step is not None and self.step.line is not None:
            node.doc_string = str(self.step.line)
        return node

    def give_up(self, why: str) -> ExportError:
        """The error for the instruction that is written now."""
        step = self.step
        line = step.line if step is not None else None
        place = f" at {line.path}, line {line.number}" + (f" ({line.rule})" if line.rule else "") if line else ""
        return ExportError(f"export.onnx: {step.name if step else 'the program'}{place} {why}")

    # Values

    def read(self, atom: Atom, dtype: Any = None) -> str:
        """The name of a value, cast to `dtype` if it has another one."""
        if isinstance(atom, Constant):
            return self._read_constant(atom, dtype)
        name = self.names[atom]
        return name if dtype is None else self.cast(name, atom.dtype, dtype)

    def _read_constant(self, atom: Constant, dtype: Any) -> str:
        value = atom.value
        if is_sized(value):
            return self.cast(self._squeezed(self.size(value)), np.int64, dtype or np.int64)
        if isinstance(value, Share):
            return self._share(value, dtype or value.dtype)
        if isinstance(value, Rows):
            return self._rows(value, dtype)
        array = np.asarray(value)
        if dtype is not None and array.dtype != dtype:
            with np.errstate(all="ignore"):
                array = array.astype(dtype)
        return self.constant(array)

    def _share(self, value: Share, dtype: Any) -> str:
        """Numbers that follow from the size of the batch, which are computed in float64."""
        double = np.dtype(float)
        batch = self.cast(self._squeezed(self.size(self._batch_size())), np.int64, double)
        per, more = (self.constant(np.asarray(number, double)) for number in (value.per, value.more))
        made = self.emit("Div", per, batch) if value.over else self.emit("Mul", per, batch)
        if value.more.any():
            made = self.emit("Add", more, made)
        if value.inverse:
            made = self.emit("Reciprocal", made)
        return self.cast(made, double, dtype)

    def _batch_size(self) -> Size:
        return Size(1, Fraction(1), Fraction(0))

    def _squeezed(self, name: str) -> str:
        return str(self.emit("Squeeze", name))

    def _rows(self, value: Rows, dtype: Any) -> str:
        kind = np.dtype(dtype or value.dtype)
        row = self._share(value.row, kind) if isinstance(value.row, Share) else self.constant(value.row.astype(kind))
        name = self.emit("Expand", row, self.ints(value.shape))
        if value.step is None:
            return str(name)
        shape = [1] * len(value.shape)
        shape[value.axis] = -1
        count = self._squeezed(self.size(value.shape[value.axis]))
        numbers = self.emit("Range", self.constant(np.int64(0)), count, self.constant(np.int64(1)))
        numbers = self.cast(self.emit("Reshape", numbers, self.constant(np.array(shape))), np.int64, kind)
        return str(
            self.emit("Add", name, self.emit("Mul", numbers, self.constant(np.asarray(value.step).astype(kind))))
        )

    def constant(self, value: Any, stem: str = "constant") -> str:
        """The name of an initialiser."""
        array = np.asarray(value)
        self.check_dtype(array.dtype)
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.dtype, array.shape, array.tobytes() if array.nbytes <= 1 << 16 else id(value))
        if key not in self.constants:
            name = self.constants[key] = self.fresh(stem)
            self.initialisers[name] = array
            self.alive.append(value)
        return self.constants[key]

    @staticmethod
    def takes(dtype: Any) -> bool:
        """Whether ONNX models compute with a dtype."""
        kind = np.dtype(dtype)
        return kind.kind in SCALARS and kind.itemsize <= 8

    def check_dtype(self, dtype: Any) -> None:
        """Raise ExportError for a dtype that ONNX models do not compute with."""
        if not self.takes(dtype):
            raise self.give_up(
                f"has values of the dtype {dtype}, which ONNX has no operators for. Compute with real numbers."
            )

    def cast(self, name: str, before: Any, after: Any) -> str:
        """The value in another dtype."""
        before, after = np.dtype(before), np.dtype(after)
        if before == after:
            return name
        key = (name, after, self.scope)
        if key not in self.casts:
            self.casts[key] = self.emit("Cast", name, to=self.type_of(after))
        return self.casts[key]

    def type_of(self, dtype: Any) -> int:
        """ONNX's number for a dtype."""
        self.check_dtype(dtype)
        return int(self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    # Sizes

    def ints(self, numbers: Sequence[int]) -> str:
        """A line of integers; those that depend on the batch are computed when the model runs."""
        if not any(map(is_sized, numbers)):
            return self.constant(np.array(numbers, np.int64).reshape(-1))
        parts = [self.size(n) if is_sized(n) else self.constant(np.array([n], np.int64)) for n in numbers]
        key = tuple(parts)
        if key not in self.sizes:
            with self.in_front():
                self.sizes[key] = parts[0] if len(parts) == 1 else self.emit("Concat", *parts, axis=0)
        return self.sizes[key]

    def size(self, n: Any) -> str:
        """A number that depends on the batch, as a line of one entry."""
        key = (n.per, n.more)
        if key not in self.sizes:
            if self.batch is None:
                raise self.give_up("needs the batch's size, but no input has it.")
            name, axis = self.batch
            with self.in_front():
                if "batch" not in self.sizes:
                    self.sizes["batch"] = self.emit("Shape", name, start=axis, end=axis + 1)
                made = self.sizes["batch"]
                bottom = int(np.lcm(n.per.denominator, n.more.denominator))
                for kind, number, neutral in (
                    ("Mul", n.per * bottom, 1),
                    ("Add", n.more * bottom, 0),
                    ("Div", bottom, 1),
                ):
                    if number != neutral:
                        made = self.emit(kind, made, self.constant(np.array([int(number)], np.int64)))
            self.sizes[key] = made
        return self.sizes[key]

    @contextmanager
    def in_front(self) -> Iterator[None]:
        """What is written here stands in front of all nodes of the model."""
        before = self.here, self.step, self.scope
        self.here, self.step, self.scope = self.prelude, None, 0
        try:
            yield
        finally:
            self.here, self.step, self.scope = before

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        """The value in another shape. One length that depends on the batch follows from the others."""
        if sum(map(is_sized, shape)) == 1 and all(shape):
            shape = [-1 if is_sized(n) else n for n in shape]
        return str(self.emit("Reshape", name, self.ints(shape), **({} if all(shape) else {"allowzero": 1})))

    # Programs

    def write(self, graph: Graph) -> list[str]:
        """The nodes of a program, whose inputs have names already; the names of its outputs."""
        for step in graph.instructions:
            self.step = step
            for atom in (*step.inputs, *step.outputs):
                self.check_dtype(atom.dtype)
            form = self.forms.get(step.name) if not step.name.startswith("_") else None
            if form is None:
                raise self.give_up(
                    "has no form in ONNX. Leave the operation out of the exported function, and compute it before or after the model; "
                    "or export the whole function with fd.export.source."
                )
            made = form(self, step)
            for variable, name in zip(step.outputs, [made] if isinstance(made, str) else made, strict=True):
                self.names[variable] = name
        self.step = None
        return [self.read(atom) for atom in graph.outputs]

    def subgraph(
        self, graph: Graph, inputs: Sequence[tuple[str, Any, Any]], before: Any, after: Any = None, stem: str = "body"
    ) -> Any:
        """A graph inside a node. `inputs` are names, dtypes and shapes; `before()` names the inputs of the program, and `after(outputs)`
        may add further outputs in front."""
        outside = self.here, self.step, self.scope
        self.scopes += 1
        self.here, self.scope = [], self.scopes
        try:
            before()
            outputs = self.write(graph)
            named = list(zip(outputs, [(atom.dtype, atom.shape) for atom in graph.outputs], strict=True))
            if after is not None:
                named = after(named)
            results = [(self.emit("Identity", name), *like) for name, like in named]
            info = [self.value_info(*given) for given in inputs]
            results = [self.value_info(*each) for each in results]
            return self.helper.make_graph(self.here, self.fresh(stem), info, results)
        finally:
            self.here, self.step, self.scope = outside

    def value_info(self, name: str, dtype: Any, shape: Any, batch: str = "batch") -> Any:
        """The description of an input or output."""
        if shape is not None:
            shape = [(batch if (n.per, n.more) == (1, 0) else None) if is_sized(n) else n for n in shape]
        return self.helper.make_tensor_value_info(name, self.type_of(dtype), shape)
