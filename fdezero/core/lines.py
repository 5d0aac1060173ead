"""Finds the user's line that an operation belongs to, also for operations that a rule or a recorded program runs later."""

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import attrs

from .primitive import Primitive

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
EXAMPLES = PACKAGE + "examples" + os.sep


@attrs.frozen
class Line:
    """A line of the user's program. `rule` names the rule that an operation belongs to, such as "backward pass of log"."""

    path: str
    number: int
    rule: str = ""

    def __str__(self) -> str:
        name = "".join([c if c.isprintable() else " " for c in os.path.basename(self.path)])  # a comment is one line
        return f"{name}:{self.number}"


class _Now(threading.local):
    """The line that `user_line` returns while a recorded program or a rule runs."""

    now: Line | None = None
    rule: str = ""


LINE = _Now()


def user_frame() -> Any:
    """The innermost frame outside the library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        if frame.f_code.co_filename.startswith(EXAMPLES):
            break
        frame = frame.f_back
    return frame


def user_line() -> Line:
    """The user's line that is running."""
    if LINE.now:
        return LINE.now if LINE.now.rule or not LINE.rule else attrs.evolve(LINE.now, rule=LINE.rule)
    frame = user_frame()
    return Line(frame.f_code.co_filename, frame.f_lineno, LINE.rule)


class Placed(Primitive):
    """A primitive, or the rule of a region, that sets the line of its operation while its rules run."""

    def __init__(self, primitive: Any, line: Line | None) -> None:  # outside the registry
        self.primitive, self.name, self.mask, self.piece = primitive, primitive.name, primitive.mask, primitive.piece
        region = getattr(primitive, "region", None)
        self.line = line if region is None else user_line()
        self.is_users = region is not None and region.composed  # a user's rule has lines of its own

    def save(self, y: Any, args: list[Any], active: int, params: dict[str, Any]) -> Any:
        return self.primitive.save(y, args, active, params)

    def pull(self, cotangent: Any, node: Any) -> Iterator[tuple[Any, Any]]:
        # All at once: a generator that pauses would leave its line set.
        return iter(self.within("backward pass", lambda: list(self.primitive.pull(cotangent, node))))

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        return self.within("tangent", lambda: self.primitive.push(y, args, tangents, params))

    def within(self, what: str, run: Any) -> Any:
        """The result of `run()`, with its operations ascribed to a rule of this operation."""
        before = LINE.now, LINE.rule
        LINE.rule = f"{what} of {self.name}" + (f" in the {self.line.rule}" if self.line and self.line.rule else "")
        if self.line is not None:
            LINE.now = attrs.evolve(self.line, rule=LINE.rule)
        if self.is_users:
            LINE.now, LINE.rule = None, f"{LINE.rule}, called at {self.line}"
        try:
            return run()
        finally:
            LINE.now, LINE.rule = before
