"""Forms of reductions, of orders, and of products of matrices."""

import math
from typing import Any

import numpy as np

from ..sizes import broadcast
from .elementwise import BOOL, WIDER, Scope
from .shapes import stretched
from .table import form

KINDS = {
    "sum": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd", "logsumexp": "ReduceLogSumExp",
    "length": "ReduceL2", "any": "ReduceMax", "all": "ReduceMin",
}  # fmt: skip


@form(*KINDS)
def _reduced(w: Any, step: Any) -> str:
    (x,), y, params = step.inputs, step.output, step.params
    dtype = np.dtype(np.int32) if step.name in ("any", "all") else y.dtype
    name = w.read(x, BOOL) if dtype != y.dtype else w.read(x, y.dtype)
    inner = WIDER.get(dtype, np.dtype(np.int32) if dtype == BOOL else dtype)
    name = w.cast(name, BOOL if dtype != y.dtype else y.dtype, inner)
    made = w.emit(KINDS[step.name], name, w.ints(params["axes"]), keepdims=int(params["keepdims"]))
    if step.name in ("any", "all"):  # of no entries, the reduction gives the least or the greatest integer
        return str(w.emit("Greater", made, w.constant(np.zeros((), inner))))
    if step.name in ("max", "min") and inner.kind == "f":
        o = Scope(w, inner)
        bad = w.cast(o.IsNaN(name), BOOL, np.int32)
        bad = w.cast(w.emit("ReduceMax", bad, w.ints(params["axes"]), keepdims=int(params["keepdims"])), np.int32, BOOL)
        made = o.Where(bad, math.nan, made)
    return str(w.cast(made, inner, y.dtype))


@form("sum_in_front")
def _sum_in_front(w: Any, step: Any) -> str:
    (x,), params = step.inputs, step.params
    stop = len(x.shape) - params["ndim"]
    axes = list(range(stop - params["count"], stop))
    return str(w.emit("ReduceSum", w.read(x, step.output.dtype), w.ints(axes), keepdims=0))


@form("cumsum")
def _cumsum(w: Any, step: Any) -> str:
    y = step.output
    inner = WIDER.get(y.dtype, y.dtype)
    name = w.cast(w.read(step.inputs[0], y.dtype), y.dtype, inner)
    return str(w.cast(w.emit("CumSum", name, w.constant(np.int64(step.params["axis"]))), inner, y.dtype))


@form("argmax", "argmin")
def _extreme(w: Any, step: Any) -> str:
    (x,), params = step.inputs, step.params
    axis, keep = params["axis"], bool(params["keepdims"])
    if x.dtype.kind != "f" and x.dtype.itemsize >= 4:  # TopK takes int64, and of equal entries the first one
        name, largest = w.read(x, np.int64), int(step.name == "argmax")
        _, made = w.emit("TopK", name, w.ints([1]), count=2, axis=axis, largest=largest, sorted=1)
        made = made if keep else w.emit("Squeeze", made, w.ints([axis]))
        return str(w.cast(made, np.int64, step.output.dtype))
    dtype: Any = x.dtype if x.dtype.kind == "f" else np.dtype(np.int32)
    kind = {"argmax": "ArgMax", "argmin": "ArgMin"}[step.name]
    return str(w.cast(first_of(w, kind, w.read(x, dtype), dtype, axis, keep), np.int64, step.output.dtype))


def first_of(w: Any, kind: str, name: str, dtype: Any, axis: int, keep: bool) -> str:
    """The place of the first extreme entry. A NaN is one, which runtimes do not know by themselves."""
    made = w.emit(kind, name, axis=axis, keepdims=int(keep))
    if dtype.kind != "f":
        return str(made)
    bad = w.cast(w.emit("IsNaN", name), BOOL, np.int32)
    found = w.cast(w.emit("ReduceMax", bad, w.ints([axis]), keepdims=int(keep)), np.int32, BOOL)
    return str(w.emit("Where", found, w.emit("ArgMax", bad, axis=axis, keepdims=int(keep)), made))


