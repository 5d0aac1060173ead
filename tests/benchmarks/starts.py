"""The start of a script with a training step: whole processes without and with native code, with an empty and a filled cache on disk."""

import importlib.util
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .measure import Seconds, Times, median, table

REPETITIONS = 11
PROGRAM = """
import subprocess, sys
import numpy as np
import fdezero as fd
from fdezero import functions as F, nn, optim

runs, run = [], subprocess.run
subprocess.run = lambda *a, **k: (runs.append(a), run(*a, **k))[1]
opt = optim.adam(1e-3)

def step(model, state, x, t):
    value, gradients = fd.value_and_grad(lambda model: F.softmax_cross_entropy(model(x), t))(model)
    model, state = opt.step(model, gradients, state)
    return model, state, value

model = nn.MLP.init(fd.random.key(0), (784, 100, 100, 10), activation=F.relu)
state = opt.init(model)
x, t = np.full((100, 784), 0.5, np.float32), np.arange(100) % 10
options = {"threads": 1, "native": True} if "native" in sys.argv else {"threads": 1}
if "compiled" in sys.argv:
    step = fd.compile(step, **options)
for _ in range(3):  # the second call builds the program
    model, state, value = step(model, state, x, t)
print(len(runs))
"""


def measure(folder: Path, words: list[str], compiler: str) -> tuple[Seconds, int]:
    """The time of a process with its children, and how many of them it had."""
    environment = {**os.environ, "FDEZERO_CACHE": str(folder), "CXX": compiler}
    environment.pop("FDEZERO_NATIVE_CACHE", None)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], check=True, env=environment, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall), int(done.stdout)


def run() -> str:
    compilers = {name: name for name in ("g++", "clang++") if shutil.which(name)}
    if importlib.util.find_spec("ziglang"):
        compilers["zig"] = f"{shlex.quote(sys.executable)} -m ziglang c++"
    legs = {"eager": ([], ""), "compiled": (["compiled"], "")}
    for name, command in compilers.items():
        legs[f"native, {name}, first start"] = (["compiled", "native"], command)
        legs[f"native, {name}, second start"] = (["compiled", "native"], command)
    times: Times = {name: [] for name in legs}
    children = {}
    for repetition in range(-1, REPETITIONS):  # the first round fills the caches of Python, and of Zig
        with tempfile.TemporaryDirectory() as folder:
            for name, (words, command) in legs.items():
                taken, children[name] = measure(Path(folder), words, command)
                if repetition >= 0:
                    times[name].append(taken)
    rows = []
    for name, taken in times.items():
        middle = median(taken)
        rows.append([name, f"{middle.cpu * 1e3:.0f}", f"{middle.wall * 1e3:.0f}", str(children[name])])
    return table(["a process that trains for three steps", "CPU ms", "wall ms", "compiler runs"], rows)
