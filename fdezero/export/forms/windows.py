"""Forms of convolution and pooling. ONNX takes (N, C, *space), so loop axes join the examples."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..sizes import is_sized
from .elementwise import Scope
from .reductions import first_of
from .table import form


def _ends(
    w: Any, name: str, ndim: int, lengths: Sequence[int], windows: Sequence[Sequence[int]]
) -> tuple[str, list[int]]:
    """The pads that give exactly as many windows as `windows` (size, kernel, stride, before, dilation) say, and the value, which is
    cut where its last entries are in no window, or where it begins behind the first entry."""
    before, after, starts, stops = [], [], [], []
    for n, (size, kernel, stride, front, dilation) in zip(lengths, windows, strict=True):
        if is_sized(n):
            raise w.give_up("has windows along an axis that depends on the batch's size.")
        end = (size - 1) * stride + (kernel - 1) * dilation + 1 - front - n
        before.append(max(front, 0))
        after.append(max(end, 0))
        starts.append(max(-front, 0))
        stops.append(n if end >= 0 or -end < stride else n + end)
    if any(starts) or list(lengths) != stops:
        axes = list(range(ndim - len(lengths), ndim))
        name = w.emit("Slice", name, w.ints(starts), w.ints(stops), w.ints(axes))
    return name, [*before, *after]


def _joined(w: Any, name: str, shape: Sequence[int], tail: int) -> tuple[str, list[int]]:
    """The value with all axes but the last `tail` as one; it and the axes that were joined."""
    loops = list(shape[: len(shape) - tail])
    if len(loops) == 1:
        return name, loops
    return w.emit("Reshape", name, w.ints([-1, *shape[len(shape) - tail :]])), loops


def _parted(w: Any, name: str, loops: Sequence[int], tail: Sequence[int]) -> str:
    return name if len(loops) == 1 else w.reshape(name, [*loops, *tail])


def _computed(w: Any, step: Any) -> Any:
    """The dtype of a convolution: that of the result, if it is floating."""
    dtype = step.output.dtype
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


@form("conv")
def _conv(w: Any, step: Any) -> str:
    x, kernel = step.inputs
    params, rank, dtype = step.params, len(step.params["strides"]), _computed(w, step)
    name, loops, kernels = _operands(w, x, kernel, rank, dtype)
    windows = list(
        zip(params["size"], kernel.shape[-rank:], params["strides"], params["before"], params["dilation"], strict=True)
    )
    name, pads = _ends(w, name, rank + 2, x.shape[-rank:], windows)
    made = w.emit(
        "Conv",
        name,
        kernels,
        pads=pads,
        strides=list(params["strides"]),
        dilations=list(params["dilation"]),
        group=params["groups"],
    )
    return str(w.cast(_parted(w, made, loops, step.output.shape[-rank - 1 :]), dtype, step.output.dtype))


def _operands(w: Any, images: Any, kernel: Any, rank: int, dtype: Any) -> tuple[Any, Any, Any]:
    """The images with one batch axis, the shape of the axes that it joins, and the kernels without loop axes."""
    if math.prod(kernel.shape[: len(kernel.shape) - rank - 2]) != 1:
        raise w.give_up("has a kernel of its own for each member of a batch, which has no form in ONNX.")
    name, loops = _joined(w, w.read(images, dtype), images.shape, rank + 1)
    kernels = w.read(kernel, dtype)
    return name, loops, w.reshape(kernels, kernel.shape[-rank - 2 :]) if len(kernel.shape) > rank + 2 else kernels


@form("conv_input")
def _conv_input(w: Any, step: Any) -> str:
    kernel, y = step.inputs
    params, rank, dtype = step.params, len(step.params["strides"]), _computed(w, step)
    name, loops, kernels = _operands(w, y, kernel, rank, dtype)
    before, after, behind = [], [], []
    sizes = zip(
        params["size"],
        y.shape[-rank:],
        kernel.shape[-rank:],
        params["strides"],
        params["before"],
        params["dilation"],
        strict=True,
    )
    for n, size, length, stride, front, dilation in sizes:
        rest = stride * (size - 1) + (length - 1) * dilation + 1 - front - n
        before.append(front)
        after.append(max(rest, 0))
        behind.append(max(-rest, 0))
    made = w.emit(
        "ConvTranspose", name, kernels, pads=[*before, *after], strides=list(params["strides"]), dilations=list(params["dilation"]),
        group=params["groups"],
    )  # fmt: skip
    if any(behind):
        made = w.emit("Pad", made, w.ints([0] * (rank + 4) + behind), w.constant(np.zeros((), dtype)))
    return str(w.cast(_parted(w, made, loops, step.output.shape[-rank - 1 :]), dtype, step.output.dtype))


@form("conv_kernel")
def _conv_kernel(w: Any, step: Any) -> str:
    """A convolution of x with y as its kernel, where channels and examples change places, and strides and dilations."""
    x, y = step.inputs
    params, rank, dtype = step.params, len(step.params["strides"]), _computed(w, step)
    if len(x.shape) > rank + 2 or len(y.shape) > rank + 2:
        raise w.give_up("has loop axes, which have no form in ONNX here.")
    groups, space = params["groups"], list(range(2, rank + 2))
    given, cotangent = w.read(x, dtype), w.read(y, dtype)
    windows = list(
        zip(params["size"], y.shape[-rank:], params["dilation"], params["before"], params["strides"], strict=True)
    )
    found = []
    for g in range(groups):
        part, of = given, cotangent
        if groups > 1:
            part, of = (
                w.emit("Slice", z, w.ints([g * n]), w.ints([(g + 1) * n]), w.ints([1]))
                for z, n in ((given, x.shape[1] // groups), (cotangent, y.shape[1] // groups))
            )
        part, of = (w.emit("Transpose", z, perm=[1, 0, *space]) for z in (part, of))
        part, pads = _ends(w, part, rank + 2, x.shape[-rank:], windows)
        made = w.emit("Conv", part, of, pads=pads, strides=list(params["dilation"]), dilations=list(params["strides"]))
        found.append(w.emit("Transpose", made, perm=[1, 0, *space]))
    made = w.emit("Concat", *found, axis=0) if groups > 1 else found[0]
    return str(w.cast(made, dtype, step.output.dtype))


@form("correlate")
def _correlate(w: Any, step: Any) -> str:
    """A convolution in which every loop axis is a group of its own."""
    x, kernel = step.inputs
    around, y = step.params["around"], step.output
    rank, loops = len(around), y.shape[: len(y.shape) - len(around)]
    count = math.prod(loops)
    if any(map(is_sized, loops)):
        raise w.give_up("has a kernel for each member of a batch of any size.")
    names = [
        w.emit("Expand", w.read(z, y.dtype), w.ints([*loops, *z.shape[len(z.shape) - rank :]])) for z in (x, kernel)
    ]
    lengths, sizes = x.shape[len(x.shape) - rank :], kernel.shape[len(kernel.shape) - rank :]
    first, second = (
        w.emit("Reshape", name, w.ints(shape))
        for name, shape in zip(names, ([1, count, *lengths], [count, 1, *sizes]), strict=True)
    )
    windows = [(size, m, 1, front, 1) for size, m, (front, _) in zip(y.shape[len(loops) :], sizes, around, strict=True)]
    first, pads = _ends(w, first, rank + 2, lengths, windows)
    return str(w.reshape(w.emit("Conv", first, second, pads=pads, group=count), y.shape))


# Pooling


def _as_images(w: Any, step: Any, dtype: Any) -> tuple[str, Sequence[int]]:
    """The operand as (N, 1, *space), and its lengths in space."""
    (x,), rank = step.inputs, len(step.params["windows"])
    space = x.shape[len(x.shape) - rank :]
    if rank > 3:
        raise w.give_up("pools over more than three axes, which has no form in ONNX.")
    name = w.read(x, dtype)
    if len(x.shape) != rank + 2:
        name = w.emit("Reshape", name, w.ints([-1, 1, *space]))
    return name, space


def _as_before(w: Any, name: str, step: Any) -> str:
    (x,) = step.inputs
    return name if len(x.shape) == len(step.params["windows"]) + 2 else w.reshape(name, step.output.shape)


@form("greatest")
def _greatest(w: Any, step: Any) -> str:
    (x,), windows = step.inputs, step.params["windows"]
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    name, space = _as_images(w, step, dtype)
    name, pads = _ends(w, name, len(windows) + 2, space, windows)
    _, kernels, strides, _, dilations = map(list, zip(*windows, strict=True))
    if any(
        front >= kernel for front, kernel in zip(pads, kernels * 2, strict=True)
    ):  # of which runtimes have no MaxPool
        around = w.ints([0, 0, *pads[: len(windows)], 0, 0, *pads[len(windows) :]])
        name = w.emit("Pad", name, around, w.constant(np.asarray(-math.inf, dtype)))
        pads = [0] * len(pads)
    how = {"kernel_shape": kernels, "strides": strides, "dilations": dilations, "pads": pads}
    made = w.emit("MaxPool", name, **how)
    if x.dtype.kind == "f":  # runtimes pass over a NaN
        bad = w.emit("MaxPool", w.cast(w.emit("IsNaN", name), bool, dtype), **how)
        made = w.emit("Where", w.cast(bad, dtype, bool), w.constant(np.asarray(math.nan, dtype)), made)
    return str(w.cast(_as_before(w, made, step), dtype, step.output.dtype))


@form("summed")
def _summed(w: Any, step: Any) -> str:
    """The mean of all entries of a window, the padding among them, times their number; or a convolution with ones."""
    (x,), windows = step.inputs, step.params["windows"]
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    name, space = _as_images(w, step, dtype)
    _, kernels, strides, _, dilations = map(list, zip(*windows, strict=True))
    wide = max(dilations) > 1 or any(front >= kernel for _, kernel, _, front, _ in windows)
    if wide and len(x.shape) == len(windows) + 2:
        name = w.emit("Reshape", name, w.ints([-1, 1, *space]))
    name, pads = _ends(w, name, len(windows) + 2, space, windows)
    if wide:
        ones = w.constant(np.ones((1, 1, *kernels), dtype))
        made = w.emit("Conv", name, ones, strides=strides, dilations=dilations, pads=pads)
        return str(w.cast(w.reshape(made, step.output.shape), dtype, step.output.dtype))
    mean = w.emit("AveragePool", name, kernel_shape=kernels, strides=strides, pads=pads, count_include_pad=1)
    made = Scope(w, dtype).Mul(mean, math.prod(kernels))
    return str(w.cast(_as_before(w, made, step), dtype, step.output.dtype))


@form("spread")
def _spread(w: Any, step: Any) -> str:
    """The adjoint of sums: a transposed convolution with ones."""
    (t,), windows, shape = step.inputs, step.params["windows"], step.params["shape"]
    _, kernels, strides, fronts, dilations = map(list, zip(*windows, strict=True))
    ones = w.constant(np.ones((1, 1, *kernels), t.dtype))
    return _put_back(
        w, w.read(t), t.shape[len(t.shape) - len(shape) :], ones, step, (strides, fronts, dilations, kernels), 1
    )


def _put_back(w: Any, name: str, sizes: Sequence[int], ones: str, step: Any, how: Any, channels: int) -> str:
    """A transposed convolution to `shape`."""
    shape = step.params["shape"]
    strides, fronts, dilations, kernels = how
    name = w.emit("Reshape", name, w.ints([-1, channels, *sizes]))
    rests = [
        stride * (size - 1) + (kernel - 1) * dilation + 1 - front - n
        for n, size, kernel, stride, front, dilation in zip(
            shape, sizes, kernels, strides, fronts, dilations, strict=True
        )
    ]
    pads = [*fronts, *[max(rest, 0) for rest in rests]]
    made = w.emit("ConvTranspose", name, ones, strides=list(strides), dilations=list(dilations), pads=pads)
    if any(rest < 0 for rest in rests):
        behind = w.ints([0] * (len(shape) + 4) + [max(-rest, 0) for rest in rests])
        made = w.emit("Pad", made, behind, w.constant(np.zeros((), step.output.dtype)))
    return str(w.reshape(made, step.output.shape))


# Windows of arrays (im2col) and back


@form("unfold")
def _unfold(w: Any, step: Any) -> str:
    (x,), params = step.inputs, step.params
    windows = zip(
        params["size"], params["window"], params["strides"], params["before"], params["dilation"], strict=True
    )
    return _patches(w, w.read(x), x, list(windows), 0, x.dtype)


def _patches(w: Any, name: str, x: Any, windows: Sequence[Sequence[int]], nothing: float, dtype: Any) -> str:
    """The windows of a value like x (..., *n) as (..., *kernels, *sizes), with `nothing` outside x: rows are taken along each axis from the
    padded array, at the places of all entries of all windows."""
    rank, loops = len(windows), len(x.shape) - len(windows)
    pads, places = [0] * (2 * len(x.shape)), []
    for i, (n, (size, kernel, stride, front, dilation)) in enumerate(zip(x.shape[loops:], windows, strict=True)):
        at = np.arange(kernel)[:, None] * dilation + np.arange(size) * stride
        pads[loops + i], pads[len(x.shape) + loops + i] = front, max(int(at.max()) + 1 - front - n, 0)
        places.append(at)
    name = w.emit("Pad", name, w.ints(pads), w.constant(np.asarray(nothing, dtype)))
    for i, at in enumerate(places):
        name = w.emit("Gather", name, w.constant(at), axis=loops + 2 * i)
    order = [*range(loops), *range(loops, loops + 2 * rank, 2), *range(loops + 1, loops + 2 * rank, 2)]
    return str(w.emit("Transpose", name, perm=order))


@form("fold")
def _fold(w: Any, step: Any) -> str:
    """A transposed convolution in which each entry of a window is a channel, with a 1 at its place."""
    (y,), params = step.inputs, step.params
    rank = len(params["shape"])
    window, sizes = y.shape[len(y.shape) - 2 * rank : len(y.shape) - rank], y.shape[len(y.shape) - rank :]
    count = math.prod(window)
    ones = w.constant(np.eye(count, dtype=y.dtype).reshape(count, 1, *window))
    return _put_back(
        w, w.read(y), sizes, ones, step, (params["strides"], params["before"], params["dilation"], window), count
    )


# The way back through the greatest entries: `index` counts the entries of a window in C order


def _side_by_side(w: Any, name: str, shape: Sequence[int], windows: Sequence[Sequence[int]]) -> str:
    """Patches (..., *kernels, *sizes) as (..., entries of a window, *sizes)."""
    sizes, kernels = [window[0] for window in windows], [window[1] for window in windows]
    return str(w.reshape(name, [*shape[: len(shape) - len(windows)], math.prod(kernels), *sizes]))


def _chosen(w: Any, index: Any, windows: Sequence[Sequence[int]]) -> str:
    """Which entry of each window `index` names: (..., entries of a window, *sizes)."""
    rank = len(windows)
    numbers = np.arange(math.prod([window[1] for window in windows])).reshape(-1, *[1] * rank)
    return str(w.emit("Equal", w.emit("Unsqueeze", w.read(index, np.int64), w.ints([-rank - 1])), w.constant(numbers)))


@form("first_greatest")
def _first_greatest(w: Any, step: Any) -> str:
    x, _ = step.inputs
    windows = step.params["windows"]
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    patches = _side_by_side(w, _patches(w, w.read(x, dtype), x, windows, -math.inf, dtype), x.shape, windows)
    first = first_of(w, "ArgMax", patches, dtype, len(x.shape) - len(windows), False)
    y = step.output
    loops = len(x.shape) == len(y.shape)
    return str(w.cast(first if loops else w.emit("Expand", first, w.ints(y.shape)), np.int64, y.dtype))


@form("chosen_of")
def _chosen_of(w: Any, step: Any) -> str:
    s, index = step.inputs
    windows, dtype = step.params["windows"], step.output.dtype
    patches = _side_by_side(w, _patches(w, w.read(s), s, windows, 0, dtype), s.shape, windows)
    kept = w.emit("Where", _chosen(w, index, windows), patches, w.constant(np.zeros((), dtype)))
    return str(w.emit("ReduceSum", kept, w.ints([-len(windows) - 1]), keepdims=0))


@form("placed_at")
def _placed_at(w: Any, step: Any) -> str:
    t, index = step.inputs
    windows, dtype = step.params["windows"], step.output.dtype
    sizes, kernels, strides, fronts, dilations = map(list, zip(*windows, strict=True))
    count, rank = math.prod(kernels), len(windows)
    column = w.emit("Unsqueeze", w.read(t), w.ints([-rank - 1]))
    spread = w.emit("Where", _chosen(w, index, windows), column, w.constant(np.zeros((), dtype)))
    ones = w.constant(np.eye(count, dtype=dtype).reshape(count, 1, *kernels))
    return _put_back(w, spread, sizes, ones, step, (strides, fronts, dilations, kernels), count)
