"""Import time beyond NumPy's: fresh interpreters, medians."""

import statistics
import subprocess
import sys

from .measure import peer, table

REPETITIONS = 9
PROGRAM = """
import time
import numpy
numpy.int = int
before = time.process_time()
import {name}
print(time.process_time() - before)
"""


def seconds(name: str) -> float:
    return float(subprocess.run([sys.executable, "-c", PROGRAM.format(name=name)], check=True, capture_output=True, text=True).stdout)


def run() -> None:
    candidates = ("fdezero", "attrs, optree", "autograd.numpy", "mygrad", "torch", "jax.numpy", "dezero")
    names = [name for name in candidates if "," in name or peer(name)]
    for name in names:
        seconds(name)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(REPETITIONS):
        for name in names:
            times[name].append(seconds(name))
    medians = {name: statistics.median(values) for name, values in times.items()}
    label = {"attrs, optree": "attrs and optree alone (floor)"}
    floor = medians["attrs, optree"]
    table(
        ["import, NumPy being there", "CPU ms", "ratio"],
        [[label.get(name, name), f"{medians[name] * 1e3:.0f}", f"{medians[name] / floor:.1f}"] for name in names],
    )
