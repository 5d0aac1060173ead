"""Measures operations while they run: stretches of time with their names, lines and memory, also inside compiled programs."""

import contextlib
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..compiler.graph import Instruction
from ..compiler.planning.regions import members
from ..compiler.program import EXECUTABLES, Executable
from ..compiler.running.store import USES
from ..core.lines import Line
from ..devices import Backend

SHOWN = 4  # operations of a group that are named
MARK = "_fdezero_mark"


class Span(NamedTuple):
    """One run of an operation. `seconds` contain the operations inside it, `own` does not; `lines` share its time evenly.

    `start` counts seconds from the start of the call. `nbytes` is the memory that it took beyond what was taken before.
    """

    name: str
    lines: tuple[Line | None, ...]
    start: float
    seconds: float
    own: float
    nbytes: int = 0


class Recorder:
    """Collects spans. `enter` and `leave` stand around each operation. With `memory`, bytes are measured in place of time."""

    def __init__(self, backends: Sequence[Backend], memory: bool = False) -> None:
        self.spans: list[Span] = []
        self.peak = 0  # bytes that the call took at most
        self._backends, self._memory = backends, memory
        self._open: list[list[Any]] = []  # name, lines, time before, seconds inside it, bytes, start
        self._first, self._most = 0.0, 0

    def enter(self, name: str, lines: tuple[Line | None, ...]) -> None:
        """An operation begins."""
        before = time.perf_counter()
        entry = [name, lines, before, 0.0, self._used(), 0.0]
        self._open.append(entry)
        entry[-1] = time.perf_counter()  # the operation does not pay for the watching

    def leave(self) -> None:
        """The operation that began last has ended."""
        for backend in self._backends:
            backend.wait()
        now = time.perf_counter()
        name, lines, before, inside, used, start = self._open.pop()
        nbytes = max(self._highest() - used, 0) if self._memory and not inside else 0
        self.spans.append(Span(name, lines, start - self._first, now - start, now - start - inside, nbytes))
        if self._open:
            self._open[-1][3] += time.perf_counter() - before

    def run(self, call: Callable[[], Any], runs: int, programs: Sequence[Executable] | None = None) -> list[Executable]:
        """Call so many times, with a span for each step of compiled programs. The spans of the fastest run are kept.

        You get the programs, which may be given if they are known. One call goes ahead, in which they touch their memory for the
        first time.
        """
        fastest: list[Span] = []
        programs = list(programs_of(call) if programs is None else programs)
        with contextlib.ExitStack() as stack:
            for executable in programs:
                stack.enter_context(self._marked(executable))
            for number in range(runs + 1):
                self.spans, self._most = [], 0
                used, self._first = self._used(), time.perf_counter()
                call()
                if self._memory:
                    self.peak = max(self._most, self._highest()) - used
                if number == 1 or (number > 1 and _seconds(self.spans) < _seconds(fastest)):
                    fastest = self.spans
        self.spans = fastest
        return programs

    @contextlib.contextmanager
    def _marked(self, executable: Executable) -> Iterator[None]:
        """While the context is open, the next call of the program is served by an instance that tells its steps."""
        steps = [_described(step) for _, step in executable.steps]
        thread, now = threading.get_ident(), -1

        def mark(step: int) -> None:
            nonlocal now
            if threading.get_ident() != thread:
                return
            if now >= 0:
                self.leave()
            if step >= 0:
                self.enter(*steps[step])
            now = step

        lines = executable.source.splitlines()
        end = max(i for i, line in enumerate(lines, start=1) if line.lstrip().startswith("return ("))
        begins = [*[line for line, _ in executable.steps], end]
        lines.insert(end - 1, f"{_indent(lines[end - 1])}{MARK}(-1)")
        for number in reversed(range(len(steps))):
            if (line := begins[number]) < begins[number + 1]:  # a view that exists once has no line of its own
                lines.insert(line - 1, f"{_indent(lines[line - 1])}{MARK}({number})")
        namespace = {**executable.build.__globals__, MARK: mark}
        exec(compile("\n".join(lines), executable.filename, "exec"), namespace)
        marked = namespace.pop("build")(executable.module)
        free, usual = executable.taken()
        free.extend((usual, marked))  # the last one is taken first
        try:
            yield
        finally:
            free[:] = [instance for instance in free if instance is not marked]

    def _used(self) -> int:
        """The bytes in use. From now on, an operation's highest number is measured anew."""
        if not self._memory:
            return 0
        now, highest = tracemalloc.get_traced_memory()
        self._most = max(self._most, highest)
        tracemalloc.reset_peak()
        return now + self._on_devices()

    def _highest(self) -> int:
        """The most bytes in use since `_used`: exact on the CPU, what is in use now on other devices."""
        return tracemalloc.get_traced_memory()[1] + self._on_devices()

    def _on_devices(self) -> int:
        return sum(backend.used_bytes() for backend in self._backends)


def programs_of(call: Callable[[], Any]) -> list[Executable]:
    """The compiled programs that a call runs, and that can tell their steps: a CUDA graph is launched as a whole."""
    call()  # which may record them
    before = next(USES)
    call()
    return [each for each in list(EXECUTABLES.values()) if each.used > before and not each.captures]


def _seconds(spans: Sequence[Span]) -> float:
    return sum(span.own for span in spans)


def _described(step: Instruction) -> tuple[str, tuple[Line | None, ...]]:
    """The name and the lines of a step of a program."""
    inner = members(step)
    if len(inner) == 1:
        return step.name, (inner[0].line,)
    more = ", ..." if len(inner) > SHOWN else ""
    name = f"group of {len(inner)}: {', '.join(each.name for each in inner[:SHOWN])}{more}"
    return name, tuple([each.line for each in inner])


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
