"""Cases of `fdezero.functions` for normalisation, with their formulas in plain NumPy."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(37)
CHANNELS = np.ascontiguousarray(RNG.normal(1, 2, (2, 3, 2, 4))).transpose(0, 3, 1, 2)  # (2, 4, 3, 2), channels last in memory
SERIES, ROWS = RNG.normal(-1, 2, (2, 4, 3)), RNG.normal(1, 2, (5, 4))
SCALE, SHIFT, MEAN, VARIANCE = RNG.uniform(0.5, 2, 4), RNG.normal(size=4), RNG.normal(size=4), RNG.uniform(0.5, 2, 4)


def _along(v: Any, x: Any, axis: int) -> Any:
    return 1 if v is None else v.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def _standard(x: Any, axes: Any, eps: float) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def _batch_norm(x: Any, scale: Any = None, shift: Any = None, mean: Any = None, variance: Any = None, *, axis: int = 1, eps: float = 1e-5) -> Any:
    axes = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    z = _standard(x, axes, eps) if mean is None else (x - _along(mean, x, axis)) / np.sqrt(_along(variance, x, axis) + eps)
    return z * _along(scale, x, axis) + (0 if shift is None else _along(shift, x, axis))


def _with_statistics(x: Any, scale: Any = None, shift: Any = None, *, axis: int = 1, eps: float = 1e-5) -> Any:
    axes = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    return _batch_norm(x, scale, shift, axis=axis, eps=eps), x.mean(axes), x.var(axes)


def _layer_norm(x: Any, scale: Any = 1, shift: Any = 0, *, axis: Any = -1, eps: float = 1e-5) -> Any:
    return _standard(x, axis, eps) * scale + shift


def _group_norm(x: Any, num_groups: int, scale: Any = None, shift: Any = None) -> Any:
    z = _standard(x.reshape(len(x), num_groups, -1), -1, 1e-5).reshape(x.shape)
    return z * _along(scale, x, 1) + (0 if shift is None else _along(shift, x, 1))


def _local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    squares = np.pad(x**2, [(0, 0), (size // 2, (size - 1) // 2)] + [(0, 0)] * (x.ndim - 2))
    return x / (k + alpha / size * sum(squares[:, i : i + x.shape[1]] for i in range(size))) ** beta


FORMULAS = SimpleNamespace(
    batch_norm=_batch_norm, batch_norm_with_statistics=_with_statistics, layer_norm=_layer_norm, group_norm=_group_norm,
    instance_norm=lambda x, *affine: _group_norm(x, x.shape[1], *affine),
    rms_norm=lambda x, scale=1, axis=-1, eps=1e-5: x / np.sqrt((x**2).mean(axis, keepdims=True) + eps) * scale,
    local_response_norm=_local_response_norm,
)  # fmt: skip
case = cases_of("functions", F, FORMULAS)

CASES: list[Case] = [
    *[case("batch_norm", x, SCALE, SHIFT, d=(0, 1, 2)) for x in (ROWS, SERIES, CHANNELS)], case("batch_norm", ROWS, eps=2e-5), case("batch_norm", SERIES.transpose(0, 2, 1), SCALE, axis=-1, d=(0, 1)),
    case("batch_norm", CHANNELS, SCALE, SHIFT, MEAN, VARIANCE, d=(0, 1, 2, 3, 4)), case("batch_norm", ROWS, None, SHIFT, MEAN, VARIANCE, d=(0, 2)),
    case("batch_norm_with_statistics", CHANNELS, SCALE, SHIFT, d=(0, 1, 2)), case("batch_norm_with_statistics", ROWS[None], axis=2),
    case("layer_norm", ROWS, SCALE, SHIFT, d=(0, 1, 2)), case("layer_norm", ROWS[0], SCALE, d=(0, 1)), case("layer_norm", CHANNELS, axis=1),
    case("layer_norm", SERIES, RNG.uniform(0.5, 2, (4, 3)), RNG.normal(size=(4, 3)), axis=(-2, -1), d=(0, 1, 2)),
    case("rms_norm", ROWS, SCALE, d=(0, 1)), case("rms_norm", SERIES, axis=(1, 2)),
    *[case("group_norm", CHANNELS, n, SCALE, SHIFT, d=(0, 2, 3)) for n in (1, 2)], case("group_norm", SERIES, 4), case("instance_norm", CHANNELS, SCALE, SHIFT, d=(0, 1, 2)), case("instance_norm", SERIES),
    case("local_response_norm", CHANNELS, 3, 0.5, 0.75, 2.0), case("local_response_norm", ROWS, 2, 0.3),
]  # fmt: skip
