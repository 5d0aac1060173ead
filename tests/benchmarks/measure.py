"""What the benchmarks share: interleaved times, their medians and ratios, peers that may be missing, tables."""

import datetime
import importlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Seconds(NamedTuple):
    """What one call took: CPU time over all threads, which a busy machine disturbs least, and time on the wall."""

    cpu: float
    wall: float


Times = dict[str, list[Seconds]]


def peer(name: str) -> Any:
    """The module `name`, or None, with a line that says it is left out."""
    if name.partition(".")[0] == "dezero":
        np.int = int  # type: ignore[attr-defined]  # dezero 0.0.13 names it at import; NumPy 1.24 took it away
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"left out: {name} ({error})", file=sys.stderr)
        return None


def machine(*packages: str) -> str:
    """The date, the processor, and the versions of those of `packages` that are installed."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    processor = named[0] if named else platform.processor() or platform.machine()
    return f"{datetime.date.today()}, {processor}, {os.cpu_count()} cores, one thread; {', '.join(found)}"


def timed(function: Callable[[], Any]) -> Seconds:
    """The time of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def interleaved(legs: dict[str, Callable[[], Any]], repetitions: int) -> Times:
    """The times of each leg, all of them run in turn in every repetition, after one call to warm up."""
    for function in legs.values():
        function()
    times: Times = {name: [] for name in legs}
    for _ in range(repetitions):
        for name, function in legs.items():
            times[name].append(timed(function))
    return times


def median(times: Iterable[Seconds]) -> Seconds:
    return Seconds(*map(statistics.median, zip(*times, strict=True)))


def ratio(times: Iterable[Seconds], floor: Iterable[Seconds]) -> float:
    """The median of the ratios of CPU times, each taken within one repetition, so that a machine's drift cancels."""
    return statistics.median(mine.cpu / its.cpu for mine, its in zip(times, floor, strict=True))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    heads = list(heads)
    rule = "|".join("---" if i == 0 else "---:" for i in range(len(heads)))
    return "\n".join([f"| {' | '.join(heads)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)])
