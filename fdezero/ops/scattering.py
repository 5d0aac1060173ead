"""scatter_add on the CPU: NumPy's `add.at` is fast for single entries, but several times too slow for rows. Each entry gets its terms
in the order of the index, as `add.at` adds them, so all ways here give the same bits."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..values import is_half

ENTRIES = 1 << 14  # up to so many, and for rows up to so long, `add.at` of single entries is the fastest (timeit)
NARROW = 4
TINY = 1024  # up to so many entries, what comes before the additions would take longer than they do


def takes(out: Any, x: Any, indices: Sequence[Any]) -> bool:
    """Whether `scattered` is faster than `add.at` as it is, or more accurate."""
    if is_half(out.dtype):
        return bool(indices)
    is_line = len(indices) == 1 and x.ndim == indices[0].ndim == 1  # for which `add.at` is fast
    return x.size > TINY and bool(indices) and not is_line


def scattered(
    out: Any, x: Any, indices: Sequence[Any], loops: tuple[int, ...], points: int, rest: int, *, zeroed: bool = False
) -> None:
    """Write the sums of x (*loops, *points, *rest) at k indices (..., *points) to out (*loops, n1..nk, *rest).

    `zeroed`: out is zero already. float16 and bfloat16 are summed in float32 and rounded once. Raises IndexError for an index out of range.
    """
    sizes = out.shape[len(loops) : out.ndim - rest]
    rows, width = math.prod(loops) * math.prod(sizes), math.prod(out.shape[out.ndim - rest :])
    wide = np.dtype(np.float32) if is_half(out.dtype) else out.dtype
    direct = out.dtype == wide and out.flags.c_contiguous
    sums = out.reshape(rows, width) if direct else np.empty((rows, width), wide)
    if not (zeroed and direct):
        sums.fill(0)
    if x.size:
        body = x.shape[: x.ndim - rest]
        places = np.broadcast_to(_places(indices, sizes, loops, points), body).reshape(-1)
        terms = x.reshape(places.size, width)
        _add_rows(sums, terms if terms.dtype == wide else terms.astype(wide), places)
    if not direct:
        out[...] = sums.reshape(out.shape)


def _places(indices: Sequence[Any], sizes: Sequence[int], loops: tuple[int, ...], points: int) -> Any:
    """The numbers of the rows: k indices (..., *points) -> (..., *points), which counts through the loop axes, too."""
    place: Any = None
    for index, n in zip(indices, sizes, strict=True):
        if index.size:
            least, greatest = index.min(), index.max()
            if least < -n or greatest >= n:
                wrong = greatest if greatest >= n else least
                raise IndexError(f"index {wrong} is out of bounds for an axis of length {n}.")
            index = index.astype(np.intp, copy=False)
            index = np.where(index < 0, index + n, index) if least < 0 else index
        place = index if place is None else place * n + index
    if math.prod(loops) > 1:
        first = np.arange(math.prod(loops)).reshape(*loops, *[1] * points)
        place = first * math.prod(sizes) + place
    return place


def _add_rows(sums: Any, x: Any, places: Any) -> None:
    """Add each row of x (n, width) to the row of `sums` (rows, width) at its place (n,)."""
    n, width = x.shape
    if n * width <= ENTRIES or width <= NARROW:
        if width > 1:
            places = (places[:, None] * width + np.arange(width)).reshape(-1)
        np.add.at(sums.reshape(-1), places, x.reshape(-1))
        return
    # Sorting is by counting for 16 bits, and stable: the terms of a row keep their order.
    order = np.argsort(places.astype(np.uint16) if len(sums) <= 1 << 16 else places, kind="stable")
    ascending = places[order]
    first = np.flatnonzero(np.concatenate(([True], ascending[1:] != ascending[:-1])))
    counts = np.diff(first, append=n)
    descending = np.argsort(-counts, kind="stable")
    first, counts = first[descending], counts[descending]
    rows = ascending[first]
    # more[k] rows have more than k terms. A few rows with many terms are summed one by one, all others in rounds: round k adds
    # the k-th term of each. The boundary is where this takes the fewest calls of NumPy, at most 2 sqrt(n).
    more = len(rows) - np.cumsum(np.bincount(counts))
    rounds = int(np.argmin(np.arange(len(more)) + more))
    alone = int(more[rounds])
    for row, start, count in zip(rows[:alone].tolist(), first[:alone].tolist(), counts[:alone].tolist(), strict=True):
        np.add.reduce(x.take(order[start : start + count], axis=0), axis=0, out=sums[row])
    if alone < len(rows):
        start = first[alone:]
        total = x.take(order[start], axis=0)
        for k in range(1, rounds):
            left = int(more[k]) - alone
            if not left:
                break
            total[:left] += x.take(order[start[:left] + k], axis=0)
        sums[rows[alone:]] = total
