"""Array modules and devices: which library an array belongs to, where it lies, how it gets elsewhere.

Backends are looked up through the array itself, never imported: CuPy is loaded by `to_device(tree, "gpu")` alone.
A device is named `"cpu"`, `"gpu"` (the first one) or `"gpu:1"`.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np

from . import tree as trees
from .errors import DeviceError, describe

_PLAIN = (np.ndarray, np.generic, bool, int, float, complex)


def array_module(*arrays: Any) -> ModuleType:
    """numpy, or cupy if one of `arrays` is a CuPy array (inside a transform: the module of the value traced)."""
    for array in arrays:
        while hasattr(array, "level"):  # a traced value: what it traces
            array = array.value
        if not isinstance(array, _PLAIN):
            module = sys.modules.get(type(array).__module__.partition(".")[0])
            if module is not None and hasattr(module, "ndarray") and isinstance(array, module.ndarray):
                return module
    return np


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape")


def _device(array: Any) -> str:
    return "cpu" if array_module(array) is np else f"gpu:{array.device.id}"


def why_no_gpu() -> str:
    """What is missing for a GPU, in one sentence; empty when one works. Asks the driver, not the import."""
    if "cupy" not in sys.modules and importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed: pip install 'fdezero[cuda12]' or 'fdezero[cuda13]', to suit your NVIDIA driver."
    try:
        import cupy

        if cupy.is_available():
            return ""
    except Exception as error:  # a broken installation fails in many ways (missing libcuda, libcublas, ...): all mean no
        return f"CuPy is installed but cannot be loaded: {error}"
    return f"CuPy {cupy.__version__} is installed, but the CUDA driver shows it no usable NVIDIA GPU (see nvidia-smi)."


def gpu_available() -> bool:
    """Whether a GPU can be used now: CuPy loads, and the driver shows a device."""
    return not why_no_gpu()


def parse_device(device: str) -> int | None:
    """The index of a GPU, or None for the CPU. Raises DeviceError for any other name."""
    name, _, index = device.partition(":")
    if device == "cpu":
        return None
    if name == "gpu" and (index.isdigit() or device == "gpu"):
        return int(index or 0)
    raise DeviceError(f"unknown device {device!r}: say 'cpu', 'gpu' or 'gpu:1'.")


def to_device(tree: Any, device: str) -> Any:
    """A new tree with every array on `device`; arrays that are already there are shared, other leaves stay as they are.

    Raises DeviceError for an unknown name, or when there is no such GPU, saying what is missing.
    """
    index = parse_device(device)
    if index is None:
        return trees.map(_to_cpu, tree)
    if reason := why_no_gpu():
        raise DeviceError(f"no GPU for to_device(tree, {device!r}): {reason}")
    import cupy

    if index >= (count := cupy.cuda.runtime.getDeviceCount()):
        raise DeviceError(f"no device {device!r}: this machine has {count} GPU{'s' * (count > 1)}.")
    with cupy.cuda.Device(index):
        return trees.map(lambda leaf: _to_gpu(leaf, index, cupy), tree)


def _to_cpu(leaf: Any) -> Any:
    module = array_module(leaf)
    return leaf if module is np else module.asnumpy(leaf)


def _to_gpu(leaf: Any, index: int, cupy: Any) -> Any:
    if not _is_array(leaf) or (array_module(leaf) is cupy and leaf.device.id == index):
        return leaf
    return cupy.asarray(leaf)


def to_numpy(tree: Any) -> Any:
    """The same tree with every array a numpy.ndarray: `to_device(tree, "cpu")`."""
    return to_device(tree, "cpu")


def device_of(tree: Any) -> str:
    """The one device that all arrays of `tree` lie on; `"cpu"` for a tree without arrays.

    Raises DeviceError that names two leaves on different devices.
    """
    found: dict[str, str] = {}
    for path, leaf in trees.flatten_with_path(tree):
        if _is_array(leaf):
            found.setdefault(_device(leaf), f"{path or 'the root'} ({describe(leaf)})")
    if len(found) > 1:
        (here, first), (there, second) = list(found.items())[:2]
        raise DeviceError(f"{first} is on {here}, but {second} is on {there}: bring the tree together with fd.to_device.")
    return next(iter(found), "cpu")
