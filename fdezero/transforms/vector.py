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

    return vector, _Unravel(leaves, treedef, places, shapes, dtypes, dtype, size)


class _Unravel:
    """The tree that a vector stands for."""

    def __init__(
        self,
        leaves: list[Any],
        treedef: Any,
        places: list[int],
        shapes: list[Any],
        dtypes: list[Any],
        dtype: Any,
        size: int,
    ) -> None:
        self.__name__ = "unravel"
        self.leaves, self.treedef, self.places = leaves, treedef, places
        self.shapes, self.dtypes, self.dtype, self.size = shapes, dtypes, dtype, size

    def __call__(self, vector: Any) -> Any:
        expected = f"unravel expects {self.dtype}[{self.size}], got {describe(vector)}"
        if getattr(vector, "shape", None) != (self.size,):
            raise ShapeError(f"{expected}: the tree has {self.size} floating entries.")
        if vector.dtype != self.dtype:
            raise DTypeError(f"{expected}. Use vector.astype({str(self.dtype)!r}).")
        full, start = list(self.leaves), 0
        for i, shape, own in zip(self.places, self.shapes, self.dtypes, strict=True):
            part = reshape(vector[start : start + math.prod(shape)], shape) if shape else vector[start]
            full[i] = cast(part, own)
            if full[i].__class__ is np.ndarray and full[i].base is not None:
                full[i] = full[i].copy()  # so that a write into the tree does not change the vector
            start += math.prod(shape)
        return trees.unflatten(self.treedef, full)
