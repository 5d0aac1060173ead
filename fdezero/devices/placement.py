"""Placement: which back end an array belongs to, which device holds it, and how a tree gets to another device.

Back ends are looked up through the array itself, never imported: only `to_device(tree, "gpu")` loads CuPy. A device is named
`"cpu"`, `"gpu"` (the first GPU) or `"gpu:1"`.
"""

import functools
import sys
from types import ModuleType
from typing import Any

import numpy as np

from .. import tree as trees
from ..core import Tracer, unwrap
from ..errors import DeviceError, DTypeError, FdezeroError, TraceError
from ..messages import describe
from .backend import Backend
from .cpu import Cpu
from .cuda import Cuda

BACKENDS: tuple[Backend, ...] = (Cpu(), Cuda())
CPU, GPU = BACKENDS
_BY_MODULE = {backend.array_module: backend for backend in BACKENDS}
_PLAIN = (np.ndarray, np.generic, bool, int, float, complex)


def backend_of(*arrays: Any) -> Backend:
    """The back end of the first array that is not NumPy's (inside a transform: of the traced value); the CPU if there is none."""
    for array in arrays:
        if not isinstance(array, _PLAIN) and not isinstance(array := unwrap(array), _PLAIN):
            name = type(array).__module__.partition(".")[0]
            backend, module = _BY_MODULE.get(name), sys.modules.get(name)
            if backend is not None and module is not None and isinstance(array, module.ndarray):
                return backend
    return CPU


@functools.cache
def backend_named(device: str) -> Backend:
    """The back end of a device by its name, such as "gpu:1"."""
    return CPU if parse_device(device) is None else GPU


def array_module(*arrays: Any) -> ModuleType:
    """numpy, or cupy if one of `arrays` is a CuPy array (inside a transform: the module of the traced value)."""
    backend = backend_of(*arrays)
    return np if backend is CPU else backend.module


def device_of_array(array: Any) -> str:
    """The name of the device that holds one array."""
    return backend_of(array).device_of(unwrap(array))


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape") and not isinstance(leaf, type)  # np.float32 has both names


def why_no_gpu() -> str:
    """What is missing to use a GPU, in one sentence; empty if nothing is missing."""
    return GPU.why_missing()


def gpu_available() -> bool:
    """Whether you can use a GPU now: CuPy loads, the driver shows a device, and a kernel and a matrix product ran on it once."""
    return not why_no_gpu()


def parse_device(device: str) -> int | None:
    """The number of a GPU, or None for the CPU. Raises DeviceError for any other name."""
    if not isinstance(device, str):
        raise DeviceError(
            f"a device is 'cpu', 'gpu' or 'gpu:1', got {describe(device)}. The tree comes first: fd.to_device(tree, 'cpu')."
        )
    name, _, index = device.partition(":")
    if device == CPU.name:
        return None
    if name == GPU.name and (index.isdecimal() or device == GPU.name):
        return int(index or 0)
    raise DeviceError(f"unknown device {device!r}: say 'cpu', 'gpu' or 'gpu:1'.")


def to_device(tree: Any, device: str) -> Any:
    """A new tree with every array on `device`. Arrays that are already there are shared, and other leaves stay as they are.

    CuPy computes on its current device, the first GPU: put work on another GPU into `with cupy.cuda.Device(1): ...`. After a move
    to another device than the current one, work on arrays of another device is an error, also where CuPy only warns.
    Raises DeviceError for an unknown name, or if there is no such GPU, saying what is missing; DTypeError, naming the leaf, for a
    dtype that a GPU cannot hold; TraceError inside a transform, unless nothing traced has to move.
    """
    index, backend = parse_device(device) or 0, backend_named(device)
    if reason := backend.why_missing():
        raise DeviceError(f"no GPU for to_device(tree, {device!r}): {reason}")
    if index >= (count := backend.count()):
        raise DeviceError(f"no device {device!r}: this machine has {count} {'GPU' if count == 1 else 'GPUs'}.")
    place = f"{backend.name}:{index}" if backend.has_numbers else backend.name
    if backend.current_device is not None and index != backend.current_device():
        backend.refuse_other_devices()
    leaves, treedef = trees.flatten(tree)
    moved = []
    with backend.using(index):
        for number, leaf in enumerate(leaves):
            try:
                moved.append(_moved(leaf, backend, place))
            except FdezeroError as error:
                raise error.under(trees.paths(tree)[number]) from None
    return trees.unflatten(treedef, moved)


def _moved(leaf: Any, backend: Backend, device: str) -> Any:
    if not _is_array(leaf) or device_of_array(leaf) == device:
        return leaf
    if isinstance(leaf, Tracer):
        raise TraceError(
            f"to_device cannot move {describe(leaf)} to {device} while {leaf.level.name} traces it: move it before the transform."
        )
    if not backend.holds(leaf.dtype):
        raise DTypeError(f"a GPU cannot hold {describe(leaf)}: leave it out of the tree, or make it a static field.")
    return backend.from_host(leaf) if backend is not CPU else backend_of(leaf).to_host(leaf)


def to_numpy(tree: Any) -> Any:
    """The same tree with every array a numpy.ndarray: `to_device(tree, "cpu")`."""
    return to_device(tree, "cpu")


def device_of(tree: Any) -> str:
    """The one device that all arrays of `tree` lie on; `"cpu"` for a tree without arrays.

    Raises DeviceError that names two leaves on different devices.
    """
    found: dict[str, str] = {}
    for path, leaf in trees.flatten_with_path(tree):
        if _is_array(leaf) and not isinstance(leaf, np.generic):  # NumPy's scalars work with arrays of every device
            found.setdefault(device_of_array(leaf), f"{path or 'the root'} ({describe(leaf)})")
    if len(found) > 1:
        (here, first), (there, second) = list(found.items())[:2]
        raise DeviceError(
            f"{first} is on {here}, but {second} is on {there}: bring the tree together with fd.to_device."
        )
    return next(iter(found), "cpu")
