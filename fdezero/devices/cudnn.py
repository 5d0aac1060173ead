"""Convolutions by cuDNN, where an extra `cudnn12` or `cudnn13` is installed: a plan for each shape, run on addresses of CuPy's arrays.

`nvidia-cudnn-frontend` builds a graph of one convolution, and cuDNN chooses a kernel for it, always a deterministic one. float32 stays
exact unless CUPY_TF32=1, which is also CuPy's switch for matrix products. What cuDNN does not take, its caller computes by patches and
products. This code has run on a stand-in for the frontend only, never on a device.
"""

import ctypes
import functools
import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

KINDS = {"float32": "FLOAT", "float16": "HALF"}  # dtypes that cuDNN convolves, computing in float32
FORMS = {
    "y": ("conv_fprop", "image", "weight"),
    "x": ("conv_dgrad", "filter", "loss"),
    "w": ("conv_wgrad", "image", "loss"),
}


class Signature(NamedTuple):
    """What a plan depends on of an array: shape, steps in entries, dtype."""

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    dtype: str


class Plan(NamedTuple):
    """An executable graph, and the bytes that it works in."""

    graph: Any
    workspace: int


@functools.cache
def frontend() -> Any:
    """The module `cudnn`, with the library that it needs loaded; None if one of them is missing or cannot be loaded."""
    if importlib.util.find_spec("cudnn") is None:
        return None
    try:
        found = importlib.util.find_spec("nvidia")
        for root in (found.submodule_search_locations or ()) if found else ():
            for library in sorted(Path(root).glob("**/libcudnn.so.9")):  # which the frontend opens by its name
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        module = importlib.import_module("cudnn")
        module.backend_version()
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return module


@functools.cache
def _handle(device: int) -> Any:
    return frontend().create_handle()


def signature(x: Any) -> Signature:
    return Signature(tuple(x.shape), tuple([step // x.itemsize for step in x.strides]), x.dtype.name)


def is_exact() -> bool:
    """Whether float32 is computed in float32, not in TF32. CuPy reads the same variable."""
    return not int(os.environ.get("CUPY_TF32") or 0)


def graph_of(
    form: str, given: Sequence[Signature], strides: Sequence[int], padding: Sequence[tuple[int, int]],
    dilation: Sequence[int], handle: Any,
) -> Any:  # fmt: skip
    """The graph of one of the three forms, for two operands and the result; its tensors have the numbers 1, 2 and 3."""
    cudnn = frontend()
    kind, single = getattr(cudnn.data_type, KINDS[given[0].dtype]), cudnn.data_type.FLOAT
    function, *names = FORMS[form]
    graph = cudnn.pygraph(
        name=f"fdezero_{function}", io_data_type=kind, intermediate_data_type=single, compute_data_type=single, handle=handle
    )  # fmt: skip
    *operands, result = given
    tensors = {
        name: graph.tensor(dim=list(of.shape), stride=list(of.steps), data_type=kind, uid=number)
        for number, (name, of) in enumerate(zip(names, operands, strict=True), 1)
    }
    before, after = ([pair[i] for pair in padding] for i in (0, 1))
    options = {"pre_padding": before, "post_padding": after, "stride": list(strides), "dilation": list(dilation)}
    made = getattr(graph, function)(**tensors, **options)
    made.set_output(True).set_dim(list(result.shape)).set_stride(list(result.steps)).set_uid(3)
    return graph


def _build(
    form: str, given: Sequence[Signature], strides: Sequence[int], padding: Sequence[tuple[int, int]],
    dilation: Sequence[int], exact: bool, device: int,
) -> Plan | None:  # fmt: skip
    """The plan of a graph; None if cuDNN does not have a kernel for it."""
    cudnn = frontend()
    notes = [cudnn.numerical_note.NONDETERMINISTIC]
    if exact and given[0].dtype == "float32":
        notes += [cudnn.numerical_note.TENSOR_CORE, cudnn.numerical_note.DOWN_CONVERT_INPUTS]
    try:
        graph = graph_of(form, given, strides, padding, dilation, _handle(device))
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        graph.deselect_numeric_notes(notes)
        graph.check_support()
        graph.build_plans()
    except (cudnn.cudnnGraphNotSupportedError, RuntimeError):
        return None
    return Plan(graph, graph.get_workspace_size())


_plan = functools.lru_cache(512)(_build)


def convolved(
    form: str,
    a: Any,
    b: Any,
    out: Any,
    *,
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
) -> bool:
    """Write one of the three forms of convolution into `out`: y of (x, w), x of (w, y), w of (x, y). False if cuDNN does not take it.

    The arrays are (N, C, *S), (K, C / groups, *I), (N, K, *O) of one dtype, in any order of axes in memory.
    """
    arrays = (a, b, out)
    if (
        len({x.dtype for x in arrays}) > 1
        or out.dtype.name not in KINDS
        or len(strides) not in (2, 3)
        or frontend() is None
    ):
        return False
    if any(0 in x.shape or min(x.strides) <= 0 for x in arrays) or min(map(min, padding)) < 0:
        return False
    device = int(out.device.id)
    plan = _plan(form, tuple(map(signature, arrays)), strides, padding, dilation, is_exact(), device)
    if plan is None:
        return False
    cupy, handle = importlib.import_module("cupy"), _handle(device)
    frontend().set_stream(handle=handle, stream=cupy.cuda.get_current_stream().ptr)
    workspace = cupy.empty(max(plan.workspace, 1), np.uint8)  # the stream orders its reuse by CuPy's pool
    addresses = {number: int(x.data.ptr) for number, x in enumerate(arrays, 1)}
    plan.graph.execute(addresses, workspace.data.ptr, handle=handle)
    return True
