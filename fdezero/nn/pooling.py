"""Pooling layers: windows over the last one, two or three axes, windows that follow from a size, and whole channels."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from .. import functions as F
from ..functions.window_arguments import Sizes, for_each_axis
from ..numpy.arguments import Array
from ..tree import Module, static

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
    "AvgPool1d", "AvgPool2d", "AvgPool3d", "GlobalAvgPool", "GlobalMaxPool", "MaxPool1d", "MaxPool2d", "MaxPool3d",
]  # fmt: skip


def _hashable(value: Any) -> Any:
    """Numbers as a static field holds them: lists become tuples."""
    return tuple(value) if isinstance(value, Sequence) else value


def _sizes(**options: Any) -> Any:
    return static(converter=_hashable, **options)


class _Pool(Module):
    """Windows of `kernel_size`, every `stride` entries; by default they lie side by side."""

    kernel_size: Sizes = _sizes()
    stride: Sizes | None = _sizes(default=None)
    padding: Sizes = _sizes(default=0)

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Array]]

    def __attrs_post_init__(self) -> None:
        name = type(self).__name__
        for_each_axis(name, "kernel_size", self.kernel_size, self.rank, 1)
        for_each_axis(name, "padding", self.padding, self.rank, 0)
        if self.stride is not None:
            for_each_axis(name, "stride", self.stride, self.rank, 1)


class _MaxPool(_Pool):
    dilation: Sizes = _sizes(default=1)
    ceil_mode: bool = static(default=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for_each_axis(type(self).__name__, "dilation", self.dilation, self.rank, 1)

    def __call__(self, x: Array) -> Array:
        return type(self).function(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


class MaxPool1d(_MaxPool):
    """The greatest entry of each window, as `F.max_pool1d`: x (N, C, L) -> (N, C, L')."""

    rank: ClassVar[int] = 1
    function: ClassVar[Callable[..., Array]] = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The greatest entry of each window, as `F.max_pool2d`: x (N, C, H, W) -> (N, C, H', W')."""

    rank: ClassVar[int] = 2
    function: ClassVar[Callable[..., Array]] = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The greatest entry of each window, as `F.max_pool3d`: x (N, C, D, H, W) -> (N, C, D', H', W')."""

    rank: ClassVar[int] = 3
    function: ClassVar[Callable[..., Array]] = staticmethod(F.max_pool3d)


class _AvgPool(_Pool):
    ceil_mode: bool = static(default=False)
    count_include_pad: bool = static(default=True)

    def __call__(self, x: Array) -> Array:
        return type(self).function(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class AvgPool1d(_AvgPool):
    """The mean of each window, as `F.avg_pool1d`: x (N, C, L) -> (N, C, L')."""

    rank: ClassVar[int] = 1
    function: ClassVar[Callable[..., Array]] = staticmethod(F.avg_pool1d)


class AvgPool2d(_AvgPool):
    """The mean of each window, as `F.avg_pool2d`: x (N, C, H, W) -> (N, C, H', W')."""

    rank: ClassVar[int] = 2
    function: ClassVar[Callable[..., Array]] = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window, as `F.avg_pool3d`: x (N, C, D, H, W) -> (N, C, D', H', W')."""

    rank: ClassVar[int] = 3
    function: ClassVar[Callable[..., Array]] = staticmethod(F.avg_pool3d)


class _AdaptivePool(Module):
    """As many windows as `output_size` says; None keeps the size of an axis."""

    output_size: int | Sequence[int | None] | None = _sizes()

    function: ClassVar[Callable[..., Array]]

    def __call__(self, x: Array) -> Array:
        return type(self).function(x, self.output_size)


class AdaptiveMaxPool1d(_AdaptivePool):
    """The greatest entry of each of `output_size` windows: x (N, C, L) -> (N, C, L')."""

    function: ClassVar[Callable[..., Array]] = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptivePool):
    """The greatest entry of each of `output_size` windows: x (N, C, H, W) -> (N, C, H', W')."""

    function: ClassVar[Callable[..., Array]] = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptivePool):
    """The greatest entry of each of `output_size` windows: x (N, C, D, H, W) -> (N, C, D', H', W')."""

    function: ClassVar[Callable[..., Array]] = staticmethod(F.adaptive_max_pool3d)


class AdaptiveAvgPool1d(_AdaptivePool):
    """The mean of each of `output_size` windows: x (N, C, L) -> (N, C, L')."""

    function: ClassVar[Callable[..., Array]] = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptivePool):
    """The mean of each of `output_size` windows: x (N, C, H, W) -> (N, C, H', W')."""

    function: ClassVar[Callable[..., Array]] = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptivePool):
    """The mean of each of `output_size` windows: x (N, C, D, H, W) -> (N, C, D', H', W')."""

    function: ClassVar[Callable[..., Array]] = staticmethod(F.adaptive_avg_pool3d)


class _GlobalPool(Module):
    axis: int | Sequence[int] | None = _sizes(default=None)

    function: ClassVar[Callable[..., Array]]

    def __call__(self, x: Array) -> Array:
        return type(self).function(x, self.axis)


class GlobalAvgPool(_GlobalPool):
    """The mean of each channel, over all axes behind the channels, or over `axis`: x (N, C, ...) -> (N, C)."""

    function: ClassVar[Callable[..., Array]] = staticmethod(F.global_avg_pool)


class GlobalMaxPool(_GlobalPool):
    """The greatest entry of each channel, over all axes behind the channels, or over `axis`: x (N, C, ...) -> (N, C)."""

    function: ClassVar[Callable[..., Array]] = staticmethod(F.global_max_pool)
