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
        a, b, c = [arrays[i] for i in places]
        dtypes = [("uint8",) if i == numbers else (a.dtype,) for i in range(len(arrays))]
        if a.dtype.name not in ("float32", "float64") or any(
            x.dtype not in known for x, known in zip(arrays, dtypes, strict=True)
        ):
            return None
        plan = _plan(windows, a, b, c, how.threads) if all(math.prod(x.shape) for x in arrays) else None
        if plan is None:
            return None

        def make() -> Callable[..., None]:
            library = native.library(f"typedef {C_TYPES[a.dtype.name]} T;\n{native.source('pooling')}", "-O2")
            function = native.function_of(library, name, ["array"] * (len(arrays) + 1) + ["i", "i"])
            units = int(plan[0] * plan[1] * plan[2] * plan[4])
            call = native.in_parts(function, units, how.threads if math.prod(a.shape) >= 2 * SHARE else 1)

            def run(*arrays: Any) -> None:
                call(*arrays, plan)

            return run

        return make

    return serve


def _plan(windows: Windows, a: Any, b: Any, c: Any, threads: int) -> Any:
    """The plan as integers of 64 bits, in the order of the C++ structure; None where the layouts do not suit it."""
    count = len(windows)
    if count > AXES or any(s % x.dtype.itemsize for x in (a, b, c) for s in x.strides):
        return None
    loops = np.broadcast_shapes(*[x.shape[: len(x.shape) - count] for x in (a, b, c)])
    steps = [_steps(x, loops, count) for x in (a, b, c)]
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
