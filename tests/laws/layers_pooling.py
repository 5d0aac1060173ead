"""Rows of the table of layers: pooling and normalisation."""

from typing import Any

import numpy as np

from fdezero import nn

from .functions_pooling import apart
from .layer_row import Row


def _moved(key: Any, dtype: Any, **options: Any) -> nn.BatchNorm:
    """A layer whose running statistics are those of training."""
    options = {"weight_init": nn.initial.normal(1.0), "bias_init": nn.initial.normal(1.0)} | options
    return nn.BatchNorm.init(key, 4, dtype=dtype, **options).replace(mean=np.linspace(-1, 1, 4, dtype=np.result_type(dtype, np.float32)))


def pooled(name: str, make: Any, shape: tuple[int, ...], variant: str = "") -> Row:
    x = apart(*shape)  # numbers apart, because max has kinks
    return Row(name, variant, lambda key, dtype: make(), input=lambda dtype: (x / 8).astype(dtype))


DRAWN = {"weight_init": nn.initial.normal(1.0), "bias_init": nn.initial.normal(1.0)}
LINE, IMAGE, VOLUME = (2, 2, 5), (2, 2, 4, 3), (1, 2, 3, 2, 2)
LAYERS = [
    pooled("MaxPool1d", lambda: nn.MaxPool1d(3, stride=2, padding=1), LINE), pooled("MaxPool2d", lambda: nn.MaxPool2d([2, 1], ceil_mode=True), IMAGE),
    pooled("MaxPool2d", lambda: nn.MaxPool2d(2, 1, dilation=(2, 1)), IMAGE, "dilated"), pooled("MaxPool3d", lambda: nn.MaxPool3d(2, (1, 2, 2)), VOLUME),
    pooled("AvgPool1d", lambda: nn.AvgPool1d(2), LINE), pooled("AvgPool2d", lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False), IMAGE), pooled("AvgPool3d", lambda: nn.AvgPool3d((2, 1, 2)), VOLUME),
    pooled("AdaptiveMaxPool1d", lambda: nn.AdaptiveMaxPool1d(3), LINE), pooled("AdaptiveMaxPool2d", lambda: nn.AdaptiveMaxPool2d([2, None]), IMAGE), pooled("AdaptiveMaxPool3d", lambda: nn.AdaptiveMaxPool3d(1), VOLUME),
    pooled("AdaptiveAvgPool1d", lambda: nn.AdaptiveAvgPool1d(2), LINE), pooled("AdaptiveAvgPool2d", lambda: nn.AdaptiveAvgPool2d(2), IMAGE), pooled("AdaptiveAvgPool3d", lambda: nn.AdaptiveAvgPool3d((2, 1, 2)), VOLUME),
    pooled("GlobalAvgPool", nn.GlobalAvgPool, IMAGE), pooled("GlobalMaxPool", nn.GlobalMaxPool, IMAGE), pooled("GlobalMaxPool", lambda: nn.GlobalMaxPool(axis=-1), IMAGE, "over rows"),
    Row("BatchNorm", "", _moved), Row("BatchNorm", "of images", lambda key, dtype: _moved(key, dtype, eps=2e-5, momentum=0.3), (2, 4, 2, 3)),
    Row("BatchNorm", "of features last", lambda key, dtype: _moved(key, dtype, axis=-1, shift=False), (2, 3, 4)),
    Row("LayerNorm", "", lambda key, dtype: nn.LayerNorm.init(key, 4, dtype=dtype, **DRAWN)), Row("LayerNorm", "of images", lambda key, dtype: nn.LayerNorm.init(key, (2, 3), shift=False, dtype=dtype, **DRAWN), (2, 2, 3)),
    Row("RMSNorm", "", lambda key, dtype: nn.RMSNorm.init(key, 4, weight_init=nn.initial.normal(1.0), dtype=dtype)),
    Row("GroupNorm", "", lambda key, dtype: nn.GroupNorm.init(key, 4, 2, dtype=dtype, **DRAWN), (2, 4, 3)),
    Row("InstanceNorm", "", lambda key, dtype: nn.InstanceNorm.init(key, 2, dtype=dtype, **DRAWN), (2, 2, 3, 2)), Row("InstanceNorm", "alone", lambda key, dtype: nn.InstanceNorm(), (2, 2, 5)),
    Row("LocalResponseNorm", "", lambda key, dtype: nn.LocalResponseNorm(3, 0.5), (2, 5, 2)),
]  # fmt: skip
