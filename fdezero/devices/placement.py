"""Array modules and devices: which library an array belongs to, where it lies, how it gets elsewhere.

Backends are looked up through the array itself, never imported: CuPy is loaded by `to_device(tree, "gpu")` alone.
A device is named `"cpu"`, `"gpu"` (the first one) or `"gpu:1"`.
"""

import contextlib
import sys
from types import ModuleType
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import Tracer, unwrap
from ..errors import DeviceError, DTypeError, FdezeroError, TraceError
from ..messages import describe

_PLAIN = (np.ndarray, np.generic, bool, int, float, complex)


def array_module(*arrays: Any) -> ModuleType:
    """numpy, or cupy if one of `arrays` is a CuPy array (inside a transform: the module of the value traced)."""
    for array in arrays:
        if not isinstance(array, _PLAIN) and not isinstance(array := unwrap(array), _PLAIN):
            module = sys.modules.get(type(array).__module__.partition(".")[0])
            if module is not None and hasattr(module, "ndarray") and isinstance(array, module.ndarray):
                return module
    return np


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape")


def _device(array: Any) -> str:
    return "cpu" if array_module(array) is np else f"gpu:{unwrap(array).device.id}"


def why_no_gpu() -> str:
    """What is missing for a GPU, in one sentence; empty when one works. Asks the driver, not the import."""
    try:
        import cupy

        if cupy.is_available():
            return ""
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return "CuPy is not installed: pip install 'fdezero[cuda12]' or 'fdezero[cuda13]', to suit your NVIDIA driver."
        return f"CuPy is installed, but the module {error.name} that it needs is not."
    except Exception as error:  # a broken installation fails in many ways (missing libcuda, libcublas, ...): all mean no
        cause: BaseException = error
        while cause.__cause__ is not None:  # CuPy wraps what happened in twenty lines of advice
            cause = cause.__cause__
        return f"CuPy is installed but cannot be loaded: {str(cause).strip().partition(chr(10))[0]}."
    return f"CuPy {cupy.__version__} is installed, but the CUDA driver shows it no usable NVIDIA GPU (see nvidia-smi)."


def gpu_available() -> bool:
    """Whether a GPU can be used now: CuPy loads, and the driver shows a device."""
    return not why_no_gpu()


def parse_device(device: str) -> int | None:
    """The index of a GPU, or None for the CPU. Raises DeviceError for any other name."""
    name, _, index = str(device).partition(":")
    if device == "cpu":
        return None
    if name == "gpu" and (index.isdecimal() or device == "gpu"):
        return int(index or 0)
    raise DeviceError(f"unknown device {device!r}: say 'cpu', 'gpu' or 'gpu:1'.")


def to_device(tree: Any, device: str) -> Any:
    """A new tree with every array on `device`; arrays that are already there are shared, other leaves stay as they are.

    CuPy computes on its current device, the first GPU: work on another one belongs in `with cupy.cuda.Device(1): ...`.
    Raises DeviceError for an unknown name, or when there is no such GPU, saying what is missing; DTypeError that names the
    leaf for a dtype no GPU knows; TraceError inside a transform, unless nothing traced has to move.
    """
    index = parse_device(device)
    if index is not None:
        if reason := why_no_gpu():
            raise DeviceError(f"no GPU for to_device(tree, {device!r}): {reason}")
        import cupy

        if index >= (count := cupy.cuda.runtime.getDeviceCount()):
            raise DeviceError(f"no device {device!r}: this machine has {count} {'GPU' if count == 1 else 'GPUs'}.")
    leaves, treedef = trees.flatten(tree)
    moved = []
    with contextlib.nullcontext() if index is None else cupy.cuda.Device(index):
        for number, leaf in enumerate(leaves):
            try:
                moved.append(_place(leaf, "cpu" if index is None else f"gpu:{index}"))
            except FdezeroError as error:
                raise error.under(trees.paths(tree)[number]) from None
    return trees.unflatten(treedef, moved)


def _place(leaf: Any, device: str) -> Any:
    if not _is_array(leaf) or _device(leaf) == device:
        return leaf
    if isinstance(leaf, Tracer):
        raise TraceError(
            f"to_device cannot move {describe(leaf)} to {device} while {leaf.level.name} traces it: move it before the transform."
        )
    if device == "cpu":
        return array_module(leaf).asnumpy(leaf)
    if leaf.dtype.kind not in "biufcV":
        raise DTypeError(f"a GPU cannot hold {describe(leaf)}: leave it out of the tree, or make it a static field.")
    return sys.modules["cupy"].asarray(leaf)


def to_numpy(tree: Any) -> Any:
    """The same tree with every array a numpy.ndarray: `to_device(tree, "cpu")`."""
    return to_device(tree, "cpu")


def device_of(tree: Any) -> str:
    """The one device that all arrays of `tree` lie on; `"cpu"` for a tree without arrays.

    Raises DeviceError that names two leaves on different devices.
    """
    found: dict[str, str] = {}
    for path, leaf in trees.flatten_with_path(tree):
        if _is_array(leaf) and not isinstance(leaf, np.generic):  # NumPy's scalars go with arrays of every device
            found.setdefault(_device(leaf), f"{path or 'the root'} ({describe(leaf)})")
    if len(found) > 1:
        (here, first), (there, second) = list(found.items())[:2]
        raise DeviceError(f"{first} is on {here}, but {second} is on {there}: bring the tree together with fd.to_device.")
    return next(iter(found), "cpu")
