"""What the benchmarks share: interleaved CPU times, peers that may be missing, tables."""

import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

import numpy as np


def peer(name: str) -> Any:
    """The module `name`, or None, with a line that says it is left out."""
    if name.partition(".")[0] == "dezero":
        np.int = int  # type: ignore[attr-defined]  # dezero 0.0.13 names it at import; NumPy 1.24 took it away
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"left out: {name} ({error})", file=sys.stderr)
        return None


def versions(*names: str) -> str:
    """`numpy 2.4.6, torch 2.13.0, ...` of those that are installed."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def cpu_seconds(function: Callable[[], Any]) -> float:
    """The CPU time of one call, over all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


def interleaved(legs: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, float]:
    """The median CPU seconds of each leg, all of them run in turn in every repetition, after one call to warm up."""
    for function in legs.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in legs}
    for _ in range(repetitions):
        for name, function in legs.items():
            times[name].append(cpu_seconds(function))
    return {name: statistics.median(values) for name, values in times.items()}


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a Markdown table."""
    heads = list(heads)
    print("\n| " + " | ".join(heads) + " |")
    print("|" + "|".join("---" if i == 0 else "---:" for i in range(len(heads))) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)
