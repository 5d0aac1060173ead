"""ONNX models as messages and files: initialisers from arrays, and data beside a model that is too large for one file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..io.files import write_whole

LIMIT = (1 << 31) - (1 << 24)  # bytes that a file of protobuf holds, less some for the nodes
SMALL = 1 << 10  # bytes of a tensor that stays in the model even where data lie beside it


def model(
    helper: Any,
    name: str,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    arrays: dict[str, np.ndarray],
    opset: int,
) -> Any:
    """The message of a model."""
    graph = helper.make_graph(
        nodes, name, inputs, outputs, [_tensor(helper, key, value) for key, value in arrays.items()]
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(
        graph, opset_imports=opsets, producer_name="fdezero", ir_version=helper.find_min_ir_version_for(opsets)
    )


def _tensor(helper: Any, name: str, value: np.ndarray) -> Any:
    """A tensor with its bytes, in the order of processors that put the lowest first."""
    like = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype.newbyteorder("=")))
    return helper.make_tensor(name, kind, value.shape, like.tobytes(), raw=True)


def write(made: Any, path: str | os.PathLike[str], external: bool | None = None) -> None:
    """Write a model whole or not at all, with its large tensors beside it if it is too large for one file, or if `external`."""
    tensors = made.graph.initializer
    if external is None:
        external = sum(len(tensor.raw_data) for tensor in tensors) > LIMIT
    if external:
        slim = type(made)()
        slim.CopyFrom(made)
        place = Path(path)
        beside = place.with_name(place.name + ".data")
        write_whole(beside, lambda file: _put_beside(slim.graph.initializer, beside.name, file))
        made = slim
    write_whole(path, lambda file: file.write(made.SerializeToString()))


def _put_beside(tensors: Any, location: str, file: Any) -> None:
    """Move the bytes of large tensors to a file; the tensors say where these lie."""
    offset = 0
    for tensor in tensors:
        data = tensor.raw_data
        if len(data) < SMALL:
            continue
        file.write(data)
        for key, value in (("location", location), ("offset", str(offset)), ("length", str(len(data)))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        tensor.ClearField("raw_data")
        tensor.data_location = type(tensor).EXTERNAL
        offset += len(data)
