"""`onnx`: the program of a function as an ONNX model, whose parameters are initialisers with their paths as names."""

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..compiler.graph import Graph, Instruction
from ..errors import ExportError, MissingExtraError, RangeError
from . import protobuf
from .forms import FORMS, OPENED
from .prepared import Argument, arguments_of, axes_of, batch_of, call_of, opened, recorded, resized
from .sizes import is_sized, of_any_batch
from .writer import Writer

__all__ = ["onnx"]

OPSETS = range(18, 23)  # in which the operators that are written mean the same


def onnx(
    f: Any,
    *examples: Any,
    path: str | os.PathLike[str] | None = None,
    batch_axis: int | Sequence[int | None] | None = None,
    parameters: Sequence[str] = (),
    opset: int = 18,
    external_data: bool | None = None,
) -> Any:
    """The program of `f(*examples)` as an `onnx.ModelProto`, written to `path` if there is one.

    Arrays of a model (`f` itself, its bound method, an argument that is a model, what `functools.partial` has bound, and the arguments
    that `parameters` names) are initialisers, with their paths as names: `layers/0/W`. All other arrays and numbers are inputs, and
    strings and booleans stay as they are. Shapes and dtypes are those of the examples. With `batch_axis` (one number, or one for each
    input, where None stands for an input without a batch) the size of that axis is free. The function is then recorded several times,
    so give a small batch. Parameters of more than 2 GB go to a file beside the model, `path` + ".data"; `external_data` decides otherwise.

    Raises ExportError for an operation without a form in ONNX, naming your line; MissingExtraError without the package onnx.
    """
    if type(opset) is not int or opset not in OPSETS:
        raise RangeError(
            f"export.onnx: opset is {opset!r}, but models can have the opsets {OPSETS[0]} to {OPSETS[-1]}."
        )
    if external_data and path is None:
        raise ExportError("export.onnx: external_data needs a path, beside which the data are written.")
    call = call_of(f, examples, parameters)
    axes = axes_of(call, batch_axis)
    helper, name = _helper(), call.function.__name__
    if all(axis is None for axis in axes):
        graph, places, structure = recorded(call, call.args)
        graph = opened(graph, _opens)
    else:
        batch = batch_of(call, axes)
        first = max(batch, 2)  # one row alone might be broadcast
        of_size = functools.cache(lambda size: recorded(call, resized(call, axes, size)))
        _, places, structure = of_size(first)
        graph = of_any_batch(lambda size: opened(of_size(size)[0], _opens), first)
    writer = Writer(helper, FORMS)
    paths = trees.paths(trees.unflatten(structure, list(range(structure.num_leaves))))
    model = _model(writer, graph, arguments_of(call, places), paths, name, opset)
    if path is not None:
        protobuf.write(model, path, external_data)
    return model


def _helper() -> Any:
    try:
        from onnx import helper
    except ImportError as error:
        raise MissingExtraError("export.onnx needs the package onnx: pip install 'fdezero[onnx]'") from error
    return helper


def _opens(step: Instruction) -> bool:
    """Whether an operation is written as the operations of its implementation."""
    operation: Any = step.operation
    if step.name in ("softmax", "log_softmax"):
        return len(step.params["axes"]) > 1
    return step.name not in FORMS and (operation.expand is True or step.name in OPENED)


def _model(
    writer: Writer, graph: Graph, arguments: Sequence[Argument], results: Sequence[str], name: str, opset: int
) -> Any:
    helper, inputs = writer.helper, []
    for variable, argument in zip(graph.inputs, arguments, strict=True):
        given = writer.names[variable] = writer.fresh(argument.path or "x")
        if not writer.takes(variable.dtype):
            what = "parameter" if argument.is_parameter else "input"
            raise ExportError(
                f"export.onnx: the {what} {given} is {variable}, a dtype that ONNX has no operators for. Compute with real numbers."
            )
        if argument.is_parameter:
            writer.initialisers[given] = np.asarray(argument.value)
            continue
        inputs.append(writer.value_info(given, variable.dtype, variable.shape))
        sized = [axis for axis, n in enumerate(variable.shape) if is_sized(n)]
        if sized and writer.batch is None:
            writer.batch = given, sized[0]
    for atom, path in zip(graph.outputs, results, strict=True):
        if atom.dtype.kind in "USO":  # a text, or an object of Python
            raise ExportError(f"export.onnx: the result {path or 'itself'} is {atom}, which is no array of numbers.")
    finals = [_named(writer, path) for path in results]  # before nodes, which would take a name such as add
    outputs, taken = [], set()
    for made, atom, final in zip(writer.write(graph), graph.outputs, finals, strict=True):
        writer.here.append(helper.make_node("Identity", [made], [final], name=f"Identity:{final}"))
        outputs.append(writer.value_info(final, atom.dtype, atom.shape))
        taken.add(final)
    nodes = _used([*writer.prelude, *writer.nodes], taken)
    used = _names_read(nodes)
    kept = {key: value for key, value in writer.initialisers.items() if key in used}
    return protobuf.model(helper, name, nodes, inputs, outputs, kept, opset)


def _named(writer: Writer, path: str) -> str:
    """The name of a result: its key, or `output/` in front of its path where this has no word, or a name that an input has."""
    plain = path and not path.split("/")[0].isdigit() and path not in writer.taken
    return writer.fresh(path if plain else "/".join(filter(None, ("output", path))))


def _used(nodes: Sequence[Any], needed: set[str]) -> list[Any]:
    """The nodes whose results are read."""
    wanted, kept = set(needed), []
    for node in reversed(nodes):
        if any(y in wanted for y in node.output):
            wanted |= _names_read([node])
            kept.append(node)
    return kept[::-1]


def _names_read(nodes: Sequence[Any]) -> set[str]:
    """What nodes read, also in the graphs within them."""
    found: set[str] = set()
    for node in nodes:
        found.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= _names_read(attribute.g.node) | {y.name for y in attribute.g.output}
    return found
