"""Import time of whole processes beside NumPy's: fresh interpreters, compiled files in place, interleaved, medians."""

import os
import resource
import subprocess
import sys
import tempfile
import time

from .measure import Seconds, Times, median, peer, ratio, table

REPETITIONS = 31
FLOOR = "numpy"
PROGRAMS = {  # what a row measures -> the program
    FLOOR: "import numpy",
    "fdezero": "import fdezero",
    "fdezero, and a gradient": "import numpy, fdezero; fdezero.grad(numpy.sin)(1.0)",
    "fdezero, everything in it": "from fdezero import *",
    "autograd.numpy": "import autograd.numpy",
    "autograd, and a gradient": "import autograd, autograd.numpy; autograd.grad(autograd.numpy.sin)(1.0)",
    "mygrad": "import mygrad",
    "torch": "import torch",
    "jax.numpy": "import jax.numpy",
    "dezero": "import numpy; numpy.int = int; import dezero",  # dezero 0.0.13 needs the name that NumPy 1.24 took away
}


def measure(program: str, cache: str) -> Seconds:
    # What is installed has been compiled by its installer; a source tree may not be, hence a cache of our own for all.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def run() -> str:
    programs = {row: program for row, program in PROGRAMS.items() if peer(row.partition(",")[0])}
    times: Times = {row: [] for row in programs}
    with tempfile.TemporaryDirectory() as cache:
        for program in programs.values():
            measure(program, cache)
        for _ in range(REPETITIONS):
            for row, program in programs.items():
                times[row].append(measure(program, cache))
    rows = []
    for row, taken in times.items():
        middle = median(taken)
        label = f"{row} (floor)" if row == FLOOR else row
        rows.append([label, f"{middle.cpu * 1e3:.0f}", f"{middle.wall * 1e3:.0f}", f"{ratio(taken, times[FLOOR]):.2f}"])
    return table(["a process that imports", "CPU ms", "wall ms", "ratio"], rows)
