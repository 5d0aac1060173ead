"""Transforms that mix an example with another one of its batch, inputs and labels alike: `mixup` and `cutmix`."""

from typing import Any, ClassVar

import attrs
import numpy as np

from ... import numpy as fnp
from ... import random
from ...devices import array_module
from ...errors import StructureError
from ...messages import describe
from ...transforms import vmap
from ...values import is_floating
from .batches import array_of, below, column, folded, images, name_of, numbers, rounded, uniform, with_part, working
from .cropping import inside
from .settings import floating, positive, setting, whole
from .transform import Transform
from .values import rows_of

__all__ = ["cutmix", "mixup"]


def _classes(value: Any, what: str) -> int | None:
    return None if value is None else whole(1)(value, what)


@attrs.frozen
class _Mixing(Transform):
    """What both share: the partner and the weight of each example, the labels as rows."""

    alpha: float = setting(positive, default=1.0)
    classes: int | None = setting(_classes, default=None)
    dtype: Any = setting(floating, default=np.float32, kw_only=True)

    draws: ClassVar[bool] = True
    by_example: ClassVar[bool] = False
    mixes: ClassVar[bool] = True
    changes: ClassVar[int | None] = None

    def apply(self, batch: Any, drawn: Any) -> Any:
        if not isinstance(batch, tuple) or len(batch) != 2:
            raise StructureError(
                f"{name_of(self)} mixes inputs and labels alike, so a batch is a pair (x, t), got {describe(batch)}."
            )
        x, t = (array_of(part, self) for part in batch)
        t = self._rows(t)
        partner = below(uniform(folded(drawn, 0), 1)[:, 0], len(x))
        weight = vmap(lambda key: random.beta(key, self.alpha, self.alpha, dtype=np.float64))(folded(drawn, 1))
        mixed, weight = self.mixed(x, x[partner], weight, folded(drawn, 2))
        share = column(weight, t.dtype, t.ndim)
        return with_part(with_part(batch, 0, mixed), 1, share * t + (1 - share) * t[partner])

    def _rows(self, t: Any) -> Any:
        """Labels as rows whose parts are shares."""
        if is_floating(t.dtype):
            return t
        if self.classes is None:
            raise StructureError(
                f"{name_of(self)} makes shares of the labels {describe(t)}: say how many classes there are, "
                f"{name_of(self)}({self.alpha:g}, classes=10), or write one_hot(10) before it."
            )
        return rows_of(t, self.classes, self.dtype, self)

    def mixed(self, x: Any, other: Any, weight: Any, keys: Any) -> tuple[Any, Any]:
        """The mixed inputs, and the share that each example has in its own."""
        raise NotImplementedError


@attrs.frozen
class mixup(_Mixing):
    """(x, t) -> w (x, t) + (1 - w) (partner's x, t), with w drawn from Beta(alpha, alpha) for each example.

    x is (N, ...), floating or uint8. t is rows of shares (N, K), or integer labels with `classes` given. The partner is any example
    of the batch. `F.kl_divergence(F.log_softmax(y), t)` takes such rows. Source: Zhang et al., "mixup", ICLR 2018.
    """

    def mixed(self, x: Any, other: Any, weight: Any, keys: Any) -> tuple[Any, Any]:
        wide = working(numbers(x, self))
        share = column(weight, wide.dtype, x.ndim)
        return rounded(share * wide + (1 - share) * working(other), x.dtype), weight


@attrs.frozen
class cutmix(_Mixing):
    """Each image (N, C, H, W) gets a rectangle of its partner; rows of shares t follow the area.

    The rectangle has the share 1 - w of the image, with w drawn from Beta(alpha, alpha). Its centre is any pixel, and what lies
    outside is lost. t is as for `mixup`. Source: Yun et al., "CutMix", ICCV 2019.
    """

    def mixed(self, x: Any, other: Any, weight: Any, keys: Any) -> tuple[Any, Any]:
        x, xp = images(x, self), array_module(x)
        u, side = uniform(keys, 2), fnp.sqrt(1 - weight)
        within = []
        for k, size in enumerate(x.shape[2:]):
            length = fnp.floor(size * side)
            start = fnp.floor(u[:, k] * size) - fnp.floor(length / 2)
            within.append(inside(xp.arange(size), start[:, None], length[:, None]))
        rows, columns = within
        cut = rows[:, None, :, None] & columns[:, None, None, :]
        share = 1 - rows.sum(axis=1) * columns.sum(axis=1) / (x.shape[2] * x.shape[3])
        return fnp.where(cut, other, x), share
