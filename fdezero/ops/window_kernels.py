"""Windows on a GPU: one kernel for each operation of pooling, and for the patches of a convolution and their sums.

A thread makes one entry of the result: it reads all that the entry needs, and no other thread writes there. So there are no atomic
operations, and every run adds in the same order. Arrays are read where they lie, in any order of their axes.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..devices import backend_of
from .kernels import C_TYPES
from .raw_kernels import NAMES, launch, serves
from .shape import common_loops, stretched

Window = tuple[int, int, int, int, int]  # size, kernel, stride, before, dilation along one axis
Windows = tuple[Window, ...]


def or_kernel(kernel: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of a function that writes a result: on a GPU the `kernel` writes it."""

    def decorate(write: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(write)
        def chosen(out: Any, *arrays: Any, windows: Windows, **params: Any) -> None:
            if not serves(out, *arrays):
                write(out, *arrays, windows=windows, **params)
                return
            rank = len(windows)
            loops = common_loops(*[(x, rank) for x in arrays])
            kernel(out, *[stretched(x, loops + x.shape[x.ndim - rank :]) for x in arrays], windows)

        return chosen

    return decorate


def dense(x: Any) -> tuple[Any, list[int]]:
    """The entries of x as one line, in the order of memory, and the distance in it along each axis of x. Copies x if it has gaps."""
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis] if x.shape[axis] > 1 else -math.inf)
    steps, step = [0] * x.ndim, 1
    for axis in reversed(order):
        steps[axis] = step
        step *= x.shape[axis]
    if all(n == 1 or s == k * x.itemsize for n, s, k in zip(x.shape, x.strides, steps, strict=True)):
        return x.transpose(order).reshape(-1), steps
    backend = backend_of(x)
    return dense(backend.module.ascontiguousarray(x))


def _order(x: Any, rank: int) -> tuple[list[int], list[int]]:
    """The loop axes that lie outside the last `rank` axes in memory, and those inside, each in the order of memory."""
    loops = sorted(range(x.ndim - rank), key=lambda axis: -abs(x.strides[axis]))
    least = min(
        [abs(s) for s, n in zip(x.strides[x.ndim - rank :], x.shape[x.ndim - rank :], strict=True) if n > 1], default=0
    )
    inner = [axis for axis in loops if x.shape[axis] > 1 and abs(x.strides[axis]) < least]
    return [axis for axis in loops if axis not in inner], inner


def _line(x: Any, order: list[int]) -> Any:
    """The entries of x with its axes in this order, as one line; None if they do not lie like that in memory."""
    step = x.itemsize
    for axis in reversed(order):
        if x.shape[axis] != 1 and x.strides[axis] != step:
            return None
        step *= x.shape[axis]
    return x.transpose(order).reshape(-1)


def _compute(dtype: Any) -> str:
    """The C type in which entries of this dtype are added."""
    return "float" if dtype == np.float16 else C_TYPES[NAMES[dtype]]


def _decoded(axes: list[tuple[str, str]]) -> str:
    """Declarations of the coordinates of entry i, the last axis first; `axes` are pairs of a coordinate and its length."""
    lines = ["long long rest = i;"]
    for place, length in reversed(axes[1:]):
        lines.append(f"long long {place} = rest % {length}; rest /= {length};")
    return "\n".join([*lines, f"long long {axes[0][0]} = rest;"])


def _number(rank: int, place: str, length: str, inner: bool = True) -> str:
    """The number of the entry (outer, place0, place1, ..., inner) in an array of these lengths."""
    text = "outer"
    for k in range(rank):
        text = f"({text} * {length}{k} + {place}{k})"
    return f"{text} * inners + inner" if inner else text


# Pooling: x (outer, *n, inner), windows (outer, *o, inner)


def _numbers_of(windows: Windows, lengths: tuple[int, ...], inner: int) -> dict[str, int]:
    numbers = {"inners": inner}
    for k, (window, n) in enumerate(zip(windows, lengths, strict=True)):
        numbers |= {
            f"{name}{k}": value
            for name, value in zip(("size", "kernel", "stride", "before", "gap"), window, strict=True)
        }
        numbers[f"n{k}"] = n
    return numbers


def _over_windows(rank: int, body: str) -> str:
    """A loop over the entries of window (o0, o1, ...): `number` counts them, `at` is where each lies in x."""
    text = f"long long at = {_number(rank, 'p', 'n')};\n{body}"
    for k in reversed(range(rank)):
        number = f"(number{k - 1} * kernel{k} + k{k})" if k else "k0"
        text = (
            f"for (long long k{k} = 0; k{k} < kernel{k}; ++k{k}) {{\nlong long p{k} = o{k} * stride{k} - before{k} + k{k} * gap{k};\n"
            f"long long number{k} = {number};\nif (p{k} < 0 || p{k} >= n{k}) continue;\n{text}\n}}"
        )
    return text


