"""Native code of small matrix products. BLAS copies a factor into another order in every call, a fifth of the time for 32 rows."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import native
from ..values import C_TYPES

KINDS = ["array", "array", "array", *["i"] * 7]
FEWEST = 1 << 17  # products of entries, below which the call itself takes the time
LARGEST = 1 << 22  # bytes of the second factor: BLAS keeps larger ones better in the cache
FIRST = 1 << 19  # bytes of the first factor, which is read again for each panel of columns
RESULT = 1 << 22  # bytes of the result, which a panel writes in pieces of two cache lines
DEEPEST = 1 << 11  # terms of a sum, which are added one after the other
ROWS = 8  # of a tile, at most
MOST = 1.1  # how much more may be computed, because the last tiles begin early
PANEL = 128  # bytes of the columns that are computed together
SHARE = 1 << 22  # products of entries that are worth a thread


def matmul(
    inputs: Sequence[Any], out: Any, params: dict[str, Any], how: Any
) -> Callable[[], Callable[..., None]] | None:
    """The native code of a product (n, k), (k, m) -> (n, m); None for what BLAS does as well."""
    a, b = inputs
    if (len(a.shape), len(b.shape), len(out.shape)) != (2, 2, 2) or not a.dtype == b.dtype == out.dtype:
        return None
    (rows, inner), columns, size = a.shape, b.shape[1], a.dtype.itemsize
    if a.dtype.name not in ("float32", "float64") or not a.dtype.isnative or rows < 2:
        return None
    if rows * inner * columns < FEWEST or columns * size < PANEL or inner * columns * size > LARGEST or inner > DEEPEST:
        return None
    if rows * inner * size > FIRST or rows * columns * size > RESULT:
        return None
    computed = math.ceil(rows / ROWS) * ROWS * math.ceil(columns * size / PANEL) * PANEL // size
    if computed > MOST * rows * columns:
        return None
    in_rows = (columns * size, size)
    if tuple(b.strides) != in_rows or tuple(out.strides) != in_rows or any(step % size for step in a.strides):
        return None
    numbers = (*[step // size for step in a.strides], rows, inner, columns)

    def make() -> Callable[..., None]:
        head = f"typedef {C_TYPES[out.dtype.name]} T;\n"
        library = native.library(head + native.source("product"), "-ffp-contract=fast")
        function = native.function_of(library, "product", KINDS)
        threads = min(how.threads, max(1, rows * inner * columns // SHARE))
        call = native.in_parts(function, -(-columns * size // PANEL), threads)

        def run(out: Any, a: Any, b: Any) -> None:
            call(out, a, b, *numbers)

        return run

    return make
