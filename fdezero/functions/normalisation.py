"""Normalisation: every line of an array gets mean 0 and variance 1, and then a scale and a shift.

Variances are biased: they divide by the number of entries, as in PyTorch and DeZero. A mean far from 0 costs no digits: lines are
shifted before they are squared, and the mean is known to more digits than one number of the dtype has. float16 is computed in
float32 and rounded once. Scale and shift may be None.
"""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..devices import backend_of
from ..errors import DTypeError, RangeError, ShapeError, StructureError
from ..messages import describe
from ..numpy.arguments import Array, Axis, inexact, trailing_axes, whole_number
from ..numpy.precision import half_of, in_single, narrowed, widened
from ..ops import normalisation as ops
from ..ops import pooling
from ..ops.memory_order import is_number
from ..ops.normalised_lines import normalised_lines
from ..transforms.collectives import pmean
from ..transforms.custom import custom_vjp
from ..values import is_floating

__all__ = [
    "batch_norm", "batch_norm_with_statistics", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm",
]  # fmt: skip

Axes = tuple[int, ...]


# The derivative by its compact rule


def _parts(moments: Any, eps: float, centred: bool) -> tuple[Any, Any, Any]:
    """What is subtracted, the factor, and what is added then: z = (x - c) * a + e has mean 0 and variance 1."""
    a = 1 / fnp.sqrt(moments[..., 2] + eps)
    return (moments[..., 0], a, -moments[..., 1] * a) if centred else (0, a, -0.0)


def _are_shared(scale: Any, axes: Axes) -> bool:
    """Whether a scale is the same along a whole line, so that it is a factor of sums over the line."""
    return scale is None or all(scale.shape[axis] == 1 for axis in axes)


def _scaled(x: Any, moments: Any, scale: Any, shift: Any, axes: Axes, eps: float, centred: bool) -> Any:
    c, a, e = _parts(moments, eps, centred)
    if scale is not None and _are_shared(scale, axes):
        a, e, scale = a * scale, e if is_number(e) else e * scale, None
    if scale is None and shift is not None and _are_shared(shift, axes):
        e, shift = shift if is_number(e) else e + shift, None
    return ops.shifted(x, c, a, e, 1 if scale is None else scale, -0.0 if shift is None else shift)


def _normalised(x: Any, scale: Any, shift: Any, axes: Axes, eps: float, centred: bool) -> tuple[Any, Any]:
    moments = ops.moments(x, axes=axes, centred=centred)
    return _scaled(x, moments, scale, shift, axes, eps, centred), moments


def _forward(x: Any, scale: Any, shift: Any, axes: Axes, eps: float, centred: bool) -> tuple[Any, Any]:
    y, moments = _normalised(x, scale, shift, axes, eps, centred)
    return (y, moments), (x, scale, shift, moments)


def _backward(axes: Axes, eps: float, centred: bool, residuals: Any, cotangents: Any) -> tuple[Any, Any, Any]:
    """One pass for the sums of t and t z along the lines, one for the gradient of x; one more for a scale that differs along lines."""
    x, scale, shift, moments = residuals
    t, of_moments = cotangents
    c, a, e = _parts(moments, eps, centred)
    count = math.prod([x.shape[axis] for axis in axes])
    are_shared = _are_shared(scale, axes)
    weight = 1 if are_shared else scale
    sums = ops.sums(t, x, c, a, e, weight, axes=axes)
    factor, of_mean, of_z = a, sums[..., 0], sums[..., 1]
    if are_shared and scale is not None:
        factor, of_mean, of_z = a * scale, of_mean * scale, of_z * scale
    slope = (of_moments[..., 2] * 2 - a * a * of_z) / count  # of x - mean, through the variance
    rest: Any = -0.0
    if centred:
        rest = (of_moments[..., 0] - a * of_mean) / count - moments[..., 1] * slope
    of_x = ops.mixed(t, weight, factor, x, c, slope, rest)
    of_scale, of_shift = None, None
    if scale is not None or shift is not None:
        like = shift if scale is None else scale
        over = tuple([i for i in range(-x.ndim, 0) if like.shape[i] == 1])
        if are_shared and _are_shared(like, axes):
            over, total = tuple([i for i in over if i not in axes]), sums
        else:
            total = (
                ops.sums(t, x, c, a, e, 1, axes=over)
                if over
                else fnp.stack([t, t * ops.shifted(x, c, a, e, 1, -0.0)], axis=-1)
            )
            over = ()
        total = fnp.sum(total, axis=tuple([i - 1 for i in over]), keepdims=True) if over else total
        of_scale = None if scale is None else total[..., 1]
        of_shift = None if shift is None else total[..., 0]
    return of_x, of_scale, of_shift


