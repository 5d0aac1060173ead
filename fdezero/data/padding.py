"""`pad`: sequences of different lengths in one array."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..errors import DTypeError, RangeError, ShapeError, StructureError
from ..messages import describe
from .stacking import at, flatten_example, path_of, stack
from .transforms.settings import whole

__all__ = ["pad"]


def pad(
    examples: Sequence[Any],
    *,
    value: Any = 0,
    length: int | Sequence[int] | None = None,
    multiple: int = 1,
    lengths: bool = False,
) -> Any:
    """Stack sequences (n_i, ...) into one array (N, T, ...), each filled up at its end with `value`. Use it as `collate=data.pad`.

    Examples may be trees: every leaf with an axis is padded along its first one, and numbers are stacked. T is the greatest length,
    rounded up to a multiple of `multiple`; or `length`, or the first of several lengths that suffices, so that `fd.compile` sees few
    shapes. `value` may be a mapping from paths, such as `{"t": -1}`; other paths have 0. With `lengths=True` you get
    `(batch, lengths)`, where lengths (N,) stand in the places of padded leaves, and None in those of numbers.

    Raises RangeError, with example and path, for a sequence longer than `length`; ShapeError if other axes differ.
    """
    if not examples:
        raise ShapeError("data.pad: there is no sequence to pad.")
    allowed = _lengths(length)
    whole(1)(multiple, "data.pad: multiple")
    rows, structures = zip(*map(flatten_example, examples), strict=True)
    if any(structure != structures[0] for structure in structures):
        stack(examples)  # which raises, naming two examples
    paths = [path_of(examples[0], place) for place in range(len(rows[0]))]
    if isinstance(value, Mapping) and (unknown := value.keys() - set(paths)):
        raise StructureError(
            f"data.pad: value= names {', '.join(sorted(unknown))}, but an example has {', '.join(paths) or 'no name'}."
        )
    padded: list[Any] = []
    found: list[Any] = []
    for path, column in zip(paths, zip(*rows, strict=True), strict=True):
        arrays = [np.asarray(leaf) for leaf in column]
        if all(array.ndim == 0 for array in arrays):
            padded.append(stack(column))
            found.append(None)
            continue
        counts = [array.shape[0] if array.ndim else -1 for array in arrays]
        _check(arrays, path)
        fill = value.get(path, 0) if isinstance(value, Mapping) else value
        padded.append(_padded(arrays, column, _rounded(counts, allowed, multiple, path), fill, path))
        found.append(np.array(counts))
    batch = trees.unflatten(structures[0], padded)
    return (batch, trees.unflatten(structures[0], found)) if lengths else batch


pad.mixes = True  # type: ignore[attr-defined]  # the loader asks: T depends on all examples of a batch


def _lengths(length: Any) -> list[int] | None:
    if length is None:
        return None
    try:
        allowed = sorted(map(operator.index, length)) if isinstance(length, Sequence) else [operator.index(length)]
    except TypeError:
        raise DTypeError(f"data.pad: length is a whole number or several, got {length!r}.") from None
    if not allowed or allowed[0] < 0:
        raise RangeError(f"data.pad: length is 0 or more, got {length!r}.")
    return allowed


def _rounded(counts: list[int], allowed: list[int] | None, multiple: int, path: str) -> int:
    longest = max(counts)
    if allowed is None:
        return -(-longest // multiple) * multiple
    for length in allowed:
        if length >= longest:
            return length
    raise RangeError(
        f"data.pad: example {counts.index(longest)} has length {longest}{at(path)}, but the most is {allowed[-1]}."
    )


def _check(arrays: list[np.ndarray], path: str) -> None:
    for number, array in enumerate(arrays):
        if array.dtype == object:
            raise DTypeError(f"data.pad: example {number} has {describe(array)}{at(path)}, not numbers.")
        if array.ndim != arrays[0].ndim or array.shape[1:] != arrays[0].shape[1:]:
            raise ShapeError(
                f"data.pad: examples 0 and {number} differ in more than their first axis{at(path)}: {describe(arrays[0])} and "
                f"{describe(array)}."
            )


def _padded(arrays: list[np.ndarray], column: Sequence[Any], length: int, value: Any, path: str) -> np.ndarray:
    # An empty list says nothing about its dtype, and would make floats of whole numbers.
    telling = [
        array.dtype for array, leaf in zip(arrays, column, strict=True) if len(array) or not isinstance(leaf, list)
    ]
    dtype = np.result_type(*(telling or [arrays[0].dtype]))
    try:
        batch = np.full(
            (len(arrays), length, *arrays[0].shape[1:]), np.array(value).astype(dtype, casting="same_kind"), dtype
        )
    except TypeError:
        raise DTypeError(f"data.pad: {describe(value)} does not fit into {dtype}{at(path)}.") from None
    for row, array in zip(batch, arrays, strict=True):
        row[: len(array)] = array
    return batch
