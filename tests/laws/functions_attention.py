"""Cases of `fdezero.functions` for sequences of symbols: embedding, one_hot."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(29)
IDS = np.array([[2, 0, 2], [5, 3, 0]])
W = RNG.standard_normal((6, 3))


def _embedding(ids: Any, W: Any, padding_index: Any = None) -> Any:
    return np.stack([W[i] for i in ids.ravel()]).reshape(*ids.shape, -1)


def _one_hot(ids: Any, count: int, dtype: Any = np.float32) -> Any:
    return np.eye(count, dtype=dtype)[ids]


FORMULAS = SimpleNamespace(embedding=_embedding, one_hot=_one_hot)
case = cases_of("functions", F, FORMULAS)

CASES: list[Case] = [
    case("embedding", IDS, W, d=1), case("embedding", IDS[0].astype(np.uint8), W, d=1), case("embedding", np.array(4), W, d=1),
    case("one_hot", IDS, 6, d=None), case("one_hot", IDS, 7, dtype=np.float64, d=None), case("one_hot", np.array(1), 2, dtype=bool, d=None),
]  # fmt: skip