def _over_entries(rank: int, body: str) -> str:
    """A loop over the windows that have entry (p0, p1, ...): `number` is that of the entry there, `at` where the window lies."""
    text = f"long long at = {_number(rank, 'o', 'size')};\n{body}"
    for k in reversed(range(rank)):
        number = f"(number{k - 1} * kernel{k} + k{k})" if k else "k0"
        text = (
            f"for (long long k{k} = 0; k{k} < kernel{k}; ++k{k}) {{\nlong long q{k} = p{k} + before{k} - k{k} * gap{k};\n"
            f"long long o{k} = q{k} / stride{k}, number{k} = {number};\n"
            f"if (q{k} < 0 || q{k} % stride{k} != 0 || o{k} >= size{k}) continue;\n{text}\n}}"
        )
    return text


def _at_window(rank: int) -> str:
    return _decoded([("outer", ""), *[(f"o{k}", f"size{k}") for k in range(rank)], ("inner", "inners")])


def _at_entry(rank: int) -> str:
    return _decoded([("outer", ""), *[(f"p{k}", f"n{k}") for k in range(rank)], ("inner", "inners")])


def _pooled(name: str, out: Any, arrays: dict[str, Any], windows: Windows, whole: Any, text: str) -> None:
    """Run a kernel over `out`. The arrays are read in the order in which `whole`, one of them or out, lies in memory."""
    if not out.size:
        return
    rank, xp = len(windows), backend_of(out).module
    outer, inner = _order(whole, rank)
    order = [*outer, *range(out.ndim - rank, out.ndim), *inner]
    lines = {x: _line(array, order) for x, array in arrays.items()}
    for x, line in lines.items():
        if line is None:  # read by its steps
            lines[x] = arrays[x].transpose(order)
    numbers = _numbers_of(windows, whole.shape[whole.ndim - rank :], math.prod([out.shape[axis] for axis in inner]))
    result = _line(out, order)
    if result is not None:
        launch(f"{name}{rank}", lines, numbers, result, text)
        return
    between = xp.empty([out.shape[axis] for axis in order], out.dtype)
    launch(f"{name}{rank}", lines, numbers, between.reshape(-1), text)
    out.transpose(order)[...] = between


def write_greatest(out: Any, x: Any, windows: Windows) -> None:
    """The greatest entry of every window, NaN if one is."""
    rank, kind = len(windows), _compute(x.dtype)
    least = (
        "-1.0 / 0.0"
        if x.dtype.kind == "f"
        else "0"
        if x.dtype.kind in "bu"
        else f"{int(np.iinfo(x.dtype).min) + 1}LL - 1"
    )
    body = f"{kind} v = x[at];\nif (none || v > best || v != v) best = best == best || none ? v : best;\nnone = false;"
    text = f"{_at_window(rank)}\n{kind} best = ({kind})({least});\nbool none = true;\n{_over_windows(rank, body)}\nresult = best;"
    _pooled("greatest", out, {"x": x}, windows, x, text)


def write_first_greatest(out: Any, x: Any, y: Any, windows: Windows) -> None:
    """The number of the first greatest entry of every window, which is y, or of the first NaN.

    Where there are few windows, y is not read, as on the CPU.
    """
    rank, kind = len(windows), _compute(x.dtype)
    last = " * ".join(f"kernel{k}" for k in range(rank))
    start = f"{_at_window(rank)}\n{kind} top = 0;\nbool sought = true;\nlong long first = {last} - 1;"
    found = f"first = number{rank - 1}; sought = false;"
    arrays = {"x": x}
    if math.prod([window[0] for window in windows]) < math.prod([window[1] for window in windows]):
        body = f"{kind} v = x[at];\nif (sought || (top == top && (v > top || v != v))) {{ top = v; {found} }}"
    else:
        arrays["y"] = y
        start += f"\ntop = y[{_number(rank, 'o', 'size')}];"
        body = f"{kind} v = x[at];\nif (sought && (v == top || (v != v && top != top))) {{ {found} }}"
    text = f"{start}\n{_over_windows(rank, body)}\nresult = first;"
    _pooled("first_greatest", out, arrays, windows, x, text)


def write_chosen(out: Any, s: Any, index: Any, windows: Windows) -> None:
    """The entry of every window that `index` names; 0 if it lies outside."""
    rank = len(windows)
    lines = [_at_window(rank), f"long long left = index[{_number(rank, 'o', 'size')}];", "bool inside = true;"]
    for k in reversed(range(rank)):
        lines.append(f"long long p{k} = o{k} * stride{k} - before{k} + (left % kernel{k}) * gap{k}; left /= kernel{k};")
        lines.append(f"inside = inside && p{k} >= 0 && p{k} < n{k};")
    kind = _compute(s.dtype)
    lines.append(f"result = inside ? ({kind})s[{_number(rank, 'p', 'n')}] : ({kind})0;")
    _pooled("chosen", out, {"s": s, "index": index}, windows, s, "\n".join(lines))


