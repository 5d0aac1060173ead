"""The dropout layers: of single entries, and of whole channels."""

from typing import Any, ClassVar

from .. import functions as F
from ..errors import ShapeError
from ..functions.dropout import checked_rate
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Module, static

__all__ = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d"]


def _as_rate(rate: Any) -> float:
    return checked_rate(rate, of="Dropout")


class Dropout(Module):
    """Drops entries with probability `rate` if train=True, which needs a key; otherwise returns x: x (...) -> (...).

    Entries along `shared_axes` are dropped together: `Dropout(0.5, shared_axes=1)` of x (N, T, n) drops a feature at all times.
    """

    rate: float = static(default=0.5, converter=_as_rate)
    shared_axes: int | tuple[int, ...] = static(default=())

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        return F.dropout(x, self.rate, key=key, train=train, shared_axes=self.shared_axes)


class _ChannelDropout(Module):
    """Drops whole channels: all entries along the last `_spatial` axes together."""

    _spatial: ClassVar[int]
    rate: float = static(default=0.5, converter=_as_rate)

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        if x.ndim <= self._spatial:
            axes = ", ".join("DHW"[-self._spatial :]) if self._spatial > 1 else "T"
            raise ShapeError(
                f"{type(self).__name__} drops whole channels, so it expects x (N, C, {axes}) or (C, {axes}), got {describe(x)}."
            )
        return F.dropout(x, self.rate, key=key, train=train, shared_axes=tuple(range(-self._spatial, 0)))


class Dropout1d(_ChannelDropout):
    """Drops whole channels of sequences if train=True, which needs a key: x (N, C, T) or (C, T).

    Source: Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.
    """

    _spatial = 1


class Dropout2d(_ChannelDropout):
    """Drops whole channels of images if train=True, which needs a key: x (N, C, H, W) or (C, H, W).

    Neighbours in an image are alike, so dropping single entries hides little.
    Source: Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.
    """

    _spatial = 2


class Dropout3d(_ChannelDropout):
    """Drops whole channels of volumes if train=True, which needs a key: x (N, C, D, H, W) or (C, D, H, W).

    Source: Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.
    """

    _spatial = 3
