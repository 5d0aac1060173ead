"""Normalisation of each example: every line of an array gets mean 0 and variance 1, and then a scale and a shift.

Variances are biased: they divide by the number of entries, as in PyTorch and DeZero. A mean far from 0 costs no digits: lines are
shifted before they are squared, and the mean is known to more digits than one number of the dtype has. float16 is computed in
float32 and rounded once. Scale and shift may be None.
"""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..devices import backend_of
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import Array, Axis, inexact, trailing_axes, whole_number
from ..numpy.precision import in_single
from ..ops import normalisation as ops
from ..ops import pooling
from ..ops.memory_order import is_number
from ..ops.normalised_lines import normalised_lines
from ..transforms.custom import custom_vjp
from ..values import is_floating
from .moments import moments_over, sums_over

__all__ = ["group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]

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


def _normalised(x: Any, scale: Any, shift: Any, axes: Axes, eps: float, centred: bool, world: Any) -> tuple[Any, Any]:
    moments = ops.moments(x, axes=axes, centred=centred) if world is None else moments_over(x, axes, world)
    return _scaled(x, moments, scale, shift, axes, eps, centred), moments


def _forward(x: Any, scale: Any, shift: Any, axes: Axes, eps: float, centred: bool, world: Any) -> tuple[Any, Any]:
    y, moments = _normalised(x, scale, shift, axes, eps, centred, world)
    return (y, moments), (x, scale, shift, moments)


def _backward(
    axes: Axes, eps: float, centred: bool, world: Any, residuals: Any, cotangents: Any
) -> tuple[Any, Any, Any]:
    """One pass for the sums of t and t z along the lines, one for the gradient of x; one more for a scale that differs along lines."""
    x, scale, shift, moments = residuals
    t, of_moments = cotangents
    c, a, e = _parts(moments, eps, centred)
    count: Any = math.prod([x.shape[axis] for axis in axes])
    are_shared = _are_shared(scale, axes)
    weight = 1 if are_shared else scale
    sums = ops.sums(t, x, c, a, e, weight, axes=axes)
    factor, of_mean, of_z = a, sums[..., 0], sums[..., 1]
    if are_shared and scale is not None:
        factor, of_mean, of_z = a * scale, of_mean * scale, of_z * scale
    of_first, of_variance = of_moments[..., 0], of_moments[..., 2]
    if world is not None:  # what depends on the moments lies on all ranks
        of_first, of_variance, of_mean, of_z = sums_over(world, of_first, of_variance, of_mean, of_z)
        count = moments[..., 3]
    slope = (of_variance * 2 - a * a * of_z) / count  # of x - mean, through the variance
    rest: Any = -0.0
    if centred:
        rest = (of_first - a * of_mean) / count - moments[..., 1] * slope
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


# (x, scale, shift, axes, eps, centred, world) -> (y, moments). Scale and shift are None, or have the axes of x, and the same shape.
# The moments are those of all ranks of a world, or of x alone if it is None.
normalised = custom_vjp(_normalised, nondiff_argnums=(3, 4, 5, 6))
normalised.defvjp(_forward, _backward)


def _lines_alone(x: Any, scale: Any, shift: Any, axes: Axes, eps: float, centred: bool) -> Any:
    """Normalised lines without their moments: on a GPU one launch, which finds the moments itself."""
    if x.size and backend_of(x).fuses_into_kernels:
        w, b = (1 if scale is None else scale), (-0.0 if shift is None else shift)
        return normalised_lines(x, w, b, axes=axes, eps=eps, centred=centred)
    return normalised(x, scale, shift, axes, eps, centred, None)[0]


# Arguments


def as_lines(name: str, x: Any, *affine: Any) -> Array:
    """x as real floating numbers; integers get the dtype that they have in a product with scale and shift."""
    x = fnp.asarray(x)
    if x.dtype.kind in "iub" and (kinds := [value.dtype for value in affine if hasattr(value, "dtype")]):
        x = fnp.astype(x, np.result_type(x.dtype, *kinds))
    x = inexact(x)
    if not is_floating(x.dtype):
        raise DTypeError(f"{name} takes real numbers, got {describe(x)}. Normalise x.real and x.imag.")
    return x


def fitted(name: str, word: str, value: Any, shape: tuple[int, ...], placed: tuple[int, ...]) -> Any:
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


def channels_of(name: str, x: Array, axis: int) -> tuple[int, tuple[int, ...]]:
    """The number of channels, and the shape of x with 1 along all other axes."""
    if not isinstance(axis, int | np.integer) or not -x.ndim <= axis < x.ndim:
        raise ShapeError(
            f"{name} expects x of shape (N, C, ...) with its channels along axis {axis}, got {describe(x)}."
        )
    channels = x.shape[axis]
    return channels, tuple([channels if i == axis % x.ndim else 1 for i in range(x.ndim)])


def checked_eps(name: str, eps: float) -> float:
    if not isinstance(eps, int | float | np.number) or not eps >= 0:
        raise RangeError(f"{name}: eps is added to a variance, so it is a number of at least 0; got {eps!r}.")
    return float(eps)


# Over each example


@in_single
def _each_normalised(name: str, x: Any, scale: Any, shift: Any, axis: Axis, eps: float, centred: bool) -> Array:
    x = as_lines(name, x, scale, shift)
    if not x.ndim:
        raise ShapeError(f"{name} normalises along an axis, but x {describe(x)} has none.")
    axes = trailing_axes(axis, x.ndim)
    shape = tuple([x.shape[a] for a in axes])
    if 0 in shape:
        raise ShapeError(f"{name}: x {describe(x)} has no entries along {axis=}, so they have no mean.")
    placed = tuple([n if i - x.ndim in axes else 1 for i, n in enumerate(x.shape)])
    scale, shift = (fitted(name, word, value, shape, placed) for word, value in (("scale", scale), ("shift", shift)))
    y: Array = _lines_alone(x, scale, shift, axes, checked_eps(name, eps), centred)
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
    x = as_lines("group_norm", x, scale, shift)
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
        fitted("group_norm", word, value, (channels,), placed) for word, value in (("scale", scale), ("shift", shift))
    )
    lines = fnp.reshape(x, (x.shape[0], *parted, *x.shape[2:]))
    y = _lines_alone(lines, scale, shift, tuple(range(1 - x.ndim, 0)), checked_eps("group_norm", eps), True)
    return fnp.reshape(y, x.shape)


