"""A physics-informed network: derivatives of a function of two numbers, mapped over points. And what `vmap` adds to a batched form."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim

from .measure import FLOOR, JAX, TORCH, Legs, agree, compared, interleaved, jitted, median, ours, peer, ratio, table

POINTS, SIZES, VISCOSITY = 500, (2, 32, 32, 32, 1), 0.01
RATE, B1, B2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
Weights = list[np.ndarray]  # W1 (2, 32), b1, W2 (32, 32), b2, W3, b3, W4 (32, 1), b4


def gradient_floor(weights: Weights, t: np.ndarray, x: np.ndarray) -> Callable[[], tuple[float, Weights]]:
    """u, u_t, u_x and u_xx side by side, as one array of four rows for each point, there and back."""
    matrices, biases = weights[::2], weights[1::2]
    layers, wide = len(matrices), (4, POINTS, SIZES[1])
    inputs = np.zeros((4, POINTS, 2))
    inputs[0, :, 0], inputs[0, :, 1], inputs[1, :, 0], inputs[2, :, 1] = t, x, 1, 1
    before, after = [np.empty(wide) for _ in range(layers - 1)], [np.empty(wide) for _ in range(layers - 1)]
    slopes, bends = [np.empty(wide[1:]) for _ in range(layers - 1)], [np.empty(wide[1:]) for _ in range(layers - 1)]
    u, g, back, more = np.empty((4, POINTS, 1)), np.empty(wide), np.empty(wide), np.empty(wide[1:])
    seed, ones = np.empty((4, POINTS, 1)), np.ones(POINTS)
    found = [np.empty_like(w) for w in weights]

    def rows(a: np.ndarray) -> np.ndarray:
        return a.reshape(-1, a.shape[-1])

    def forward() -> None:
        h = inputs
        for W, b, z, y, s, d in zip(matrices, biases, before, after, slopes, bends, strict=False):
            np.matmul(rows(h), W, out=rows(z))
            z[0] += b
            np.tanh(z[0], out=y[0])
            np.multiply(y[0], y[0], out=s)
            np.subtract(1, s, out=s)
            np.multiply(s, z[1:], out=y[1:])
            np.multiply(z[2], z[2], out=d)  # and y_xx = s (z_xx - 2 y z_x²)
            np.multiply(d, -2, out=d)
            np.multiply(d, y[0], out=more)
            np.multiply(more, s, out=more)
            np.add(y[3], more, out=y[3])
            h = y
        np.matmul(rows(h), matrices[-1], out=rows(u))
        u[0] += biases[-1]

    def backward() -> None:
        np.matmul(rows(after[-1]).T, rows(seed), out=found[-2])
        np.sum(seed[0], axis=0, out=found[-1])
        np.multiply(seed, matrices[-1].T, out=g)
        for i in reversed(range(layers - 1)):
            z, y, s, d = before[i], after[i], slopes[i], bends[i]
            np.multiply(g, s, out=back)
            # The cotangent of s, times -2 y, and that of y in y_xx.
            np.multiply(d, y[0], out=more)
            np.add(more, z[3], out=more)
            np.multiply(more, g[3], out=more)
            g[1] *= z[1]
            np.add(more, g[1], out=more)
            g[2] *= z[2]
            np.add(more, g[2], out=more)
            np.multiply(more, y[0], out=more)
            np.multiply(more, -2, out=more)
            np.multiply(d, back[3], out=d)
            np.add(more, d, out=more)
            np.multiply(more, s, out=more)
            np.add(back[0], more, out=back[0])
            np.multiply(y[0], z[2], out=more)
            np.multiply(more, back[3], out=more)
            np.multiply(more, -4, out=more)
            np.add(back[2], more, out=back[2])
            np.matmul(rows(after[i - 1] if i else inputs).T, rows(back), out=found[2 * i])
            np.matmul(ones, back[0], out=found[2 * i + 1])
            if i:
                np.matmul(rows(back), matrices[i].T, out=rows(g))

    def gradient() -> tuple[float, Weights]:
        forward()
        r = u[1] + u[0] * u[2] - VISCOSITY * u[3]
        slope = r * (2 / POINTS)
        seed[0], seed[1], seed[2], seed[3] = slope * u[2], slope, slope * u[0], slope * -VISCOSITY
        backward()
        return float(np.mean(r * r)), found

    return gradient


def floor_leg(weights: Weights, t: np.ndarray, x: np.ndarray) -> Callable[[], tuple[Weights, float]]:
    """One step from the first weights, with Adam on one flat array."""
    gradient = gradient_floor(weights, t, x)
    flat = np.concatenate([w.ravel() for w in weights])
    g, move, m, s, w = (np.empty_like(flat) for _ in range(5))
    ends = np.cumsum([v.size for v in weights])[:-1]
    parts = [part.reshape(v.shape) for part, v in zip(np.split(w, ends), weights, strict=True)]

    def step() -> tuple[Weights, float]:
        loss, gradients = gradient()
        np.concatenate([v.ravel() for v in gradients], out=g)
        np.multiply(g, 1 - B1, out=m)
        np.multiply(g, g, out=s)
        np.multiply(s, 1 - B2, out=s)
        np.multiply(s, 1 / (1 - B2), out=move)
        np.sqrt(move, out=move)
        np.add(move, EPSILON, out=move)
        np.divide(m, move, out=move)
        np.multiply(move, RATE / (1 - B1), out=move)
        np.subtract(flat, move, out=w)
        return parts, loss

    return step


def residual(grad: Any, call: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """u_t + u u_x - 0.01 u_xx at one point, as a user writes it; `call(model, t, x)` is u."""

    def at(model: Any, t: Any, x: Any) -> Any:
        def u(t: Any, x: Any) -> Any:
            return call(model, t, x)

        u_x = grad(u, 1)
        return grad(u, 0)(t, x) + u(t, x) * u_x(t, x) - VISCOSITY * grad(u_x, 1)(t, x)

    return at


def fdezero_legs(model: nn.MLP, t: np.ndarray, x: np.ndarray) -> Legs:
    at = residual(fd.grad, lambda model, t, x: model(np.stack([t, x]))[0])
    optimiser = optim.adam(RATE, B1, B2, EPSILON)

    def loss(model: nn.MLP, t: Any, x: Any) -> Any:
        return (fd.vmap(at, (None, 0, 0))(model, t, x) ** 2).mean()

    def step(model: nn.MLP, state: Any, t: Any, x: Any) -> Any:
        value, gradient = fd.value_and_grad(loss)(model, t, x)
        model, state = optimiser.step(model, gradient, state)
        return fd.tree.leaves(model), value

    return ours(step, model, optimiser.init(model), t, x)


def jax_leg(jax: Any, weights: Weights, t: np.ndarray, x: np.ndarray) -> Callable[[], Any]:
    def u(weights: Any, t: Any, x: Any) -> Any:
        h = jax.numpy.stack([t, x])
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = jax.numpy.tanh(h @ W + b)
        return (h @ weights[-2] + weights[-1])[0]

    at = residual(jax.grad, u)

    def step(weights: Any, means: Any, squares: Any, n: Any, t: Any, x: Any) -> Any:
        value, g = jax.value_and_grad(lambda w: (jax.vmap(at, (None, 0, 0))(w, t, x) ** 2).mean())(weights)
        means = jax.tree.map(lambda m, g: B1 * m + (1 - B1) * g, means, g)
        squares = jax.tree.map(lambda s, g: B2 * s + (1 - B2) * g * g, squares, g)

        def moved(w: Any, m: Any, s: Any) -> Any:
            return w - RATE * (m / (1 - B1**n)) / (jax.numpy.sqrt(s / (1 - B2**n)) + EPSILON)

        return jax.tree.map(moved, weights, means, squares), means, squares, n + 1, value

    zeros = [np.zeros_like(w) for w in weights]
    whole = jitted(jax, step, weights, zeros, zeros, 1, t, x)

    def leg() -> Any:
        moved, *_, value = whole()
        return moved, value

    return leg


def torch_leg(torch: Any, weights: Weights, t: np.ndarray, x: np.ndarray) -> Callable[[], Any]:
    parameters, zeros = tuple(map(torch.tensor, weights)), [torch.zeros(w.shape, dtype=torch.float64) for w in weights]
    t, x = torch.tensor(t), torch.tensor(x)

    def u(weights: Any, t: Any, x: Any) -> Any:
        h = torch.stack([t, x])
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = torch.tanh(h @ W + b)
        return (h @ weights[-2] + weights[-1])[0]

    at = residual(torch.func.grad, u)

    def loss(weights: Any) -> Any:
        return (torch.func.vmap(at, (None, 0, 0))(weights, t, x) ** 2).mean()

    def step() -> Any:
        gradients, value = torch.func.grad_and_value(loss)(parameters)
        moved = []
        for w, g, zero in zip(parameters, gradients, zeros, strict=True):
            mean, square = torch.lerp(zero, g, 1 - B1), B2 * zero + (1 - B2) * g * g
            moved.append(w - RATE * (mean / (1 - B1)) / (torch.sqrt(square / (1 - B2)) + EPSILON))
        return moved, value

    return step


def step_legs() -> Legs:
    rng = np.random.default_rng(0)
    model = fd.tree.map(np.float64, nn.MLP.init(fd.random.key(0), SIZES, activation=F.tanh))
    weights, t, x = fd.tree.leaves(model), rng.random(POINTS), rng.uniform(-1, 1, POINTS)
    legs: Legs = {FLOOR: floor_leg(weights, t, x), **fdezero_legs(model, t, x)}
    if (jax := peer("jax")) is not None:
        legs[JAX] = jax_leg(jax, weights, t, x)
    if (torch := peer("torch")) is not None:
        legs[TORCH] = torch_leg(torch, weights, t, x)
    return legs


def run() -> str:
    return compared("a step", {"": step_legs()}, 21, rtol=1e-6, atol=1e-9)


def forms() -> dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]]:
    """A function mapped over examples, the same function of a batch, and their arguments."""
    rng = np.random.default_rng(0)
    mlp = nn.MLP.init(fd.random.key(0), (64, 128, 128, 10), activation=F.tanh)
    x, labels = rng.standard_normal((256, 64), np.float32), rng.integers(0, 10, 256)
    conv = nn.Conv2d.init(fd.random.key(1), 8, 16, 3, padding=1)
    images = rng.standard_normal((64, 8, 16, 16), np.float32)
    attention = nn.MultiHeadAttention.init(fd.random.key(2), 64, 4)
    sequences = rng.standard_normal((32, 48, 64), np.float32)
    norm = nn.LayerNorm.init(fd.random.key(3), 64)

    def gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
        return fd.value_and_grad(loss)

    def squares(model: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        return gradient(lambda m, x: (fd.vmap(m)(x) ** 2).mean()), gradient(lambda m, x: (m(x) ** 2).mean())

    return {
        "MLP 64-128-128-10, mean loss": (
            gradient(lambda m, x, t: fd.vmap(lambda x, t: F.softmax_cross_entropy(m(x[None]), t[None]))(x, t).mean()),
            gradient(lambda m, x, t: F.softmax_cross_entropy(m(x), t)),
            (mlp, x, labels),
        ),
        "convolution 8-16, 3x3": (*squares(conv), (conv, images)),
        "attention, 48 x 64": (*squares(attention), (attention, sequences)),
        "layer norm": (*squares(norm), (norm, sequences)),
    }


def run_forms() -> str:
    rows = []
    for name, (mapped, batched, args) in forms().items():
        forms_of = {"batched": batched, "mapped": mapped}
        legs: Legs = {f"eager, {form}": functools.partial(f, *args) for form, f in forms_of.items()}
        legs |= {
            f"compiled, {form}": functools.partial(fd.compile(f, threads=1), *args) for form, f in forms_of.items()
        }
        agree(legs, 1e-3, 1e-5)
        times = interleaved(legs, 21)
        cells = []
        for way in ("eager", "compiled"):
            first, second = times[f"{way}, batched"], times[f"{way}, mapped"]
            cells += [
                f"{1e3 * median(first).cpu:.2f}",
                f"{1e3 * median(second).cpu:.2f}",
                f"{ratio(second, first):.2f}",
            ]
        rows.append([name, *cells])
    heads = [
        f"{way}, {what}" for way in ("eager", "compiled") for what in ("batched, CPU ms", "mapped, CPU ms", "ratio")
    ]
    return table(["value and gradient", *heads], rows)
