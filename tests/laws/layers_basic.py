"""Rows of small layers and wrappers: flattening, dropout of channels, shortcuts, bilinear maps, rectifiers, normalised weights."""

from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn

from .layer_row import Row


def _linear(key: Any, dtype: Any, n: int = 4, m: int = 3) -> nn.Linear:
    return nn.Linear.init(key, n, m, dtype=dtype)


def _residual(key: Any, dtype: Any) -> nn.Residual:
    first, second = fd.random.split(key)
    return nn.Residual(nn.Sequential(_linear(first, dtype), F.tanh, nn.Dropout(0.5)), nn.Sequential(_linear(second, dtype), nn.Dropout(0.25)))


def _spectral(key: Any, dtype: Any, layer: Any = _linear, **options: Any) -> nn.SpectralNorm:
    first, second = fd.random.split(key)
    wrapped = nn.SpectralNorm.init(first, layer(second, dtype), **options)
    # A vector that a step still improves. After many iterations the slope of u W v by u is 0, so the gradient, which holds u, is the difference.
    return wrapped.replace(v=fd.numpy.roll(wrapped.v, 1), iterations=100)


def _pair(dtype: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((5, 4)).astype(dtype), rng.standard_normal((5, 2)).astype(dtype)


LAYERS = [
    Row("Flatten", "", lambda key, dtype: nn.Flatten(), (2, 3, 2)),
    Row("Flatten", "of the last axes", lambda key, dtype: nn.Flatten(-2), (2, 2, 3, 2)),
    Row("Dropout", "of shared axes", lambda key, dtype: nn.Dropout(0.5, shared_axes=1), (2, 3, 6)),
    Row("Dropout1d", "", lambda key, dtype: nn.Dropout1d(0.5), (2, 8, 3)),
    Row("Dropout2d", "", lambda key, dtype: nn.Dropout2d(0.5), (2, 8, 2, 2)),
    Row("Dropout2d", "of an example", lambda key, dtype: nn.Dropout2d(0.5), (16, 2, 1)),
    Row("Dropout3d", "", lambda key, dtype: nn.Dropout3d(0.5), (2, 8, 1, 2, 2)),
    Row("Residual", "", lambda key, dtype: nn.Residual(_linear(key, dtype, 4, 4))),
    Row("Residual", "with a shortcut", _residual),
    Row("Bilinear", "", lambda key, dtype: nn.Bilinear.init(key, 4, 2, 3, dtype=dtype), input=_pair),
    Row("Bilinear", "quadratic, without bias", lambda key, dtype: nn.Bilinear.init(key, 4, 4, 3, bias=False, dtype=dtype)),
    Row("PReLU", "", lambda key, dtype: nn.PReLU.init(key, dtype=dtype)),
    Row("PReLU", "by channels", lambda key, dtype: nn.PReLU.init(key, 3, weight_init=nn.initial.normal(0.5), dtype=dtype), (2, 3, 2)),
    Row("WeightNorm", "", lambda key, dtype: nn.WeightNorm.init(_linear(key, dtype))),
    Row("WeightNorm", "within", lambda key, dtype: nn.WeightNorm.init(nn.Sequential(_linear(key, dtype), nn.Dropout(0.5)), "layers/0/W", axis=0)),
    Row("SpectralNorm", "", _spectral, order=1),
    Row("SpectralNorm", "within", lambda key, dtype: _spectral(key, dtype, lambda key, dtype: nn.Sequential(nn.Dropout(0.5), _linear(key, dtype)), field="layers/1/W", axis=0), order=1),
]  # fmt: skip
