"""Cases of `fdezero.functions` that layers compute: flatten, prelu, bilinear, dropout of whole channels."""

from types import SimpleNamespace
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(31)
X = RNG.choice([-1.0, 1.0], (2, 3, 2, 2)) * RNG.uniform(0.1, 2.0, (2, 3, 2, 2))  # away from 0, where prelu has a kink
SLOPES = np.array([0.25, -0.5, 1.5])
A, B, W = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 2)), RNG.standard_normal((3, 2, 5))


def _flatten(x: Any, start_axis: int = 1, end_axis: int = -1) -> Any:
    start, end = start_axis % x.ndim, end_axis % x.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def _prelu(x: Any, slope: Any, axis: int = 1) -> Any:
    if np.size(slope) == 1:
        return np.where(x > 0, x, np.ravel(slope)[0] * x)
    rows = [np.where(row > 0, row, s * row) for row, s in zip(np.moveaxis(x, axis, 0), slope, strict=True)]
    return np.stack(rows, axis)


def _bilinear(x: Any, y: Any, W: Any, b: Any = 0) -> Any:
    return np.stack([np.sum(x @ W[:, :, k] * y, -1) for k in range(W.shape[2])], -1) + b


def _dropout(x: Any, rate: float, *, key: Any, train: bool, shared_axes: Any) -> Any:
    shape = [1 if i in np.arange(x.ndim)[np.atleast_1d(shared_axes)] else n for i, n in enumerate(x.shape)]
    mask, kept = fd.random.keep_mask(key, 1 - rate, tuple(shape))
    return x * mask / kept


case = cases_of("functions", F, SimpleNamespace(flatten=_flatten, prelu=_prelu, bilinear=_bilinear, dropout=_dropout))
KEY = fd.random.key(1)
CASES: list[Case] = [
    case("flatten", X), case("flatten", X, 0, 2), case("flatten", X, -2), case("flatten", X, 2, 2), case("flatten", X[0, 0, 0], 0),
    case("prelu", X, SLOPES, d=(0, 1)), case("prelu", X, np.array(0.25), d=(0, 1)), case("prelu", X[0], np.array([0.25]), d=(0, 1)),
    case("prelu", X, SLOPES[:2], axis=-1, d=(0, 1)), case("prelu", X[0, :, 0, 0], SLOPES, axis=0, d=(0, 1)),
    case("bilinear", A, B, W, d=(0, 1, 2)), case("bilinear", A[0], B, W, SLOPES[0] * np.arange(5), d=(0, 1, 2, 3)),
    case("bilinear", A.reshape(2, 2, 3), B[:2], W, d=(0, 1, 2)),
    case("dropout", X, 0.5, key=KEY, train=True, shared_axes=(-2, -1)), case("dropout", X, 0.25, key=KEY, train=True, shared_axes=1),
]  # fmt: skip
