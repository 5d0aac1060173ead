"""`debug`, the outermost transform: it runs every operation unchanged and checks the result."""

import collections
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import Level, Tracer, unwrap
from ..core.lines import Line, Placed, user_line
from ..core.wrapping import Transformed
from ..errors import ImmutableError
from ..foreign import accepted
from ..messages import describe
from ..transforms.arguments import name_of
from .checks import Dtypes, Indices, Keys, Nans, shown
from .watching import WatchedTracer, is_watched, opened, refuse_unusable

MOST_OVERWRITTEN = 64  # arrays that are remembered after `x += y`


class DebugTracer(WatchedTracer):
    """A watched value whose derivative rules are checked."""

    __slots__ = ()
    level: "Debug"

    def rule(self, operation: Any) -> Any:
        return Watched(operation, self)


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

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = name_of("debug", function)
        owner, call = opened(function)
        leaves, treedef = trees.flatten((owner, args, kwargs))
        leaves = list(map(accepted, leaves))
        refuse_unusable("debug", name, leaves)
        found = Nans(infinities) if nans or every else None
        checks: list[Nans | Keys] = [found] if found else []
        level = Debug(name, [*checks, Keys()] if keys or every else checks, Dtypes() if dtypes or every else None)
        line = user_line()
        traced = [DebugTracer(level, leaf, line) if is_watched(leaf) else leaf for leaf in leaves]
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

    return Transformed(debug, function, run, nans=nans, keys=keys, dtypes=dtypes, infinities=infinities)
