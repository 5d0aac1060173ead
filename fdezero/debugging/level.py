"""`debug`, the outermost transform: it runs every operation unchanged and checks the result."""

import collections
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..core import Level, Tracer, unwrap
from ..core.lines import Line, Placed, user_line
from ..core.tracer import NUMPY_FUNCTIONS, tracers_of
from ..errors import ImmutableError, StructureError, TraceError
from ..foreign import accepted
from ..messages import describe
from ..transforms.arguments import name_of
from .checks import Dtypes, Indices, Keys, Nans, shown

MOST_OVERWRITTEN = 64  # arrays that are remembered after `x += y`


class DebugTracer(Tracer):
    """A watched value and the user's line that made it. It converts to a number wherever a plain value does."""

    __slots__ = ("line",)
    level: "Debug"

    def __init__(self, level: "Debug", value: Any, line: Line) -> None:
        self.level = level
        self.value = value
        self.line = line

    def rule(self, operation: Any) -> Any:
        return Watched(operation, self)

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
    return trees.map(lambda leaf: leaf.value if isinstance(leaf, DebugTracer) else leaf, tree)


class Debug(Level):
    """The level of `debug`: the outermost one, so that the operations of all other levels pass through it."""

    sees_all = True
    __slots__ = ("checks", "dtypes", "overwritten")

    def __init__(self, name: str, checks: Sequence[Nans | Keys], dtypes: Dtypes | None) -> None:
        super().__init__(name)
        self.checks, self.dtypes = checks, dtypes
        self.overwritten: collections.deque[tuple[Any, Line]] = collections.deque(maxlen=MOST_OVERWRITTEN)

    def overwrites(self, tracer: Tracer, frame: Any) -> None:
        """Remember the memory that `x += y` would have written, for the views of it."""
        self.overwritten.append((unwrap(tracer), Line(frame.f_code.co_filename, frame.f_lineno)))

    def _refuse_stale(self, name: str, values: Sequence[Any], line: Line) -> None:
        """Raise ImmutableError for an operand that looks into memory that NumPy would have overwritten."""
        for array, where in self.overwritten:
            for value in map(unwrap, values):
                if isinstance(value, np.ndarray) and np.may_share_memory(value, array):
                    raise ImmutableError(
                        f"{name} uses {describe(value)}, a view of an array into which NumPy would have written before. The traced array "
                        "got a new value instead, and the view still shows the old one. The array was overwritten (+= or the like) at"
                        f"\n{shown(where)}\nand its view is used at\n{shown(line)}\n"
                        "Take the view after the assignment, or write x = x + y."
                    )

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        values = list(map(self.below, args))
        line = user_line()
        if self.overwritten and not line.rule:  # a rule may use values from before
            self._refuse_stale(primitive.name, values, line)
        Indices.operation(primitive, values, params, line)
        y = primitive(*values, **params)
        for check in self.checks:
            check.operation(primitive, values, params, y, line)
        return y if isinstance(y, bool | int) else DebugTracer(self, y, line)

    def process_region(self, region: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        outputs = region.steps(*leaves)
        if outputs is not None:
            return tuple(outputs)
        values = list(map(self.below, leaves))
        line = user_line()
        outputs = region(*values)
        for y in outputs:
            for check in self.checks:
                check.operation(region, values, {}, y, line)
        return tuple([DebugTracer(self, y, line) for y in outputs])


class Watched(Placed):
    """An operation under a tape or in forward mode whose derivative rules are checked."""

    def __init__(self, operation: Any, made: DebugTracer) -> None:
        super().__init__(operation, made.line)
        self.level = made.level

    def pull(self, cotangent: Any, node: Any) -> Iterator[tuple[Any, Any]]:
        position = -1
        for parent, t in super().pull(cotangent, node):
            position = next((i for i, p in enumerate(node.parents) if p is parent and i > position), position)
            if self.level.dtypes is not None and self.line is not None:
                self.level.dtypes.cotangent(self.name, self.line, position, t, parent, node)
            # From here on, constants of the rule are also watched.
            yield parent, t if isinstance(t, Tracer) or self.line is None else DebugTracer(self.level, t, self.line)

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        t = super().push(y, args, tangents, params)
        if self.level.dtypes is not None and self.line is not None:
            self.level.dtypes.tangent(
                self.name, self.line, t, [x for x, dx in zip(args, tangents, strict=True) if dx is not None], y
            )
        return t


def debug(
    function: Callable[..., Any] | None = None,
    *,
    nans: bool = False,
    keys: bool = False,
    dtypes: bool = False,
    infinities: bool = True,
) -> Any:
    """Run `function` operation by operation and check each one: you get the same results, or an error that names your line.

    `nans` raises NanError for the first operation, forward or backward, that makes a NaN, or an infinity from finite operands
    (unless `infinities=False`). `keys` raises KeyReuseError for a random key that is used twice. `dtypes` raises RuleError for a
    rule whose derivative has the wrong dtype or a shape that does not broadcast. Without any of them, all three are checked.
    In any case you get ImmutableError for a view of an array that was replaced by `x += y` after the view was taken.

    Put `debug` outside other transforms, `fd.debug(fd.grad(f))`; compiled functions inside it run as written. It sees only
    values that are computed from the arguments. Raises TraceError inside another transform, StructureError without arrays.
    """
    if function is None:
        return functools.partial(debug, nans=nans, keys=keys, dtypes=dtypes, infinities=infinities)
    every = not (nans or keys or dtypes)

    @functools.wraps(function)
    def debugged(*args: Any, **kwargs: Any) -> Any:
        name = name_of("debug", function)
        owner, call = _opened(function)
        leaves, treedef = trees.flatten((owner, args, kwargs))
        leaves = list(map(accepted, leaves))
        _refuse_unusable(name, leaves)
        found = Nans(infinities) if nans or every else None
        checks: list[Nans | Keys] = [found] if found else []
        level = Debug(name, [*checks, Keys()] if keys or every else checks, Dtypes() if dtypes or every else None)
        line = user_line()
        traced = [DebugTracer(level, leaf, line) if _is_watched(leaf) else leaf for leaf in leaves]
        try:
            inner, *rest = trees.unflatten(treedef, traced)
            with np.errstate(all="ignore" if found else None):  # An error with the line says more than NumPy's warning.
                result = call(inner, *rest[0], **rest[1])
        finally:
            level.alive = False
        result = trees.map(level.below, result)
        if found:
            given = [
                (path.partition("/")[2], unwrap(leaf)) for path, leaf in trees.flatten_with_path((owner, args, kwargs))
            ]
            found.results(name, given, [(path, unwrap(leaf)) for path, leaf in trees.flatten_with_path(result)])
        return result

    return debugged


def _opened(function: Any) -> tuple[Any, Callable[..., Any]]:
    """The tree that a function holds (the module or the owner of the method), and a function that takes the tree first."""
    if inspect.ismethod(function) and attrs.has(type(function.__self__)):
        return function.__self__, function.__func__
    if attrs.has(type(function)):
        return function, lambda owner, *args, **kwargs: owner(*args, **kwargs)
    return None, lambda owner, *args, **kwargs: function(*args, **kwargs)


def _is_watched(leaf: Any) -> bool:
    """Whether a leaf is an array of numbers or a floating number. Python's integers and booleans cannot make a NaN and stay plain."""
    return isinstance(leaf, float | complex) or getattr(getattr(leaf, "dtype", None), "kind", "") in tuple("biufc")


def _refuse_unusable(name: str, leaves: Sequence[Any]) -> None:
    """Raise an error if the arguments do not have an array to watch, or belong to another transform."""
    if not any(map(_is_watched, leaves)):
        raise StructureError(
            f"{name}: no argument has an array, and debug checks only values that are computed from arguments. "
            "Pass arrays and keys as arguments, not through a closure."
        )
    for tracer in itertools.chain.from_iterable(map(tracers_of, leaves)):
        if not isinstance(tracer, DebugTracer):
            raise TraceError(
                f"{name} runs inside {tracer.level.name}, whose own operations it could not see. Put debug outside: "
                "fd.debug(fd.grad(f)), fd.debug(fd.compile(f))."
            )