# (x, scale, shift, axes, eps, centred) -> (y, moments). Scale and shift are None, or have the axes of x, and the same shape.
normalised = custom_vjp(_normalised, nondiff_argnums=(3, 4, 5))
normalised.defvjp(_forward, _backward)


def _lines_alone(x: Any, scale: Any, shift: Any, axes: Axes, eps: float, centred: bool) -> Any:
    """Normalised lines without their moments: on a GPU one launch, which finds the moments itself."""
    if x.size and backend_of(x).fuses_into_kernels:
        w, b = (1 if scale is None else scale), (-0.0 if shift is None else shift)
        return normalised_lines(x, w, b, axes=axes, eps=eps, centred=centred)
    return normalised(x, scale, shift, axes, eps, centred)[0]


# Arguments


def _as_lines(name: str, x: Any, *affine: Any) -> Array:
    """x as real floating numbers; integers get the dtype that they have in a product with scale and shift."""
    x = fnp.asarray(x)
    if x.dtype.kind in "iub" and (kinds := [value.dtype for value in affine if hasattr(value, "dtype")]):
        x = fnp.astype(x, np.result_type(x.dtype, *kinds))
    x = inexact(x)
    if not is_floating(x.dtype):
        raise DTypeError(f"{name} takes real numbers, got {describe(x)}. Normalise x.real and x.imag.")
    return x


def _fitted(name: str, word: str, value: Any, shape: tuple[int, ...], placed: tuple[int, ...]) -> Any:
    """A scale, a shift or a statistic of `shape` as an array with the axes of x; its lengths stand at the axes that `placed` has."""
    if value is None:
        return None
    value = fnp.asarray(value)
    if value.shape != shape:
        hint = "" if name != "batch_norm" else " Channels stand along axis 1 unless axis= says where."
        layer = name.title().replace("_", "").replace("Rms", "RMS")
        raise ShapeError(
            f"{name}: {word} must have shape {shape} for this x and axis, got {describe(value)}."
            + (hint if value.ndim else f" nn.{layer}.init(key, ...) makes one.")
        )
    return fnp.reshape(value, placed)


def _channels(name: str, x: Array, axis: int) -> tuple[int, tuple[int, ...]]:
    """The number of channels, and the shape of x with 1 along all other axes."""
    if not isinstance(axis, int | np.integer) or not -x.ndim <= axis < x.ndim:
        raise ShapeError(
            f"{name} expects x of shape (N, C, ...) with its channels along axis {axis}, got {describe(x)}."
        )
    channels = x.shape[axis]
    return channels, tuple([channels if i == axis % x.ndim else 1 for i in range(x.ndim)])


def _checked_eps(name: str, eps: float) -> float:
    if not isinstance(eps, int | float | np.number) or not eps >= 0:
        raise RangeError(f"{name}: eps is added to a variance, so it is a number of at least 0; got {eps!r}.")
    return float(eps)


# Over the batch


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
    return _by_statistics(x, scale, shift, mean, variance, axis, _checked_eps("batch_norm", eps))


