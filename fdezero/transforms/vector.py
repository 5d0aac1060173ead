"""`ravel`: a tree as one vector and back, for methods that work on vectors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree as trees
from ..core.cotangents import cast
from ..devices import array_module
from ..errors import DTypeError, ShapeError
from ..messages import describe
from ..numpy import concatenate, reshape
from ..values import dtype_of, shape_of


def ravel(tree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """`(vector, unravel)`: the floating leaves of a tree one after the other, (n,), and the way back, `unravel(vector)` -> tree.

    The vector has the leaves' common dtype, and `unravel` restores the dtype of each leaf; a Python float returns as a float64 scalar.
    Leaves that `grad` skips (integers, booleans, None, `Frozen`) are not in the vector and return unchanged.

    Raises ShapeError or DTypeError if `unravel` gets another length or dtype.
    """
    leaves, treedef = trees.flatten_trainable(tree)
    places = [i for i, leaf in enumerate(leaves) if trees.is_differentiable(leaf)]
    shapes = [shape_of(leaves[i]) for i in places]
    dtypes = [dtype_of(leaves[i]) for i in places]
    module = array_module(*leaves)
    arrays = [leaves[i] if hasattr(leaves[i], "shape") else module.asarray(leaves[i]) for i in places]
    dtype = np.result_type(*dtypes) if dtypes else np.dtype(float)
    size = sum(map(math.prod, shapes))
    vector = concatenate([reshape(x, (math.prod(x.shape),)) for x in arrays]) if arrays else np.zeros(0)

    def unravel(vector: Any) -> Any:
        """The tree that a vector stands for."""
        if getattr(vector, "shape", None) != (size,):
            raise ShapeError(
                f"unravel expects {dtype}[{size}], got {describe(vector)}: the tree has {size} floating entries."
            )
        if vector.dtype != dtype:
            raise DTypeError(
                f"unravel expects {dtype}[{size}], got {describe(vector)}. Use vector.astype({str(dtype)!r})."
            )
        full, start = list(leaves), 0
        for i, shape, own in zip(places, shapes, dtypes, strict=True):
            part = reshape(vector[start : start + math.prod(shape)], shape) if shape else vector[start]
            full[i] = cast(part, own)
            if full[i].__class__ is np.ndarray and full[i].base is not None:
                full[i] = full[i].copy()  # so that a write into the tree does not change the vector
            start += math.prod(shape)
        return trees.unflatten(treedef, full)

    return vector, unravel
