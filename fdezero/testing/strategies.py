"""Hypothesis strategies for arrays, shapes that broadcast, keys and pytrees; they shrink to small, readable examples."""

from typing import Any

import numpy as np

from ..errors import MissingExtraError

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise MissingExtraError("fdezero.testing's strategies need hypothesis: pip install 'fdezero[test]'") from error


def arrays(
    dtype: Any = np.float64,
    shape: Any = None,
    *,
    min_value: float = -2.0,
    max_value: float = 2.0,
) -> "st.SearchStrategy[np.ndarray]":
    """Arrays of finite numbers in [min_value, max_value], without subnormals.

    `shape` is a shape or a strategy for shapes; by default 0 to 3 axes of length 1 to 4.
    """
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4) if shape is None else shape
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        width = 8 * dtype.itemsize
        low, high = float(dtype.type(min_value)), float(dtype.type(max_value))
        elements: Any = st.floats(low, high, width=width, allow_subnormal=False)  # type: ignore[call-overload]
    elif dtype.kind == "b":
        elements = st.booleans()
    else:
        elements = st.integers(int(min_value), int(max_value))
    return hnp.arrays(dtype, shapes, elements=elements)


def broadcastable_shapes(count: int = 2, *, max_dims: int = 3, max_side: int = 4) -> "st.SearchStrategy[tuple[tuple[int, ...], ...]]":
    """Tuples of `count` shapes that broadcast together."""
    return hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=max_dims, max_side=max_side).map(lambda found: found.input_shapes)


def keys() -> "st.SearchStrategy[np.ndarray]":
    """Random keys, as `fdezero.random.key` makes them."""
    from ..random import key

    return st.integers(0, 2**32 - 1).map(key)


def pytrees(leaves: Any = None, *, max_leaves: int = 5) -> "st.SearchStrategy[Any]":
    """Nested dicts, lists and tuples of `leaves` (float64 arrays by default), with at least one leaf."""
    leaf = arrays() if leaves is None else leaves
    names = st.text("abcxyz", min_size=1, max_size=3)
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.dictionaries(names, inner, min_size=1, max_size=3),
            st.lists(inner, min_size=1, max_size=3),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
        ),
        max_leaves=max_leaves,
    )
