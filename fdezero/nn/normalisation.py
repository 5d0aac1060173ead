"""Layers that normalise: over the batch, with statistics that training changes, or over each example alone."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import random
from ..errors import RangeError, ShapeError
from ..functions.batch_statistics import checked_world, statistics_of
from ..messages import describe
from ..numpy.arguments import Array, whole_number
from ..numpy.elementwise import cast
from ..numpy.precision import widened
from ..tree import Module, static, statistic
from . import initial, standing
from .lazy import Sized, SizedByFeatures
from .linear import check_sizes
from .state import Stateful

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm", "sync_batch_norm"]


def _affine(
    cls: type,
    key: Array,
    shape: tuple[int, ...],
    scale: bool,
    shift: bool,
    weight_init: Any,
    bias_init: Any,
    dtype: Any,
) -> tuple[Array | None, Array | None]:
    """The scale and the shift of a layer, or None."""
    name = cls.__name__
    return (
        initial.draw(weight_init, key, shape, dtype, of=f"{name}: weight_init") if scale else None,
        initial.draw(bias_init, random.fold_in(key, 0), shape, dtype, of=f"{name}: bias_init") if shift else None,
    )


class _Channels(Sized):
    """What layers with a scale and a shift for each channel have in common."""

    @staticmethod
    def sizes_of(x: Array, axis: int = 1, **options: Any) -> tuple[int, ...]:
        """(channels,) of an input."""
        if not -x.ndim <= axis < x.ndim:
            raise ShapeError(f"x {describe(x)} has no axis {axis} of channels.")
        return (x.shape[axis],)


class BatchNorm(_Channels, Stateful):
    """x normalised within each channel, by the statistics of the batch in training: x (N, C, ...) -> (N, C, ...).

    In inference running statistics take their place. A training step moves them by `momentum`: the new mean is
    (1 - momentum) * mean + momentum * (mean of the batch). The running variance is unbiased. Both are PyTorch's conventions;
    DeZero's `decay` is 1 - momentum, and its eps 2e-5. Training runs by `nn.step`, which returns the new statistics.

    The channels are at `axis`. With `axis_name`, the name of an `fd.vmap` over examples, a batch is all its examples. With
    `world=fd.distributed.world()` a batch is what all ranks have, so results and statistics do not depend on how many there are.
    Source: Ioffe and Szegedy, "Batch normalization", 2015.
    """

    scale: Array | None  # (C,)
    shift: Array | None  # (C,)
    mean: Array = statistic()  # (C,)
    variance: Array = statistic()  # (C,)
    momentum: float = static(default=0.1)
    eps: float = static(default=1e-5)
    axis: int = static(default=1)
    axis_name: str | None = static(default=None)
    world: Any = static(default=None)

    @classmethod
    def init(
        cls, key: Array, channels: int, *, momentum: float = 0.1, eps: float = 1e-5, axis: int = 1,
        axis_name: str | None = None, world: Any = None, scale: bool = True, shift: bool = True,
        weight_init: initial.Initialiser = initial.ones, bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:  # fmt: skip
        """Scale 1 and shift 0, running mean 0 and variance 1, on the key's device. Statistics are at least float32.

        Raises RangeError for channels that are not an integer of at least 1, and for a momentum outside [0, 1].
        """
        check_sizes("BatchNorm", channels=channels)
        if not isinstance(momentum, int | float) or not 0 <= momentum <= 1:
            raise RangeError(f"BatchNorm: momentum is the weight of a batch, from 0 to 1; got {momentum!r}.")
        checked_world("BatchNorm", world)
        affine = _affine(cls, key, (channels,), scale, shift, weight_init, bias_init, dtype)
        wide = np.result_type(dtype, np.float32)
        mean, variance = (initial.draw(each, key, (channels,), wide) for each in (initial.zeros, initial.ones))
        return cls(*affine, mean, variance, momentum, eps, axis, axis_name, world)

    def step(  # type: ignore[override]  # a layer of one input
        self, x: Array, *, key: Array | None = None, train: bool = False
    ) -> tuple[Array, Self]:
        """The result, and the layer with its new statistics if `train`."""
        if not train:
            y = F.batch_norm(x, self.scale, self.shift, self.mean, self.variance, axis=self.axis, eps=self.eps)
            return y, self
        y, mean, variance, count = statistics_of(
            x, self.scale, self.shift, self.axis, self.eps, self.axis_name, self.world
        )
        return y, self.replace(
            mean=self._moved(self.mean, mean), variance=self._moved(self.variance, variance * (count / (count - 1)))
        )

    def _moved(self, old: Array, new: Array) -> Array:
        """A running statistic after a batch, in its own dtype."""
        return cast((1 - self.momentum) * widened(old) + self.momentum * new, old.dtype)


def sync_batch_norm(model: Any, world: Any) -> Any:
    """`model` with every BatchNorm in it over all ranks of `world`, such as one of `fd.models`; over this rank alone for None.

    Parameters and statistics stay. Raises StructureError for what is no world.
    """
    checked_world("sync_batch_norm", world)
    return standing.rebuilt(
        model, lambda copy, node: copy.replace(world=world) if isinstance(node.value, BatchNorm) else copy
    )


class LayerNorm(SizedByFeatures):
    """x normalised along its last axis or axes: x (..., n) -> (..., n).

    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.
    """

    scale: Array | None = None  # (n,)
    shift: Array | None = None  # (n,)
    axis: int | tuple[int, ...] = static(default=-1)
    eps: float = static(default=1e-5)

    @classmethod
    def init(
        cls, key: Array, size: int | Sequence[int], *, eps: float = 1e-5, scale: bool = True, shift: bool = True,
        weight_init: initial.Initialiser = initial.ones, bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:  # fmt: skip
        """Scale 1 and shift 0 on the key's device. `size` is the length of the last axis, or those of several.

        Raises RangeError for sizes that are not integers of at least 1.
        """
        shape, axis = _last_axes("LayerNorm", size)
        return cls(*_affine(cls, key, shape, scale, shift, weight_init, bias_init, dtype), axis, eps)

    def __call__(self, x: Array) -> Array:
        return F.layer_norm(x, self.scale, self.shift, axis=self.axis, eps=self.eps)


class RMSNorm(SizedByFeatures):
    """x divided by the root of its mean square along its last axis or axes: x (..., n) -> (..., n).

    Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.
    """

    scale: Array | None = None  # (n,)
    axis: int | tuple[int, ...] = static(default=-1)
    eps: float = static(default=1e-5)

    @classmethod
    def init(
        cls, key: Array, size: int | Sequence[int], *, eps: float = 1e-5, scale: bool = True,
        weight_init: initial.Initialiser = initial.ones, dtype: Any = np.float32,
    ) -> Self:  # fmt: skip
        """Scale 1 on the key's device. `size` is the length of the last axis, or those of several.

        Raises RangeError for sizes that are not integers of at least 1.
        """
        shape, axis = _last_axes("RMSNorm", size)
        return cls(_affine(cls, key, shape, scale, False, weight_init, initial.zeros, dtype)[0], axis, eps)

    def __call__(self, x: Array) -> Array:
        return F.rms_norm(x, self.scale, axis=self.axis, eps=self.eps)


def _last_axes(name: str, size: Any) -> tuple[tuple[int, ...], int | tuple[int, ...]]:
    """The shape of a scale for the last axes, and these axes."""
    if not isinstance(size, Sequence):
        return (whole_number(name, "size", size, 1),), -1
    shape = tuple([whole_number(name, "size", n, 1) for n in size])
    if not shape:
        raise RangeError(f"{name}: size must have the length of one axis or more, got {size!r}.")
    return shape, tuple(range(-len(shape), 0))


class GroupNorm(_Channels):
    """x normalised within groups of neighbouring channels of each example: x (N, C, ...) -> (N, C, ...).

    Source: Wu and He, "Group normalization", 2018.
    """

    scale: Array | None  # (C,)
    shift: Array | None  # (C,)
    num_groups: int = static()
    eps: float = static(default=1e-5)

    @classmethod
    def init(
        cls, key: Array, channels: int, num_groups: int, *, eps: float = 1e-5, scale: bool = True, shift: bool = True,
        weight_init: initial.Initialiser = initial.ones, bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:  # fmt: skip
        """Scale 1 and shift 0 on the key's device.

        Raises RangeError for numbers that are not integers of at least 1, and for groups that do not divide the channels.
        """
        check_sizes("GroupNorm", channels=channels, num_groups=num_groups)
        if channels % num_groups:
            raise RangeError(f"GroupNorm: num_groups must divide channels, got {num_groups} for {channels}.")
        return cls(*_affine(cls, key, (channels,), scale, shift, weight_init, bias_init, dtype), num_groups, eps)

    def __call__(self, x: Array) -> Array:
        return F.group_norm(x, self.num_groups, self.scale, self.shift, eps=self.eps)


class InstanceNorm(_Channels):
    """Each channel of each example normalised alone: x (N, C, ...) -> (N, C, ...). `InstanceNorm()` has no scale and no shift.

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization", 2016.
    """

    scale: Array | None = None  # (C,)
    shift: Array | None = None  # (C,)
    eps: float = static(default=1e-5)

    @classmethod
    def init(
        cls, key: Array, channels: int, *, eps: float = 1e-5, scale: bool = True, shift: bool = True,
        weight_init: initial.Initialiser = initial.ones, bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:  # fmt: skip
        """Scale 1 and shift 0 on the key's device. Raises RangeError for channels that are not an integer of at least 1."""
        check_sizes("InstanceNorm", channels=channels)
        return cls(*_affine(cls, key, (channels,), scale, shift, weight_init, bias_init, dtype), eps)

    def __call__(self, x: Array) -> Array:
        return F.instance_norm(x, self.scale, self.shift, eps=self.eps)


class LocalResponseNorm(Module):
    """x / (k + alpha * mean square of `size` neighbouring channels) ** beta: x (N, C, ...) -> (N, C, ...)."""

    size: int = static()
    alpha: float = static(default=1e-4)
    beta: float = static(default=0.75)
    k: float = static(default=1.0)

    def __call__(self, x: Array) -> Array:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
