"""Norms, softmax, the cross entropy and GELU, each with all its gradients, beside PyTorch and JAX. The floor is PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F

from .measure import JAX, TORCH, Legs, compared, jitted, ours, peer

IMAGES, ROWS = (32, 64, 56, 56), (4096, 512)
RNG = np.random.default_rng(0)


def _drawn(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype="f4")


def _last(images: np.ndarray) -> np.ndarray:
    """The same images with channels last in memory."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def _affine(size: int) -> list[np.ndarray]:
    return [1 + _drawn(size), _drawn(size)]


def _legs(count: int, arrays: list[np.ndarray], mine: Callable[..., Any], of_torch: Any, of_jax: Any) -> Legs:
    """Value and gradients by the first `count` arrays; the last one is the cotangent, or the labels of a loss."""

    def call(*given: Any) -> Any:
        if arrays[-1].dtype.kind == "i":
            y, gradients = fd.value_and_grad(mine, argnums=tuple(range(count)))(*given)
            return (y, *gradients)
        y, pullback = fd.vjp(mine, *given[:count])
        return (y, *pullback(given[-1]))

    legs = ours(call, *arrays)
    if torch := peer("torch"):
        given = [torch.from_numpy(x).requires_grad_(i < count) for i, x in enumerate(arrays)]

        def torch_call() -> list[Any]:
            y = of_torch(torch, *given)
            cotangent = None if arrays[-1].dtype.kind == "i" else given[-1]
            return [y.detach().numpy(), *[x.numpy() for x in torch.autograd.grad(y, given[:count], cotangent)]]

        legs = {TORCH: torch_call, **legs}
    if jax := peer("jax"):

        def jax_call(*given: Any) -> Any:
            if arrays[-1].dtype.kind == "i":
                y, gradients = jax.value_and_grad(lambda *x: of_jax(jax, *x), argnums=tuple(range(count)))(*given)
                return (y, *gradients)
            y, pullback = jax.vjp(lambda *x: of_jax(jax, *x), *given[:count])
            return (y, *pullback(given[-1]))

        legs[JAX] = jitted(jax, jax_call, *arrays)
    return legs


def _jax_norm(axes: tuple[int, ...], shape: tuple[int, ...]) -> Callable[..., Any]:
    def normalised(jax: Any, x: Any, scale: Any, shift: Any, *_: Any) -> Any:
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale.reshape(shape) + shift.reshape(shape)

    return normalised


def _jax_loss(jax: Any, x: Any, labels: Any) -> Any:
    logs = jax.nn.log_softmax(x)
    return -jax.numpy.take_along_axis(logs, labels[:, None], 1).mean()


def run() -> str:
    channels, width = IMAGES[1], ROWS[1]
    batch: Callable[..., Any] = lambda x, w, b: F.batch_norm(x, w, b)
    torch_batch: Callable[..., Any] = lambda torch, x, w, b, t: torch.nn.functional.batch_norm(x, None, None, w, b, training=True)
    jax_batch = _jax_norm((0, 2, 3), (1, channels, 1, 1))
    layer: Callable[..., Any] = lambda x, w, b: F.layer_norm(x, w, b)
    torch_layer: Callable[..., Any] = lambda torch, x, w, b, t: torch.nn.functional.layer_norm(x, (width,), w, b)
    x, t = _drawn(*IMAGES), _drawn(*IMAGES)
    cases = {
        "batch norm": _legs(3, [x, *_affine(channels), t], batch, torch_batch, jax_batch),
        "channels last": _legs(3, [_last(x), *_affine(channels), _last(t)], batch, torch_batch, jax_batch),
        "layer norm": _legs(3, [_drawn(*ROWS), *_affine(width), _drawn(*ROWS)], layer, torch_layer, _jax_norm((-1,), (width,))),
    }
    return compared("value and gradients", cases, 15, rtol=1e-3, atol=1e-3)


def run_softmax() -> str:
    rows = [_drawn(*ROWS), _drawn(*ROWS)]
    labels = RNG.integers(0, ROWS[1], ROWS[0])
    torch_loss: Callable[..., Any] = lambda torch, x, labels: torch.nn.functional.cross_entropy(x, labels)
    cases = {
        "softmax": _legs(1, rows, F.softmax, lambda torch, x, t: torch.softmax(x, -1), lambda jax, x: jax.nn.softmax(x)),
        "cross entropy": _legs(1, [rows[0], labels], F.softmax_cross_entropy, torch_loss, _jax_loss),
        "GELU": _legs(1, rows, F.gelu, lambda torch, x, t: torch.nn.functional.gelu(x), lambda jax, x: jax.nn.gelu(x, approximate=False)),
    }
    return compared("value and gradients", cases, 15, rtol=1e-3, atol=1e-3)