@form("argsort", "argpartition")
def _argsort(w: Any, step: Any) -> str:
    """A sorted order, which is also an order parted anywhere. Of equal entries, TopK takes the first one first."""
    (x,), axis = step.inputs, step.params["axis"]
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.int64)
    _, order = w.emit("TopK", w.read(x, dtype), w.ints([x.shape[axis]]), count=2, axis=axis, largest=0, sorted=1)
    return str(order)


@form("searchsorted")
def _searchsorted(w: Any, step: Any) -> str:
    """How many entries are less, or not greater."""
    x, v = step.inputs
    points = step.params["points"]
    dtype = np.result_type(x.dtype, v.dtype)
    sought = w.emit("Unsqueeze", w.read(v, dtype), w.ints([-1]))
    loops = len(x.shape) - 1
    lines = w.read(x, dtype)
    if points:
        lines = w.emit("Unsqueeze", lines, w.ints(list(range(loops, loops + points))))
    before = w.emit("Less" if step.params["side"] == "left" else "LessOrEqual", lines, sought)
    made = w.emit("ReduceSum", w.cast(before, BOOL, np.int64), w.ints([-1]), keepdims=0)
    return str(w.cast(made, np.int64, step.output.dtype))


@form("softmax", "log_softmax")
def _softmax(w: Any, step: Any) -> str:
    (x,), (axis,) = step.inputs, step.params["axes"]
    kind = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[step.name]
    return str(w.emit(kind, w.read(x, step.output.dtype), axis=axis))


@form("moments")
def _moments(w: Any, step: Any) -> str:
    """The mean in two parts, of which the second is 0 here, and the variance."""
    (x,), params = step.inputs, step.params
    o, axes, name = Scope(w, x.dtype), w.ints(params["axes"]), w.read(x)
    mean = o.ReduceMean(name, axes, keepdims=1)
    zeros = o.Mul(mean, 0)
    rest = o.Sub(name, mean) if params["centred"] else name
    square = o.ReduceMean(o.Mul(rest, rest), axes, keepdims=1)
    first = mean if params["centred"] else zeros
    last = w.ints([-1])
    return str(o.Concat(*[o.Unsqueeze(part, last) for part in (first, zeros, square)], axis=-1))


@form("sums")
def _sums(w: Any, step: Any) -> str:
    dtype, axes = step.output.dtype, w.ints(step.params["axes"])
    o = Scope(w, dtype)
    t, x, c, a, e, factor = (w.read(atom, dtype) for atom in step.inputs)
    u = o.Mul(t, factor)
    second = o.Mul(u, o.Add(o.Mul(o.Sub(x, c), a), e))
    # The sums are of lines of all operands together.
    shape = broadcast([atom.shape for atom in step.inputs])
    wide = [stretched(w, u, (), shape), stretched(w, second, (), shape)]
    last = w.ints([-1])
    return str(o.Concat(*[o.Unsqueeze(o.ReduceSum(part, axes, keepdims=1), last) for part in wide], axis=-1))


@form("matmul")
def _matmul(w: Any, step: Any) -> str:
    y = step.output.dtype
    inner = WIDER.get(y, np.dtype(np.int32) if y == BOOL else y)
    made = w.emit("MatMul", *[w.cast(w.read(atom, y), y, inner) for atom in step.inputs])
    return str(w.cast(made, inner, y))


@form("einsum")
def _einsum(w: Any, step: Any) -> str:
    y, params = step.output.dtype, step.params
    loops = any(len(atom.shape) > len(letters) for atom, letters in zip(step.inputs, params["inputs"], strict=True))
    dots = "..." if loops else ""
    equation = ",".join([dots + letters for letters in params["inputs"]]) + "->" + dots + params["output"]
    return str(w.emit("Einsum", *[w.read(atom, y) for atom in step.inputs], equation=equation))


@form("det")
def _det(w: Any, step: Any) -> str:
    return str(w.emit("Det", w.read(step.inputs[0], step.output.dtype)))
