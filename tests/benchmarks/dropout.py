"""200 steps of 784-512-512-10, relu, dropout 0.5, Adam, batches of 128: random numbers and an optimiser with memory."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.data import DataLoader

from .measure import COMPILED, EAGER, FLOOR, JAX, NATIVE, TORCH, Legs, compiled_ways, interleaved, peer, rows_of
from .mnist import batches, cross_entropy

SIZES, BATCH, STEPS, REPETITIONS = (784, 512, 512, 10), 128, 200, 5
RATE, B1, B2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
BLOCK = 16384  # entries of Adam's arrays that stay in the cache
KEY, HALF = fd.random.key(2), np.uint16(1 << 15)
Training = Callable[[], list[float]]  # from the first weights, the losses


def adam(weights: np.ndarray, gradient: np.ndarray) -> Callable[[], None]:
    """A step in place on flat arrays, block by block; the gradient is spoilt."""
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    blocks = [[a[i : i + BLOCK] for a in (weights, gradient, mean, square)] for i in range(0, weights.size, BLOCK)]
    scratch, count = np.empty(BLOCK, np.float32), itertools.count(1)

    def step() -> None:
        n = next(count)
        first, second = np.float32(RATE / (1 - B1**n)), np.float32(1 / (1 - B2**n))
        for w, g, m, s in blocks:
            move = scratch[: w.size]
            np.multiply(m, np.float32(B1), out=m)
            np.multiply(g, np.float32(1 - B1), out=move)
            np.add(m, move, out=m)
            np.multiply(g, g, out=g)
            np.multiply(g, np.float32(1 - B2), out=g)
            np.multiply(s, np.float32(B2), out=s)
            np.add(s, g, out=s)
            np.multiply(s, second, out=g)
            np.sqrt(g, out=g)
            np.add(g, np.float32(EPSILON), out=g)
            np.divide(m, g, out=move)
            np.multiply(move, first, out=move)
            np.subtract(w, move, out=w)

    return step


def views(flat: np.ndarray, like: list[np.ndarray]) -> list[np.ndarray]:
    ends = list(itertools.accumulate(w.size for w in like))
    return [part.reshape(w.shape) for part, w in zip(np.split(flat, ends[:-1]), like, strict=True)]


def floor_leg(loader: DataLoader, model: nn.MLP) -> Training:
    """The loop by hand, with the masks that fdezero draws; their keys are made outside the clock."""
    start = fd.tree.leaves(model)
    (images, labels), rows = loader.dataset, np.arange(BATCH)
    x, t = np.empty((BATCH, 784), np.float32), np.empty(BATCH, np.int64)
    h1, h2, g1, g2 = (np.empty((BATCH, 512), np.float32) for _ in range(4))
    z, column = np.empty((BATCH, 10), np.float32), np.empty((BATCH, 1), np.float32)
    mask = np.empty((BATCH, 512), bool)
    keys = [fd.random.split(fd.random.fold_in(KEY, step), len(SIZES) - 1) for step in range(STEPS)]

    def layer(v: np.ndarray, W: np.ndarray, b: np.ndarray, key: np.ndarray, h: np.ndarray) -> None:
        np.matmul(v, W, out=h)
        np.add(h, b, out=h)
        np.maximum(h, 0, out=h)
        bits = np.random.Philox(counter=0, key=key).random_raw(h.size // 4).view(np.uint16)
        np.less(bits.reshape(h.shape), HALF, out=mask)
        np.multiply(h, mask, out=h)
        np.add(h, h, out=h)

    def back(z: np.ndarray, W: np.ndarray, h: np.ndarray, g: np.ndarray) -> None:
        """Both the mask and the slope of relu are 0 where h is 0."""
        np.matmul(z, W.T, out=g)
        np.greater(h, 0, out=mask)
        np.multiply(g, mask, out=g)
        np.add(g, g, out=g)

    def training() -> list[float]:
        flat = np.concatenate([w.ravel() for w in start])
        gradient = np.empty_like(flat)
        W1, b1, W2, b2, W3, b3 = views(flat, start)
        gW1, gb1, gW2, gb2, gW3, gb3 = views(gradient, start)
        update, order, losses = adam(flat, gradient), loader.order(0), []
        for step, (key1, key2, _) in enumerate(keys):
            index = order[step * BATCH : (step + 1) * BATCH]
            np.take(images, index, axis=0, out=x, mode="clip")
            np.take(labels, index, out=t, mode="clip")
            layer(x, W1, b1, key1, h1)
            layer(h1, W2, b2, key2, h2)
            np.matmul(h2, W3, out=z)
            np.add(z, b3, out=z)
            losses.append(cross_entropy(z, t, rows, column))
            np.matmul(h2.T, z, out=gW3)
            np.sum(z, axis=0, out=gb3)
            back(z, W3, h2, g2)
            np.matmul(h1.T, g2, out=gW2)
            np.sum(g2, axis=0, out=gb2)
            back(g2, W2, h1, g1)
            np.matmul(x.T, g1, out=gW1)
            np.sum(g1, axis=0, out=gb1)
            update()
        return losses

    return training


def fdezero_leg(loader: DataLoader, start: nn.MLP, transform: Callable[..., Any] = lambda step: step) -> Training:
    opt = optim.adam(RATE, B1, B2, EPSILON)

    def loss_of(model: nn.MLP, x: Any, t: Any, key: Any) -> Any:
        return F.softmax_cross_entropy(model(x, key=key, train=True), t)

    def train_step(model: nn.MLP, state: Any, x: Any, t: Any, key: Any) -> Any:
        loss, gradients = fd.value_and_grad(loss_of)(model, x, t, key)
        model, state = opt.step(model, gradients, state)
        return model, state, loss

    step_once = transform(train_step)

    def training() -> list[float]:
        model, state, losses = start, opt.init(start), []
        for step, (x, t) in enumerate(itertools.islice(loader.epoch(0), STEPS)):
            model, state, loss = step_once(model, state, x, t, fd.random.fold_in(KEY, step))
            losses.append(float(loss))
        return losses

    return training


def torch_leg(torch: Any, loader: DataLoader, start: nn.MLP) -> Training:
    functional = torch.nn.functional
    images, labels = map(torch.from_numpy, loader.dataset)

    def training() -> list[float]:
        torch.manual_seed(0)
        W1, b1, W2, b2, W3, b3 = parameters = [torch.tensor(w, requires_grad=True) for w in fd.tree.leaves(start)]
        optimizer, losses = torch.optim.Adam(parameters, RATE, (B1, B2), EPSILON), []
        for index in torch.from_numpy(loader.order(0)).split(BATCH)[:STEPS]:
            optimizer.zero_grad()
            h = functional.dropout(torch.relu(torch.addmm(b1, images[index], W1)))
            h = functional.dropout(torch.relu(torch.addmm(b2, h, W2)))
            loss = functional.cross_entropy(torch.addmm(b3, h, W3), labels[index])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return training


def jax_leg(jax: Any, loader: DataLoader, start: nn.MLP) -> Training:
    jnp = jax.numpy

    def dropout(x: Any, key: Any) -> Any:
        return jnp.where(jax.random.bernoulli(key, np.float32(0.5), x.shape), 2 * x, 0)

    def loss_of(weights: Any, x: Any, t: Any, key: Any) -> Any:
        W1, b1, W2, b2, W3, b3 = weights
        key1, key2 = jax.random.split(key)
        h = dropout(jax.nn.relu(x @ W1 + b1), key1)
        h = dropout(jax.nn.relu(h @ W2 + b2), key2)
        return -jnp.take_along_axis(jax.nn.log_softmax(h @ W3 + b3), t[:, None], axis=1).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def train_step(weights: Any, mean: Any, square: Any, step: Any, x: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(weights, x, t, jax.random.fold_in(jax.random.key(2), step))
        mean = [B1 * m + (1 - B1) * g for m, g in zip(mean, grads, strict=True)]
        square = [B2 * s + (1 - B2) * g * g for s, g in zip(square, grads, strict=True)]
        n = step.astype(np.float32) + 1
        first, second = RATE / (1 - B1**n), 1 / (1 - B2**n)
        moved = [w - first * m / (jnp.sqrt(s * second) + EPSILON) for w, m, s in zip(weights, mean, square, strict=True)]
        return moved, mean, square, loss

    def training() -> list[float]:
        weights = [jnp.array(w) for w in fd.tree.leaves(start)]
        mean, square, losses = [jnp.zeros_like(w) for w in weights], [jnp.zeros_like(w) for w in weights], []
        for step, (x, t) in enumerate(itertools.islice(batches(loader, 0), STEPS)):
            weights, mean, square, loss = train_step(weights, mean, square, np.int32(step), x, t.astype(np.int32))
            losses.append(float(loss))
        return losses

    return training


def run() -> str:
    loader = DataLoader(fd.data.mnist("train"), BATCH, key=fd.random.key(1))
    model = nn.MLP.init(fd.random.key(0), SIZES, activation=F.relu, dropout=0.5)
    legs: Legs = {
        FLOOR: floor_leg(loader, model),
        **{name: fdezero_leg(loader, model, way) for name, way in compiled_ways().items()},
        EAGER: fdezero_leg(loader, model),
    }
    if (jax := peer("jax")) is not None:
        legs[JAX] = jax_leg(jax, loader, model)
    if (torch := peer("torch")) is not None:
        legs[TORCH] = torch_leg(torch, loader, model)
    losses = {name: np.array(leg()) for name, leg in legs.items()}
    for name, found in losses.items():
        if name in (COMPILED, NATIVE, EAGER):  # the same masks as the floor's
            np.testing.assert_allclose(found[:20], losses[FLOOR][:20], rtol=1e-3, err_msg=name)
        gap = abs(found[-50:].mean() - losses[FLOOR][-50:].mean())
        assert gap < 0.15, f"the mean loss of the last 50 steps of {name} and of the floor differ by {gap:.3f}"
    shown = {name: f"{found[-50:].mean():.3f}" for name, found in losses.items()}
    return rows_of(f"{STEPS} steps", {"": interleaved(legs, REPETITIONS)}, extra={"mean loss of the last 50": shown})
