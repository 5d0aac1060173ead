"""What the benchmarks share: interleaved times, their medians and ratios, legs that must agree, peers that may be missing, tables."""

import datetime
import functools
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

import fdezero as fd
from fdezero import native

FLOOR = "NumPy by hand, in place (floor)"
COMPILED, EAGER, JAX, TORCH = "fdezero, compiled", "fdezero, eager", "JAX, jit", "PyTorch, eager"
NATIVE, WINOGRAD = "fdezero, compiled, native", "fdezero, compiled, native, Winograd"


class Seconds(NamedTuple):
    """What one call took: CPU time over all threads, which a busy machine disturbs least, and time on the wall."""

    cpu: float
    wall: float


Times = dict[str, list[Seconds]]
Legs = dict[str, Callable[[], Any]]


def peer(name: str) -> Any:
    """The module `name`, with one thread and float64 where it can be told so, or None, with a line that says it is left out."""
    if name.partition(".")[0] == "dezero":
        np.int = int  # type: ignore[attr-defined]  # dezero 0.0.13 names it at import; NumPy 1.24 took it away
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        print(f"left out: {name} ({error})", file=sys.stderr)
        return None
    if name == "torch":
        module.set_num_threads(1)
    if name == "jax":
        module.config.update("jax_enable_x64", True)
    return module


def compiled_ways() -> dict[str, Callable[..., Any]]:
    """`fd.compile` on one thread: as it is, and native where there is a C++ compiler."""
    ways = {COMPILED: functools.partial(fd.compile, threads=1)}
    try:
        native.compiler()
    except fd.errors.MissingExtraError as error:
        print(f"left out: native ({error})", file=sys.stderr)
        return ways
    return {**ways, NATIVE: functools.partial(fd.compile, threads=1, native=True)}


def winograd_way() -> dict[str, Callable[..., Any]]:
    """`fd.compile` to native code whose convolutions take Winograd's form, where there is a C++ compiler."""
    return {WINOGRAD: functools.partial(fd.compile, threads=1, native="winograd")} if NATIVE in compiled_ways() else {}


def ours(function: Callable[..., Any], *args: Any) -> Legs:
    """The legs of fdezero: `function(*args)` compiled, compiled to native code, and as it stands."""
    compiled = {name: way(function) for name, way in compiled_ways().items()}
    return {**{name: functools.partial(f, *args) for name, f in compiled.items()}, EAGER: lambda: function(*args)}


def jitted(jax: Any, function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """The leg of JAX, whose arguments are there and whose results are waited for."""
    compiled, args = jax.jit(function), jax.device_put(args)
    return lambda: jax.block_until_ready(compiled(*args))


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


def agree(legs: Legs, rtol: float, atol: float = 0.0) -> None:
    """AssertionError that names the leg, unless each gives what the first one gives."""
    found = {name: [np.array(leaf) for leaf in fd.tree.leaves(leg())] for name, leg in legs.items()}
    for name, leaves in found.items():
        for i, (mine, expected) in enumerate(zip(leaves, next(iter(found.values())), strict=True)):
            np.testing.assert_allclose(mine, expected, rtol, atol, err_msg=f"{name}, result {i}")


def compared(
    what: str, cases: dict[str, Legs], repetitions: int, *, unit: str = "ms", parts: int = 1, rtol: float, atol: float = 0.0,
    extra: dict[str, dict[str, str]] | None = None,
) -> str:  # fmt: skip
    """The table of legs side by side for each case, the first leg being the floor, once they agree.

    `parts` says of how many like operations a call consists, the times then being those of one. `extra` has more columns.
    """
    results = []
    for legs in cases.values():
        agree(legs, rtol, atol)
        results.append(interleaved(legs, repetitions))
    return rows_of(what, dict(zip(cases, results, strict=True)), unit, parts, extra)


def rows_of(what: str, cases: dict[str, Times], unit: str = "s", parts: int = 1, extra: dict[str, dict[str, str]] | None = None) -> str:
    """The table of times that were taken: a row for each leg, the first being the floor; `extra` has more columns."""
    per = {"s": 1, "ms": 1e-3, "us": 1e-6}[unit] * parts

    def cells(times: Times, name: str) -> list[str]:
        if name not in times:
            return ["", "", ""]
        floor = next(iter(times.values()))
        return [*(f"{seconds / per:.2f}" for seconds in median(times[name])), f"{ratio(times[name], floor):.2f}"]

    extra = extra or {}
    heads = [f"{case}, {column}" if case else column for case in cases for column in (f"CPU {unit}", f"wall {unit}", "ratio")]
    names = dict.fromkeys(name for times in cases.values() for name in times)
    rows = [
        [name, *(cell for times in cases.values() for cell in cells(times, name)), *(column.get(name, "") for column in extra.values())]
        for name in names
    ]
    return table([what, *heads, *extra], rows)
