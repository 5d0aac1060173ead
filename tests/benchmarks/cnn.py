"""A convolutional network on MNIST: two convolutions with relu and max pooling, and a linear layer; steps of SGD on batches of 64."""

import functools
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim

from .measure import EAGER, FLOOR, JAX, TORCH, Legs, agree, compiled_ways, interleaved, peer, rows_of, winograd_way
from .memory import held, most_held
from .mnist import cross_entropy

BATCH, RATE, STEPS, REPETITIONS = 64, 0.01, 10, 5
BLOCK = 4  # images at a time, in the floor
Weights = list[np.ndarray]  # (32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (3136, 10), (10,)
Training = Callable[[], list[Any]]  # the losses, and the last weights


class Net(fd.Module):
    """conv 1 -> 32, relu, pool, conv 32 -> 64, relu, pool, linear."""

    first: nn.Conv2d
    second: nn.Conv2d
    last: nn.Linear

    def __call__(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        return self.last(x.reshape(len(x), -1))


def net_of(weights: Weights) -> Net:
    W1, b1, W2, b2, W3, b3 = weights
    return Net(nn.Conv2d(W1, b1, padding=1), nn.Conv2d(W2, b2, padding=1), nn.Linear(W3, b3))


def fdezero_leg(weights: Weights, x: np.ndarray, t: np.ndarray, transform: Callable[..., Any]) -> Training:
    opt = optim.sgd(RATE)

    def train_step(model: Net, state: Any, x: Any, t: Any) -> Any:
        loss, gradients = fd.value_and_grad(lambda model: F.softmax_cross_entropy(model(x), t))(model)
        return *opt.step(model, gradients, state), loss

    step, start = transform(train_step), net_of(weights)

    def training() -> list[Any]:
        model, state, losses = start, opt.init(start), []
        for k in range(STEPS):
            model, state, loss = step(model, state, x[k], t[k])
            losses.append(float(loss))
        return [losses, *fd.tree.leaves(model)]

    return training


def floor_leg(weights: Weights, x: np.ndarray, t: np.ndarray) -> Training:
    """By hand: channels last, patches of a few images at a time, every buffer made once. Pooling comes before the bias and relu, as both
    are monotone: they then see a quarter of the entries."""
    rows, column = np.arange(BATCH), np.empty((BATCH, 1), np.float32)
    window = np.lib.stride_tricks.sliding_window_view
    x1, x2 = np.zeros((BATCH, 30, 30, 1), np.float32), np.zeros((BATCH, 16, 16, 32), np.float32)
    seen1 = window(x1, (3, 3), (1, 2)).transpose(0, 1, 2, 4, 5, 3)
    seen2 = window(x2, (3, 3), (1, 2)).transpose(0, 1, 2, 4, 5, 3)
    c1, c2 = np.empty((BATCH, 28, 28, 3, 3, 1), np.float32), np.empty((BATCH, 14, 14, 3, 3, 32), np.float32)
    y1, y2 = np.empty((BATCH, 28, 28, 32), np.float32), np.empty((BATCH, 14, 14, 64), np.float32)
    g1, g2, gx = np.empty_like(y1), np.empty_like(y2), np.empty_like(x2)
    gc = np.empty((BLOCK, 14, 14, 3, 3, 32), np.float32)
    m1, m2 = np.empty((BATCH, 14, 14, 32), np.float32), np.empty((BATCH, 7, 7, 64), np.float32)
    r1, r2 = np.empty_like(m1), np.empty_like(m2)
    z = np.empty((BATCH, 10), np.float32)
    taps = [(i, j) for i in range(3) for j in range(3)]
    blocks = [slice(n, n + BLOCK) for n in range(0, BATCH, BLOCK)]

    def pooled(y: np.ndarray, out: np.ndarray) -> None:
        np.maximum(y[:, ::2, ::2], y[:, ::2, 1::2], out=out)
        np.maximum(out, y[:, 1::2, ::2], out=out)
        np.maximum(out, y[:, 1::2, 1::2], out=out)

    def spread(g: np.ndarray, m: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
        """g to the first entry of each window that is its maximum m, zeros elsewhere."""
        left = np.ones(m.shape, bool)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            hit = y[:, i::2, j::2] == m
            hit &= left
            left ^= hit
            np.multiply(g.view(np.int32), hit, out=out[:, i::2, j::2].view(np.int32))

    def convolved(seen: np.ndarray, c: np.ndarray, W: np.ndarray, y: np.ndarray, m: np.ndarray, b: np.ndarray, r: np.ndarray) -> None:
        for k in blocks:
            np.copyto(c[k], seen[k])
            np.matmul(c[k].reshape(-1, len(W)), W, out=y[k].reshape(-1, W.shape[1]))
            pooled(y[k], m[k])
        np.add(m, b, out=r)
        np.maximum(r, 0, out=r)

    def training() -> list[Any]:
        W1, b1, W2, b2, W3, b3 = weights
        W1, W2 = W1.transpose(2, 3, 1, 0).reshape(9, 32), W2.transpose(2, 3, 1, 0).reshape(288, 64)
        W3 = W3.reshape(64, 7, 7, 10).transpose(1, 2, 0, 3).reshape(3136, 10)
        W1, b1, W2, b2, W3, b3 = parameters = [w.copy() for w in (W1, b1, W2, b2, W3, b3)]
        losses = []
        for step in range(STEPS):
            x1[:, 1:-1, 1:-1, 0] = x[step, :, 0]
            convolved(seen1, c1, W1, y1, m1, b1, r1)
            x2[:, 1:-1, 1:-1] = r1
            convolved(seen2, c2, W2, y2, m2, b2, r2)
            h = r2.reshape(BATCH, -1)
            np.matmul(h, W3, out=z)
            np.add(z, b3, out=z)
            losses.append(cross_entropy(z, t[step], rows, column))
            gW3, gb3, gh = h.T @ z, z.sum(0), (z @ W3.T).reshape(m2.shape)
            gh *= r2 > 0
            gb2, gW2, gW1 = gh.sum((0, 1, 2)), np.zeros_like(W2), np.zeros_like(W1)
            gx.fill(0)
            for k in blocks:
                spread(gh[k], m2[k], y2[k], g2[k])
                of_block = g2[k].reshape(-1, 64)
                gW2 += c2[k].reshape(-1, 288).T @ of_block
                np.matmul(of_block, W2.T, out=gc.reshape(-1, 288))
                for i, j in taps:
                    into = gx[k, i : i + 14, j : j + 14]
                    into += gc[:, :, :, i, j]
            gr = gx[:, 1:-1, 1:-1] * (r1 > 0)
            gb1 = gr.sum((0, 1, 2))
            for k in blocks:
                spread(gr[k], m1[k], y1[k], g1[k])
                gW1 += c1[k].reshape(-1, 9).T @ g1[k].reshape(-1, 32)
            for w, g in zip(parameters, (gW1, gb1, gW2, gb2, gW3, gb3), strict=True):
                g *= np.float32(RATE)
                w -= g
        W3 = W3.reshape(7, 7, 64, 10).transpose(2, 0, 1, 3).reshape(3136, 10)
        return [losses, W1.reshape(3, 3, 1, 32).transpose(3, 2, 0, 1), b1, W2.reshape(3, 3, 32, 64).transpose(3, 2, 0, 1), b2, W3, b3]

    return training


def torch_leg(torch: Any, weights: Weights, x: np.ndarray, t: np.ndarray) -> Training:
    f, xs, ts = torch.nn.functional, torch.from_numpy(x), torch.from_numpy(t)

    def training() -> list[Any]:
        W1, b1, W2, b2, W3, b3 = parameters = [torch.tensor(w, requires_grad=True) for w in weights]
        optimizer, losses = torch.optim.SGD(parameters, RATE), []
        for k in range(STEPS):
            optimizer.zero_grad()
            h = f.max_pool2d(f.relu(f.conv2d(xs[k], W1, b1, padding=1)), 2)
            h = f.max_pool2d(f.relu(f.conv2d(h, W2, b2, padding=1)), 2)
            loss = f.cross_entropy(torch.addmm(b3, h.flatten(1), W3), ts[k])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return [losses, *(p.detach().numpy() for p in parameters)]

    return training


def jax_leg(jax: Any, weights: Weights, x: np.ndarray, t: np.ndarray) -> Training:
    """Images and kernels channels last, the faster of JAX's layouts on a CPU."""
    lax, jnp = jax.lax, jax.numpy

    def conv(x: Any, W: Any, b: Any) -> Any:
        y = lax.conv_general_dilated(x, W, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return lax.reduce_window(jax.nn.relu(y + b), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def loss_of(parameters: Any, x: Any, t: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = parameters
        h = conv(conv(x.reshape(BATCH, 28, 28, 1), W1, b1), W2, b2)
        scores = jax.nn.log_softmax(h.reshape(BATCH, -1) @ W3 + b3)
        return -jnp.take_along_axis(scores, t[:, None], axis=1).mean()

    @jax.jit
    def train_step(parameters: Any, x: Any, t: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, t)
        return [w - RATE * g for w, g in zip(parameters, gradients, strict=True)], loss

    def training() -> list[Any]:
        W1, b1, W2, b2, W3, b3 = weights
        W3 = W3.reshape(64, 7, 7, 10).transpose(1, 2, 0, 3).reshape(3136, 10)
        parameters = jax.device_put([W1.transpose(2, 3, 1, 0), b1, W2.transpose(2, 3, 1, 0), b2, W3, b3])
        losses = []
        for k in range(STEPS):
            parameters, loss = train_step(parameters, x[k], t[k])
            losses.append(float(loss))
        W1, b1, W2, b2, W3, b3 = map(np.asarray, parameters)
        return [losses, W1.transpose(3, 2, 0, 1), b1, W2.transpose(3, 2, 0, 1), b2, W3.reshape(7, 7, 64, 10).transpose(2, 0, 1, 3).reshape(3136, 10), b3]

    return training


def data() -> tuple[Weights, np.ndarray, np.ndarray]:
    """Initial weights, and the images and labels of every step."""
    rng, (images, labels) = np.random.default_rng(0), fd.data.mnist("train")
    chosen = rng.permutation(len(images))[: STEPS * BATCH]
    normal = lambda scale, *shape: (scale * rng.standard_normal(shape)).astype(np.float32)
    weights = [
        normal((2 / 9) ** 0.5, 32, 1, 3, 3), np.zeros(32, np.float32), normal((2 / 288) ** 0.5, 64, 32, 3, 3), np.zeros(64, np.float32),
        normal((1 / 3136) ** 0.5, 3136, 10), np.zeros(10, np.float32),
    ]  # fmt: skip
    return weights, images[chosen].reshape(STEPS, BATCH, 1, 28, 28), labels[chosen].reshape(STEPS, BATCH).astype(np.int64)


LEGS: dict[str, Callable[[Weights, np.ndarray, np.ndarray], Training | None]] = {
    FLOOR: floor_leg,
    **{name: functools.partial(fdezero_leg, transform=way) for name, way in {**compiled_ways(), **winograd_way()}.items()},
    EAGER: functools.partial(fdezero_leg, transform=lambda step: step),
    TORCH: lambda *data: None if (torch := peer("torch")) is None else torch_leg(torch, *data),
    JAX: lambda *data: None if (jax := peer("jax")) is None else jax_leg(jax, *data),
}


def _grown(name: str, given: tuple[Any, ...]) -> float:
    """The MB that a process needs at most for a training, beyond what it holds before."""
    training = LEGS[name](*given)
    assert training is not None
    before = held()
    training()
    return most_held() - before


def run() -> str:
    given = data()
    made = {name: make(*given) for name, make in LEGS.items()}
    legs: Legs = {name: leg for name, leg in made.items() if leg is not None}
    agree(legs, rtol=2e-3, atol=2e-4)
    times = interleaved(legs, REPETITIONS)
    grown = {}
    for name in legs:
        with get_context("spawn").Pool(1) as pool:
            grown[name] = f"{pool.apply(_grown, (name, given)):.0f}"
    return rows_of(f"{STEPS} steps", {"": times}, extra={"peak memory, MB": grown})
