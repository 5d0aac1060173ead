"""Native code of scatter_add: rows are added one after the other, in the order of the index, so the bits are those of NumPy's way."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import native

KINDS = ["array", "array", "array", "i", "i", "i", "i", "b", "i", "i"]
ENTRIES, INDICES = ("float32", "float64", "int32", "int64"), ("int32", "int64")
SHARE = 1 << 16  # terms that are worth a thread
COLUMNS = 16  # of a thread, at least: threads do not write into the same part of the cache


def _is_in_rows(x: Any) -> bool:
    """Whether an array is in C order, without gaps."""
    step = x.dtype.itemsize
    for n, s in zip(reversed(x.shape), reversed(x.strides), strict=True):
        if n != 1 and s != step:
            return False
        step *= n
    return True


def scatter_add(write: Callable[..., None]) -> Callable[..., Any]:
    """The native code of scatter_add; `write` raises the error for an index out of range."""

    def serve(inputs: Sequence[Any], out: Any, params: dict[str, Any], how: Any) -> Callable[[], Callable[..., None]] | None:
        if len(inputs) != 2:
            return None
        (x, index), rest, points = inputs, params["rest"], params["points"]
        loops = out.shape[: len(out.shape) - 1 - rest]
        own = index.shape[: len(index.shape) - points]
        places = index.shape[len(own) :]
        is_shared = all(n == 1 for n in own)
        if x.shape != (*loops, *places, *out.shape[len(loops) + 1 :]) or not (is_shared or own == loops):
            return None
        if x.dtype.name not in ENTRIES or index.dtype.name not in INDICES or not math.prod(x.shape):
            return None
        if not all(map(_is_in_rows, (x, index, out))):
            return None
        width = math.prod(out.shape[len(loops) + 1 :])
        numbers = math.prod(loops), out.shape[len(loops)], math.prod(places), width, is_shared

        def make() -> Callable[..., None]:
            head = f"typedef {x.dtype.name}_ T;\ntypedef {index.dtype.name}_ I;\n"
            function = native.function_of(native.library(head + native.source("rows")), "scatter_add", KINDS, "i")
            threads = min(how.threads, width // COLUMNS) if math.prod(x.shape) >= 2 * SHARE else 1
            call = native.in_parts(function, width, threads)

            def run(out: Any, x: Any, index: Any) -> None:
                if any(call(out, x, index, *numbers)):
                    write(out, x, index, **params)

            return run

        return make

    return serve
