"""Cases of `fdezero.functions`, with their formulas in plain NumPy: activations, losses, and the functions that layers compute."""

from types import SimpleNamespace
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(23)
X = RNG.choice([-1.0, 1.0], (4, 3)) * RNG.uniform(0.1, 2.0, (4, 3))  # away from 0, where some have a kink
LABELS = np.array([2, 0, 1, 2])
TARGETS = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]])
P = RNG.uniform(0.1, 0.9, (4, 3))
W, B = RNG.standard_normal((3, 5)), RNG.standard_normal(5)
KEY = fd.random.key(0)


def _softmax(x: Any, axis: int = -1) -> Any:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


def _cross_entropy(p: Any, t: Any) -> Any:
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()


def _dropout(x: Any, rate: float, *, key: Any, train: bool) -> Any:
    mask, kept = fd.random.keep_mask(key, 1 - rate, x.shape)
    return x * mask / kept if train else x


FORMULAS = SimpleNamespace(
    leaky_relu=lambda x, slope=0.2: np.where(x > 0, x, slope * x),
    log_softmax=lambda x, axis=-1: np.log(_softmax(x, axis)),
    relu=lambda x: np.maximum(x, 0),
    sigmoid=lambda x: 1 / (1 + np.exp(-x)),
    softmax=_softmax,
    softplus=lambda x: np.log(1 + np.exp(x)),
    tanh=np.tanh,
    accuracy=lambda x, labels: (x.argmax(-1) == labels).mean(),
    binary_cross_entropy=_cross_entropy,
    mean_squared_error=lambda x, t: ((x - t) ** 2).mean(),
    sigmoid_cross_entropy=lambda x, t: _cross_entropy(1 / (1 + np.exp(-x)), t),
    softmax_cross_entropy=lambda x, labels: -np.log(np.take_along_axis(_softmax(x), labels[..., None], -1)).mean(),
    linear=lambda x, W, b=0: x @ W + b,
    dropout=_dropout,
)
case = cases_of("functions", F, FORMULAS)

ACTIVATIONS: list[Case] = [
    *(case(name, X) for name in "leaky_relu log_softmax relu sigmoid softmax softplus tanh".split()),
    case("leaky_relu", X, 0.01), case("softmax", X, axis=0), case("log_softmax", X, 0),
]  # fmt: skip
LOSSES: list[Case] = [
    case("accuracy", X, LABELS, d=None), case("binary_cross_entropy", P, TARGETS), case("mean_squared_error", X, X[::-1].copy(), d=(0, 1)),
    case("mean_squared_error", X, TARGETS), case("sigmoid_cross_entropy", X, TARGETS), case("sigmoid_cross_entropy", X, P, d=(0, 1)),
    case("softmax_cross_entropy", X, LABELS), case("softmax_cross_entropy", X.reshape(2, 2, 3), LABELS.reshape(2, 2)),
]  # fmt: skip
OF_LAYERS: list[Case] = [
    case("linear", X, W, B, d=(0, 1, 2)), case("linear", X[0], W, d=(0, 1)), case("linear", X.reshape(2, 2, 3), W, B, d=(0, 1, 2)),
    case("dropout", X, 0.5, key=KEY, train=True), case("dropout", X, 0.25, key=KEY, train=False),
]  # fmt: skip
CASES = ACTIVATIONS + LOSSES + OF_LAYERS
