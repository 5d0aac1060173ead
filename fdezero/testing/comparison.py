"""`assert_trees_equal` and `assert_trees_close` compare two trees and list their differences by path."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import tree as trees
from ..devices import to_numpy
from ..messages import describe
from ..values import is_inexact, kind_of

Names = tuple[str, str]
LINES = 8  # An error lists at most this many differences and counts the rest.


def assert_trees_close(
    actual: Any, expected: Any, tolerance: float = 1e-6, what: str = "the trees", names: Names = ("actual", "expected")
) -> None:
    """Check that two trees have one structure and |actual - expected| <= tolerance * (1 + the largest |expected| of the leaf).

    NaN equals NaN, and dtypes may differ. Raises AssertionError with a line for each leaf that differs. The line has the path,
    the number of wrong entries, and the worst entry with both values. For a leaf of another shape the line has both shapes, and
    for a missing leaf it names the tree that has it.
    """

    def difference(a: Any, b: Any) -> str:
        error = relative_error(a, b)
        wrong = error > tolerance
        return _entries(wrong, error, a, b, names) if wrong.any() else ""

    _assert_alike(actual, expected, difference, f"{what} differ beyond {tolerance:g}", names)


def assert_trees_equal(
    actual: Any, expected: Any, what: str = "the trees", names: Names = ("actual", "expected"), *, bits: bool = False
) -> None:
    """Check that two trees have one structure, and leaves of equal dtype, shape and value; NaN equals NaN.

    With `bits=True`, 0.0 and -0.0 also differ. Raises AssertionError like `assert_trees_close`.
    """

    def difference(a: Any, b: Any) -> str:
        if a.dtype != b.dtype:
            return f"dtype {a.dtype} in {names[0]}, {b.dtype} in {names[1]}"
        wrong = ~((a == b) | (_is_nan(a) & _is_nan(b)))
        if bits and is_inexact(a.dtype):
            wrong |= (np.signbit(a.real) != np.signbit(b.real)) | (np.signbit(a.imag) != np.signbit(b.imag))
        return _entries(wrong, relative_error(a, b), a, b, names) if wrong.any() else ""

    _assert_alike(actual, expected, difference, f"{what} differ", names)


def relative_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| / (1 + the largest finite |b|), entry by entry: 0 for equal entries and two NaNs, infinite if only one entry is finite."""
    same = np.asarray(a == b) | (_is_nan(a) & _is_nan(b))
    if kind_of(a.dtype) not in "biufc" or kind_of(b.dtype) not in "biufc":
        return np.where(same, 0.0, np.inf)
    a, b = wide(a), wide(b)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(a - b)
        scale = 1 + np.abs(b[np.isfinite(b)]).max(initial=0.0)
    return np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf)) / scale


def wide(x: Any) -> np.ndarray:
    """`x` as a NumPy array in double precision, real or complex."""
    x = np.asarray(x)
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def entry(index: tuple[Any, ...]) -> str:
    """The index as text, `[1, 2]`; empty for an array without axes."""
    return f"[{', '.join(map(str, index))}]" if index else ""


def _is_nan(x: np.ndarray) -> np.ndarray:
    return np.isnan(x) if is_inexact(x.dtype) else np.zeros(x.shape, bool)


def _entries(wrong: np.ndarray, error: np.ndarray, a: np.ndarray, b: np.ndarray, names: Names) -> str:
    at = np.unravel_index(int(np.where(wrong, error, -1.0).argmax()), error.shape)
    count = f"{np.count_nonzero(wrong)} of {wrong.size} entries, the worst at {entry(at)}: " if wrong.ndim else ""
    size = f" (relative error {error[at]:.2g})" if 0 < error[at] < np.inf else ""
    return f"{count}{names[0]} {a[at]!r}, {names[1]} {b[at]!r}{size}"


def _assert_alike(
    actual: Any, expected: Any, difference: Callable[[Any, Any], str], headline: str, names: Names
) -> None:
    (left, left_def), (right, right_def) = trees.flatten(actual), trees.flatten(expected)
    if left_def == right_def:
        found = [(path, a, b) for path, a, b in zip(trees.paths(actual), left, right, strict=True)]
        lines = []
    else:
        mine, yours = dict(trees.flatten_with_path(actual)), dict(trees.flatten_with_path(expected))
        found = [(path, mine[path], yours[path]) for path in mine if path in yours]
        lines = [
            f"{_at(path)}: only in {names[0]}, {describe(leaf)}" for path, leaf in mine.items() if path not in yours
        ]
        lines += [
            f"{_at(path)}: only in {names[1]}, {describe(leaf)}" for path, leaf in yours.items() if path not in mine
        ]
        lines += list(_containers(left_def, right_def, "", names))
    for path, a, b in found:
        a, b = np.asarray(to_numpy(a)), np.asarray(to_numpy(b))
        text = difference(a, b) if a.shape == b.shape else f"shape {a.shape} in {names[0]}, {b.shape} in {names[1]}"
        if text:
            lines.append(f"{_at(path)}: {text}")
    if len(lines) == 1:
        raise AssertionError(f"{headline} at {lines[0]}")
    if lines:
        more = [f"and {len(lines) - LINES} more"] if len(lines) > LINES else []
        raise AssertionError("\n  ".join([f"{headline} in {len(lines)} places:", *lines[:LINES], *more]))


def _at(path: str) -> str:
    return path or "the root"


def _containers(left: Any, right: Any, path: str, names: Names) -> Iterator[str]:
    """A line for each place where two structures have different containers, keys, or static fields."""
    if left == right or (left.is_leaf() and right.is_leaf()):
        return
    kinds = [
        getattr(treedef.type, "__name__", "a leaf") if treedef.type else "a leaf or None" for treedef in (left, right)
    ]
    if left.type is not right.type:
        yield f"{_at(path)}: {kinds[0]} in {names[0]}, {kinds[1]} in {names[1]}"
        return
    mine, yours = (
        {str(name): child for name, child in zip(d.entries(), d.children(), strict=True)} for d in (left, right)
    )
    below = [
        line
        for key in mine
        if key in yours
        for line in _containers(mine[key], yours[key], f"{path}/{key}".lstrip("/"), names)
    ]
    for here, there, name in ((mine, yours, names[0]), (yours, mine, names[1])):
        below += [
            f"{f'{path}/{key}'.lstrip('/')}: only in {name}, empty"
            for key in here
            if key not in there and not here[key].num_leaves
        ]
    yield from below
    if not below and mine.keys() == yours.keys():
        yield f"{_at(path)}: static fields of {kinds[0]} differ"
