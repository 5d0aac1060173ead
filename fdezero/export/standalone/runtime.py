"""What an exported program needs around it: its arguments, its results, loops and branches. These functions become a part of the file."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...compiler.recording.examples import layout_of
from ...compiler.recording.record import owned
from ...compiler.running.memory import array, memory

Entry = tuple[
    int, str, str, Any, Any, Any
]  # argument, path within it, kind, shape (or the value of a setting), dtype, strides


class Outputs:
    """The arrays that a program writes its results into: new ones for each call."""

    def __init__(self, specs: Sequence[Any]) -> None:
        self.specs = [
            (math.prod(shape) * np.dtype(dtype).itemsize, shape, dtype, strides) for shape, dtype, strides in specs
        ]

    def take(self) -> "Outputs":
        self.written = [array(memory(nbytes), shape, dtype, strides) for nbytes, shape, dtype, strides in self.specs]
        return self


def in_turn(function: Callable[..., Any], calls: Sequence[Any], here: Callable[..., Any]) -> list[Any]:
    """The results of several pieces of work: one after the other, because an exported program has one thread."""
    return [function(*call) for call in calls]


def laid(x: Any, strides: Any) -> Any:
    """The array in memory with these strides, as the program was planned for."""
    if x.strides == strides or not x.size:
        return x
    spans = [(n - 1) * step for n, step in zip(x.shape, strides, strict=True)]
    before, after = -sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans)
    if (
        before % x.itemsize
        or after % x.itemsize
        or all(n == 1 or s == t for n, s, t in zip(x.shape, x.strides, strides, strict=True))
    ):
        return x
    y = np.ndarray(x.shape, x.dtype, np.empty((before + after) // x.itemsize + 1, x.dtype), before, strides)
    y[...] = x
    return y


def decoded(dtype: str, shape: Sequence[int], text: str) -> Any:
    """An array from its bytes in base64."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def taken(names: Sequence[str], entries: Sequence[Entry], args: Sequence[Any]) -> list[Any]:
    """The inputs of the program from the arguments: arrays, numbers, or dicts of arrays by path.

    Raises KeyError, TypeError or ValueError where they are not those that the program was exported for.
    """
    found = []
    for number, path, kind, shape, dtype, strides in entries:
        value, name = args[number], names[number] + "/" * bool(path) + path
        if kind == "setting":
            if value != shape:
                raise ValueError(f"{name} is {value!r}, but this program was exported for {shape!r}")
            continue
        if path:
            if not isinstance(value, Mapping) or path not in value:
                raise KeyError(f"{names[number]} must be a dict of arrays by path, with the key {path!r}")
            value = value[path]
        if kind == "number":
            found.append({"i": int, "f": float, "c": complex}[dtype.kind](value))
            continue
        value = np.asarray(value)
        if value.shape != shape or value.dtype != dtype:
            got, wanted = (f"{d}[{','.join(map(str, s))}]" for d, s in ((value.dtype, value.shape), (dtype, shape)))
            error = TypeError if value.dtype != dtype else ValueError
            raise error(f"{name} is {got}, but this program was exported for {wanted}")
        found.append(laid(value, strides) if kind == "array" else value[()])
    return found


def planned(programs: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
    """The results of the program that was planned for leaves of this layout in memory, or of the first, which gets copies."""
    layouts = tuple(map(layout_of, leaves))
    for known, program in programs:
        if known == layouts:
            return list(program(*leaves))
    known, program = programs[0]
    return list(program(*[laid(x, like[2]) if len(like) == 3 else x for x, like in zip(leaves, known, strict=True)]))


def loop(
    programs: Sequence[Any], carries: int, columns: int, length: int, reverse: bool, empty: Sequence[Any]
) -> Callable[..., Any]:
    """`length` rounds of a program: `(*carry, *xs[i], *constants) -> (*carry, *ys[i])`. `empty` are the ys of a loop without rounds."""

    def run(*leaves: Any, into: Any = None) -> Any:
        carry, xs, constants = leaves[:carries], leaves[carries : carries + columns], leaves[carries + columns :]
        rows: list[Any] = [None] * len(empty)
        for i in range(length - 1, -1, -1) if reverse else range(length):
            results = planned(programs, [*carry, *[x[i] for x in xs], *constants])
            carry = tuple(results[:carries])
            for q, y in enumerate(results[carries:]):
                if rows[q] is None:
                    given = None if into is None else into[carries + q]
                    rows[q] = np.empty((length, *np.shape(y)), np.asarray(y).dtype) if given is None else given
                rows[q][i] = y
        last = list(owned(carry, (*leaves, *rows)))
        for p in range(carries):
            if into is not None and into[p] is not None:
                into[p][...] = last[p]
        return (*last, *(rows if length else [y.copy() for y in empty]))

    return run


def branch(yes: Sequence[Any], no: Sequence[Any]) -> Callable[..., Any]:
    """One of two programs, chosen by the first leaf."""
    return lambda *leaves: owned(planned(yes if leaves[0] else no, leaves[1:]), leaves)


def rounds(condition: Sequence[Any], body: Sequence[Any], carries: int) -> Callable[..., Any]:
    """Rounds of `body` while `condition` holds."""

    def run(*leaves: Any) -> Any:
        carry, constants = list(leaves[:carries]), leaves[carries:]
        while planned(condition, [*carry, *constants])[0]:
            carry = planned(body, [*carry, *constants])
        return owned(carry, leaves)

    return run
