"""Examples and variables for recordings: plain values in place of traced ones, and functions of leaves in place of trees."""

import keyword
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ... import tree as trees
from ...core import Tracer
from ...core.batch import BatchTracer
from ...devices import CPU, backend_named, device_of_array, parse_device
from ...messages import describe
from ...values import dtype_of, is_inexact
from ..graph import Variable


def example_of(value: Any) -> Any:
    """A plain value like the traced one. For a batch, it is the first member."""
    if isinstance(value, BatchTracer):
        batch = example_of(value.value)
        return batch[0] if len(batch) else np.zeros_like(batch, shape=(1, *batch.shape[1:]))[0]
    return example_of(value.value) if isinstance(value, Tracer) else value


def variable_of(value: Any) -> Variable:
    """The variable that stands for values like this plain one."""
    if not hasattr(value, "dtype"):
        return Variable((), np.dtype(type(value)), None, "number")
    if isinstance(value, np.generic):
        return Variable((), value.dtype, None, "scalar")
    return Variable(tuple(value.shape), value.dtype, tuple(value.strides), "array", device_of_array(value))


def of_leaves(
    function: Callable[[Any], Any], treedef: Any, leaves: Sequence[Any], places: Iterable[int]
) -> tuple[Callable[..., list[Any]], list[Any]]:
    """`function(tree)` as a function of the leaves at `places`, which returns the leaves of the result. Other leaves stay fixed.

    Also returned: a list, to which every run of the function adds the structure of its result.
    """
    structure: list[Any] = []

    def flat(*given: Any) -> list[Any]:
        full = list(leaves)
        for place, value in zip(places, given, strict=True):
            full[place] = value
        outputs, out_def = trees.flatten(function(trees.unflatten(treedef, full)))
        structure.append(out_def)
        return outputs

    return flat, structure


def identifier(text: str) -> str:
    """`text` turned into a valid Python name."""
    word = "".join(c if c.isalnum() else "_" for c in text).strip("_")
    return word if word.isidentifier() and not keyword.iskeyword(word) else f"f_{word}"


def harmless(value: Any) -> Any:
    """Another example of the same kind, which few functions refuse: zeros for integers, which are valid indices; for floating numbers
    ones, and for square matrices positive definite ones."""
    variable = variable_of(value)
    y = ones_like(variable)
    if variable.kind != "array" or variable.device != CPU.name:
        return y
    shape = variable.shape
    if not is_inexact(variable.dtype):
        y *= variable.dtype.type(0)
    elif len(shape) > 1 and shape[-1] == shape[-2] and 0 not in y.strides[-2:]:
        y += shape[-1] * np.eye(shape[-1], dtype=variable.dtype)
    return y


def ones_like(variable: Variable) -> Any:
    """An example for a variable: ones, with the variable's memory layout."""
    if variable.kind == "number":
        return variable.dtype.type(1).item()
    if variable.kind == "scalar":
        return variable.dtype.type(1)
    shape, strides, itemsize = variable.shape, variable.strides or (), variable.dtype.itemsize
    if (
        backend := backend_named(variable.device)
    ) is not CPU:  # elsewhere the layout changes only the time, not the result
        with backend.using(parse_device(variable.device) or 0):
            return backend.module.ones(shape, variable.dtype)
    if not variable.size or any(s % itemsize for s in strides):
        return np.ones(shape, variable.dtype)
    spans = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    before, after = -sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans)
    memory = np.ones((before + after) // itemsize + 1, variable.dtype)
    return np.ndarray(shape, variable.dtype, memory, before, strides)


def layout_of(value: Any) -> Any:
    """The part of a plain value, or of a variable, that a recording depends on."""
    strides = getattr(value, "strides", None)
    if strides is None or isinstance(value, np.generic):  # a number, or the variable of a number
        kind = getattr(value, "kind", "scalar" if strides is not None else "number")
        return (kind, dtype_of(value))
    return (tuple(value.shape), value.dtype, steady_strides(value.shape, strides))


def steady_strides(shape: Any, strides: Any) -> tuple[int, ...]:
    """Strides with 0 where they mean nothing, and where copies of one array differ: along axes of length 1, and without entries."""
    if 0 in shape:
        return (0,) * len(shape)
    if 1 in shape:
        return tuple([0 if n == 1 else stride for n, stride in zip(shape, strides, strict=True)])
    return tuple(strides)


def unhashable_static(tree: Any) -> str:
    """The class and name of a static field in `tree` whose value has no hash, such as an array, and what it holds; or nothing."""
    children: list[Any] = []
    if fields := getattr(type(tree), "__attrs_attrs__", ()):
        for field in fields:
            value = getattr(tree, field.name)
            if not field.metadata.get("static"):
                children.append(value)
            elif type(value).__hash__ is None:
                return f"{type(tree).__name__}.{field.name} holds {describe(value)}"
    elif isinstance(tree, dict):
        children = list(tree.values())
    elif isinstance(tree, list | tuple):
        children = list(tree)
    return next(filter(None, map(unhashable_static, children)), "")
