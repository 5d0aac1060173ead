"""Cases of the activations that are more than one formula, each with PyTorch's definition in plain NumPy."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.special

from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(29)
X = RNG.choice([-1.0, 1.0], (4, 3)) * RNG.uniform(0.1, 2.0, (4, 3))  # away from 0, where some have a kink
WIDE = 4 * X + 0.037  # beyond the corners at -3, -1, 1, 3 and 6, and not in them


def _ndtr(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    return scipy.special.ndtr(x)


def _elu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))


def _glu(x: Any, axis: int = -1) -> Any:
    a, b = np.split(x, 2, axis)
    return a / (1 + np.exp(-b))


FORMULAS = SimpleNamespace(
    celu=lambda x, alpha=1.0: np.maximum(0, x) + np.minimum(0, alpha * (np.exp(x / alpha) - 1)),
    elu=_elu,
    gelu=lambda x, approximate="none": x * _ndtr(x, approximate),
    glu=_glu,
    hard_sigmoid=lambda x: np.clip(x + 3, 0, 6) / 6,
    hard_swish=lambda x: x * np.clip(x + 3, 0, 6) / 6,
    hard_tanh=lambda x, min_value=-1, max_value=1: np.clip(x, min_value, max_value),
    log_sigmoid=lambda x: -np.log(1 + np.exp(-x)),
    mish=lambda x: x * np.tanh(np.log(1 + np.exp(x))),
    relu6=lambda x: np.clip(x, 0, 6),
    selu=lambda x: 1.0507009873554805 * _elu(x, 1.6732632423543772),
    silu=lambda x: x / (1 + np.exp(-x)),
    softsign=lambda x: x / (1 + abs(x)),
    swish=lambda x: x / (1 + np.exp(-x)),
    threshold=lambda x, threshold, value: np.where(x <= threshold, value, x),
)
case = cases_of("functions", F, FORMULAS)
CASES: list[Case] = [
    *(case(name, X) for name in "elu gelu log_sigmoid mish selu silu softsign swish".split()),
    *(case(name, WIDE) for name in "elu hard_sigmoid hard_swish hard_tanh mish relu6 softsign".split()),
    case("gelu", WIDE), case("gelu", X, approximate="tanh"), case("elu", X, 0.5), case("celu", X, alpha=0.5), case("celu", X, alpha=-math.pi),
    case("elu", X, np.array([0.5, 1.0, 2.0]), d=(0, 1)), case("celu", X, np.array([1.5]), d=(0, 1)),  # alphas that are learnt
    case("glu", X[:, :2]), case("glu", X, axis=0), case("hard_tanh", X, min_value=-0.5, max_value=1.25), case("threshold", X, 0.75, value=-20.0),
]  # fmt: skip
