"""Watched values: what `debug` and `profile` put in the place of arrays, so that they see every operation and its line."""

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..core import Level, Tracer, unwrap
from ..core.lines import Line, Placed
from ..core.tracer import NUMPY_FUNCTIONS, tracers_of
from ..errors import StructureError, TraceError
from ..values import kind_of


class WatchedTracer(Tracer):
    """A watched value and the user's line that made it. It converts to a number wherever a plain value does."""

    __slots__ = ("line",)

    def __init__(self, level: Level, value: Any, line: Line) -> None:
        self.level = level
        self.value = value
        self.line = line

    def rule(self, operation: Any) -> Any:
        return Placed(operation, self.line)

    def __float__(self) -> float:
        return float(unwrap(self))

    def __int__(self) -> int:
        return int(unwrap(self))

    def __complex__(self) -> complex:
        return complex(unwrap(self))

    def __index__(self) -> int:
        return unwrap(self).__index__()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(unwrap(self), dtype) if copy else np.asarray(unwrap(self), dtype)

    def item(self) -> Any:
        return unwrap(self).item()

    def tolist(self) -> Any:
        return unwrap(self).tolist()

    # Functions that the library cannot trace run on the plain values, as they do without debug.
    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        known = (ufunc if method == "__call__" else (ufunc, method)) in NUMPY_FUNCTIONS
        if known and kwargs.get("out") is None:
            return super().__array_ufunc__(ufunc, method, *args, **kwargs)
        args, kwargs = _plain((args, kwargs))
        return getattr(ufunc, method)(*args, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function in NUMPY_FUNCTIONS and kwargs.get("out") is None:
            return super().__array_function__(function, types, args, kwargs)
        args, kwargs = _plain((args, kwargs))
        return function(*args, **kwargs)


def _plain(tree: Any) -> Any:
    return trees.map(lambda leaf: leaf.value if isinstance(leaf, WatchedTracer) else leaf, tree)


def opened(function: Any) -> tuple[Any, Callable[..., Any]]:
    """The tree that a function holds (the module or the owner of the method), and a function that takes the tree first."""
    if inspect.ismethod(function) and attrs.has(type(function.__self__)):
        return function.__self__, function.__func__
    if attrs.has(type(function)):
        return function, lambda owner, *args, **kwargs: owner(*args, **kwargs)
    return None, lambda owner, *args, **kwargs: function(*args, **kwargs)


def is_watched(leaf: Any) -> bool:
    """Whether a leaf is an array of numbers or a floating number. Python's integers and booleans cannot make a NaN and stay plain."""
    if isinstance(leaf, float | complex):
        return True
    dtype = getattr(leaf, "dtype", None)
    return hasattr(dtype, "kind") and kind_of(dtype) in "biufc"


def refuse_unusable(verb: str, name: str, leaves: Sequence[Any]) -> None:
    """Raise an error if the arguments do not have an array to watch, or belong to another transform."""
    if not any(map(is_watched, leaves)):
        raise StructureError(
            f"{name}: no argument has an array, and {verb} sees only values that are computed from arguments. "
            "Pass arrays and keys as arguments, not through a closure."
        )
    for tracer in itertools.chain.from_iterable(map(tracers_of, leaves)):
        if not isinstance(tracer, WatchedTracer):
            raise TraceError(
                f"{name} runs inside {tracer.level.name}, whose own operations it could not see. Put {verb} outside: "
                f"fd.{verb}(fd.grad(f)), fd.{verb}(fd.compile(f))."
            )