def write_placed(out: Any, t: Any, index: Any, windows: Windows) -> None:
    """For every entry the sum of t over the windows whose index names it."""
    rank, kind = len(windows), _compute(t.dtype)
    body = f"if (index[at] == number{rank - 1}) total += t[at];"
    text = f"{_at_entry(rank)}\n{kind} total = 0;\n{_over_entries(rank, body)}\nresult = total;"
    _pooled("placed", out, {"t": t, "index": index}, windows, out, text)


def write_summed(out: Any, x: Any, windows: Windows) -> None:
    """The sum of every window."""
    rank, kind = len(windows), _compute(out.dtype)
    text = f"{_at_window(rank)}\n{kind} total = 0;\n{_over_windows(rank, 'total += x[at];')}\nresult = total;"
    _pooled("summed", out, {"x": x}, windows, x, text)


def write_spread(out: Any, t: Any, windows: Windows) -> None:
    """For every entry the sum of t over the windows that have it."""
    rank, kind = len(windows), _compute(out.dtype)
    text = f"{_at_entry(rank)}\n{kind} total = 0;\n{_over_entries(rank, 'total += t[at];')}\nresult = total;"
    _pooled("spread", out, {"t": t}, windows, out, text)


# Convolution: images (L, N, *S, G, C), columns (L, G, N, *O, *I, C)


def _space(rank: int) -> list[tuple[str, str]]:
    return [(f"o{k}", f"size{k}") for k in range(rank)]


def _patch(rank: int, channels_first: bool) -> list[tuple[str, str]]:
    """The axes within a patch: (*I, C), or (C, *I)."""
    taps = [(f"k{k}", f"kernel{k}") for k in range(rank)]
    return [("c", "channels"), *taps] if channels_first else [*taps, ("c", "channels")]


def write_columns(columns: Any, x: Any, windows: Windows, channels_first: bool = False) -> None:
    """The patches of images: columns (L, G, N, *O, *I, C), or (L, G, N, *O, C, *I), of x (L, N, *S, G, C); entries outside x are 0."""
    rank = len(windows)
    line, steps = dense(x)
    axes = [("l", ""), ("g", "groups"), ("m", "examples"), *_space(rank), *_patch(rank, channels_first)]
    places = [f"long long p{k} = o{k} * stride{k} - before{k} + k{k} * gap{k};" for k in range(rank)]
    inside = " && ".join(f"p{k} >= 0 && p{k} < n{k}" for k in range(rank))
    at = " + ".join(["l * step_l", "m * step_m", *[f"p{k} * step{k}" for k in range(rank)], "g * step_g", "c * step_c"])
    kind = _compute(columns.dtype)
    text = "\n".join([_decoded(axes), *places, f"result = {inside} ? ({kind})x[{at}] : ({kind})0;"])
    numbers = {
        "groups": x.shape[-2],
        "examples": x.shape[1],
        "channels": x.shape[-1],
        **_numbers_of(windows, x.shape[2:-2], 1),
    }
    names = ["step_l", "step_m", *[f"step{k}" for k in range(rank)], "step_g", "step_c"]
    launch(f"columns{rank}", {"x": line}, numbers | dict(zip(names, steps, strict=True)), columns, text)


def write_folded(out: Any, columns: Any, windows: Windows, channels_first: bool = False) -> None:
    """The sums of patches put back: out (L, N, *S, G, C), given in any layout, of columns as `write_columns` makes them."""
    rank, kind = len(windows), _compute(columns.dtype)
    axes = [
        ("l", ""),
        ("m", "examples"),
        *[(f"p{k}", f"n{k}") for k in range(rank)],
        ("g", "groups"),
        ("c", "channels"),
    ]
    at = "(l * groups + g) * examples + m"
    for place, length in [*_space(rank), *_patch(rank, channels_first)]:
        at = f"({at}) * {length} + {place}"
    body = f"total += columns[{at}];"
    for k in reversed(range(rank)):
        body = (
            f"for (long long k{k} = 0; k{k} < kernel{k}; ++k{k}) {{\n"
            f"long long q{k} = p{k} + before{k} - k{k} * gap{k}, o{k} = q{k} / stride{k};\n"
            f"if (q{k} < 0 || q{k} % stride{k} != 0 || o{k} >= size{k}) continue;\n{body}\n}}"
        )
    text = f"{_decoded(axes)}\n{kind} total = 0;\n{body}\nresult = total;"
    numbers = {
        "groups": out.shape[-2],
        "examples": out.shape[1],
        "channels": out.shape[-1],
        **_numbers_of(windows, out.shape[2:-2], 1),
    }
    launch(f"folded{rank}", {"columns": columns}, numbers, out, text)
