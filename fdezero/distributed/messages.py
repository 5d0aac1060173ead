"""Messages: arrays of any layout and dtype as flat arrays that an engine carries, one message for each dtype.

An engine that streams takes the arrays as they are, all of them in one message.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..values import is_half
from . import streams
from .engines.engine import Engine
from .part_engines import PartEngines
from .streams import split_axis

Arrays = Sequence[Any]
LARGE = 1 << 20  # bytes


class Messages:
    """Packs the arrays of a collective, hands them to the engine, and unpacks the results."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.parts = PartEngines()

    def all_reduce(self, xs: Arrays, outs: Arrays, op: str) -> None:
        """Write the reduction over ranks into `outs`. float16 and bfloat16 are added in float32, and rounded once."""
        if (engine := self.engine.streaming(xs)) is not None:
            streams.all_reduce(engine, xs, outs, op)
            return
        of_engine = "sum" if op == "mean" else op
        reduce = self.engine.all_reduce if op != "tree" else lambda x, out, _: self.engine.tree_sum(x, out)
        for dtype, places in _with_large_ones_alone(_by_dtype(xs), xs):
            group, into = [xs[i] for i in places], [outs[i] for i in places]
            if len(group) == 1 and dtype == group[0].dtype and _is_flat(group[0]) and _is_flat(into[0]):
                y = into[0].reshape(-1)
                reduce(y if group[0] is into[0] else group[0].reshape(-1), y, of_engine)
                if op == "mean":
                    np.divide(into[0], self.engine.size, out=into[0])
                continue
            flat = _packed(group, dtype)
            reduce(flat, flat, of_engine)
            if op == "mean":
                np.divide(flat, self.engine.size, out=flat)
            _unpack(flat, into)

    def all_gather(self, xs: Arrays, outs: Arrays, axes: Sequence[int]) -> None:
        """Write the arrays of all ranks, joined along an axis each, into `outs`."""
        if (engine := self.engine.streaming(xs)) is not None:
            streams.all_gather(engine, xs, outs, axes)
            return
        size = self.engine.size
        for _, places in _by_dtype(xs, exact=True):
            group = [xs[i] for i in places]
            if (
                len(group) == 1
                and _is_first(axes[places[0]], group[0])
                and _is_flat(group[0])
                and _is_flat(outs[places[0]])
            ):
                self.engine.all_gather(_bytes(group[0]), _bytes(outs[places[0]]).reshape(size, -1))
                continue
            flat = _packed(group, group[0].dtype)
            whole = np.empty_like(flat, shape=(size, flat.size))
            self.engine.all_gather(_bytes(flat), _bytes(whole).reshape(size, -1))
            start = 0
            for i in places:
                x, axis = xs[i], axes[i] + xs[i].ndim
                rows = whole[:, start : start + x.size].reshape(size, *x.shape)
                split_axis(outs[i], axis, size)[...] = np.moveaxis(rows, 0, axis)
                start += x.size

    def reduce_scatter(self, xs: Arrays, outs: Arrays, axes: Sequence[int]) -> None:
        """Write this rank's part of the sum over ranks into `outs`."""
        if (engine := self.engine.streaming(xs)) is not None:
            streams.reduce_scatter(engine, xs, outs, axes)
            return
        size = self.engine.size
        for dtype, places in _by_dtype(xs):
            group = [xs[i] for i in places]
            out = outs[places[0]]
            if (
                len(group) == 1
                and dtype == out.dtype
                and _is_first(axes[places[0]], group[0])
                and _is_flat(group[0])
                and _is_flat(out)
            ):
                self.engine.reduce_scatter(group[0].reshape(size, -1), out.reshape(-1))
                continue
            counts = [outs[i].size for i in places]
            flat = np.empty_like(group[0], dtype=dtype, shape=(size, sum(counts)), order="C")
            start = 0
            for i, count in zip(places, counts, strict=True):
                axis = axes[i] + xs[i].ndim
                rows = np.moveaxis(split_axis(xs[i], axis, size), axis, 0)
                flat[:, start : start + count].reshape(rows.shape)[...] = rows
                start += count
            part = np.empty_like(flat, shape=(flat.shape[1],))
            self.engine.reduce_scatter(flat, part)
            _unpack(part, [outs[i] for i in places])

    def broadcast(self, xs: Arrays, outs: Arrays, root: int) -> None:
        """Write the arrays of rank `root` into `outs`."""
        if (engine := self.engine.streaming(xs)) is not None:
            streams.broadcast(engine, xs, outs, root, self.engine.rank == root)
            return
        for _, places in _by_dtype(xs, exact=True):
            group, into = [xs[i] for i in places], [outs[i] for i in places]
            if len(group) == 1 and _is_flat(into[0]):
                if self.engine.rank == root and group[0] is not into[0]:
                    into[0][...] = group[0]
                self.engine.broadcast(_bytes(into[0]), root)
                continue
            flat = _packed(group, group[0].dtype)
            self.engine.broadcast(_bytes(flat), root)
            _unpack(flat, into)

    def permute(self, xs: Arrays, outs: Arrays, to: int, source: int) -> None:
        """Send the arrays to rank `to`, and write those of rank `source` into `outs`."""
        for _, places in _by_dtype(xs, exact=True):
            group, into = [xs[i] for i in places], [outs[i] for i in places]
            if len(group) == 1 and _is_flat(group[0]) and _is_flat(into[0]):
                self.engine.permute(_bytes(group[0]), _bytes(into[0]), to, source)
                continue
            flat = _packed(group, group[0].dtype)
            other = np.empty_like(flat)
            self.engine.permute(_bytes(flat), _bytes(other), to, source)
            _unpack(other, into)

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.engine.barrier()


def _by_dtype(xs: Arrays, exact: bool = False) -> list[tuple[Any, list[int]]]:
    """The positions of the arrays with entries, by the dtype of their message, in the order of the first of each.

    Arrays of the host and arrays of a GPU travel apart.
    """
    found: dict[Any, list[int]] = {}
    for i, x in enumerate(xs):
        if x.size:
            dtype = np.dtype(np.float32) if not exact and is_half(x.dtype) else x.dtype
            found.setdefault((dtype, isinstance(x, np.ndarray | np.generic)), []).append(i)
    return [(dtype, places) for (dtype, _), places in found.items()]


def _with_large_ones_alone(groups: list[tuple[Any, list[int]]], xs: Arrays) -> list[tuple[Any, list[int]]]:
    """The same groups, but a large array is a message of its own: copying it would take longer than another message."""
    found = []
    for dtype, places in groups:
        found += [(dtype, [i]) for i in places if xs[i].nbytes >= LARGE]
        if rest := [i for i in places if xs[i].nbytes < LARGE]:
            found.append((dtype, rest))
    return found


def _is_flat(x: Any) -> bool:
    return bool(x.flags.c_contiguous)


def _is_first(axis: int, x: Any) -> bool:
    return axis == -x.ndim


def _bytes(x: Any) -> Any:
    """The memory of a contiguous array as bytes, which every engine carries, whatever the dtype."""
    return x.reshape(-1).view(np.uint8)


def _packed(xs: Arrays, dtype: Any) -> Any:
    """All entries side by side, each array in C order."""
    flat = np.empty_like(xs[0], dtype=dtype, shape=(sum(x.size for x in xs),))
    start = 0
    for x in xs:
        flat[start : start + x.size].reshape(x.shape)[...] = x
        start += x.size
    return flat


def _unpack(flat: Any, outs: Arrays) -> None:
    start = 0
    for out in outs:
        out[...] = flat[start : start + out.size].reshape(out.shape)
        start += out.size
