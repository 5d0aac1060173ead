"""Programs as data: immutable variables, instructions and graphs. `str(graph)` reads like a program."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np

from ..core import Elementwise, Primitive, Region
from ..core.lines import LINE, Line
from ..messages import describe
from ..values import dtype_of, shape_of


@attrs.frozen(eq=False)
class Variable:
    """A value that a program takes or computes, as far as it is known before the run.

    `strides` are None for numbers. `kind` is "array", "scalar" (NumPy's, without axes) or "number" (Python's, with a weak dtype).
    """

    shape: tuple[int, ...]
    dtype: Any
    strides: tuple[int, ...] | None = None
    kind: str = "array"
    device: str = "cpu"

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * int(self.dtype.itemsize)

    @property
    def contiguous(self) -> bool:
        """Whether the entries are stored in C order, without gaps."""
        return self.strides == row_strides(self.shape, self.dtype.itemsize)

    def __str__(self) -> str:
        return describe(self) if self.kind != "number" else np.dtype(self.dtype).name


def row_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The strides of an array of `shape` in C order."""
    strides, step = [], itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


@attrs.frozen(eq=False)
class Constant:
    """A plain value inside a program: a number in its text, or an array from a closure."""

    value: Any

    @property
    def key(self) -> Any:
        """Equal for constants that can replace each other: small arrays by content, large ones by identity."""
        value = self.value
        if isinstance(value, np.ndarray | np.generic):
            written = isinstance(value, np.ndarray) and value.flags.writeable  # its owner may change the values later
            if value.dtype.hasobject or value.nbytes > 1024 or written:
                return id(value)
            return (type(value), value.dtype, value.shape, value.strides, value.tobytes())
        return id(value) if hasattr(value, "dtype") else (type(value), repr(value))

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.value)

    @property
    def dtype(self) -> Any:
        return dtype_of(self.value)

    @property
    def kind(self) -> str:
        if isinstance(self.value, np.generic):
            return "scalar"
        return "array" if hasattr(self.value, "dtype") else "number"

    def __str__(self) -> str:
        value = self.value
        return repr(value) if not shape_of(value) else f"constant {describe(value)}"


Atom: TypeAlias = Variable | Constant


def strides_of(atom: Atom) -> tuple[int, ...]:
    """The recorded strides in bytes; empty for a number."""
    return (atom.strides if isinstance(atom, Variable) else getattr(atom.value, "strides", None)) or ()


Operation: TypeAlias = Primitive | Region


@attrs.frozen(eq=False)
class Instruction:
    """`outputs = operation(*inputs, **params)`; `line` is the user's line. `alias` is the input that the output is a view of, if any."""

    operation: Operation
    inputs: tuple[Atom, ...]
    params: dict[str, Any]
    outputs: tuple[Variable, ...]
    line: Line | None = None
    alias: int | None = None

    @property
    def output(self) -> Variable:
        return self.outputs[0]

    @property
    def name(self) -> str:
        return str(self.operation.name)

    @property
    def elementwise(self) -> bool:
        """Whether each entry of the result depends only on the entries at the same position."""
        return isinstance(self.operation, Primitive) and is_elementwise(self.operation)


@functools.cache
def is_elementwise(primitive: Primitive) -> bool:
    """Whether each entry of the result depends only on the entries at the same position."""
    return isinstance(primitive, Elementwise) or primitive.loop is not None or ufunc_of(primitive) is not None


@functools.cache
def ufunc_of(primitive: Primitive) -> np.ufunc | None:
    """NumPy's ufunc for the primitive: the one with its name, if there is one."""
    ufunc = getattr(np, primitive.name, None)
    return ufunc if primitive.core == 0 and primitive.write is None and isinstance(ufunc, np.ufunc) else None


@attrs.frozen(eq=False)
class Graph:
    """A program: instructions in the order they run. `names` are the names of the inputs."""

    name: str
    inputs: tuple[Variable, ...]
    instructions: tuple[Instruction, ...]
    outputs: tuple[Atom, ...]
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = namer(self)
        lines = [f"def {self.name}({', '.join(f'{name(v)}: {v}' for v in self.inputs)}):"]
        for instruction in self.instructions:
            terms = [*map(name, instruction.inputs), *[f"{k}={v!r}" for k, v in instruction.params.items()]]
            left = ", ".join(f"{name(v)}: {v}" for v in instruction.outputs)
            line = instruction.line
            comment = f"  # {line}" + (f", {line.rule}" if line.rule else "") if line else ""
            lines.append(f"    {left} = {instruction.name}({', '.join(terms)}){comment}")
        outputs = ", ".join(map(name, self.outputs))
        return "\n".join([*lines, f"    return {outputs or 'nothing'}"])

    def to_dot(self, verbose: bool = True) -> str:
        """The graph as Graphviz text: values are ellipses, operations boxes. `verbose` adds shapes and dtypes."""
        name = namer(self)
        lines = [f'digraph "{self.name}" {{']
        for variable in [*self.inputs, *[v for i in self.instructions for v in i.outputs]]:
            colour = "orange" if variable in self.outputs else "lightblue" if variable in self.inputs else "white"
            label = f"{name(variable)}\\n{variable}" if verbose else name(variable)
            lines.append(f'  "{name(variable)}" [label="{label}", style=filled, fillcolor={colour}];')
        for number, instruction in enumerate(self.instructions):
            line = str(instruction.line or "").replace("\\", "/").replace('"', "'")
            lines.append(f'  "op{number}" [label="{instruction.name}", shape=box, tooltip="{line}"];')
            lines += [f'  "{name(atom)}" -> "op{number}";' for atom in instruction.inputs if isinstance(atom, Variable)]
            lines += [f'  "op{number}" -> "{name(variable)}";' for variable in instruction.outputs]
        return "\n".join([*lines, "}"])


