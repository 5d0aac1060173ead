"""Rows of a table by their numbers, and truth values in place of numbers."""

from typing import Any

import numpy as np

from .. import numpy as fnp
from ..devices import array_module
from ..errors import DTypeError, RangeError, ShapeError, StructureError
from ..messages import describe
from ..numpy.arguments import whole_number
from ..ops import indexing
from ..transforms.reverse import stop_gradient

__all__ = ["embedding", "one_hot"]


def embedding(ids: Any, W: Any, padding_index: int | None = None) -> Any:
    """The rows of W at `ids`: integers ids (...), W (count, size) -> (..., size) in the dtype of W.

    The row at `padding_index` is read like any other, but gets no gradient. DeZero's `embed_id` is this function. A negative id
    does not count from the end. You get an error, because such an id is mostly a mistake, such as a label "unknown" of -1.
    Raises DTypeError for ids that are not integers, RangeError for ids outside 0 to count - 1. On a GPU, where that check would
    wait, the row of such an id is NaN.
    """
    if not hasattr(W, "shape"):
        raise StructureError(
            f"embedding expects a table W, got {describe(W)}: nn.Embedding.init(key, count, size) draws one."
        )
    if len(W.shape) != 2:
        raise ShapeError(f"embedding expects a table W of shape (count, size), got {describe(W)}.")
    count = int(W.shape[0])
    check_padding_index(padding_index, count, "embedding")
    ids = _checked_ids("embedding", ids, count, f"W has {count} rows")
    rows = indexing.gather(W, ids, points=ids.ndim, rest=1)
    if padding_index is None:
        return rows
    return fnp.where(fnp.expand_dims(ids == padding_index, -1), stop_gradient(rows), rows)


def one_hot(ids: Any, count: int, dtype: Any = np.float32) -> Any:
    """1 at the place of each id, 0 elsewhere: integers ids (...) -> (..., count) in `dtype`.

    Raises DTypeError for ids that are not integers, RangeError for ids outside 0 to count - 1 (on a GPU such a line is zeros).
    """
    count = whole_number("one_hot", "count", count)
    ids = _checked_ids("one_hot", ids, count, f"count is {count}")
    return fnp.astype(fnp.expand_dims(ids, -1) == array_module(ids).arange(count), dtype)


def check_padding_index(index: Any, count: int, of: str) -> None:
    """Raise RangeError unless `index` is None or the number of a row."""
    if index is not None and (not isinstance(index, int | np.integer) or not 0 <= index < count):
        raise RangeError(
            f"{of}: padding_index is the number of a row, 0 to {count - 1}, or None; got {describe(index)}."
        )


def _checked_ids(name: str, ids: Any, count: int, holder: str) -> Any:
    ids = fnp.asarray(ids)
    if ids.dtype.kind not in "iu":
        way = "Use numpy.flatnonzero(mask) for a mask." if ids.dtype.kind == "b" else "Use ids.astype(int)."
        raise DTypeError(f"{name} takes integer ids, got {describe(ids)}. {way}")
    return indexing.ids(ids, count=count, of=name, holder=holder)
