"""Attention on the CPU, block by block: a block's scores stay in the cache, and no array of all scores is made.

A block is some rows, of one loop entry or of several, with all the columns that they see: a row's scores fit the cache, so no
running maximum is needed. The sizes depend on shapes alone, so eager and compiled code give the same bits.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .patches import Scratch

# Measured by timeit with 16 to 2048 keys, causal: fewer rows have fewer hidden scores, more rows fewer passes over the keys.
ROWS, MORE_ROWS, MANY_KEYS = 64, 128, 1024  # of a block; more if there are many keys
FEWER_ROWS, FEW_KEYS = 16, 64  # fewer if there are few keys and a diagonal, which hides half of them
BYTES = 1 << 19  # of the scores of a block that has the rows of several entries
ALIGNED = 64  # columns; a triangle that begins at a multiple is added in long lines
SHORT = 256  # keys up to which the greatest score is sought for an entry, not for each row: NumPy's maximum of a short row is slow
# The least sum of a row for which the greatest score of the entry serves; a smaller one would lose small weights.
LEAST = 2.0**-30


class Block(NamedTuple):
    """Where a block lies: an index of the loop axes, its rows, the number of its columns, and the first hidden one of its first row."""

    at: Any
    rows: slice
    stop: int
    hidden: int

    def of_rows(self, x: Any) -> Any:
        """The rows of x (loops, T, n)."""
        return x[self.at][..., self.rows, :]

    def of_columns(self, x: Any) -> Any:
        """The rows of x (loops, S, n) that belong to the columns."""
        return x[self.at][..., : self.stop, :]

    def of_scores(self, x: Any) -> Any:
        """The part of x (loops, T or 1, S or 1)."""
        x = x[self.at]
        rows = self.rows if x.shape[-2] > 1 else slice(None)
        return x[..., rows, : self.stop] if x.shape[-1] > 1 else x[..., rows, :]


class Work:
    """The arguments of attention, broadcast to common loop axes; if blocks take several entries, these are one axis."""

    def __init__(self, loops: tuple[int, ...], q: Any, k: Any, v: Any, extras: dict[str, Any], causal: bool) -> None:
        self.count, self.T, self.S = math.prod(loops), q.shape[-2], k.shape[-2]
        self.loops, self.dtype, self.causal = loops, np.result_type(q, k, v), causal
        rows = min(max(self.T, 1), ROWS if self.S <= MANY_KEYS else MORE_ROWS)
        line = self.S * self.dtype.itemsize
        is_halved = causal and self.S <= FEW_KEYS and self.count * rows * line > BYTES  # else one block is enough
        self.rows = min(rows, FEWER_ROWS) if is_halved else rows
        scores = self.rows * line
        self.entries = min(max(BYTES // max(scores, 1), 1), self.count)
        self.is_flat = self.entries > 1
        self.q, self.k, self.v = self.spread(q), self.spread(k), self.spread(v)
        self.extras = {name: self.spread(x) for name, x in extras.items()}
        self.size = max(self.entries, 1) * self.rows * self.S

    def spread(self, x: Any) -> Any:
        """x (..., n, m) broadcast to the loop axes."""
        x = np.broadcast_to(x, self.loops + x.shape[-2:])
        return x.reshape(self.count, *x.shape[-2:]) if self.is_flat else x

    def blocks(self, backwards: bool = False) -> Iterator[Block]:
        """All blocks; `backwards`, the last rows of an entry come first, which see all columns."""
        several = [slice(start, start + self.entries) for start in range(0, self.count, max(self.entries, 1))]
        for at in several if self.is_flat else np.ndindex(self.loops):
            starts = range(0, self.T, self.rows)
            for start in reversed(starts) if backwards else starts:
                yield self._block(at, slice(start, min(start + self.rows, self.T)))

    def _block(self, at: Any, rows: slice) -> Block:
        if not self.causal:
            return Block(at, rows, self.S, self.S)
        ahead = self.S - self.T  # the last query sees all keys
        return Block(at, rows, min(max(rows.stop + ahead, 0), self.S), rows.start + ahead + 1)

    def scores(self, block: Block, q: Any, scratch: Any, *, hides: bool = True) -> Any:
        """q k^T for the rows q of a block, with the bias; -inf where a mask hides the key, and if it `hides` also behind the diagonal."""
        shape = (*q.shape[:-1], block.stop)
        s = scratch[: math.prod(shape)].reshape(shape)
        np.matmul(q, block.of_columns(self.k).swapaxes(-1, -2), out=s)
        if "bias" in self.extras:
            s += block.of_scores(self.extras["bias"])
        if "mask" in self.extras:
            s += np.where(block.of_scores(self.extras["mask"]), s.dtype.type(0), s.dtype.type(-np.inf))
        first = max(block.hidden, 0)
        if hides and first < block.stop:
            first -= first % ALIGNED
            s[..., first:] += _triangle(shape[-2], block.stop - first, block.hidden - first, s.dtype.str)
        return s


@functools.lru_cache(maxsize=64)
def _triangle(rows: int, columns: int, hidden: int, dtype: str) -> Any:
    """0 where a row sees a column, -inf elsewhere; row 0 sees the first `hidden` columns, each row one more than the one before."""
    sees = np.tri(rows, columns, hidden - 1, dtype=bool)
    triangle = np.where(sees, 0, -np.inf).astype(dtype)
    triangle.flags.writeable = False
    return triangle


def views(out: Any, loops: tuple[int, ...], *shapes: tuple[int, int]) -> list[Any]:
    """The parts of out (*loops, n) as matrices, which lie one after the other in its last axis."""
    parts, start = [], 0
    for rows, columns in shapes:
        parts.append(out[..., start : start + rows * columns].reshape(*loops, rows, columns))
        start += rows * columns
    return parts


class Passes(Protocol):
    """What lies between the products, in native code. Shapes are those of NumPy's way below."""

    def softmax(self, block: Block, s: Any) -> tuple[Any, Any]:
        """Make weights of scores, which are not yet hidden behind the diagonal. Returns the sums and the greatest scores."""

    def weights(self, block: Block, s: Any, total: Any) -> None:
        """Make weights of such scores from the logarithms of their sums."""

    def slopes(self, d: Any, p: Any, shift: Any) -> None:
        """d = p (d - shift)."""


