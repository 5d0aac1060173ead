"""Pooling of images, with the gradient: the greatest entries and the means of windows, and the mean of each channel."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F

from .measure import JAX, TORCH, Legs, compared, jitted, ours, peer

SHAPE = (32, 64, 56, 56)
FIRST = f"{TORCH}, channels last"


def _last(x: np.ndarray) -> np.ndarray:
    """The same images with channels last in memory."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim > 2 else x


def _legs(mine: Callable[..., Any], of_torch: Callable[..., Any], of_jax: Callable[..., Any]) -> Legs:
    """The result and the gradient for a given cotangent."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE, dtype="f4")
    t = rng.standard_normal(mine(x).shape, dtype="f4")
    first = [np.moveaxis(_last(z), -1, 1) for z in (x, t)]

    def call(x: Any, t: Any) -> Any:
        y, pullback = fd.vjp(mine, x)
        return (y, *pullback(t))

    legs = ours(call, *first)
    if torch := peer("torch"):

        def leg(x: np.ndarray, t: np.ndarray) -> Callable[[], Any]:
            given, cotangent = torch.from_numpy(x).requires_grad_(), torch.from_numpy(t)

            def both() -> list[Any]:
                y = of_torch(torch, given)
                return [y.detach().numpy(), torch.autograd.grad(y, given, cotangent)[0].numpy()]

            return both

        legs = {FIRST: leg(*first), **legs, f"{TORCH}, channels first": leg(x, t)}
    if jax := peer("jax"):

        def both(x: Any, t: Any) -> Any:
            y, pullback = jax.vjp(lambda x: of_jax(jax, x), x)
            return [jax.numpy.moveaxis(z, -1, 1) if z.ndim > 2 else z for z in (y, *pullback(t))]

        legs[JAX] = jitted(jax, both, _last(x), _last(t))
    return legs


def _windows(of: str, kernel: int, stride: int, padding: int) -> Callable[..., Any]:
    """JAX's pooling of images (N, H, W, C)."""

    def pooled(jax: Any, x: Any) -> Any:
        sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        start, join = (-np.inf, jax.lax.max) if of == "max" else (0.0, jax.lax.add)
        y = jax.lax.reduce_window(x, start, join, (1, kernel, kernel, 1), (1, stride, stride, 1), sides)
        return y if of == "max" else y / kernel**2

    return pooled


def run() -> str:
    functional: Callable[[Any], Any] = lambda torch: torch.nn.functional
    cases = {
        "max 2x2": _legs(lambda x: F.max_pool2d(x, 2), lambda torch, x: functional(torch).max_pool2d(x, 2), _windows("max", 2, 2, 0)),
        "max 3x3, stride 2": _legs(
            lambda x: F.max_pool2d(x, 3, 2, 1), lambda torch, x: functional(torch).max_pool2d(x, 3, 2, 1), _windows("max", 3, 2, 1)
        ),
        "mean 2x2": _legs(lambda x: F.avg_pool2d(x, 2), lambda torch, x: functional(torch).avg_pool2d(x, 2), _windows("mean", 2, 2, 0)),
        "global mean": _legs(F.global_avg_pool, lambda torch, x: x.mean((2, 3)), lambda jax, x: x.mean((1, 2))),
    }
    return compared("value and gradient", cases, 9, rtol=1e-4, atol=1e-4)
