"""Steps on a GPU: times where there is one, and on an emulated device the launches of each step and the time of the host.

An emulator runs kernels on the processor, so it says nothing about a GPU's time. But the real CuPy runs on it. `cupy_emulator` counts
what a step asks of the device, and lets launches return at once: what is left is the host's own time.
"""

import functools
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fdezero as fd

from . import steps, steps_torch
from .measure import COMPILED, EAGER, TORCH, peer, table

WARM_UP, REPETITIONS, TOGETHER = 4, 7, 20  # steps in front, measurements, and steps in each of them
POOLINGS = re.compile(r"launch fdezero_(greatest|placed|chosen|summed|spread)\d")
PATCHES = re.compile(r"launch fdezero_(columns|folded)\d")


def _running(step: steps.Step, transform: Callable[..., Any]) -> Callable[[], Any]:
    """A call is the next step on the device."""
    function = transform(step.function)
    state, data = fd.to_device((step.state, step.data), "gpu")

    def run() -> Any:
        nonlocal state
        *moved, result = function(*state, *data)
        state = tuple(moved)
        return result

    return run


def _seconds(run: Callable[[], Any], wait: Callable[[], Any], clock: Callable[[], float], together: int = TOGETHER) -> float:
    """The time of one of some steps `together`, waited for at the end: the median of some measurements."""
    for _ in range(WARM_UP):
        run()
    found = []
    for _ in range(REPETITIONS):
        wait()
        start = clock()
        for _ in range(together):
            run()
        wait()
        found.append((clock() - start) / together)
    return statistics.median(found)


def _counted(emulator: Any, name: str) -> list[str]:
    step = steps.ALL[name]()
    with emulator.host_only(), tempfile.TemporaryDirectory() as folder:
        run = _running(step, fd.compile)
        host = _seconds(run, lambda: None, time.process_time, 1)
        trace = Path(folder) / "trace.txt"
        with emulator.counting() as happened, emulator.tracing(trace):
            run()
        lines = trace.read_text(encoding="utf-8").splitlines()
        del run
        eager = _running(step, lambda function: function)
        host_eager = _seconds(eager, lambda: None, time.process_time, 1)
    function, state = fd.compile(step.function, threads=1), step.state
    cpu = _seconds(lambda: function(*state, *step.data), lambda: None, time.process_time, 1)
    pooled, patches = (sum(1 for line in lines if pattern.match(line)) for pattern in (POOLINGS, PATCHES))
    operations, launches = happened["library"] + pooled, happened["launch"]
    per = lambda n: f"{n / operations:.2f}" if operations else ""
    moved = sum(happened[kind] for kind in ("h2d", "d2h", "peer"))
    numbers = [str(n) for n in (operations, launches, patches)]
    copies = [str(happened[kind]) for kind in ("d2d", "sync")]
    times = [f"{1e3 * seconds:.2f}" for seconds in (host, host_eager, cpu)]
    return [name, *numbers, per(launches), per(launches - patches), *copies, str(moved), *times]


COUNTS = (
    "a step", "products, convolutions, poolings", "launches", "of these for patches", "launches for each", "without patches",
    "copies on the device", "waits", "transfers", "host, compiled, ms", "host, eager, ms", "the step on the CPU, compiled, ms",
)  # fmt: skip


def _timed(name: str, cupy: Any) -> list[str]:
    """On a real device, milliseconds of the wall for a step."""
    found = []
    for way in (fd.compile, functools.partial(fd.compile, graph=True), lambda function: function):
        run = _running(steps.ALL[name](), way)
        found.append(f"{1e3 * _seconds(run, cupy.cuda.Device().synchronize, time.perf_counter):.3f}")
        del run
    torch = peer("torch")
    if torch is None or not torch.cuda.is_available() or name not in steps_torch.LEGS:
        return [name, *found, "", ""]
    with torch.device("cuda"):
        for transform in (lambda network: network, torch.compile):
            run = steps_torch.LEGS[name](torch, transform)
            found.append(f"{1e3 * _seconds(run, torch.cuda.synchronize, time.perf_counter):.3f}")
            del run
    return [name, *found]


TIMES = ("a step, wall ms", COMPILED, f"{COMPILED}, CUDA graph", EAGER, TORCH, "PyTorch, compiled")


def run() -> str:
    """The table; empty where there is no device."""
    cupy = peer("cupy")
    if cupy is None:
        return ""
    if not fd.gpu_available():
        print("left out: gpu (CuPy is installed, but there is no device)", file=sys.stderr)
        return ""
    if (emulator := sys.modules.get("cupy_emulator")) is not None:
        return table(COUNTS, [_counted(emulator, name) for name in steps.ALL])
    return table(TIMES, [_timed(name, cupy) for name in steps.ALL])
