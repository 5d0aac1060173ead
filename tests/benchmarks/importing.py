"""Import time beyond NumPy's: fresh interpreters, compiled files in place, medians."""

import os
import subprocess
import sys
import tempfile

from .measure import Seconds, Times, median, peer, ratio, table

REPETITIONS = 9
PROGRAM = """
import time
import numpy
numpy.int = int
cpu, wall = time.process_time(), time.perf_counter()
import {name}
print(time.process_time() - cpu, time.perf_counter() - wall)
"""
FLOOR = "attrs, optree"
CANDIDATES = ("fdezero", FLOOR, "autograd.numpy", "mygrad", "torch", "jax.numpy", "dezero")


def measure(name: str, cache: str) -> Seconds:
    # What is installed has been compiled by its installer; a source tree may not be, hence a cache of our own for all.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", PROGRAM.format(name=name)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return Seconds(*map(float, ended.stdout.split()))


def run() -> str:
    names = [name for name in CANDIDATES if name == FLOOR or peer(name)]
    times: Times = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as cache:
        for name in names:
            measure(name, cache)
        for _ in range(REPETITIONS):
            for name in names:
                times[name].append(measure(name, cache))
    rows = []
    for name in names:
        taken = median(times[name])
        label = f"{name} alone (floor)" if name == FLOOR else name
        rows.append([label, f"{taken.cpu * 1e3:.0f}", f"{taken.wall * 1e3:.0f}", f"{ratio(times[name], times[FLOOR]):.1f}"])
    return table(["import, NumPy being there", "CPU ms", "wall ms", "ratio"], rows)