def attend(
    out: Any,
    q: Any,
    k: Any,
    v: Any,
    extras: dict[str, Any],
    *,
    causal: bool,
    scale: float,
    kept: float,
    passes: Passes | None = None,
) -> None:
    """Write the result and the logarithm of the sum for each row: out (*loops, T * E + T)."""
    loops, (T, E) = out.shape[:-1], (q.shape[-2], v.shape[-1])
    work = Work(loops, q, k, v, extras, causal)
    outer = (work.count,) if work.is_flat else loops
    y, total = views(out.reshape(*outer, out.shape[-1]), outer, (T, E), (T, 1))
    scratch = Scratch()
    try:
        _attend(work, y, total, scratch(q, work.size, work.dtype), scale, kept, passes)
    finally:
        scratch.free()


def _attend(work: Work, y: Any, total: Any, scratch: Any, scale: float, kept: float, passes: Passes | None) -> None:
    ones, limits = np.ones((work.S, 1), work.dtype), np.finfo(work.dtype)
    for block in work.blocks():
        result, log_sums = block.of_rows(y), block.of_rows(total)
        if not block.stop:  # no key is seen
            result[...], log_sums[...] = 0, limits.min
            continue
        rows = block.of_rows(work.q) * scale
        if passes is not None:
            s = work.scores(block, rows, scratch, hides=False)
            sums, most = passes.softmax(block, s)
        else:
            s, sums, most = _softmax(work, block, rows, scratch, ones, limits)
        np.log(sums, out=log_sums)
        log_sums += most
        if "keep" in work.extras:
            s *= block.of_scores(work.extras["keep"])
        np.matmul(s, block.of_columns(work.v), out=result)
        result /= sums * kept if "keep" in work.extras else sums


def _softmax(work: Work, block: Block, rows: Any, scratch: Any, ones: Any, limits: Any) -> tuple[Any, Any, Any]:
    """The weights of a block up to their sums, the sums, and the greatest scores, which the weights are relative to."""
    for axes in ((-2, -1), (-1,))[block.stop > SHORT :]:
        s = work.scores(block, rows, scratch)
        most = s.max(axes, keepdims=True)
        np.maximum(most, limits.min, out=most)  # finite also for a row that sees nothing
        s -= most
        np.exp(s, out=s)
        sums = np.matmul(s, ones[: block.stop])
        if sums.min() >= LEAST:  # neither small nor NaN
            break
    return s, np.maximum(sums, limits.tiny, out=sums), most


