"""Shows what this machine has for fdezero: versions, BLAS, compiler, GPU, MPI, cache and extras.

`ok` marks what works, `--` what is missing and not needed, `!!` what should be mended; each line says how. The exit status is 1 if
there is anything to mend.
"""

import argparse
import importlib.metadata
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..devices import backend_named, why_no_gpu
from ..errors import FdezeroError
from ..io.cache import cache_folder
from ..native import compiler
from .helpers.findings import ABSENT, BAD, GOOD, Finding
from .helpers.processes import THREADS, cores_of_process, several_processes

__all__ = ["arguments", "run"]

CORE = ("numpy", "attrs", "optree")
# The extras that bring packages, by the packages.
EXTRAS = {
    "scipy": "scipy", "safetensors": "safetensors", "matplotlib": "plot", "hypothesis": "test", "pooch": "data", "pillow": "data",
    "tqdm": "progress", "tensorboardX": "log", "ml_dtypes": "bfloat16", "isal": "isal", "scikit-learn": "images",
}  # fmt: skip
SIZE = 1024  # of the product that is timed


def findings() -> Iterator[Finding]:
    """The lines of the report, as they are found."""
    for look in (_python, _core, _blas, _compiler, _gpu, several_processes, _cache, _extras):
        yield from _guarded(look)


def _guarded(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What `look` finds. An error of it is a finding: the doctor does not die of what the patient has."""
    try:
        yield from look()
    except Exception as error:
        yield Finding(
            BAD, f"{look.__name__.strip('_')}: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        )


def _python() -> Iterator[Finding]:
    from .. import __version__

    system = f"{platform.system()} {platform.machine()}"
    yield Finding(
        GOOD, f"fdezero {__version__}, Python {platform.python_version()}, {system}, {_cores()} cores for this process"
    )


def _cores() -> int:
    return len(cores_of_process())


def _core() -> Iterator[Finding]:
    required = {_plain(name): wanted for name, wanted in map(_parted, importlib.metadata.requires("fdezero") or ())}
    for name in CORE:
        found, wanted = _version(name), required.get(name, "")
        fits = bool(found) and _numbers(found) >= _numbers(wanted)
        yield Finding(
            GOOD if fits else BAD,
            f"{name} {found}" if fits else f"{name} {found or 'is missing'}: pip install '{name}{wanted}'",
        )


def _parted(requirement: str) -> tuple[str, str]:
    name, wanted = re.match(r"([\w.-]+)\s*([^;]*)", requirement).groups()  # type: ignore[union-attr]  # all begin with a name
    return name, wanted.strip()


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _blas() -> Iterator[Finding]:
    config: Any = np.show_config(mode="dicts")
    facts = config["Build Dependencies"]["blas"]
    threads, speed = _product()
    text = f"BLAS: {facts['name']} {facts['version']}, a product of float32 keeps {threads:.1f} cores busy at {speed:.0f} GFLOP/s"
    chosen = {name: os.environ[name] for name in THREADS if name in os.environ}
    cores = _cores()
    if many := [name for name, number in chosen.items() if number.isdigit() and int(number) > cores]:
        yield Finding(BAD, f"{text}. {many[0]}={chosen[many[0]]} is more than there are cores: set {many[0]}={cores}")
    else:
        said = ", ".join(f"{name}={number}" for name, number in chosen.items())
        yield Finding(GOOD, f"{text} ({said or f'{THREADS[0]}=1 would keep it to one'})")


def _product() -> tuple[float, float]:
    """How many threads a matrix product keeps busy, and how many GFLOP/s it reaches."""
    x = np.ones((SIZE, SIZE), np.float32)
    x @ x
    start, used = time.perf_counter(), time.process_time()
    for _ in range(3):
        x @ x
    seconds, used = time.perf_counter() - start, time.process_time() - used
    return used / seconds, 3 * 2 * SIZE**3 / seconds / 1e9


def _compiler() -> Iterator[Finding]:
    try:
        found = compiler()
    except FdezeroError as error:
        named = os.environ.get("CXX")
        yield Finding(BAD if named else ABSENT, f"compiler: {error}")
        return
    yield Finding(GOOD, f"compiler for native=True: {' '.join(found.command)} ({found.form})")


def _gpu() -> Iterator[Finding]:
    if reason := why_no_gpu():
        installed = any(_plain(each.name or "").startswith("cupy") for each in importlib.metadata.distributions())
        yield Finding(BAD if installed else ABSENT, f"GPU: {reason}")
        return
    backend = backend_named("gpu")
    cupy: Any = backend.module
    runtime = cupy.cuda.runtime
    driver, toolkit = (_cuda(number) for number in (runtime.driverGetVersion(), runtime.runtimeGetVersion()))
    for index in range(backend.count()):
        facts = runtime.getDeviceProperties(index)
        name = facts["name"].decode() if isinstance(facts["name"], bytes) else facts["name"]
        memory = facts["totalGlobalMem"] / 1e9
        yield Finding(
            GOOD,
            f"gpu:{index}: {name}, {memory:.0f} GB, CuPy {cupy.__version__}, driver for CUDA {driver}, CUDA {toolkit}",
        )


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _cache() -> Iterator[Finding]:
    folder = cache_folder()
    files = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    size = sum(os.path.getsize(file) for file in files if os.path.isfile(file)) / 1e6
    near = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=near):  # os.access does not know all that a system refuses
            yield Finding(GOOD, f"cache: {folder}, {size:.0f} MB")
    except OSError:
        yield Finding(
            BAD, f"cache: {folder} cannot be written, so nothing is kept: set FDEZERO_CACHE to a folder of yours"
        )


def _extras() -> Iterator[Finding]:
    there = {package: found for package in EXTRAS if (found := _version(package))}
    if there:
        yield Finding(GOOD, "packages of extras: " + ", ".join(f"{name} {found}" for name, found in there.items()))
    missing: dict[str, list[str]] = {}
    for package, extra in EXTRAS.items():
        if package not in there:
            missing.setdefault(extra, []).append(package)
    for extra, packages in missing.items():
        yield Finding(
            ABSENT,
            f"{', '.join(packages)}: pip install 'fdezero[{extra}]' if you need {'them' if packages[1:] else 'it'}",
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments."""


def run(options: argparse.Namespace) -> int:
    """Print the report. The exit status is 1 if something should be mended."""
    bad = 0
    for mark, text in findings():
        print(f"{mark}  {text.rstrip('.')}", flush=True)
        bad += mark == BAD
    return int(bad > 0)
