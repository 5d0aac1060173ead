"""What sequences of symbols need: the gradient of a table of embeddings, and causal attention."""

import functools
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F

from .measure import EAGER, JAX, TORCH, Legs, compared, compiled_ways, jitted, ours, peer
from .memory import held, most_held

TABLES = {  # ids, rows, size
    "4096 of 10,000 rows of 256": (4096, 10_000, 256),
    "4096 of 50 rows of 256": (4096, 50, 256),
    "8192 of 65 rows of 64": (8192, 65, 64),
}
SHAPES = {"32 x 512 x 64": (4, 8, 512, 64), "8 x 2048 x 64": (1, 8, 2048, 64), "256 x 64 x 32": (32, 8, 64, 32)}
LONGEST = "8 x 2048 x 64"
Arrays = tuple[np.ndarray, ...]


def _rows(count: int, rows: int, size: int) -> Legs:
    """The gradient of the table for a cotangent of the rows that were read."""
    rng = np.random.default_rng(0)
    ids, W, t = rng.integers(0, rows, count), *(rng.standard_normal((n, size), dtype="f4") for n in (rows, count))

    def by_hand() -> np.ndarray:
        gradient = np.zeros_like(W)
        np.add.at(gradient, ids, t)
        return gradient

    gradient: Callable[..., Any] = lambda W, t, ids: fd.vjp(lambda W: F.embedding(ids, W), W)[1](t)[0]
    _, pullback = fd.vjp(lambda W: F.embedding(ids, W), W)
    legs: Legs = {"NumPy, `add.at`": by_hand}
    for name, way in compiled_ways().items():
        legs[name] = functools.partial(way(gradient), W, t, ids)
    legs[EAGER] = lambda: pullback(t)[0]
    if torch := peer("torch"):
        given = [torch.from_numpy(x) for x in (t, ids)]
        legs["PyTorch, `embedding_dense_backward`"] = lambda: torch.ops.aten.embedding_dense_backward(*given, rows, -1, False).numpy()
    return legs


def run_rows() -> str:
    return compared("gradient of a table", {name: _rows(*sizes) for name, sizes in TABLES.items()}, 15, rtol=1e-4, atol=1e-5)


def _by_hand(q: np.ndarray, k: np.ndarray, v: np.ndarray, t: np.ndarray, mask: np.ndarray) -> Arrays:
    """Whole arrays of scores, in place; the weights are kept for the way back."""
    scale = np.float32(q.shape[-1] ** -0.5)
    p = q @ k.swapaxes(-1, -2)
    p *= scale
    p += mask
    p -= p.max(-1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(-1, keepdims=True)
    y = p @ v
    d = t @ v.swapaxes(-1, -2)
    d -= (t * y).sum(-1, keepdims=True)
    d *= p
    d *= scale
    return y, d @ k, d.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ t


def _with_gradients(function: Callable[..., Any], vjp: Callable[..., Any], *arrays: Any) -> Any:
    y, pullback = vjp(function, *arrays[:3])
    return (y, *pullback(arrays[3]))


def _attention(*shape: int) -> Legs:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape, dtype="f4") for _ in range(4)]
    mask = np.where(np.tri(shape[-2], dtype=bool), np.float32(0), np.float32(-np.inf))
    call: Callable[..., Any] = lambda *given: _with_gradients(lambda q, k, v: F.attention(q, k, v, causal=True), fd.vjp, *given)
    legs: Legs = {"NumPy, whole arrays": lambda: _by_hand(*arrays, mask), **ours(call, *arrays)}
    if torch := peer("torch"):
        *given, cotangent = [torch.from_numpy(x).requires_grad_(i < 3) for i, x in enumerate(arrays)]

        def of_torch() -> list[Any]:
            y = torch.nn.functional.scaled_dot_product_attention(*given, is_causal=True)
            return [x.detach().numpy() for x in (y, *torch.autograd.grad(y, given, cotangent))]

        legs[TORCH] = of_torch
    if jax := peer("jax"):

        def of_jax(q: Any, k: Any, v: Any, t: Any) -> Any:
            attend = lambda *given: jax.nn.dot_product_attention(*(x.swapaxes(1, 2) for x in given), is_causal=True).swapaxes(1, 2)
            return _with_gradients(attend, jax.vjp, q, k, v, t)

        legs[JAX] = jitted(jax, of_jax, *arrays)
    return legs


def _grown(name: str) -> float:
    """The MB that a process needs at most for a value with gradients, beyond what it holds before."""
    leg = _attention(*SHAPES[LONGEST])[name]
    before = held()
    leg()
    leg()
    return most_held() - before


def run_attention() -> str:
    cases = {name: _attention(*shape) for name, shape in SHAPES.items()}
    grown = {}
    for name in cases[LONGEST]:
        with get_context("spawn").Pool(1) as pool:
            grown[name] = f"{pool.apply(_grown, (name,)):.0f}"
    extra = {f"{LONGEST}, peak memory, MB": grown}
    return compared("value and gradients", cases, 7, rtol=1e-3, atol=1e-4, extra=extra)
