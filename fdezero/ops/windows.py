"""Convolution in any number of dimensions: one form, linear in three arrays, whose derivatives by each of them are three operations.

    T(x, w, y) = sum of x[n, g, c, o * stride + i * dilation - before] * w[g, k, c, i] * y[n, g, k, o]

    conv (x, w) -> y        conv_input (w, y) -> x        conv_kernel (x, y) -> w

x is (..., N, C, *S), w (..., K, C / groups, *I) and y (..., N, K, *O). Entries outside x count as 0. The adjoint of each operation for
each argument is one of the three. `size` is the shape in space of the result; `before` says how far the first window begins in front of x.
Axes further left are loop axes. In memory the results are channels last: the strides of x are those of (..., N, *S, C).
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..core import Multilinear, multilinear
from ..devices import array_module
from ..values import is_half, is_inexact
from . import window_products
from .patches import Ints, Scratch, merged, patches, views
from .raw_kernels import serves
from .shape import common_loops, stretched
from .window_steps import phases_of

MANY = 64  # groups of one channel, from which einsum's multiplication with addition is faster than two passes
ARGUMENTS = {"y": "xw", "x": "wy", "w": "xy"}  # of the operation whose result is y, x or w


def _dtypes(a: Any, b: Any) -> tuple[Any, Any]:
    """The dtype of the result, and the one to compute in: sums of float16 and bfloat16 are float32."""
    dtype = np.result_type(a.dtype, b.dtype)
    return dtype, np.dtype(np.float32) if is_half(dtype) else dtype


def _last(x: Any, rank: int) -> Any:
    """x (..., C, *S) as (..., *S, C), a view."""
    loops = x.ndim - rank - 1
    return x.transpose(*range(loops), *range(loops + 1, x.ndim), loops)


@functools.lru_cache(64)
def _pattern(ndim: int, rank: int) -> np.ndarray:
    """A small array (..., C, *S) that is channels last in memory."""
    small = np.empty((2,) * ndim)
    return small.transpose(*range(ndim - rank - 1), ndim - 1, *range(ndim - rank - 1, ndim - 1))


def _empty(like: Any, shape: Ints, rank: int, dtype: Any) -> Any:
    """A new array (..., C, *S), channels last in memory. It owns its memory, so a tape need not copy it."""
    if isinstance(like, np.ndarray):
        return np.empty_like(_pattern(len(shape), rank), shape=shape, dtype=dtype)
    loops = len(shape) - rank - 1
    dense = np.empty_like(like, shape=(*shape[:loops], *shape[loops + 1 :], shape[loops]), dtype=dtype, order="C")
    return dense.transpose(*range(loops), len(shape) - 1, *range(loops, len(shape) - 1))


def _images(x: Any, loops: Ints, stacks: int, groups: int, rank: int) -> Any:
    """x (..., N, C, *S) as (L, N, *S, G, C / G); with one stack the loop axes are examples."""
    x = _last(stretched(x, loops + x.shape[x.ndim - rank - 2 :]), rank)
    space, channels = x.shape[x.ndim - rank - 1 : -1], x.shape[-1]
    count = math.prod(loops) * x.shape[x.ndim - rank - 2] // stacks
    return x.reshape(stacks, count, *space, groups, channels // groups)


def _kernels(w: Any, loops: Ints, stacks: int, groups: int, rank: int) -> Any:
    """w (..., K, C / G, *I) as (L, G, K / G, *I, C / G); in that order in memory, except on a GPU."""
    if stacks > 1:
        w = stretched(w, loops + w.shape[w.ndim - rank - 2 :])
    w = _last(w, rank)
    k, inner = w.shape[w.ndim - rank - 2], w.shape[w.ndim - rank - 1 :]
    w = w if serves(w) else array_module(w).ascontiguousarray(w)
    return w.reshape(stacks, groups, k // groups, *inner)


def _stacks(w: Any, loops: Ints, rank: int) -> int:
    """How many kernels are stacked. Where all loop axes share one kernel, they are examples."""
    return 1 if math.prod(w.shape[: w.ndim - rank - 2]) == 1 else math.prod(loops)


def _convolve(
    y: Any, x: Any, matrices: Any, window: Ints, *, strides: Ints, before: Ints, dilation: Ints, dtype: Any
) -> None:
    """Write y (L, N, *O, G, K) for x (L, N, *S, G, C) and the matrices (L, G, *I and C, K) of kernels of size `window` (*I)."""
    size, (groups, k) = y.shape[2:-2], y.shape[-2:]
    if x.shape[-1] == 1 < groups and y.dtype == dtype:
        _convolve_channels(y, x, matrices, window, strides, before, dilation)
        return
    product = array_module(x).matmul
    scratch = Scratch()
    try:
        is_direct = y.dtype == dtype and merged(y, 1, y.ndim - 2)
        memory = None
        for place, columns in patches(x, window, size, strides, before, dilation, dtype, groups * k):
            target, factor = y[place], matrices[place[0]]
            if is_direct:
                product(columns, factor, out=target.reshape(len(target), -1, groups, k).swapaxes(1, 2))
                continue
            shape = (len(target), groups, columns.shape[-2], k)
            if memory is None:
                memory = scratch(x, math.prod(shape), dtype)
            block = memory[: math.prod(shape)].reshape(shape)
            product(columns, factor, out=block)
            target[...] = block.swapaxes(1, 2).reshape(target.shape)
    finally:
        scratch.free()


def _convolve_channels(
    y: Any, x: Any, matrices: Any, window: Ints, strides: Ints, before: Ints, dilation: Ints
) -> None:
    """`_convolve` of every channel on its own, where products of matrices would be products of vectors: entry by entry of the kernels."""
    size, (groups, k) = y.shape[2:-2], y.shape[-2:]
    kernels = matrices.reshape(*matrices.shape[:2], *window, k)
    seen_axes, kernel_axes, result_axes = _axes_of_channels(len(size))
    scratch = Scratch()
    try:
        memory = None
        for place, seen in views(x, window, size, strides, before, dilation, y.dtype, 3 * groups * k):
            into, kernel = y[place], kernels[place[0]]
            if isinstance(x, np.ndarray) and k == 1 and groups >= MANY:
                neighbours = np.ascontiguousarray(np.moveaxis(kernel[..., 0], 1, -1))
                np.einsum(seen[..., 0], seen_axes, neighbours, kernel_axes, result_axes, out=into[..., 0])
                continue
            if memory is None:
                memory = scratch(x, into.size, y.dtype)
            term = memory[: into.size].reshape(into.shape)
            for number, tap in enumerate(np.ndindex(*window)):
                given = seen[(*[slice(None)] * (2 + len(size)), *tap)]  # (l, n, *o, G, 1)
                factor = kernel[(slice(None), slice(None), *tap)].reshape(-1, *(1,) * (1 + len(size)), groups, k)
                array_module(x).multiply(given, factor, out=term if number else into)
                if number:
                    into += term
    finally:
        scratch.free()


def _axes_of_channels(rank: int) -> tuple[list[int], list[int], list[int]]:
    """Numbers of the axes, for einsum: of views (l, n, *o, *I, G), of kernels (l, *I, G), and of results (l, n, *o, G)."""
    pixels, taps, group = range(2, 2 + rank), range(2 + rank, 2 + 2 * rank), 2 + 2 * rank
    return [0, 1, *pixels, *taps, group], [0, *taps, group], [0, 1, *pixels, group]


def _write_conv(
    out: Any, x: Any, w: Any, *, size: Ints, strides: Ints, before: Ints, dilation: Ints, groups: int
) -> None:
    rank, dtype = len(strides), _dtypes(x, w)[1]
    loops = out.shape[: out.ndim - rank - 2]
    stacks = _stacks(w, loops, rank)
    images = functools.partial(_images, loops=loops, stacks=stacks, groups=groups, rank=rank)
    if serves(out, x, w):
        windows = tuple(zip(size, w.shape[-rank:], strides, before, dilation, strict=True))
        if window_products.by_library("y", x, w, out, windows, x.shape[-rank:]):
            return
        window_products.convolve(images(out), images(x), _kernels(w, loops, stacks, groups, rank), windows, dtype)
        return
    kernels = _kernels(w, loops, stacks, groups, rank)
    matrices = kernels.reshape(*kernels.shape[:3], -1).swapaxes(-1, -2)
    _convolve(
        images(out), images(x), matrices, kernels.shape[3:-1], strides=strides, before=before, dilation=dilation, dtype=dtype
    )  # fmt: skip


def _write_input(
    out: Any, w: Any, y: Any, *, size: Ints, strides: Ints, before: Ints, dilation: Ints, groups: int
) -> None:
    rank, dtype = len(strides), _dtypes(w, y)[1]
    loops = out.shape[: out.ndim - rank - 2]
    stacks = _stacks(w, loops, rank)
    images = functools.partial(_images, loops=loops, stacks=stacks, groups=groups, rank=rank)
    if serves(out, w, y):
        windows = tuple(zip(y.shape[-rank:], w.shape[-rank:], strides, before, dilation, strict=True))
        if window_products.by_library("x", w, y, out, windows, size):
            return
    x, y, kernels = images(out), images(y), _kernels(w, loops, stacks, groups, rank)
    if serves(out, w, y):
        window_products.adjoint_of_images(x, kernels, y, windows, dtype)
        return
    kernels = kernels.transpose(0, 1, *range(3, 3 + rank), 2, 3 + rank)  # (L, G, *I, K, C)
    axes = [list(phases_of(*each)) for each in zip(size, kernels.shape[2:-2], strides, before, dilation, strict=True)]
    for phases in itertools.product(*axes):
        target = x[(slice(None), slice(None), *[phase[0] for phase in phases])]
        taken = kernels[(slice(None), slice(None), *[phase[1] for phase in phases])]
        if not taken.size:
            target[...] = 0
            continue
        _convolve(
            target, y, taken.reshape(stacks, groups, -1, taken.shape[-1]), taken.shape[2:-2], strides=(1,) * rank,
            before=tuple([phase[2] for phase in phases]), dilation=tuple([phase[3] for phase in phases]), dtype=dtype,
        )  # fmt: skip


def _write_kernel(
    out: Any, x: Any, y: Any, *, size: Ints, strides: Ints, before: Ints, dilation: Ints, groups: int
) -> None:
    rank, dtype = len(strides), _dtypes(x, y)[1]
    loops = out.shape[: out.ndim - rank - 2]
    stacks = math.prod(loops)
    images = functools.partial(_images, loops=loops, stacks=stacks, groups=groups, rank=rank)
    if serves(out, x, y):
        windows = tuple(zip(y.shape[-rank:], size, strides, before, dilation, strict=True))
        if window_products.by_library("w", x, y, out, windows, x.shape[-rank:]):
            return
    x, y = images(x), images(y)
    w = _last(out, rank).reshape(stacks, groups, out.shape[-rank - 2] // groups, -1)  # (L, G, K, *I and C), a view
    if serves(out, x, y):
        window_products.adjoint_of_kernels(w, x, y, windows, dtype)
        return
    of_blocks = _of_channels if x.shape[-1] == 1 < groups and is_inexact(dtype) else _of_products
    scratch = Scratch()
    try:
        total = w if w.dtype == dtype else scratch(w, w.size, dtype).reshape(w.shape)
        done, memory = 0, None
        for stack, write in of_blocks(x, y, size, strides, before, dilation, dtype):
            into = total[stack]
            if stack.stop > done:  # the first block of these stacks
                write(into)
                done = stack.stop
                continue
            if memory is None:
                memory = scratch(x, total[0].size, dtype).reshape(1, *total.shape[1:])
            write(memory)
            into += memory
        if not done:
            total[...] = 0
        if total is not w:
            w[...] = total
    finally:
        scratch.free()


Written = Iterator[tuple[slice, Callable[[Any], Any]]]  # stacks, and a function that writes what a block adds to their kernels


def _of_products(x: Any, y: Any, size: Ints, strides: Ints, before: Ints, dilation: Ints, dtype: Any) -> Written:
    product = array_module(x).matmul
    entries = math.prod(y.shape[-2:])
    for (stack, *rest), columns in patches(x, size, y.shape[2:-2], strides, before, dilation, dtype, entries):
        block = y[(stack, *rest)]
        block = block.reshape(len(block), -1, *block.shape[-2:]).transpose(0, 2, 3, 1)  # (l, G, K, pixels)
        block = block if block.dtype == dtype else block.astype(dtype)

        def write(out: Any, block: Any = block, columns: Any = columns) -> None:
            product(block, columns, out=out)

        yield stack, write


def _of_channels(x: Any, y: Any, size: Ints, strides: Ints, before: Ints, dilation: Ints, dtype: Any) -> Written:
    """Every channel on its own, as in `_convolve_channels`."""
    rank, (groups, k) = len(size), y.shape[-2:]
    seen_axes, kernel_axes, result_axes = _axes_of_channels(rank)
    for (stack, *rest), seen in views(x, size, y.shape[2:-2], strides, before, dilation, dtype, 3 * groups * k):
        block = y[(stack, *rest)]

        def write(out: Any, seen: Any = seen, block: Any = block) -> None:
            if isinstance(x, np.ndarray) and k == 1:
                kernel = np.einsum(seen[..., 0], seen_axes, block[..., 0], result_axes, kernel_axes)
                out[:, :, 0] = np.moveaxis(kernel.reshape(len(out), -1, groups), 1, 2)
                return
            for number, tap in enumerate(np.ndindex(*size)):
                products = seen[(*[slice(None)] * (2 + rank), *tap)] * block
                out[..., number] = products.reshape(len(block), -1, groups, k).sum(axis=1)

        yield stack, write


def _with_result(form: str, write: Callable[..., None]) -> Callable[..., Any]:
    """The operation of `form` that returns a new array, written by `write`."""

    def run(a: Any, b: Any, *, size: Ints, strides: Ints, before: Ints, dilation: Ints, groups: int) -> Any:
        rank = len(strides)
        loops = common_loops((a, rank + 2), (b, rank + 2))
        if form == "y":  # (N, K), from x (N, C) and w (K, C / groups)
            outer = a.shape[-rank - 2], b.shape[-rank - 2]
        elif form == "x":  # (N, C), from w and y (N, K)
            outer = b.shape[-rank - 2], a.shape[-rank - 1] * groups
        else:  # (K, C / groups), from x and y
            outer = b.shape[-rank - 1], a.shape[-rank - 1] // groups
        out = _empty(a, (*loops, *outer, *size), rank, _dtypes(a, b)[0])
        write(out, a, b, size=size, strides=strides, before=before, dilation=dilation, groups=groups)
        return out

    return run


def _adjoint(form: str, position: int) -> Callable[..., Any]:
    """The adjoint for one argument: the operation whose result is that argument, of the other argument and the cotangent."""
    wanted = ARGUMENTS[form][position]

    def adjoint(t: Any, a: Any, b: Any, *, size: Ints, **params: Any) -> Any:
        given = dict(zip((*ARGUMENTS[form], form), (a, b, t), strict=True))
        rank = len(params["strides"])
        like = given.pop(wanted)
        if wanted == "w" and len(like.shape) == rank + 2:
            given = _as_examples(given, rank)
        operands = [given[name] for name in ARGUMENTS[wanted]]
        return OPERATIONS[wanted](*operands, size=tuple(like.shape[-rank:]), **params)

    return adjoint


def _as_examples(given: dict[str, Any], rank: int) -> dict[str, Any]:
    """x and y with their loop axes joined to the examples, where both have the same: a kernel without loop axes is one product."""
    loops = {z.shape[: -rank - 2] for z in given.values()}
    if len(loops) > 1 or loops == {()}:
        return given
    return {name: z.reshape(-1, *z.shape[-rank - 1 :]) for name, z in given.items()}


def _declared(name: str, form: str, write: Callable[..., None]) -> Multilinear:
    def in_native_code(*given: Any) -> Any:
        from . import native_windows  # on first use: it loads threads and ctypes, which a gradient does not need

        return getattr(native_windows, name)(*given)

    return multilinear(
        name,
        _with_result(form, write),
        _adjoint(form, 0),
        _adjoint(form, 1),
        core=lambda args, params: (len(params["strides"]) + 2,) * 2,
        write=write,
        native=in_native_code,
        fresh=True,
    )


conv = _declared("conv", "y", _write_conv)
conv_input = _declared("conv_input", "x", _write_input)
conv_kernel = _declared("conv_kernel", "w", _write_kernel)
OPERATIONS = {"y": conv, "x": conv_input, "w": conv_kernel}
