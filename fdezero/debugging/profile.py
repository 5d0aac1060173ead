"""`profile` measures a function: time and memory by operation and by your line, eager and compiled, on every device."""

import contextlib
import json
import linecache
import os
import time
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import attrs

from .. import tree as trees
from ..compiler.program import Executable, Program
from ..core import Level
from ..core.lines import Line, user_line
from ..core.wrapping import Transformed
from ..devices import CPU, Backend, backend_of
from ..errors import DTypeError, RangeError, StructureError
from ..foreign import accepted
from ..messages import describe
from ..transforms.arguments import name_of
from .spans import Recorder, Span
from .watching import WatchedTracer, is_watched, opened, refuse_unusable

Once: TypeAlias = Callable[[Sequence[Any]], Any]  # runs the function on its leaves

MOST_ROWS = 20  # of a printed table
LEAST = 4096  # bytes that a table shows: fewer are Python's own objects


class Row(NamedTuple):
    """An operation or a line: how often it ran, seconds in all, those of them in derivative rules, and the most bytes it took at once."""

    name: str
    calls: int
    seconds: float
    backward: float
    nbytes: int


@attrs.frozen(repr=False, eq=False)
class Profile:
    """What `fd.profile(f)(*args)` found. `print` shows the tables, `save` writes a file for a viewer, `result` is the function's.

    `seconds` is the time of a call that is not watched. `peak` is the memory, in bytes, that the call takes at most beyond what
    was taken before. `kept` is what its compiled programs keep between calls. `spans` has every run of an operation.
    """

    name: str
    result: Any
    seconds: float
    spans: tuple[Span, ...]
    peak: int
    kept: int

    @property
    def operations(self) -> list[Row]:
        """A row for each operation, the slowest first."""
        return _rows((span.name, span, 1.0, span.lines[0]) for span in self.spans)

    @property
    def lines(self) -> list[Row]:
        """A row for each line of yours, `path:number`, the slowest first. The operations of a group share its time evenly."""
        return _rows(
            (f"{line.path}:{line.number}" if line else "", span, 1 / len(span.lines), line)
            for span in self.spans
            for line in span.lines
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all spans as JSON, which https://ui.perfetto.dev and chrome://tracing show. You get the path."""
        place = Path(path)
        events = [
            {
                "name": span.name, "ph": "X", "pid": 1, "tid": 1, "ts": 1e6 * span.start, "dur": 1e6 * span.seconds,
                "args": {"lines": list(dict.fromkeys(_where(line) for line in span.lines))},
            }
            for span in self.spans
        ]  # fmt: skip
        named = {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": self.name}}
        text = json.dumps({"displayTimeUnit": "ms", "traceEvents": [named, *events]})
        place.write_text(text, encoding="utf-8", newline="\n")
        return place

    def __str__(self) -> str:
        total = sum(span.own for span in self.spans)
        head = f"{self.name}: {_ms(self.seconds)} a call. Its {len(self.spans)} operations take {_ms(total)} when they are watched."
        memory = f"memory: at most {_mb(self.peak)} in a call"
        if self.kept:
            memory += f"; compiled programs keep {_mb(self.kept)} for the next calls"
        by_operation = ["", "      time   share   calls     memory  operation"]
        for row in self.operations[:MOST_ROWS]:
            by_operation.append(f"{_figures(row, total)}  {row.name}")
        by_line = ["", "      time   share   calls     memory    backward  line"]
        for row in self.lines[:MOST_ROWS]:
            by_line.append(f"{_figures(row, total)} {_ms(row.backward):>11}  {_source(row.name)}")
        for rows, lines in ((self.operations, by_operation), (self.lines, by_line)):
            if len(rows) > MOST_ROWS:
                lines.append(
                    f"{_ms(sum(row.seconds for row in rows[MOST_ROWS:])):>10}  in {len(rows) - MOST_ROWS} more"
                )
        return "\n".join([head, memory, *by_operation, *by_line])

    __repr__ = __str__


def _rows(parts: Iterable[tuple[str, Span, float, Line | None]]) -> list[Row]:
    found: dict[str, list[Any]] = {}
    for name, span, share, line in parts:
        row = found.setdefault(name, [0.0, 0.0, 0.0, 0])
        row[0] += share
        row[1] += share * span.own
        row[2] += share * span.own * bool(line and line.rule.startswith("backward pass"))
        row[3] = max(row[3], span.nbytes)
    rows = [
        Row(name, round(calls), seconds, backward, nbytes) for name, (calls, seconds, backward, nbytes) in found.items()
    ]
    return sorted(rows, key=lambda row: -row.seconds)


def _figures(row: Row, total: float) -> str:
    share = row.seconds / total if total else 0.0
    return f"{_ms(row.seconds):>10} {share:>6.0%} {row.calls:>7} {_mb(row.nbytes) if row.nbytes >= LEAST else '':>10}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.3f} ms" if seconds < 0.1 else f"{1e3 * seconds:,.0f} ms"


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.3f} MB" if nbytes < 1e6 else f"{nbytes / 1e6:,.1f} MB"


def _where(line: Line | None) -> str:
    return f"{line}, {line.rule}" if line and line.rule else str(line or "")


def _source(name: str) -> str:
    """A line for the table: file, number and the text of the line."""
    path, _, number = name.rpartition(":")
    text = linecache.getline(path, int(number)).strip() if number else ""
    return f"{os.path.basename(path)}:{number}  {text}" if number else "no line"


class Profiling(Level):
    """The level of `profile`: it measures every operation and runs it unchanged. Compiled programs and loops run as they are."""

    __slots__ = ("recorder",)

    def __init__(self, name: str, recorder: Recorder) -> None:
        super().__init__(name)
        self.recorder = recorder

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        values = list(map(self.below, args))
        line = user_line()
        self.recorder.enter(primitive.name, (line,))
        try:
            y = primitive(*values, **params)
        finally:
            self.recorder.leave()
        return y if isinstance(y, bool | int) else WatchedTracer(self, y, line)

    def process_region(self, region: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        if region.composed:  # a function with rules of its own: its operations are seen one by one
            return tuple(region.run(*leaves))
        values = list(map(self.below, leaves))
        line = user_line()
        if isinstance(region, Program) and not region.options.graph:  # its steps tell their time
            outputs = region(*values)
        else:
            self.recorder.enter(region.name, (line,))
            try:
                outputs = region(*values)
            finally:
                self.recorder.leave()
        return tuple([WatchedTracer(self, y, line) for y in outputs])


def profile(function: Callable[..., Any], *, runs: int = 3) -> Callable[..., Profile]:
    """A function of the same arguments that measures `function`: `print(fd.profile(f)(*args))`. You get a `Profile`.

    It has the time and the memory of each operation, forward and backward, and of each line of yours. Compiled functions run
    their compiled programs, and groups of operations are one operation there. On a GPU, each operation is waited for.

    The function runs 2 * runs + 6 times: to compile, as it is, watched for the time, and watched for the memory. The fastest
    run counts. Only what is computed from the arguments is seen operation by operation.
    Put `profile` outside other transforms. Raises TraceError inside another one, StructureError without arrays.
    """
    if isinstance(runs, bool) or not isinstance(runs, int):
        raise DTypeError(f"profile: runs is a whole number, got {describe(runs)}.")
    if runs < 1:
        raise RangeError(f"profile: runs is 1 or more, got {runs}.")

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Profile:
        name = name_of("profile", function)
        owner, call = opened(function)
        leaves, treedef = trees.flatten((owner, args, kwargs))
        leaves = list(map(accepted, leaves))
        refuse_unusable("profile", name, leaves)
        backends = list(dict.fromkeys(backend for leaf in leaves if (backend := backend_of(leaf)) is not CPU))

        def once(traced: Sequence[Any]) -> Any:
            inner, given, named = trees.unflatten(treedef, traced)
            return call(inner, *given, **named)

        result = once(leaves)
        if isinstance(result, Generator | Coroutine | AsyncGenerator):
            raise StructureError(
                f"{name} returns a {type(result).__name__}, of which nothing has run yet. Profile a function that runs it."
            )
        seconds = min(_timed(lambda: once(leaves), backends) for _ in range(runs))
        recorder, measured = Recorder(backends), Recorder(backends, memory=True)
        programs = _watch(name, once, leaves, recorder, runs)
        with _counting():
            _watch(name, once, leaves, measured, 1, programs)
        nbytes: dict[Any, int] = {}
        for span in measured.spans:
            nbytes[span.name, span.lines] = max(nbytes.get((span.name, span.lines), 0), span.nbytes)
        spans = tuple([span._replace(nbytes=nbytes.get((span.name, span.lines), 0)) for span in recorder.spans])
        kept = sum(executable.nbytes for executable in programs)
        return Profile(name.partition("(")[2][:-1], result, seconds, spans, measured.peak, kept)

    return Transformed(profile, function, run, runs=runs)


def _timed(call: Callable[[], Any], backends: Sequence[Backend]) -> float:
    start = time.perf_counter()
    call()
    for backend in backends:
        backend.wait()
    return time.perf_counter() - start


def _watch(
    name: str,
    once: Once,
    leaves: Sequence[Any],
    recorder: Recorder,
    runs: int,
    programs: Sequence[Executable] | None = None,
) -> list[Executable]:
    """Run the function on watched values."""
    level, line = Profiling(name, recorder), user_line()
    traced = [WatchedTracer(level, leaf, line) if is_watched(leaf) else leaf for leaf in leaves]
    try:
        return recorder.run(lambda: once(traced), runs, programs)
    finally:
        level.alive = False


@contextlib.contextmanager
def _counting() -> Iterator[None]:
    """While the context is open, Python counts the bytes of its objects, and NumPy those of its arrays."""
    counts = tracemalloc.is_tracing()
    if not counts:
        tracemalloc.start()
    try:
        yield
    finally:
        if not counts:
            tracemalloc.stop()
