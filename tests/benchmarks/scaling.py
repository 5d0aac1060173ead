"""A training step on one process of one thread, and on two of them: fdezero over MPI's shared memory, PyTorch over gloo, JAX on two devices."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .measure import FLOOR, table

ROUNDS, STEPS = 3, 6
ROOT = Path(__file__).parents[2]
NAMES = {
    "numpy": f"{FLOOR}, mpi4py's Allreduce",
    "fdezero": "fdezero, compiled",
    "native": "fdezero, compiled, native",
    "sharded": "fdezero, compiled, native, `optim.sharded`",
    "reproducible": "fdezero, compiled, native, `reproducible=True`",
    "torch": "PyTorch, DistributedDataParallel over gloo",
    "jax": "JAX, jit, one device and two",
}
LEGS = {"sgd": list(NAMES), "adam": ["native", "sharded", "torch", "jax"]}
NEEDS = {"torch": ["torch"], "jax": ["jax", "optax"]}


def launcher() -> str | None:
    """The mpiexec of this environment, else one of the system; None, and a line that says so, without MPI."""
    found = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        print("left out: several processes (no mpi4py or mpiexec: pip install 'fdezero[mpi]')", file=sys.stderr)
        return None
    return found


def is_missing(leg: str) -> bool:
    """Whether a package of this leg is missing."""
    missing = [name for name in NEEDS.get(leg, ()) if importlib.util.find_spec(name) is None]
    if missing:
        print(f"left out: {leg} ({', '.join(missing)} is not installed)", file=sys.stderr)
    return bool(missing)


def ran(module: str, arguments: list[str], size: int, *, devices: bool = False) -> Any:
    """What a leg prints as JSON, on `size` processes; for JAX on one, with as many devices and threads."""
    environment = dict(os.environ)
    command = [sys.executable, "-m", module, *arguments]
    if devices:
        environment["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={size}"
        environment["NPROC"] = str(size)
    elif size > 1:
        with socket.socket() as free:  # gloo's ranks find each other at a port
            free.bind(("127.0.0.1", 0))
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        command = [str(launcher()), "-n", str(size), *command]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, timeout=300)
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


def run() -> str:
    """Milliseconds of the fastest step of all rounds. Legs take turns, each time as new processes."""
    if launcher() is None:
        return ""
    best: dict[tuple[str, str, int], float] = {}
    losses: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for optimiser, legs in LEGS.items():
            for leg in legs:
                if is_missing(leg):
                    continue
                for size in (1, 2):
                    found = ran(
                        "tests.benchmarks.scaling_legs",
                        [leg, "--optimiser", optimiser, "--steps", str(STEPS)],
                        size,
                        devices=leg == "jax",
                    )
                    expected = losses.setdefault(optimiser, found["losses"][:3])
                    np.testing.assert_allclose(
                        found["losses"][:3], expected, 1e-3, err_msg=f"{leg}, {optimiser}, {size}"
                    )
                    key = leg, optimiser, size
                    best[key] = min(best.get(key, np.inf), *found["seconds"])
    rows = []
    for leg, name in NAMES.items():
        cells: list[str] = []
        for optimiser in LEGS:
            one, two = (best.get((leg, optimiser, size)) for size in (1, 2))
            cells += [f"{1e3 * one:.0f}", f"{1e3 * two:.0f}", f"{one / two / 2:.2f}"] if one and two else ["", "", ""]
        if any(cells):
            rows.append([name, *cells])
    heads = [f"{name}, {column}" for name in ("SGD", "Adam") for column in ("one process, ms", "two, ms", "efficiency")]
    return table(["a step, 784-4096-4096-10, 512 images", *heads], rows)
