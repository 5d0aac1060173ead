"""What checks find while `pytest --gradients` runs, gathered by function. Without that option nothing is gathered."""

import functools
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

HEADS = ("worst error", "allowed", "function", "mode", "order", "by", "where", "examples", "test")


class Level(NamedTuple):
    """How much `given_gradients` draws and checks: bounds of the number of examples, and the order where a test states none."""

    name: str
    least: int
    most: int
    order: int
    layouts: bool  # of NumPy's arrays as well

    def orders(self, stated: int | None) -> int:
        """The order to check: a stated one is never exceeded."""
        return self.order if stated is None else min(stated, self.order)

    def examples(self, stated: int) -> int:
        """The number of examples in place of `stated`."""
        return max(self.least, min(stated, self.most))


USUAL = Level("usual", 0, 10**9, 2, False)
LEVELS = {"quick": Level("quick", 0, 5, 1, False), "full": Level("full", 500, 10**9, 3, True)}


class Finding(NamedTuple):
    """One comparison of a derivative with a numerical one."""

    error: float
    allowed: float
    mode: str
    order: int
    method: str
    where: str
    test: str

    @property
    def share(self) -> float:
        """The error as a part of what is allowed. NaN is the worst of all."""
        share = self.error / self.allowed if self.allowed else self.error and float("inf")
        return float("inf") if share != share else share


class Findings:
    """The worst finding of each function, and how many examples were checked."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.worst: dict[str, Finding] = {}
        self.examples: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, function: str, finding: Finding, examples: int) -> None:
        """Count `examples`, and keep the worse of two findings."""
        with self._lock:
            self.examples[function] = self.examples.get(function, 0) + examples
            if function not in self.worst or finding.share > self.worst[function].share:
                self.worst[function] = finding

    def plain(self) -> list[list[Any]]:
        """Lists of numbers and text, which go from a process to another."""
        return [[function, list(finding), self.examples[function]] for function, finding in self.worst.items()]

    def merge(self, plain: Iterable[Any]) -> None:
        """Add the findings of another process."""
        for function, finding, examples in plain:
            self.add(function, Finding(*finding), examples)

    def table(self) -> list[str]:
        """A line for each function, the one with the largest share of the allowed error first, below a line of heads."""
        rows = sorted(self.worst.items(), key=lambda row: row[1].share, reverse=True)
        short = [function.partition(" of ")[0] for function in self.worst]
        lines = [HEADS]
        for function, found in rows:
            name = function.partition(" of ")[0]
            name = name if short.count(name) == 1 else function
            numbers = (f"{found.error:.1e}", f"{found.allowed:.0e}")
            rest = (str(found.order), found.method, found.where or "-", str(self.examples[function]), found.test or "-")
            lines.append((*numbers, name, found.mode, *rest))
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
        wrong = ["", *["  WRONG" if found.share > 1 else "" for _, found in rows]]
        padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return [f"{line.rstrip()}{mark}" for line, mark in zip(padded, wrong, strict=True)]


_running: list[Findings] = []  # the last one counts: a run of pytest may start another one in its process


def start(level: str) -> Findings:
    """Gather from here on."""
    _running.append(Findings(LEVELS[level]))
    return _running[-1]


def stop(findings: Findings) -> None:
    """Gather for `findings` no more."""
    _running.remove(findings)


def level() -> Level:
    """What `given_gradients` draws and checks now."""
    return _running[-1].level if _running else USUAL


class Note:
    """Takes down the findings of one check of one function."""

    def __init__(self, findings: Findings, function: str) -> None:
        self.findings, self.function = findings, function
        self.examples = 1  # the first finding counts the example

    def __call__(self, error: float, allowed: float, mode: str, order: int, method: str, where: str) -> None:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
        self.findings.add(
            self.function, Finding(float(error), float(allowed), mode, order, method, where, test), self.examples
        )
        self.examples = 0


def note(function: Callable[..., Any], name: str) -> Note | None:
    """A note for a function called `name`; None if nobody asks for it."""
    return Note(_running[-1], f"{name} of {_place(function)}") if _running else None


def _place(function: Any) -> str:
    """Where a function comes from; two functions of one name come from two places."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is not None:
        return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}"
    return str(getattr(function, "__module__", None) or type(function).__module__)
