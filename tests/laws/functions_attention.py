"""Cases of `fdezero.functions` for sequences: embedding, one_hot, attention, positions."""

from types import SimpleNamespace
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(29)
IDS = np.array([[2, 0, 2], [5, 3, 0]])
W = RNG.standard_normal((6, 3))


def _embedding(ids: Any, W: Any, padding_index: Any = None) -> Any:
    return np.stack([W[i] for i in ids.ravel()]).reshape(*ids.shape, -1)


def _one_hot(ids: Any, count: int, dtype: Any = np.float32) -> Any:
    return np.eye(count, dtype=dtype)[ids]


def _attention(
    q: Any, k: Any, v: Any, mask: Any = True, *, bias: Any = 0, causal: bool = False, scale: Any = None, **dropout: Any
) -> Any:
    """Row by row; a query sees those keys that are left."""
    share = q.shape[-3] // k.shape[-3] if q.ndim > 2 else 1
    k, v = (np.repeat(x, share, -3) if share > 1 else x for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    T, S = scores.shape[-2:]
    sees = np.broadcast_to(mask & (np.tri(T, S, S - T, dtype=bool) if causal else True), scores.shape)
    y = np.zeros((*scores.shape[:-1], v.shape[-1]))
    for at in np.ndindex(scores.shape[:-1]):
        weights = np.exp(scores[at][sees[at]])
        if weights.size:
            y[at] = weights / weights.sum() @ np.broadcast_to(v, (*scores.shape[:-2], *v.shape[-2:]))[at[:-1]][sees[at]]
    return y


def _rotary(x: Any, positions: Any = None, *, base: float = 1e4, interleaved: bool = False) -> Any:
    """As products of complex numbers."""
    half = x.shape[-1] // 2
    positions = np.arange(x.shape[-2]) if positions is None else positions
    turns = np.exp(1j * positions[..., None] * base ** (-np.arange(half) / half))
    if interleaved:
        turned = (x[..., ::2] + 1j * x[..., 1::2]) * turns
        return np.stack([turned.real, turned.imag], -1).reshape(x.shape)
    turned = (x[..., :half] + 1j * x[..., half:]) * turns
    return np.concatenate([turned.real, turned.imag], -1)


def _sinusoidal(positions: Any, size: int, *, base: float = 1e4, dtype: Any = "float32") -> Any:
    positions = np.arange(positions) if isinstance(positions, int) else positions
    y = np.zeros((*positions.shape, size), dtype)
    for i in range(size):
        y[..., i] = (np.cos if i % 2 else np.sin)(positions * base ** (-(i - i % 2) / size))
    return y


FORMULAS = SimpleNamespace(
    embedding=_embedding, one_hot=_one_hot, attention=_attention, length_mask=lambda lengths, length: np.arange(length) < lengths[..., None], rotary=_rotary, sinusoidal_positions=_sinusoidal
)
case = cases_of("functions", F, FORMULAS)

Q, K, V = (
    RNG.standard_normal((2, 4, 3, 2)),
    RNG.standard_normal((2, 2, 5, 2)),
    RNG.standard_normal((2, 2, 5, 3)),
)  # 4 heads and 2
SEES = np.array([[True, False, True, True, False], [False] * 5, [True] * 5])  # the second query sees nothing
LONG = RNG.standard_normal((40, 2))  # more keys than whole arrays take
BIAS = RNG.standard_normal((4, 1, 5))
POSITIONS = np.array([[7, 2, 0], [1, 1, 30]])

CASES: list[Case] = [
    case("attention", Q[0, 0], K[0, 0], V[0, 0], d=(0, 1, 2)), case("attention", Q[:, :2], K, V, causal=True, d=(0, 1, 2)),
    case("attention", Q, K, V, SEES, d=(0, 1, 2)), case("attention", Q[:, :2], K, V, SEES[::2, None][0], scale=0.3, d=(0, 1, 2)),
    case("attention", K[0, 0], Q[0, 0], Q[0, 1], causal=True, bias=BIAS[0, 0, :3], d=(0, 1, 2)), case("attention", Q, K, V, bias=BIAS, d=(0, 1, 2)),
    case("attention", Q[0, 0], LONG, LONG[:, :1], np.arange(40) % 3 > 0, causal=True, d=(0, 1, 2)), case("attention", Q[0, 0], LONG, LONG, bias=LONG[:3, :1], d=(0, 1, 2)),
    case("attention", Q[0, 0], K[0, 0], V[0, 0], dropout=0.5, key=fd.random.key(1), train=True, d=(0, 1, 2), numpy=None),
    case("length_mask", IDS, 5, d=None), case("length_mask", np.array([0, 2], np.uint8), 2, d=None),
    case("rotary", Q), case("rotary", K, np.arange(5) * 1.5, base=50.0), case("rotary", Q[:, 0], POSITIONS, interleaved=True),
    case("sinusoidal_positions", 5, 4, d=None), case("sinusoidal_positions", POSITIONS, 3, base=90.0, dtype="float64", d=None),
    case("embedding", IDS, W, d=1), case("embedding", IDS[0].astype(np.uint8), W, d=1), case("embedding", np.array(4), W, d=1),
    case("one_hot", IDS, 6, d=None), case("one_hot", IDS, 7, dtype=np.float64, d=None), case("one_hot", np.array(1), 2, dtype=bool, d=None),
]  # fmt: skip
