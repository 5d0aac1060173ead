"""Functions of a library, as Python calls them: the types of their parameters, and parts of a call on several threads."""

import ctypes
import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .workers import run_all

# The types of parameters: arrays, and numbers by the kind of their dtype.
PARAMETERS: dict[str, tuple[str, Any]] = {
    "array": ("void *", ctypes.py_object), "f": ("double ", ctypes.c_double), "b": ("bool ", ctypes.c_bool),
    "i": ("long long ", ctypes.c_longlong), "u": ("unsigned long long ", ctypes.c_ulonglong),
}  # fmt: skip


class Like(NamedTuple):
    """An array as far as a program knows it before the run."""

    shape: tuple[int, ...]
    dtype: Any
    strides: tuple[int, ...]


class How(NamedTuple):
    """How native code may run: the number of threads, and whether convolutions may round as Winograd's form does."""

    threads: int = 1
    winograd: bool = False


def function_of(library: ctypes.CDLL, name: str, kinds: Iterable[str], result: str | None = None) -> Callable[..., Any]:
    """A function of a library. `kinds` are those of its parameters, `result` that of its result: see PARAMETERS."""
    found = library[name]
    found.argtypes = [PARAMETERS[kind][1] for kind in kinds]
    found.restype = None if result is None else PARAMETERS[result][1]
    return found


def in_parts(function: Callable[..., Any], length: int, threads: int) -> Callable[..., Any]:
    """`run(*args)`: a list of the results of `function(*args, start, stop)` for parts of range(length), one for each thread.

    The calls run at the same time, because ctypes releases Python's lock during a call.
    """
    count = max(1, min(threads, length))
    if count == 1:
        return lambda *args: [function(*args, 0, length)]
    cuts = [length * i // count for i in range(count + 1)]
    parts = list(itertools.pairwise(cuts))
    return lambda *args: run_all(function, [(*args, *part) for part in parts])