def _by_statistics(x: Any, scale: Any, shift: Any, mean: Any, variance: Any, axis: int, eps: float) -> Array:
    x = _as_lines("batch_norm", x, scale, shift)
    channels, placed = _channels("batch_norm", x, axis)
    given = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
    arrays = [_fitted("batch_norm", name, value, (channels,), placed) for name, value in given.items()]
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
    x: Any, scale: Any = None, shift: Any = None, *, axis: int = 1, eps: float = 1e-5, axis_name: str | None = None
) -> tuple[Array, Array, Array]:
    """`(y, mean, variance)`: x normalised by the statistics of the batch, and these, (C,) each.

    The variance is biased. For a running variance PyTorch and DeZero multiply it by n / (n - 1), n = x.size / C. Statistics of
    float16 are float32. With `axis_name`, that of an `fd.vmap`, they are those of all its examples.
    Raises as `batch_norm` does.
    """
    name = "batch_norm"
    x = _as_lines(name, x, scale, shift)
    eps = _checked_eps(name, eps)
    channels, placed = _channels(name, x, axis)
    if axis_name is None and x.size == channels:
        raise ShapeError(
            f"{name}: x {describe(x)} has one number for each of {channels} channels, so there is no variance to divide by. "
            "Use a larger batch, or the statistics of training: train=False, or mean= and variance=."
        )
    if x.size == 0:
        raise ShapeError(f"{name}: x {describe(x)} has no entries, so they have no mean.")
    scale, shift = (
        _fitted(name, word, value, (channels,), placed) for word, value in (("scale", scale), ("shift", shift))
    )
    wide = list(map(widened, (x, scale, shift)))
    axes = tuple([i for i in range(-x.ndim, 0) if i != axis % x.ndim - x.ndim])
    if axis_name is None:
        y, moments = normalised(*wide, axes, eps, True)
        mean, variance = moments[..., 0], moments[..., 2]
    else:
        y, mean, variance = _synchronised(wide[0], wide[1], wide[2], axes, eps, axis_name)
    return _as_input(y, x, scale, shift), fnp.reshape(mean, (channels,)), fnp.reshape(variance, (channels,))


def _synchronised(x: Any, scale: Any, shift: Any, axes: Axes, eps: float, axis_name: str) -> tuple[Any, Any, Any]:
    """The result and the statistics of all examples of a vmap. Every example has the same number of entries."""
    if axes:
        moments = ops.moments(x, axes=axes, centred=True)
        near, far, variance = moments[..., 0], moments[..., 1], moments[..., 2]
    else:
        near, far, variance = x, 0 * x, 0 * x
    mean = pmean(near, axis_name)
    apart = near - mean + far
    variance = pmean(variance + apart * apart, axis_name) - pmean(apart, axis_name) ** 2
    mean = mean + pmean(apart, axis_name)
    factor = 1 / fnp.sqrt(variance + eps)
    y = ops.shifted(x, mean, factor if scale is None else factor * scale, -0.0, 1, -0.0 if shift is None else shift)
    return y, mean, variance


# Over each example


@in_single
def _each_normalised(name: str, x: Any, scale: Any, shift: Any, axis: Axis, eps: float, centred: bool) -> Array:
    x = _as_lines(name, x, scale, shift)
    if not x.ndim:
        raise ShapeError(f"{name} normalises along an axis, but x {describe(x)} has none.")
    axes = trailing_axes(axis, x.ndim)
    shape = tuple([x.shape[a] for a in axes])
    if 0 in shape:
        raise ShapeError(f"{name}: x {describe(x)} has no entries along {axis=}, so they have no mean.")
    placed = tuple([n if i - x.ndim in axes else 1 for i, n in enumerate(x.shape)])
    scale, shift = (_fitted(name, word, value, shape, placed) for word, value in (("scale", scale), ("shift", shift)))
    y: Array = _lines_alone(x, scale, shift, axes, _checked_eps(name, eps), centred)
    return y


def layer_norm(x: Any, scale: Any = None, shift: Any = None, *, axis: Axis = -1, eps: float = 1e-5) -> Array:
    """x normalised along `axis`, the last axis or several: x (..., n), scale, shift (n,) or None -> (..., n).

    Scale and shift have the lengths of these axes. Raises ShapeError for shapes that do not fit.
    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.
    """
    return _each_normalised("layer_norm", x, scale, shift, axis, eps, True)


