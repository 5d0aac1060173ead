"""Native code of pooling: the plan that `sources/pooling.cpp` follows, from the layouts of the arrays."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import native
from ..values import C_TYPES
from .window_places import table_of
from .window_steps import Windows, covers, is_apart

AXES = 3  # of windows, and of loops outside them
SHARE = 1 << 16  # entries of the larger array that are worth a thread
LANES = 32  # of a part, at least


def of(name: str, places: tuple[int, int, int], numbers: int | None = None) -> Callable[..., Any]:
    """The native code of an operation: `places` are the positions of the array with the entries, and of those with an entry for each
    window, in (out, *inputs). The one at `numbers` has numbers within the kernel."""

    def serve(
        inputs: Sequence[Any], out: Any, params: dict[str, Any], how: Any
    ) -> Callable[[], Callable[..., None]] | None:
        arrays, windows = [out, *inputs], params["windows"]
        entries = arrays[places[0]].dtype
        known = [np.dtype(np.uint8) if i == numbers else entries for i in range(len(arrays))]
        if entries.name not in ("float32", "float64") or [x.dtype for x in arrays] != known:
            return None
        if not all(math.prod(x.shape) for x in arrays):
            return None
        plan, copied = _plan(windows, [arrays[i] for i in places], how.threads), []
        if plan is None:
            arrays = [out, *[_in_order_of(out, x) for x in inputs]]
            copied = [i for i, x in enumerate(inputs) if arrays[i + 1].strides != x.strides]
            plan = _plan(windows, [arrays[i] for i in places], how.threads) if copied else None
        if plan is None:
            return None

        def make() -> Callable[..., None]:
            library = native.library(f"typedef {C_TYPES[entries.name]} T;\n{native.source('pooling')}", "-O2")
            function = native.function_of(library, name, ["array"] * (len(arrays) + 1) + ["i", "i"])
            units = int(plan[0] * plan[1] * plan[2] * plan[4])
            call = native.in_parts(function, units, how.threads if math.prod(arrays[places[0]].shape) >= 2 * SHARE else 1)
            rooms = {i: _room(arrays[i + 1]) for i in copied}

            def run(out: Any, *inputs: Any) -> None:
                for i, room in rooms.items():
                    np.copyto(room, inputs[i])
                call(out, *[rooms.get(i, x) for i, x in enumerate(inputs)], plan)

            return run

        return make

    return serve


def _in_order_of(out: Any, x: Any) -> Any:
    """x with its axes in the order of the memory of `out`, as a copy would have them; x itself if it has another number of axes."""
    if len(x.shape) != len(out.shape):
        return x
    strides, step = [0] * len(x.shape), x.dtype.itemsize
    for axis in sorted(range(len(x.shape)), key=lambda axis: (abs(out.strides[axis]), -axis)):
        strides[axis] = step
        step *= x.shape[axis]
    return native.Like(x.shape, x.dtype, tuple(strides))


def _room(like: Any) -> Any:
    return np.ndarray(like.shape, like.dtype, np.empty(math.prod(like.shape), like.dtype), strides=like.strides)


def _plan(windows: Windows, arrays: Sequence[Any], threads: int) -> Any:
    """The plan as integers of 64 bits, in the order of the C++ structure; None where the layouts do not suit it."""
    count, a = len(windows), arrays[0]
    if count > AXES or any(s % x.dtype.itemsize for x in arrays for s in x.strides):
        return None
    loops = np.broadcast_shapes(*[x.shape[: len(x.shape) - count] for x in arrays])
    steps = [_steps(x, loops, count) for x in arrays]
    outer, lanes = _loops(loops, [s[: len(loops)] for s in steps])
    if outer is None or lanes == 1:  # NumPy's slices are faster along rows
        return None
    lengths = a.shape[len(a.shape) - count :]
    fill = AXES - count
    axes = [(1, 1, 1, 0, 1, 1)] * fill + [(*window, n) for window, n in zip(windows, lengths, strict=True)]
    whole = all(map(is_apart, windows)) and all(map(covers, windows, lengths))
    rest = math.prod([n for n, _ in outer])
    parts = max(1, min(lanes // LANES, threads)) if rest < 2 * threads else 1
    outer = [(1, (0, 0, 0))] * (AXES - len(outer)) + outer
    numbers: list[Any] = [*[n for n, _ in outer], lanes, parts, whole, *[n for axis in axes for n in axis]]
    for i, s in enumerate(steps):
        numbers += [*[moves[i] for _, moves in outer], *[0] * fill, *s[len(loops) :]]
    return np.array([*numbers, *table_of(windows, steps[0][len(loops) :])], np.int64)


def _steps(x: Any, loops: tuple[int, ...], count: int) -> list[int]:
    """How many entries apart neighbours along each axis are; 0 along loop axes that x does not have."""
    own = [
        0 if n == 1 else s // x.dtype.itemsize for n, s in zip(x.shape[: len(x.shape) - count], x.strides, strict=False)
    ]
    return [*[0] * (len(loops) - len(own)), *own, *[s // x.dtype.itemsize for s in x.strides[len(x.strides) - count :]]]


def _loops(loops: tuple[int, ...], steps: list[list[int]]) -> tuple[Any, int]:
    """The loop axes, as few as possible: pairs of a length and the steps of the arrays, and the number of lanes, which lie side by side."""
    axes = [(n, tuple([s[axis] for s in steps])) for axis, n in enumerate(loops) if n > 1]
    axes.sort(key=lambda axis: [-abs(s) for s in axis[1]])
    found: list[tuple[int, tuple[int, ...]]] = []
    for n, moves in axes:
        if found and found[-1][1] == tuple([n * s for s in moves]):
            n *= found.pop()[0]
        found.append((n, moves))
    lanes = found.pop()[0] if found and found[-1][1] == (1, 1, 1) else 1
    return (found, lanes) if len(found) <= AXES else (None, 1)
