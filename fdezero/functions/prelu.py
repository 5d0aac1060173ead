"""The parametric rectifier."""

from typing import Any

from .. import numpy as fnp
from ..errors import ShapeError
from ..messages import describe
from ..numpy.precision import in_single
from ..ops import elementwise

__all__ = ["prelu"]


@in_single
def prelu(x: Any, slope: Any, axis: int = 1) -> Any:
    """x where x is positive, slope * x elsewhere, with one slope for all or one for each channel along `axis`.

    x (N, C, ...), slope () or (1,) or (C,) -> (N, C, ...). The derivative at 0 is the slope. For features in the last axis write
    axis=-1. Raises ShapeError for another number of slopes.
    Source: He et al., "Delving deep into rectifiers", ICCV 2015, equation 1.
    """
    x = fnp.asarray(x)
    if not hasattr(slope, "shape"):  # a number, which leaves the dtype of x
        slope = slope if isinstance(slope, int | float) else fnp.asarray(slope)
    shape = getattr(slope, "shape", ())
    if shape and shape != (1,):
        if not -x.ndim <= axis < x.ndim or shape != (x.shape[axis],):
            raise ShapeError(
                f"prelu: x {describe(x)} needs one slope, or one for each entry along axis {axis}; got {describe(slope)}."
            )
        slope = slope.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    elif shape:
        slope = slope.reshape(())
    # Sums of both sides, because a choice by a mask is branches that a processor cannot foresee: a tenth of the speed. The
    # derivative of clip is 1 at its bound, and that of relu 0; so the slope holds at 0. An infinite x meets no 0 of a choice.
    return elementwise.relu(x) + slope * fnp.clip(x, None, 0)
