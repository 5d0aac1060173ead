"""Text in a program's source for names, constants, dtypes and views."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ...core import Primitive
from ...devices import CPU
from ...ops import python_numbers
from ...ops import shape as shapes
from ..graph import Atom, Constant, Variable
from ..running import memory

SYMBOLS = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", python_numbers.divide: "/", python_numbers.floor_divide: "//",
    python_numbers.remainder: "%", python_numbers.power: "**",
    operator.eq: "==", operator.ne: "!=", operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=",
    operator.and_: "&", operator.or_: "|", operator.xor: "^", operator.lshift: "<<", operator.rshift: ">>",
}  # fmt: skip
VIEWS: dict[Primitive, Callable[[str, dict[str, Any], Variable], str]] = {
    shapes.reshape: lambda x, params, y: f"{x}.reshape({y.shape})",
    shapes.permute: lambda x, params, y: f"{x}.transpose({_full_order(params['perm'], len(y.shape))})",
    shapes.broadcast: lambda x, params, y: f"xp.broadcast_to({x}, {y.shape})",
    shapes.slice_axes: lambda x, params, y: f"{x}[{index_text(params['index'])}]",
}


def _full_order(perm: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return (*range(ndim - len(perm)), *[axis + ndim for axis in perm])


def index_text(index: tuple[Any, ...]) -> str:
    return ", ".join(["...", *[_entry(entry) for entry in index]])


def _entry(entry: Any) -> str:
    if not isinstance(entry, tuple):
        return str(entry)
    start, stop, step = ["" if part is None else str(part) for part in entry]
    return f"{start}:{stop}" + (f":{step}" if step else "")


class Texts:
    """Names the values of one program. `namespace` is what its source uses, and `build` are the lines that run once."""

    def __init__(self) -> None:
        self.current = CPU  # the back end of the current instruction
        self.namespace: dict[str, Any] = {
            "np": np,
            "memory": memory.memory,
            "array": memory.array,
            "Outputs": memory.Outputs,
        }
        self.names: dict[Atom, str] = {}
        self.taken: set[str] = set()  # names of the user's arguments, which the inputs have
        self.build: list[str] = []
        self.shown: dict[Any, str] = {}

    @property
    def xp(self) -> str:
        """The name of the array module that computes the current instruction."""
        return self.current.alias

    def name(self, atom: Atom) -> str:
        if isinstance(atom, Constant):
            return self.constant(atom)
        return self.names[atom]

    def constant(self, atom: Constant) -> str:
        value = atom.value
        # A complex number has no exact text: -1j prints as (-0-1j), which evaluates to 0 - 1j and loses the sign of the zero.
        if type(value) in (int, bool, type(None), str) or (type(value) is float and np.isfinite(value)):
            return f"({value!r})" if repr(value).startswith("-") else repr(value)
        # Once here, instead of a copy to the GPU in every call, and so that every instance has them on its own device.
        moved = self.current is not CPU and hasattr(value, "strides") and not isinstance(value, np.generic)
        key = (atom.key, moved)
        if key not in self.shown:
            self.shown[key] = name = f"c{len(self.shown)}"
            if moved:
                self.build.append(f"{name} = {self.xp}.asarray({self.keep(f'{name}_host', value, '')})  # {atom}")
            else:
                self.shown[key] = self.keep(name, value, str(atom))
        return self.shown[key]

    def keep(self, name: str, value: Any, comment: str) -> str:
        """A name for a value that cannot be written as text."""
        while name in self.taken or (name in self.namespace and self.namespace[name] is not value):
            name += "_"
        if name not in self.namespace:
            self.namespace[name] = value
            if comment:
                self.build.append(f"# {name}: {comment}")
        return name

    def literal(self, value: Any) -> str:
        if isinstance(value, np.dtype):
            return f"np.dtype({self.type_of(value)})"
        if isinstance(value, tuple):
            return f"({', '.join(map(self.literal, value))}{',' if len(value) == 1 else ''})"
        if value is None or type(value) in (int, bool, str, float):
            return repr(value)
        return self.keep("parameter", value, f"{type(value).__name__}")

    def type_of(self, dtype: np.dtype[Any]) -> str:
        plain = dtype.isbuiltin and dtype.isnative and dtype.kind in "biufc"
        return f"np.{dtype.name}" if plain else self.keep("dtype", dtype, str(dtype))

    def fresh(self, name: str, taken: set[str]) -> str:
        while name in taken:
            name += "_"
        return name