def rms_norm(x: Any, scale: Any = None, *, axis: Axis = -1, eps: float = 1e-5) -> Array:
    """x divided by the root of its mean square along `axis`: x (..., n), scale (n,) or None -> (..., n).

    Nothing is subtracted. Raises ShapeError for shapes that do not fit.
    Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.
    """
    return _each_normalised("rms_norm", x, scale, None, axis, eps, False)


@in_single
def group_norm(x: Any, num_groups: int, scale: Any = None, shift: Any = None, *, eps: float = 1e-5) -> Array:
    """x normalised within groups of neighbouring channels: x (N, C, ...), scale, shift (C,) or None -> (N, C, ...).

    Each example is normalised alone. Raises RangeError if C is no multiple of `num_groups`, ShapeError for shapes that do not fit.
    Source: Wu and He, "Group normalization", 2018.
    """
    x = _as_lines("group_norm", x, scale, shift)
    if x.ndim < 2:
        raise ShapeError(f"group_norm expects x of shape (N, C, ...), got {describe(x)}.")
    channels = x.shape[1]
    if not isinstance(num_groups, int | np.integer) or num_groups < 1 or channels % num_groups:
        raise RangeError(
            f"group_norm: num_groups must divide the number of channels, which is {channels} in x {describe(x)}; got {num_groups!r}."
        )
    if x.size and math.prod(x.shape[2:]) * channels == num_groups:
        raise ShapeError(_alone("group_norm", x, "group"))
    parted = (num_groups, channels // num_groups)
    placed = (1, *parted, *[1] * (x.ndim - 2))
    scale, shift = (
        _fitted("group_norm", word, value, (channels,), placed) for word, value in (("scale", scale), ("shift", shift))
    )
    lines = fnp.reshape(x, (x.shape[0], *parted, *x.shape[2:]))
    y = _lines_alone(lines, scale, shift, tuple(range(1 - x.ndim, 0)), _checked_eps("group_norm", eps), True)
    return fnp.reshape(y, x.shape)


@in_single
def instance_norm(x: Any, scale: Any = None, shift: Any = None, *, eps: float = 1e-5) -> Array:
    """Each channel of each example normalised alone: x (N, C, ...), scale, shift (C,) or None -> (N, C, ...).

    Raises ShapeError for shapes that do not fit, and for one number in each channel.
    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016.
    """
    x = _as_lines("instance_norm", x, scale, shift)
    if x.ndim < 3:
        raise ShapeError(
            f"instance_norm expects x of shape (N, C, ...) with axes behind the channels, got {describe(x)}."
        )
    if x.size == x.shape[0] * x.shape[1]:
        raise ShapeError(_alone("instance_norm", x, "channel"))
    channels, placed = _channels("instance_norm", x, 1)
    scale, shift = (
        _fitted("instance_norm", word, value, (channels,), placed)
        for word, value in (("scale", scale), ("shift", shift))
    )
    y: Array = _lines_alone(x, scale, shift, tuple(range(2 - x.ndim, 0)), _checked_eps("instance_norm", eps), True)
    return y


def _alone(name: str, x: Array, what: str) -> str:
    return f"{name}: x {describe(x)} has one number in each {what} of an example, so there is no variance to divide by."


@in_single
def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    """x / (k + alpha * mean square of `size` neighbouring channels) ** beta: x (N, C, ...) -> (N, C, ...).

    Channels beyond the first and the last count as zeros, as in PyTorch: the mean divides by `size` everywhere.
    Raises ShapeError for x without channels, RangeError for a size that is not an integer of at least 1.
    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional networks", 2012, section 3.3.
    """
    x = _as_lines("local_response_norm", x)
    if x.ndim < 2:
        raise ShapeError(f"local_response_norm expects x of shape (N, C, ...), got {describe(x)}.")
    size = whole_number("local_response_norm", "size", size)
    last = fnp.moveaxis(fnp.square(x), 1, -1)
    totals = pooling.summed(last, windows=((x.shape[1], size, 1, size // 2, 1),))
    return x / (k + fnp.moveaxis(totals, -1, 1) * (alpha / size)) ** beta
