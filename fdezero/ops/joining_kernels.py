"""Arrays side by side along an axis, by one kernel on a GPU, where CuPy copies each of them by a launch of its own."""

import math
from collections.abc import Sequence
from typing import Any

from .raw_kernels import launch, serves

MOST = 24  # arrays of one kernel


def joined(out: Any, arrays: Sequence[Any], axis: int, *, plus_zero: bool = False) -> bool:
    """Whether the arrays have been written into `out`, one after the other along a trailing axis; `plus_zero` makes 0 of -0."""
    if len(arrays) > MOST or not serves(out, *arrays) or any(x.dtype != out.dtype for x in arrays) or not out.flags.c_contiguous:
        return False
    pieces = [x for x in arrays if x.size]
    if not pieces or any(x.ndim != out.ndim for x in pieces):
        return False
    kind = "" if not plus_zero or out.dtype.kind == "b" else " + 0"
    lines = ["long long inner = i % inners, place = i / inners % length, outer = i / inners / length;"]
    numbers = {"inners": math.prod(out.shape[out.ndim + axis + 1 :]), "length": out.shape[axis]}
    begin = 0
    for k, x in enumerate(pieces):
        numbers |= {f"begin{k}": begin, f"n{k}": x.shape[axis]}
        begin += x.shape[axis]
        condition = f"if (place < begin{k} + n{k}) " if k < len(pieces) - 1 else ""
        value = f"x{k}[(outer * n{k} + place - begin{k}) * inners + inner]{kind}"
        lines.append(f"{'else ' if k else ''}{condition}result = {value};")
    given = {f"x{k}": x.reshape(-1) if x.flags.c_contiguous else x for k, x in enumerate(pieces)}  # others are read by their steps
    launch(f"joined{len(pieces)}", given, numbers, out, "\n".join(lines))
    return True
