"""The networks of `networks` in JAX, as plain functions of fdezero's weights by their paths; images lie channels last, JAX's faster layout."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .networks_torch import RESNET_RATE, TRANSFORMER_RATE

Leg = Callable[[], Any]
Weights = Mapping[str, np.ndarray]
EPS, MOMENTUM = 1e-5, np.float32(0.1)


def _channels_last(weights: Weights) -> dict[str, np.ndarray]:
    return {name: W.transpose(2, 3, 1, 0) if W.ndim == 4 else W for name, W in weights.items()}


def _conv(jax: Any, x: Any, W: Any, stride: int = 1) -> Any:
    padding = [(n // 2, n // 2) for n in W.shape[:2]]
    return jax.lax.conv_general_dilated(x, W, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _max_pool(jax: Any, x: Any, size: int, padding: int) -> Any:
    edge, window = (padding, padding), (1, size, size, 1)
    return jax.lax.reduce_window(x, -jax.numpy.inf, jax.lax.max, window, (1, 2, 2, 1), ((0, 0), edge, edge, (0, 0)))


def _cross_entropy(jax: Any, y: Any, t: Any) -> Any:
    return -jax.numpy.take_along_axis(jax.nn.log_softmax(y), t[..., None], axis=-1).mean()


def _trained(step: Callable[..., Any], *state: Any) -> Leg:
    def training() -> float:
        nonlocal state
        *state, loss = step(*state)  # type: ignore[assignment]  # a list in place of the tuple
        return float(loss)

    return training


def resnet_leg(jax: Any, weights: Weights, x: np.ndarray, t: np.ndarray) -> Leg:
    values = _channels_last(weights)
    statistics = {name: values.pop(name) for name in [*values] if name.endswith(("/mean", "/variance"))}

    def loss_of(p: Any, seen: Any, x: Any, t: Any) -> Any:
        moved = {}

        def norm(name: str, y: Any) -> Any:
            mean, variance, count = y.mean((0, 1, 2)), y.var((0, 1, 2)), y.size // y.shape[-1]
            for kind, new in (("mean", mean), ("variance", variance * (count / (count - 1)))):
                old = seen[f"{name}/{kind}"]
                moved[f"{name}/{kind}"] = old + MOMENTUM * (new - old)
            return (y - mean) * (p[f"{name}/scale"] * jax.lax.rsqrt(variance + EPS)) + p[f"{name}/shift"]

        y = _max_pool(jax, jax.nn.relu(norm("norm", _conv(jax, x, p["stem/W"], 2))), 3, 1)
        for i in range(4):
            for j in range(2):
                place, stride = f"stages/{i}/layers/{j}", 2 if i and not j else 1
                z = jax.nn.relu(norm(f"{place}/norms/0", _conv(jax, y, p[f"{place}/convs/0/W"], stride)))
                z = norm(f"{place}/norms/1", _conv(jax, z, p[f"{place}/convs/1/W"]))
                if stride == 2:
                    y = norm(f"{place}/shortcut_norm", _conv(jax, y, p[f"{place}/shortcut/W"], 2))
                y = jax.nn.relu(y + z)
        return _cross_entropy(jax, y.mean((1, 2)) @ p["head/W"] + p["head/b"], t), moved

    @jax.jit
    def step(p: Any, v: Any, seen: Any, x: Any, t: Any) -> Any:
        (loss, seen), g = jax.value_and_grad(loss_of, has_aux=True)(p, seen, x, t)
        v = {name: 0.9 * v[name] + g[name] for name in g}
        return {name: p[name] - RESNET_RATE * v[name] for name in g}, v, seen, loss

    zeros = {name: np.zeros_like(w) for name, w in values.items()}
    data = jax.device_put((x.transpose(0, 2, 3, 1), t))
    return _trained(lambda *state: step(*state, *data), *jax.device_put((values, zeros, statistics)))


def vgg_leg(jax: Any, weights: Weights, x: np.ndarray, t: None) -> Leg:
    @jax.jit
    def forward(p: Any, y: Any) -> Any:
        for i, depth in enumerate((2, 2, 3, 3, 3)):
            for j in range(depth):
                place = f"blocks/{i}/convs/{j}"
                y = jax.nn.relu(_conv(jax, y, p[f"{place}/W"]) + p[f"{place}/b"])
            y = _max_pool(jax, y, 2, 0)
        y = y.transpose(0, 3, 1, 2).reshape(len(y), -1)
        for i in range(3):
            y = y @ p[f"head/layers/{i}/W"] + p[f"head/layers/{i}/b"]
            y = jax.nn.relu(y) if i < 2 else y
        return y

    p, images = jax.device_put((_channels_last(weights), x.transpose(0, 2, 3, 1)))
    return lambda: jax.block_until_ready(forward(p, images))


def transformer_leg(jax: Any, weights: Weights, x: np.ndarray, t: np.ndarray) -> Leg:
    count = 1 + max(int(name.split("/")[1]) for name in weights if name.startswith("layers/"))

    def loss_of(p: Any, x: Any, t: Any) -> Any:
        def linear(name: str, y: Any) -> Any:
            return y @ p[f"{name}/W"] + p[f"{name}/b"]

        def norm(name: str, y: Any) -> Any:
            mean, variance = y.mean(-1, keepdims=True), y.var(-1, keepdims=True)
            return (y - mean) * jax.lax.rsqrt(variance + EPS) * p[f"{name}/scale"] + p[f"{name}/shift"]

        y = p["symbols/W"][x] + p["positions/W"][: x.shape[1]]
        for i in range(count):
            place = f"layers/{i}"
            z = norm(f"{place}/attention_norm", y)
            heads = [linear(f"{place}/attention/{name}", z).reshape(*z.shape[:2], 4, -1) for name in ("queries", "keys", "values")]
            z = jax.nn.dot_product_attention(*heads, is_causal=True).reshape(y.shape)
            y = y + linear(f"{place}/attention/output", z)
            z = jax.nn.gelu(linear(f"{place}/hidden", norm(f"{place}/output_norm", y)))
            y = y + linear(f"{place}/output", z)
        return _cross_entropy(jax, norm("norm", y) @ p["symbols/W"].T, t)

    @jax.jit
    def step(p: Any, m: Any, s: Any, count: Any, x: Any, t: Any) -> Any:
        loss, g = jax.value_and_grad(loss_of)(p, x, t)
        count = count + 1
        m = {name: 0.9 * m[name] + 0.1 * g[name] for name in g}
        s = {name: 0.999 * s[name] + 0.001 * g[name] ** 2 for name in g}
        first, second = 1 / (1 - 0.9**count), 1 / (1 - 0.999**count)
        p = {name: p[name] - TRANSFORMER_RATE * (m[name] * first) / (jax.numpy.sqrt(s[name] * second) + 1e-8) for name in g}
        return p, m, s, count, loss

    zeros = {name: np.zeros_like(w) for name, w in weights.items()}
    data = jax.device_put((x, t))
    return _trained(lambda *state: step(*state, *data), *jax.device_put((dict(weights), zeros, zeros, np.float32(0))))


LEGS: dict[str, Callable[..., Leg]] = {"resnet": resnet_leg, "vgg": vgg_leg, "transformer": transformer_leg}
