"""Convolutional layers over one, two or three axes in space, and their transposes."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from .. import functions as F
from .. import numpy as fnp
from .. import random
from ..errors import RangeError
from ..functions.window_arguments import Padding, Sizes, for_each_axis
from ..numpy.arguments import Array, whole_number
from ..tree import static
from . import initial
from .lazy import Sized

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _Windowed(Sized):
    """What convolutions and their transposes have in common: a kernel W, a bias b, and how the kernel moves."""

    W: Array
    b: Array | None = None
    stride: Sizes = static(default=1)
    padding: Padding = static(default=0)
    dilation: Sizes = static(default=1)
    groups: int = static(default=1)

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Any]]

    @classmethod
    def sizes_of(cls, x: Array, **options: Any) -> tuple[int, ...]:
        """(in_channels,) of an input."""
        return (x.shape[-cls.rank - 1],)


class _Conv(_Windowed):
    @classmethod
    def init(
        cls, key: Array, in_channels: int, out_channels: int, kernel_size: Sizes, *, stride: Sizes = 1,
        padding: Padding = 0, dilation: Sizes = 1, groups: int = 1, bias: bool = True,
        weight_init: initial.Initialiser = initial.lecun_normal, bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:  # fmt: skip
        """Draw W (out_channels, in_channels / groups, *kernel_size) and b (out_channels,) on the key's device.

        By default W is normal with variance 1 / (entries of one kernel), and b is zero. In memory W is channels last.
        Raises RangeError for sizes that are not integers of at least 1, and for groups that do not divide both channels.
        """
        inner, outer, kernel = _checked(cls, in_channels, out_channels, kernel_size, groups)
        W = initial.draw(
            weight_init, key, (outer, inner // groups, *kernel), dtype, in_axis=1, out_axis=0, of=f"{cls.__name__}: weight_init"
        )  # fmt: skip
        b = _bias(cls, key, outer, bias, bias_init, dtype)
        stride, padding, dilation = map(_hashable, (stride, padding, dilation))
        return cls(_channels_last(W), b, stride, padding, dilation, groups)

    def __call__(self, x: Array) -> Array:
        return type(self).function(x, self.W, self.b, self.stride, self.padding, self.dilation, self.groups)


class _ConvTranspose(_Windowed):
    output_axis: ClassVar[int] = 1  # of W
    output_padding: Sizes = static(default=0)

    @classmethod
    def init(
        cls, key: Array, in_channels: int, out_channels: int, kernel_size: Sizes, *, stride: Sizes = 1,
        padding: Padding = 0, output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1, bias: bool = True,
        weight_init: initial.Initialiser = initial.lecun_normal, bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:  # fmt: skip
        """Draw W (in_channels, out_channels / groups, *kernel_size) and b (out_channels,) on the key's device.

        By default W is normal with variance groups / (in_channels * entries of the kernel), and b is zero.
        Raises RangeError for sizes that are not integers of at least 1, and for groups that do not divide both channels.
        """
        inner, outer, kernel = _checked(cls, in_channels, out_channels, kernel_size, groups)
        # Initialisers count the inputs of one group.
        W = initial.draw(
            weight_init, key, (inner // groups, outer, *kernel), dtype, in_axis=0, out_axis=1, of=f"{cls.__name__}: weight_init"
        )  # fmt: skip
        if groups > 1:
            W = fnp.moveaxis(W.reshape(inner // groups, groups, outer // groups, *kernel), 1, 0)
            W = W.reshape(inner, outer // groups, *kernel)
        b = _bias(cls, key, outer, bias, bias_init, dtype)
        stride, padding, dilation, output_padding = map(_hashable, (stride, padding, dilation, output_padding))
        return cls(_channels_last(W), b, stride, padding, dilation, groups, output_padding)

    def __call__(self, x: Array) -> Array:
        return type(self).function(
            x, self.W, self.b, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


def _checked(
    cls: type[_Windowed], in_channels: int, out_channels: int, kernel_size: Sizes, groups: int
) -> tuple[int, int, tuple[int, ...]]:
    name = cls.__name__
    inner, outer = (
        whole_number(name, "in_channels", in_channels, 1),
        whole_number(name, "out_channels", out_channels, 1),
    )
    if inner % whole_number(name, "groups", groups, 1) or outer % groups:
        raise RangeError(
            f"{name}: groups must divide in_channels and out_channels, got {groups} for {inner} and {outer}."
        )
    return inner, outer, for_each_axis(name, "kernel_size", kernel_size, cls.rank, 1)


def _bias(cls: type, key: Array, size: int, bias: bool, bias_init: initial.Initialiser, dtype: Any) -> Array | None:
    if not bias:
        return None
    return initial.draw(bias_init, random.fold_in(key, 0), (size,), dtype, of=f"{cls.__name__}: bias_init")


def _channels_last(W: Array) -> Array:
    """The same kernel with its second axis last in memory, as convolutions read it and their gradients are laid out."""
    return fnp.moveaxis(fnp.moveaxis(W, 1, -1).copy(), -1, 1)


def _hashable(option: Any) -> Any:
    """The option as a static field holds it: lists become tuples."""
    if isinstance(option, Sequence) and not isinstance(option, str):
        return tuple(map(_hashable, option))
    return option


class Conv1d(_Conv):
    """x (N, in_channels, L) -> (N, out_channels, length), by `functions.conv1d`."""

    rank: ClassVar[int] = 1
    function: ClassVar[Callable[..., Any]] = F.conv1d


class Conv2d(_Conv):
    """x (N, in_channels, H, W) -> (N, out_channels, OH, OW), by `functions.conv2d`."""

    rank: ClassVar[int] = 2
    function: ClassVar[Callable[..., Any]] = F.conv2d


class Conv3d(_Conv):
    """x (N, in_channels, D, H, W) -> (N, out_channels, OD, OH, OW), by `functions.conv3d`."""

    rank: ClassVar[int] = 3
    function: ClassVar[Callable[..., Any]] = F.conv3d


class ConvTranspose1d(_ConvTranspose):
    """x (N, in_channels, L) -> (N, out_channels, length), by `functions.conv_transpose1d`."""

    rank: ClassVar[int] = 1
    function: ClassVar[Callable[..., Any]] = F.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """x (N, in_channels, H, W) -> (N, out_channels, OH, OW), by `functions.conv_transpose2d`."""

    rank: ClassVar[int] = 2
    function: ClassVar[Callable[..., Any]] = F.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """x (N, in_channels, D, H, W) -> (N, out_channels, OD, OH, OW), by `functions.conv_transpose3d`."""

    rank: ClassVar[int] = 3
    function: ClassVar[Callable[..., Any]] = F.conv_transpose3d
