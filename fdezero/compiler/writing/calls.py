"""Calls in a program's source: one operation on named operands, as NumPy's function, as its own, or as native code."""

import itertools
from typing import Any

import numpy as np

from ...core import Primitive
from ...devices import CPU
from ...native import How, Like
from ...ops import python_numbers
from ...ops.kernels import Own, implementation
from ..graph import Atom, Constant, Graph, Instruction, strides_of, ufunc_of
from ..planning.plan import Plan, is_written
from .texts import SYMBOLS, VIEWS, Texts

SMALL = 1 << 9  # below this many entries the calls themselves take most of the time
EXACT = 1 << 11  # every floating dtype holds the integers below this number exactly


class Calls(Texts):
    """Writes calls of single operations."""

    def __init__(self, graph: Graph, plan: Plan, threads: int, how: How | None) -> None:
        super().__init__()
        self.graph, self.plan, self.threads, self.how = graph, plan, threads, how
        self.inputs: set[Atom] = set(graph.inputs)
        self.groups, self.numbers = itertools.count(), itertools.count()

    def _operands(self, instruction: Instruction) -> list[str]:
        """The names of the operands. Beside small arrays, a number becomes an array once, because NumPy's conversion costs the most."""
        y, names = instruction.output, [self.name(atom) for atom in instruction.inputs]
        ufunc = ufunc_of(instruction.operation) if is_written(instruction) else None
        if ufunc is None or ufunc.nin != 2 or ufunc is np.ldexp or y.size >= SMALL:
            return names
        dtypes = {atom.dtype for atom in instruction.inputs if atom.kind != "number"}
        for i, atom in enumerate(instruction.inputs):
            if (
                isinstance(atom, Constant)
                and type(atom.value) in (int, float)
                and abs(atom.value) < EXACT
                and len(dtypes) == 1
            ):
                dtype = next(iter(dtypes))
                if dtype.kind == "f" and dtype.isnative:
                    names[i] = self._number(atom.value, dtype)
        return names

    def _number(self, value: float, dtype: np.dtype[Any]) -> str:
        """The name of a number that is kept as an array without axes."""
        key = ("number", repr(value), dtype)
        if key not in self.shown:
            self.shown[key] = f"k{next(self.numbers)}"
            self.build.append(f"{self.shown[key]} = np.array({value!r}, {self.type_of(dtype)})")
        return self.shown[key]

    def _call(self, instruction: Instruction, out: str | None, names: list[str]) -> str:
        """The text of an operation on operands with these names, written into the array `out` if there is one."""
        operation, params = instruction.operation, instruction.params
        assert isinstance(operation, Primitive)
        impl, ufunc = implementation(operation, self.current), ufunc_of(operation)
        if out is not None and ufunc is not None:
            return f"{self.xp}.{ufunc.__name__}({', '.join(names)}, out={out})"
        if (
            self.current is not CPU
            and ufunc is not None
            and not isinstance(impl, Own)
            and impl not in SYMBOLS
            and hasattr(self.current.module, ufunc.__name__)
        ):
            return f"{self.xp}.{ufunc.__name__}({', '.join(names)})"
        keywords = {name: self.literal(value) for name, value in params.items()}
        is_call = self.current is not CPU and not isinstance(impl, Own)
        if isinstance(operation.write, str) and (out is not None or (is_call and ", out={out}" in operation.write)):
            form = operation.write if out is not None else operation.write.replace(", out={out}", "")
            return form.format(*names, args=", ".join(names), out=out, **keywords).replace("xp.", f"{self.xp}.")
        if out is not None:
            function = self.keep(f"write_{operation.name}", operation.write, "")
            return f"{function}({', '.join([out, *names, *[f'{k}={v}' for k, v in keywords.items()]])})"
        if instruction.alias is not None and operation in VIEWS:
            return VIEWS[operation](names[0], params, instruction.output).replace("xp.", f"{self.xp}.")
        numbers = impl in python_numbers.OPERATORS and all(atom.kind == "number" for atom in instruction.inputs)
        if impl in SYMBOLS and len(names) == 2 and not numbers:  # Python would refuse 1.0 / 0.0
            return f" {SYMBOLS[impl]} ".join(names)
        function = self.keep(operation.name, impl, "")
        return f"{function}({', '.join([*names, *[f'{k}={v}' for k, v in keywords.items()]])})"

    def _native(self, instruction: Instruction) -> str | None:
        """The operation as a call of its native code; None without such code, or if another call may have other layouts."""
        operation, inputs, how = instruction.operation, instruction.inputs, self.how
        assert isinstance(operation, Primitive)
        if operation.native is None or how is None or self.current is not CPU:
            return None
        if not all(atom.kind == "array" and self._is_steady(atom) for atom in inputs):
            return None
        make = operation.native(list(map(_like, inputs)), _like(instruction.output), instruction.params, how)
        if make is None:
            return None
        number = next(self.groups)
        self.build.append(f"native{number} = {self.keep(f'make{number}', make, '')}()")
        return f"native{number}({', '.join([self.names[instruction.output], *map(self.name, inputs)])})"

    def _is_steady(self, atom: Atom) -> bool:
        """Whether an array has its recorded layout in every call: an input, a constant, the program's memory, or a view of these.

        The result of a branch is not steady, and neither are its views: another branch may return another layout, or a number.
        """
        root = self.plan.roots.get(atom, atom)
        return isinstance(root, Constant) or root in self.inputs or root in self.plan.storages


def _like(atom: Atom) -> Like:
    return Like(tuple(atom.shape), atom.dtype, tuple(strides_of(atom)))