def namer(graph: Graph) -> Callable[[Atom], str]:
    """A function that names the atoms of a graph: inputs keep their names, other values are v0, v1, ... in order."""
    names: dict[Variable, str] = dict(
        zip(graph.inputs, graph.names or [f"x{i}" for i in range(len(graph.inputs))], strict=True)
    )
    for instruction in graph.instructions:
        for variable in instruction.outputs:
            names[variable] = f"v{len(names) - len(graph.inputs)}"
    return lambda atom: names[atom] if isinstance(atom, Variable) else str(atom)


def uses(graph: Graph) -> Iterator[Variable]:
    """Every variable, once for each time that an instruction reads it or the graph returns it."""
    for instruction in graph.instructions:
        yield from (atom for atom in instruction.inputs if isinstance(atom, Variable))
    yield from (atom for atom in graph.outputs if isinstance(atom, Variable))


# Instructions that replace one, and the atoms that replace its outputs. None leaves the instruction as it is.
Rewritten: TypeAlias = tuple[Sequence[Instruction], Sequence[Atom]] | None


def rewritten(graph: Graph, rule: Callable[[Instruction], Rewritten]) -> Graph:
    """The graph with every instruction replaced by `rule(instruction)`, whose operands already belong to the new graph."""
    replaced: dict[Atom, Atom] = {}
    instructions: list[Instruction] = []
    for instruction in graph.instructions:
        instruction = renamed(instruction, replaced)
        steps, atoms = rule(instruction) or ([instruction], instruction.outputs)
        instructions += steps
        replaced.update((old, new) for old, new in zip(instruction.outputs, atoms, strict=True) if old is not new)
    outputs = tuple([replaced.get(atom, atom) for atom in graph.outputs])
    return attrs.evolve(graph, instructions=tuple(instructions), outputs=outputs)


def renamed(instruction: Instruction, names: dict[Atom, Atom]) -> Instruction:
    """The instruction with its operands renamed by `names`."""
    if not any(atom in names for atom in instruction.inputs):
        return instruction
    return attrs.evolve(instruction, inputs=tuple([names.get(atom, atom) for atom in instruction.inputs]))


def validate(graph: Graph) -> Graph:
    """The graph itself, if it is a valid program; AssertionError otherwise, naming the instruction. The tests call it after each pass."""
    known: set[Variable] = set(graph.inputs)
    assert len(known) == len(graph.inputs), "an input stands twice"
    for number, instruction in enumerate(graph.instructions):
        where = f"instruction {number}, {instruction.name}"
        for atom in instruction.inputs:
            assert isinstance(atom, Constant) or atom in known, f"{where}, reads what is not yet computed"
        for variable in instruction.outputs:
            assert variable not in known, f"{where}, computes a variable twice"
            known.add(variable)
        if instruction.elementwise:
            shape = np.broadcast_shapes(*[atom.shape for atom in instruction.inputs])
            assert shape == instruction.output.shape, f"{where}: {shape} is not {instruction.output.shape}"
        if instruction.alias is not None:
            assert instruction.inputs[instruction.alias].kind == "array", f"{where}, is a view of a number"
    for atom in graph.outputs:
        assert isinstance(atom, Constant) or atom in known, "an output is not computed"
    return graph


def evaluate(
    graph: Graph, leaves: Any, known: Callable[[Instruction], Sequence[Any] | None] | None = None
) -> tuple[Any, ...]:
    """The outputs for these inputs, one operation after the other. The inputs may be plain values, or traced at any level.

    `known` may give the results of an instruction, which then does not run.
    """
    values: dict[Variable, Any] = dict(zip(graph.inputs, leaves, strict=True))
    before = LINE.now

    def read(atom: Atom) -> Any:
        return atom.value if isinstance(atom, Constant) else values[atom]

    try:
        for instruction in graph.instructions:
            if known is not None and (results := known(instruction)) is not None:
                values.update(zip(instruction.outputs, results, strict=True))
                continue
            args = [read(atom) for atom in instruction.inputs]
            LINE.now = instruction.line
            if isinstance(instruction.operation, Region):
                values.update(zip(instruction.outputs, instruction.operation(*args), strict=True))
            else:
                values[instruction.output] = instruction.operation(*args, **instruction.params)
    finally:
        LINE.now = before
    return tuple(map(read, graph.outputs))
