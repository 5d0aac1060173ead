"""The linear map of a layer."""

import math
from typing import Any

from .. import numpy as fnp
from ..errors import ShapeError, StructureError
from ..messages import describe

__all__ = ["linear"]


def linear(x: Any, W: Any, b: Any = None) -> Any:
    """x @ W + b over the last axis: x (..., n), W (n, m), b (m,) or None -> (..., m).

    Raises StructureError for a W that is not an array, ShapeError for shapes that do not fit.
    """
    if not hasattr(W, "shape"):
        raise StructureError(
            f"linear expects a matrix W, got {describe(W)}: nn.Linear.init(key, in_size, out_size) draws one."
        )
    x = fnp.asarray(x)
    if not x.ndim or x.shape[-1] != W.shape[0]:
        flat = [i for i in range(1, x.ndim) if x.size and x.size // math.prod(x.shape[:i]) == W.shape[0]]
        hint = f" Flatten first: x.reshape({', '.join(map(str, (*x.shape[: flat[0]], W.shape[0])))})." if flat else ""
        raise ShapeError(f"linear expects a last axis of {W.shape[0]}, got x {describe(x)} for W {describe(W)}.{hint}")
    y = fnp.matmul(x, W)
    if b is None:
        return y
    if b.shape != W.shape[1:]:
        raise ShapeError(f"linear expects a bias of shape {W.shape[1:]}, got {describe(b)} for W {describe(W)}.")
    return y + b