def pull(
    out: Any, t: Any, r: Any, q: Any, k: Any, v: Any, extras: dict[str, Any],
    *, causal: bool, scale: float, kept: float, needs: tuple[bool, bool, bool, bool], passes: Passes | None = None,
) -> None:  # fmt: skip
    """Write the cotangents of q, k, v and the bias, those that are needed, side by side: out (*loops, n)."""
    loops, (T, D), (S, E) = out.shape[:-1], q.shape[-2:], v.shape[-2:]
    work = Work(loops, q, k, v, extras, causal)
    shapes = [(T, D), (S, D), (S, E), extras["bias"].shape[-2:] if "bias" in extras else (0, 0)]
    outer = (work.count,) if work.is_flat else loops
    flat = out.reshape(*outer, out.shape[-1])
    parts = iter(views(flat, outer, *[shape for shape, need in zip(shapes, needs, strict=True) if need]))
    dq, dk, dv, dbias = [next(parts) if need else None for need in needs]
    ty, tsum = views(_spread(t, loops, outer), outer, (T, E), (T, 1))
    y, total = views(_spread(r, loops, outer), outer, (T, E), (T, 1))
    for x in (dk, dv, dbias):
        if x is not None and (x is dbias or not T):
            x[...] = 0
    scratch = Scratch()
    try:
        sizes = (work.size, work.size, max(work.entries, 1) * S * max(D, E))
        memory = [scratch(q, size, work.dtype) for size in sizes]
        _pull(work, (ty, tsum, y, total), (dq, dk, dv, dbias), memory, scale, kept, passes)
    finally:
        scratch.free()


def _pull(
    work: Work,
    rows_of: tuple[Any, ...],
    found: tuple[Any, ...],
    memory: Sequence[Any],
    scale: float,
    kept: float,
    passes: Passes | None,
) -> None:
    (ty, tsum, y, total), (dq, dk, dv, dbias), (scratch, other, sums) = rows_of, found, memory
    T = work.T
    for block in work.blocks(backwards=True):
        if not block.stop:
            if dq is not None:
                block.of_rows(dq)[...] = 0
            continue
        g, rows = block.of_rows(ty), block.of_rows(work.q) * scale
        p = work.scores(block, rows, scratch, hides=passes is None)
        if passes is None:
            p -= block.of_rows(total)
            np.exp(p, out=p)
        else:
            passes.weights(block, p, block.of_rows(total))
        keep = block.of_scores(work.extras["keep"]) if "keep" in work.extras else None
        if dv is not None:
            dropped = p if keep is None else p * keep * (1 / kept)
            _sum_up(block, T, dv, dropped, g, sums)
        if dq is dk is dbias is None:
            continue
        d = other[: p.size].reshape(p.shape)
        np.matmul(g, block.of_columns(work.v).swapaxes(-1, -2), out=d)
        if keep is not None:
            d *= keep
            d *= 1 / kept
        shift = np.einsum("...i,...i->...", g, block.of_rows(y))[..., None] - block.of_rows(tsum)
        if passes is None:
            d -= shift
            d *= p
        else:
            passes.slopes(d, p, shift)
        if dq is not None:
            result = block.of_rows(dq)
            np.matmul(d, block.of_columns(work.k), out=result)
            result *= scale
        if dk is not None:
            _sum_up(block, T, dk, d, rows, sums)
        if dbias is not None:
            axes = tuple(axis for axis in (-2, -1) if dbias.shape[axis] == 1)
            block.of_scores(dbias)[...] += d.sum(axis=axes, keepdims=True) if axes else d


def _sum_up(block: Block, T: int, total: Any, weights: Any, x: Any, sums: Any) -> None:
    """Add weights^T x to the columns of `total`. The last rows come first and see all columns, so they write."""
    columns = block.of_columns(total)
    if block.rows.stop == T:
        np.matmul(weights.swapaxes(-1, -2), x, out=columns)
        return
    product = sums[: columns.size].reshape(columns.shape)
    np.matmul(weights.swapaxes(-1, -2), x, out=product)
    columns += product


def _spread(x: Any, loops: tuple[int, ...], outer: tuple[int, ...]) -> Any:
    return np.ascontiguousarray(np.broadcast_to(x, (*loops, x.shape[-1]))).reshape(*outer, x.shape[-1])
