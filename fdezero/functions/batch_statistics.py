"""Normalisation over the batch: by its own statistics in training, also those of a whole `vmap` or of all ranks, or by given ones."""

from typing import Any

from .. import numpy as fnp
from ..errors import ShapeError, StructureError
from ..messages import describe
from ..numpy.arguments import Array
from ..numpy.precision import half_of, narrowed, widened
from ..ops import normalisation as ops
from ..transforms.collectives import axis_size, pmean
from .moments import joined
from .normalisation import Axes, as_lines, channels_of, checked_eps, fitted, normalised

__all__ = ["batch_norm", "batch_norm_with_statistics"]


def batch_norm(
    x: Any,
    scale: Any = None,
    shift: Any = None,
    mean: Any = None,
    variance: Any = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
) -> Array:
    """x normalised within each channel: x (N, C, ...), scale, shift, mean, variance (C,) or None -> (N, C, ...).

    With `mean` and `variance` these are used, as in inference. Without them they are those of the batch, as in training, which
    `batch_norm_with_statistics` also returns. `axis` is that of the channels. DeZero's `batch_nrom` is this with eps=2e-5.
    Raises ShapeError for shapes that do not fit, and for a batch of one number for each channel.
    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """
    if mean is None and variance is None:
        return batch_norm_with_statistics(x, scale, shift, axis=axis, eps=eps)[0]
    if mean is None or variance is None:
        raise StructureError(
            "batch_norm takes mean and variance together; without both it computes those of the batch."
        )
    return _by_statistics(x, scale, shift, mean, variance, axis, checked_eps("batch_norm", eps))


def _by_statistics(x: Any, scale: Any, shift: Any, mean: Any, variance: Any, axis: int, eps: float) -> Array:
    x = as_lines("batch_norm", x, scale, shift)
    channels, placed = channels_of("batch_norm", x, axis)
    given = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
    arrays = [fitted("batch_norm", name, value, (channels,), placed) for name, value in given.items()]
    wide, scale, shift, mean, variance = map(widened, (x, *arrays))
    a = 1 / fnp.sqrt(variance + eps)
    y = ops.shifted(wide, mean, a if scale is None else a * scale, -0.0, 1, -0.0 if shift is None else shift)
    return _as_input(y, x, *arrays[:2])


def _as_input(y: Any, x: Any, *affine: Any) -> Array:
    """y in float16 or bfloat16 if all that has been given is; statistics do not count."""
    half = half_of([value.dtype for value in (x, *affine) if value is not None])
    result: Array = y if half is None else narrowed(y, half)
    return result


def batch_norm_with_statistics(
    x: Any,
    scale: Any = None,
    shift: Any = None,
    *,
    axis: int = 1,
    eps: float = 1e-5,
    axis_name: str | None = None,
    world: Any = None,
) -> tuple[Array, Array, Array]:
    """`(y, mean, variance)`: x normalised by the statistics of the batch, and these, (C,) each.

    The variance is biased. For a running variance PyTorch and DeZero multiply it by n / (n - 1), n = x.size / C. Statistics of
    float16 are float32. With `axis_name`, that of an `fd.vmap`, they are those of all its examples, and with
    `world=fd.distributed.world()` those of all ranks. A rank may have more examples than another one, or none.
    Raises as `batch_norm` does.
    """
    return statistics_of(x, scale, shift, axis, eps, axis_name, world)[:3]


def statistics_of(
    x: Any, scale: Any, shift: Any, axis: int, eps: float, axis_name: str | None, world: Any
) -> tuple[Array, Array, Array, Any]:
    """`batch_norm_with_statistics`, and the number of entries in each channel."""
    name = "batch_norm"
    world = checked_world(name, world)
    x = as_lines(name, x, scale, shift)
    eps = checked_eps(name, eps)
    channels, placed = channels_of(name, x, axis)
    is_alone = world is None
    count: Any = x.size // max(1, channels)
    if axis_name is not None:
        count *= axis_size(x, axis_name)
    batch = describe(x) if axis_name is None else f"{describe(x)}, for all examples of {axis_name!r},"
    if is_alone and count == 1:
        raise ShapeError(
            f"{name}: x {batch} has one number for each of {channels} channels, so there is no variance to divide by. "
            "Use a larger batch, or the statistics of training: train=False, or mean= and variance=."
        )
    if not channels or (is_alone and not count) or (axis_name is not None and not x.size):
        raise ShapeError(f"{name}: x {batch} has no entries, so they have no mean.")
    scale, shift = (
        fitted(name, word, value, (channels,), placed) for word, value in (("scale", scale), ("shift", shift))
    )
    wide = list(map(widened, (x, scale, shift)))
    axes = tuple([i for i in range(-x.ndim, 0) if i != axis % x.ndim - x.ndim])
    if axis_name is None:
        y, moments = normalised(*wide, axes, eps, True, world)
        mean, variance = moments[..., 0], moments[..., 2]
    else:
        y, mean, variance, moments = _synchronised(wide[0], wide[1], wide[2], axes, eps, axis_name, count, world)
    if not is_alone:
        count = fnp.reshape(moments[..., 3], (channels,))[0]
    return _as_input(y, x, scale, shift), fnp.reshape(mean, (channels,)), fnp.reshape(variance, (channels,)), count


def _synchronised(
    x: Any, scale: Any, shift: Any, axes: Axes, eps: float, axis_name: str, count: int, world: Any
) -> tuple[Any, Any, Any, Any]:
    """The result, mean and variance of all examples of a vmap, and the moments of all ranks. Examples have equally many entries."""
    if axes:
        moments = ops.moments(x, axes=axes, centred=True)
        near, far, variance = moments[..., 0], moments[..., 1], moments[..., 2]
    else:
        near, far, variance = x, 0 * x, 0 * x
    mean, moments = pmean(near, axis_name), None
    apart = near - mean + far
    far = pmean(apart, axis_name)
    variance = pmean(variance + apart * apart, axis_name) - far**2
    if world is not None:
        moments = joined(mean, far, variance, count, world)
        mean, far, variance = moments[..., 0], moments[..., 1], moments[..., 2]
    mean = mean + far
    factor = 1 / fnp.sqrt(variance + eps)
    y = ops.shifted(x, mean, factor if scale is None else factor * scale, -0.0, 1, -0.0 if shift is None else shift)
    return y, mean, variance, moments


def checked_world(name: str, world: Any) -> Any:
    """A world of several ranks; None for a rank that is alone. Raises StructureError for anything else."""
    if world is None:
        return None
    if not (hasattr(world, "all_reduce") and hasattr(world, "size")):
        raise StructureError(f"{name}: world is what fd.distributed.world() returns, got {describe(world)}.")
    return world if world.size > 1 else None