@in_single
def instance_norm(x: Any, scale: Any = None, shift: Any = None, *, eps: float = 1e-5) -> Array:
    """Each channel of each example normalised alone: x (N, C, ...), scale, shift (C,) or None -> (N, C, ...).

    Raises ShapeError for shapes that do not fit, and for one number in each channel.
    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016.
    """
    x = as_lines("instance_norm", x, scale, shift)
    if x.ndim < 3:
        raise ShapeError(
            f"instance_norm expects x of shape (N, C, ...) with axes behind the channels, got {describe(x)}."
        )
    if x.size and math.prod(x.shape[2:]) == 1:
        raise ShapeError(_alone("instance_norm", x, "channel"))
    channels, placed = channels_of("instance_norm", x, 1)
    scale, shift = (
        fitted("instance_norm", word, value, (channels,), placed)
        for word, value in (("scale", scale), ("shift", shift))
    )
    y: Array = _lines_alone(x, scale, shift, tuple(range(2 - x.ndim, 0)), checked_eps("instance_norm", eps), True)
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
    x = as_lines("local_response_norm", x)
    if x.ndim < 2:
        raise ShapeError(f"local_response_norm expects x of shape (N, C, ...), got {describe(x)}.")
    size = whole_number("local_response_norm", "size", size)
    last = fnp.moveaxis(fnp.square(x), 1, -1)
    totals = pooling.summed(last, windows=((x.shape[1], size, 1, size // 2, 1),))
    return x / (k + fnp.moveaxis(totals, -1, 1) * (alpha / size)) ** beta
