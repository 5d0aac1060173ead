"""The recordings of a compiled function: the most recently used ones are kept, and `explain()` says why each was made."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import attrs

from ..core.lines import Line
from .program import Program
from .running.store import Recent

MOST = 512  # recordings that a function keeps
MOST_CAPTURING = 8  # recordings that are kept only for `explain()`
PATIENCE = 60.0  # seconds that a thread waits for another one's recording before it makes its own


class _Now(threading.local):
    """How many recordings are under way on this thread, each within the one before."""

    depth = 0


NOW = _Now()


@attrs.frozen(eq=False)
class Recording:
    """One recording: its number, the line that asked for it, its duration in milliseconds, and what had changed since the one before."""

    number: int
    line: Line
    milliseconds: float
    reason: str
    program: Program = attrs.field(repr=False)
    signature: Any = attrs.field(repr=False)
    places: tuple[int, ...] = attrs.field(repr=False)  # the positions of the inputs among the leaves
    treedef: Any = attrs.field(repr=False)  # of the results
    names: tuple[str, ...] = attrs.field(repr=False)  # of all leaves

    @property
    def whole(self) -> bool:
        """Whether all leaves are inputs."""
        return len(self.places) == len(self.names)


class Recordings:
    """The recordings of one function by the signature of the call. `made` counts all of them, also those that were dropped.

    With a limit on the number of recordings, none is dropped: a dropped one would have to be made again, and would count twice.
    """

    def __init__(self, limit: int | None) -> None:
        self.by_signature: Recent[Any, Recording] = Recent(MOST if limit is None else max(limit, 1))
        self.capturing: Recent[int, Recording] = Recent(MOST_CAPTURING)
        self.made = 0
        self.last: Recording | None = None
        self._lock, self._process = threading.Lock(), os.getpid()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """The turn of one thread to record. A thread that is recording already does not wait, so none wait for each other in a ring."""
        if self._process != os.getpid():  # a forked child, whose parent may have been recording
            self._lock, self._process = threading.Lock(), os.getpid()
        lock, mine = self._lock, False
        NOW.depth += 1
        try:
            mine = NOW.depth == 1 and lock.acquire(timeout=PATIENCE)
            yield
        finally:
            NOW.depth -= 1
            if mine:
                lock.release()

    def add(self, recording: Recording, *, captures: bool) -> None:
        """Keep a recording. One that captures traced values serves a single call, so no later call finds it."""
        self.made, self.last = recording.number, recording
        if captures:
            self.capturing.keep(recording.number, recording)
        else:
            self.by_signature.keep(recording.signature, recording)

    def kept(self) -> list[Recording]:
        """The recordings that are kept, in the order in which they were made."""
        found = [*list(self.by_signature.values()), *list(self.capturing.values())]
        return sorted(found, key=lambda recording: recording.number)

    def explain(self, name: str) -> str:
        """Every recording: the line that asked for it, how long it took, and what had changed since the one before."""
        kept = self.kept()
        text = f"{name}: {self.made} recording{'s' * (self.made != 1)}"
        if len(kept) < self.made:
            text += f", of which the {len(kept)} most recently used are kept"
        lines = [text]
        for r in kept:
            lines.append(f"  {r.number}. at {r.line}, {r.milliseconds:.1f} ms: {r.reason}")
            lines += [f"     not captured as a CUDA graph: {why}" for why in [r.program.why_not] if why]
        return "\n".join(lines)

    def reason(self, signature: Any, names: list[str]) -> str:
        """What has changed since the last recording."""
        if self.last is None:
            return "the first call"
        treedef, constants, layouts = signature
        changes: list[str]
        old_def, old_constants, old_layouts = self.last.signature
        changes = [
            f"the static argument {name} was {getattr(dict(old_constants).get(name), 'value', None)!r} and is {value.value!r}"
            for name, value in constants
            if dict(old_constants).get(name) != value
        ]
        if treedef != old_def:
            old_names = self.last.names
            gone, new = [n for n in old_names if n not in names], [n for n in names if n not in old_names]
            changes += [f"{n} is gone" for n in gone] + [f"{n} is new" for n in new]
            if not gone and not new:
                changes.append(
                    f"the containers of the arguments, or static fields in them, were {old_def} and are {treedef}"
                )
        else:
            changes += [
                f"{name} was {_shown(old, new)} and is {_shown(new, old)}"
                for name, old, new in zip(names, old_layouts, layouts, strict=True)
                if old != new
            ]
        more = f", and {len(changes) - 3} more" if len(changes) > 3 else ""
        return "; ".join(changes[:3]) + more if changes else "the function reaches traced values through its closure"


def _shown(layout: Any, other: Any) -> str:
    """A layout for people to read, with strides only if nothing else differs from `other`."""
    if isinstance(layout, type):
        return f"a Python {layout.__name__}"
    if len(layout) == 2:
        return repr(layout[1])
    text = f"{layout[2]}[{','.join(map(str, layout[1]))}]"
    if layout[1:3] == (other[1:3] if isinstance(other, tuple) else None):
        text += f" of {layout[0].__name__}" if layout[0] is not other[0] else f" with strides {layout[3]}"
        text += f" on {layout[4]}" if layout[4:] != other[4:] and len(layout) > 4 else ""
    return text
