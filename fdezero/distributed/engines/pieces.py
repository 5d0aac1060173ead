"""Pieces: arrays one after another, cut so that they go through slots of shared memory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .memory import LINE

__all__ = ["Piece", "cut", "rounds"]


class Piece(NamedTuple):
    """The entries `start` to `stop` of array number `array`, and the byte of the slot at which they begin."""

    array: int
    start: int
    stop: int
    at: int


def cut(arrays: Sequence[tuple[int, Any]], length: int) -> list[list[Piece]]:
    """Arrays of (entries, dtype) in bins of `length` bytes, a multiple of a cache line, in order. Each piece begins on a line."""
    bins: list[list[Piece]] = []
    at = length  # of the bin before the first: full
    for array, (entries, dtype) in enumerate(arrays):
        start = 0
        while start < entries:
            if at >= length:
                bins.append([])
                at = 0
            stop = min(entries, start + (length - at) // dtype.itemsize)
            bins[-1].append(Piece(array, start, stop, at))
            at += -(-(stop - start) * dtype.itemsize // LINE) * LINE
            start = stop
    return bins


def rounds(arrays: Sequence[tuple[int, Any]], capacity: int, parts: int) -> list[list[list[Piece]]]:
    """Rounds of `parts` bins each, as equal as they can be, that lie side by side in a slot of `capacity` bytes."""
    lines = sum(-(-entries * dtype.itemsize // LINE) for entries, dtype in arrays)
    most = capacity // parts // LINE
    count = -(-lines // (parts * most))
    length = -(-lines // (parts * count)) * LINE if count else LINE
    bins = cut(arrays, length)
    bins += [[] for _ in range(-len(bins) % parts)]
    return [
        [[piece._replace(at=piece.at + part * length) for piece in bins[i + part]] for part in range(parts)]
        for i in range(0, len(bins), parts)
    ]
