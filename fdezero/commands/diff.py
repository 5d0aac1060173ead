"""Compares two files key by key, and says where their numbers differ most.

NaN equals NaN. The exit status is 0 if the files hold the same, and 1 if they differ.
"""

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..io.bfloat16 import widened
from ..io.shards import open_reader
from .helpers.contents import entries_of, in_rows, is_number
from .helpers.words import counted, shown, shown_shape

__all__ = ["arguments", "run"]


class Worst(NamedTuple):
    """The largest difference so far: its size, its place, both numbers; and how many numbers differ."""

    error: float = -1.0
    place: int = 0
    first: Any = None
    second: Any = None
    unequal: int = 0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="FILE")
    parser.add_argument("second", metavar="FILE")
    parser.add_argument(
        "--rtol", type=float, default=0.0, help="differences up to this times the second number do not count"
    )
    parser.add_argument("--atol", type=float, default=0.0, help="differences up to this do not count")


def run(options: argparse.Namespace) -> int:
    with open_reader(options.first) as first, open_reader(options.second) as second:
        ours, theirs = entries_of(first), entries_of(second)
        alike = [key for key in ours if key in theirs]
        different = 0
        for keys, others, path in ((ours, theirs, options.first), (theirs, ours, options.second)):
            for key in keys:
                if key not in others:
                    print(f"{shown(key)}: only in {shown(path)}")
        for key in alike:
            said = "; ".join(_differences(first, ours[key], second, theirs[key], options.rtol, options.atol))
            if said:
                different += 1
                print(f"{shown(key)}: {said}")
    alone = len(ours) + len(theirs) - 2 * len(alike)
    if different or alone:
        print(f"{counted(len(alike) - different, 'array')} equal, {different} different, {alone} in one file only")
        return 1
    print(
        f"{counted(len(alike), 'array')}, all equal{' within the tolerances' if options.rtol or options.atol else ''}"
    )
    return 0


def _differences(first: Any, ours: Any, second: Any, theirs: Any, rtol: float, atol: float) -> Iterator[str]:
    """What differs between two entries, in parts of a sentence."""
    (shape, dtype), (other, other_dtype) = first.kind(ours), second.kind(theirs)
    if dtype != other_dtype:
        yield f"dtype {dtype} and {other_dtype}"
    if shape != other:
        yield f"shape {shown_shape(shape)} and {shown_shape(other)}"
        return
    if is_number(dtype) != is_number(other_dtype):
        return
    worst, start = Worst(), 0
    for a, b in zip(in_rows(first, ours), in_rows(second, theirs), strict=True):
        worst, start = _worse(worst, a, b, start, rtol, atol, is_number(dtype)), start + len(a)
    if worst.unequal:
        place = shown_shape(tuple(map(int, np.unravel_index(worst.place, shape)))) if shape else ""
        values = f"{worst.first} and {worst.second}{f' at {place}' if place else ''}"
        if not is_number(dtype):
            yield f"{worst.unequal:,} of {start:,} differ, first {values}"
        else:
            size = abs(worst.second)
            relative = f", relative {worst.error / size:.3g}" if size and np.isfinite([worst.error, size]).all() else ""
            yield f"{worst.unequal:,} of {start:,} differ, at most by {worst.error:.3g}{relative}: {values}"


def _worse(worst: Worst, a: np.ndarray, b: np.ndarray, start: int, rtol: float, atol: float, numbers: bool) -> Worst:
    """The worst difference, with two more pieces of the entries, which begin at place `start`."""
    if not numbers:
        unequal = np.flatnonzero((a != b) & ~((a != a) & (b != b)))
        if not len(unequal):
            return worst
        found = worst if worst.unequal else Worst(0.0, start + int(unequal[0]), a[unequal[0]], b[unequal[0]])
        return found._replace(unequal=worst.unequal + len(unequal))
    a, b = widened(a), widened(b)
    unequal = np.flatnonzero((a != b) & ~(np.isnan(a) & np.isnan(b)))
    if not len(unequal):
        return worst
    a, b = a[unequal], b[unequal]
    wide = np.result_type(a, b, np.float64)
    with np.errstate(all="ignore"):  # infinities
        errors = np.abs(a.astype(wide) - b.astype(wide))
        errors[np.isnan(errors)] = np.inf
        allowed = atol + rtol * np.abs(b.astype(wide))
    counts = ~(errors <= allowed) | (allowed == 0)  # large integers may differ by less than wide numbers tell apart
    if not counts.any():
        return worst
    count = worst.unequal + int(np.count_nonzero(counts))
    place = int(np.argmax(np.where(counts, errors, -1)))
    if errors[place] <= worst.error:
        return worst._replace(unequal=count)
    return Worst(float(errors[place]), start + int(unequal[place]), a[place], b[place], count)
