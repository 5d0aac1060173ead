"""What a program costs, counted from its instructions: operations, bytes read and written, multiply-adds."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import fdezero as fd
from fdezero.compiler.graph import Atom, Constant, Graph, Instruction
from fdezero.compiler.passes import optimise
from fdezero.core import Region
from fdezero.nn.summarising import MULTIPLY_ADDS


class Cost(NamedTuple):
    """An operation is a call of NumPy's; views are free, and a repeated entry of a broadcast array is read once."""

    operations: int
    nbytes: int
    multiply_adds: int


def cost(graph: Graph) -> Cost:
    """The cost of a program, with each loop or branch counted once."""
    steps = list(steps_of(graph))
    return Cost(len(steps), sum(map(_traffic, steps)), sum(map(_multiply_adds, steps)))


def steps_of(graph: Graph) -> Iterator[Instruction]:
    """The instructions that compute something, also those of loops and branches."""
    for step in graph.instructions:
        if isinstance(step.operation, Region):
            parts = [getattr(part, "graph", None) for part in (step.operation, *vars(step.operation).values())]
            for part in parts:
                if isinstance(part, Graph):
                    yield from steps_of(part)
        elif step.alias is None:
            yield step


def program(function: Callable[..., Any], *args: Any) -> Graph:
    """The program of a function after all passes; nothing runs."""
    return optimise(fd.compile(function).trace(*args))


def _traffic(step: Instruction) -> int:
    return sum(map(_nbytes, (*step.inputs, *step.outputs)))


def _nbytes(atom: Atom) -> int:
    if not hasattr(atom.dtype, "itemsize"):
        return 0
    strides = atom.value.strides if isinstance(atom, Constant) and atom.kind == "array" else getattr(atom, "strides", None)
    lengths = atom.shape if strides is None else [n for n, stride in zip(atom.shape, strides, strict=True) if stride]
    return math.prod(lengths) * int(atom.dtype.itemsize)


def _multiply_adds(step: Instruction) -> int:
    count = MULTIPLY_ADDS.get(step.name)
    return 0 if count is None else count([atom.shape for atom in step.inputs], step.output.shape, step.params)


def repeated_products(graph: Graph) -> list[str]:
    """The matrix products that read one factor again for each of a stack, although one product of all rows or columns would do."""
    return [str(step.output) for step in steps_of(graph) if step.name == "matmul" and _is_repeated(*(x.shape for x in step.inputs))]


def _is_repeated(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    return (len(y) < len(x) and (len(y) == 2 or x[-2] == 1)) or (len(x) < len(y) and y[-1] == 1)
