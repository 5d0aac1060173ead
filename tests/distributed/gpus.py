"""GPUs for tests on several ranks: "stand-in" for CuPy and for NCCL, "real" CuPy on an emulated device, or "device": real GPUs."""

import contextlib
import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import fdezero as fd
from fdezero.distributed import worlds
from tests.distributed import nccl_stand_in

EMULATED = importlib.util.find_spec("cupy_emulator") is not None
if EMULATED and "cupy" not in sys.modules:  # before the tests' stand-in asks whether there is a GPU
    importlib.import_module("cupy_emulator").install()
OTHERS = ["real"] if EMULATED else [pytest.param("device", marks=pytest.mark.gpu)] if fd.gpu_available() else []
with_gpus = pytest.mark.parametrize("kind", ["stand-in", *OTHERS])


@contextlib.contextmanager
def gpus(kind: str, count: int = 4, needed: int = 2) -> Iterator[types.ModuleType]:
    """`import cupy` gives CuPy, and `cupy.cuda.nccl` NCCL or its stand-in, in this rank. `needed`: real GPUs, else it is skipped."""
    nccl_stand_in.CALLS.clear()
    wholes = [*worlds._wholes]
    try:
        with _cupy(kind, count, needed) as module:
            yield module
    finally:
        worlds._wholes[:] = wholes


@contextlib.contextmanager
def _cupy(kind: str, count: int, needed: int) -> Iterator[types.ModuleType]:
    if kind != "stand-in":
        cupy = _emulated() if kind == "real" else importlib.import_module("cupy")
        if cupy.cuda.runtime.getDeviceCount() < needed:
            pytest.skip(f"needs {needed} GPUs")
        with cupy.cuda.Device(0):
            yield cupy
        return
    from tests.devices import strict_cupy
    from tests.devices.strict_cupy_array import current

    with pytest.MonkeyPatch.context() as patch:
        module = strict_cupy.make_cupy(count)
        patch.setitem(sys.modules, "cupy", module)
        patch.setitem(sys.modules, "cupy.cuda.nccl", nccl_stand_in)
        try:
            yield module
        finally:
            current[:] = [0]


def _emulated() -> Any:
    if reason := nccl_stand_in.serve():
        pytest.skip(reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("cupy.cuda.nccl")
    cupy: Any = importlib.import_module("cupy")
    cupy.cuda.runtime.deviceGetPCIBusId = lambda index: f"0000:{index:02X}:00.0"  # the emulator does not have it
    return cupy


def gpu_world(backend: str | None = None, device: str = "gpu") -> Any:
    """A world with GPUs, made anew: `world` keeps what it made, but the next test has another stand-in."""
    return worlds._whole.__wrapped__(backend, device)
