"""The mean and the variance of what lies on several ranks, by one message for float32.

`world` is what `fd.distributed.world()` returns. Ranks may have different numbers of entries, also none.
"""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..errors import ShapeError
from ..numpy.elementwise import cast
from ..ops import normalisation as ops
from ..ops.checks import checked

__all__: list[str] = []  # helpers of normalisation
Axes = tuple[int, ...]


def moments_over(x: Any, axes: Axes, world: Any) -> Any:
    """The mean in two parts, the variance, and the number of entries, along `axes` and over all ranks: (..., 1, 4) in the dtype of x."""
    count = math.prod([x.shape[axis] for axis in axes])
    if count:
        here = ops.moments(x, axes=axes, centred=True)
    else:  # nothing has no mean
        here = fnp.zeros_like(x, shape=[*[1 if i - x.ndim in axes else n for i, n in enumerate(x.shape)], 3])
    return joined(here[..., 0], here[..., 1], here[..., 2], count, world)


def joined(near: Any, far: Any, variance: Any, count: int, world: Any) -> Any:
    """`moments_over` from the moments of this rank, which has `count` entries.

    In float64 the squares of means of float32 numbers cancel without a loss that these numbers could show. Means of float64
    are subtracted before they are squared, which needs a second message.
    """
    dtype = near.dtype
    is_single = dtype.itemsize < 8
    near, far, variance = (cast(y, np.float64) for y in (near, far, variance))
    mean, counts = near + far, fnp.full_like(near, count)
    parts = [mean * count, counts, (variance + mean * mean) * count] if is_single else [mean * count, counts]
    total = world.all_reduce(fnp.stack(parts, axis=-1))
    counts = checked(total[..., 1], test=lambda n: n > 1, error=_alone)
    mean = total[..., 0] / counts
    if is_single:
        first = cast(cast(mean, dtype), np.float64)
        rest, variance = mean - first, fnp.maximum(total[..., 2] / counts - mean * mean, 0)
    else:
        apart = (near - mean) + far
        total = world.all_reduce(fnp.stack([apart * count, (variance + apart * apart) * count], axis=-1))
        first, rest = mean, total[..., 0] / counts
        variance = total[..., 1] / counts - rest * rest
    return cast(fnp.stack([first, rest, variance, counts], axis=-1), dtype)


def sums_over(world: Any, *sums: Any) -> tuple[Any, ...]:
    """Each of these sums, of one shape, added up over all ranks, by one message."""
    total = world.all_reduce(fnp.stack(sums, axis=-1))
    return tuple([total[..., i] for i in range(len(sums))])


def _alone(counts: Any) -> ShapeError:
    return ShapeError(
        "batch_norm: all ranks together have one number for each channel, so there is no variance to divide by. Use a larger batch."
    )
