"""The linear and the bilinear map of a layer."""

import math
from typing import Any

from .. import numpy as fnp
from ..errors import ShapeError, StructureError
from ..messages import describe
from ..numpy.precision import in_single
from ..values import WIDE, is_half

__all__ = ["bilinear", "linear"]


def linear(x: Any, W: Any, b: Any = None) -> Any:
    """x @ W + b over the last axis: x (..., n), W (n, m), b (m,) or None -> (..., m). float16 and bfloat16 are added up in float32.

    Raises StructureError for a W that is not an array, ShapeError for shapes that do not fit, or a W that is not a matrix.
    """
    if not hasattr(W, "shape"):
        raise StructureError(
            f"linear expects a matrix W, got {describe(W)}: nn.Linear.init(key, in_size, out_size) draws one."
        )
    if len(W.shape) != 2:
        raise ShapeError(f"linear expects a matrix W (n, m), got {describe(W)}.{_HINTS.get(len(W.shape), '')}")
    x = fnp.asarray(x)
    if not x.ndim or x.shape[-1] != W.shape[0]:
        flat = [i for i in range(1, x.ndim) if x.size and x.size // math.prod(x.shape[:i]) == W.shape[0]]
        hint = f" Flatten first: x.reshape({', '.join(map(str, (*x.shape[: flat[0]], W.shape[0])))})." if flat else ""
        raise ShapeError(f"linear expects a last axis of {W.shape[0]}, got x {describe(x)} for W {describe(W)}.{hint}")
    if x.dtype not in WIDE and is_half(x.dtype):
        return _linear_in_single(x, W, b)
    y = fnp.matmul(x, W)
    return y if b is None else y + _checked_bias("linear", b, W)


_linear_in_single = in_single(linear)

_HINTS = {
    1: " For one output write fd.numpy.matmul(x, W), or W.reshape(-1, 1).",
    3: " For a stack of matrices write fd.numpy.matmul(x, W), or map over them: fd.vmap(F.linear, in_axes=(None, 0))(x, W).",
}


def _checked_bias(of: str, b: Any, W: Any) -> Any:
    if getattr(b, "shape", None) != W.shape[-1:]:
        raise ShapeError(f"{of} expects a bias of shape {W.shape[-1:]}, got {describe(b)} for W {describe(W)}.")
    return b


@in_single
def bilinear(x: Any, y: Any, W: Any, b: Any = None) -> Any:
    """The sum over i and j of x_i W_ijk y_j, plus b_k: x (..., n), y (..., m), W (n, m, k), b (k,) or None -> (..., k).

    x and y broadcast along their other axes.
    Raises StructureError for a W that is not an array, ShapeError for shapes that do not fit.
    """
    if not hasattr(W, "shape"):
        raise StructureError(
            f"bilinear expects W (n, m, k), got {describe(W)}: nn.Bilinear.init(key, n, m, k) draws one."
        )
    x, y = fnp.asarray(x), fnp.asarray(y)
    if len(W.shape) != 3 or x.shape[-1:] != W.shape[:1] or y.shape[-1:] != W.shape[1:2]:
        raise ShapeError(
            f"bilinear expects x (..., n), y (..., m) and W (n, m, k), got x {describe(x)}, y {describe(y)} and W {describe(W)}."
        )
    n, m, k = W.shape
    products = fnp.expand_dims(x, -1) * fnp.expand_dims(y, -2)
    z = fnp.matmul(products.reshape(*products.shape[:-2], n * m), W.reshape(n * m, k))
    return z if b is None else z + _checked_bias("bilinear", b, W)
