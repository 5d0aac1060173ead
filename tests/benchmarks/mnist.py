"""An epoch of MNIST, 784-1000(sigmoid)-10, batches of 100, SGD 0.01: every leg from the same weights, in the same order."""

import functools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.data import DataLoader

from . import dezero_legs
from .measure import EAGER, FLOOR, JAX, TORCH, Times, compiled_ways, peer, rows_of, timed

BATCH, RATE, EPOCHS = 100, 0.01, 5
Weights = list[np.ndarray]  # W1 (784, 1000), b1, W2 (1000, 10), b2
Epoch = Callable[[int], float]  # the number of the epoch -> its mean loss


def batches(loader: DataLoader, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches as plain arrays, gathered as NumPy does it; the order is drawn within, for all legs alike."""
    (images, labels), order = loader.dataset, loader.order(epoch)
    for start in range(0, loader.size, loader.batch_size):
        index = order[start : start + loader.batch_size]
        yield images[index], labels[index]


def cross_entropy(z: np.ndarray, t: np.ndarray, rows: np.ndarray, column: np.ndarray) -> float:
    """The loss of the logits z (n, classes), which become its gradient; `rows` are the numbers 0 to n - 1, `column` (n, 1) is scratch."""
    np.max(z, axis=1, keepdims=True, out=column)
    np.subtract(z, column, out=z)
    picked = z[rows, t]
    np.exp(z, out=z)
    np.sum(z, axis=1, keepdims=True, out=column)
    np.divide(z, column, out=z)
    np.log(column, out=column)
    z[rows, t] -= 1
    np.multiply(z, np.float32(1 / len(z)), out=z)
    return float(column.mean() - picked.mean())


def floor_leg(loader: DataLoader, weights: Weights) -> Epoch:
    """The loop by hand: every result written in place, every buffer made once."""
    W1, b1, W2, b2 = [w.copy() for w in weights]
    (images, labels), rows = loader.dataset, np.arange(BATCH)
    x, t = np.empty((BATCH, 784), np.float32), np.empty(BATCH, np.int64)
    h, slope, g = (np.empty((BATCH, 1000), np.float32) for _ in range(3))
    z, column = np.empty((BATCH, 10), np.float32), np.empty((BATCH, 1), np.float32)
    gW1, gb1, gW2, gb2 = map(np.empty_like, (W1, b1, W2, b2))

    def step() -> float:
        np.matmul(x, W1, out=h)
        np.add(h, b1, out=h)
        np.negative(h, out=h)
        np.exp(h, out=h)
        np.add(h, 1, out=h)
        np.reciprocal(h, out=h)
        np.matmul(h, W2, out=z)
        np.add(z, b2, out=z)
        loss = cross_entropy(z, t, rows, column)
        np.matmul(h.T, z, out=gW2)
        np.sum(z, axis=0, out=gb2)
        np.matmul(z, W2.T, out=g)
        np.subtract(1, h, out=slope)
        np.multiply(slope, h, out=slope)
        np.multiply(g, slope, out=g)
        np.matmul(x.T, g, out=gW1)
        np.sum(g, axis=0, out=gb1)
        for w, gradient in ((W1, gW1), (b1, gb1), (W2, gW2), (b2, gb2)):
            np.multiply(gradient, np.float32(RATE), out=gradient)
            np.subtract(w, gradient, out=w)
        return loss

    def epoch(number: int) -> float:
        order, losses = loader.order(number), []
        for start in range(0, loader.size, BATCH):
            index = order[start : start + BATCH]
            np.take(images, index, axis=0, out=x, mode="clip")
            np.take(labels, index, out=t, mode="clip")
            losses.append(step())
        return statistics.fmean(losses)

    return epoch


def products_leg(loader: DataLoader, weights: Weights) -> Epoch:
    """The matrix products of an epoch alone, into buffers made once; no loss."""
    W1, _, W2, _ = weights
    x, h = loader.dataset[0][:BATCH], np.zeros((BATCH, 1000), np.float32)
    z, gW1, gW2 = np.zeros((BATCH, 10), np.float32), np.empty_like(W1), np.empty_like(W2)

    def epoch(number: int) -> float:
        for _ in range(len(loader)):
            np.matmul(x, W1, out=h)
            np.matmul(h, W2, out=z)
            np.matmul(h.T, z, out=gW2)
            np.matmul(z, W2.T, out=h)
            np.matmul(x.T, h, out=gW1)
        return float("nan")

    return epoch


def loss_of(model: nn.MLP, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


def step_of(opt: optim.GradientTransformation) -> Callable[..., Any]:
    """A training step of fdezero: model, state, x, t -> model, state, loss."""

    def train_step(model: nn.MLP, state: Any, x: Any, t: Any) -> Any:
        loss, gradients = fd.value_and_grad(loss_of)(model, x, t)
        model, state = opt.step(model, gradients, state)
        return model, state, loss

    return train_step


def fdezero_leg(loader: DataLoader, weights: Weights, transform: Callable[..., Any] = lambda step: step) -> Epoch:
    W1, b1, W2, b2 = weights
    model, opt = nn.MLP((nn.Linear(W1, b1), nn.Linear(W2, b2))), optim.sgd(RATE)
    state, step = opt.init(model), transform(step_of(opt))
    step(model, state, *next(loader.epoch(0)))  # record and compile outside the clock

    def epoch(number: int) -> float:
        nonlocal model, state
        losses = []
        for x, t in loader.epoch(number):
            model, state, loss = step(model, state, x, t)
            losses.append(float(loss))
        return statistics.fmean(losses)

    return epoch


def torch_leg(loader: DataLoader, weights: Weights) -> Epoch | None:
    if (torch := peer("torch")) is None:
        return None
    W1, b1, W2, b2 = parameters = [torch.tensor(w, requires_grad=True) for w in weights]
    optimizer = torch.optim.SGD(parameters, lr=RATE)
    images, labels = map(torch.from_numpy, loader.dataset)

    def epoch(number: int) -> float:
        losses = []
        for index in torch.from_numpy(loader.order(number)).split(BATCH):
            optimizer.zero_grad()
            h = torch.sigmoid(torch.addmm(b1, images[index], W1))
            loss = torch.nn.functional.cross_entropy(torch.addmm(b2, h, W2), labels[index])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return statistics.fmean(losses)

    return epoch


def jax_leg(loader: DataLoader, weights: Weights) -> Epoch | None:
    if (jax := peer("jax")) is None:
        return None

    def loss_of(parameters: Any, x: Any, t: Any) -> Any:
        W1, b1, W2, b2 = parameters
        scores = jax.nn.log_softmax(jax.nn.sigmoid(x @ W1 + b1) @ W2 + b2)
        return -jax.numpy.take_along_axis(scores, t[:, None], axis=1).mean()

    def train_step(parameters: Any, x: Any, t: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, t)
        return [w - RATE * g for w, g in zip(parameters, gradients, strict=True)], loss

    compiled = jax.jit(train_step, donate_argnums=0)
    parameters = [jax.numpy.array(w) for w in weights]
    x, t = next(batches(loader, 0))
    compiled([jax.numpy.array(w) for w in weights], x, t.astype(np.int32))  # compile outside the clock

    def epoch(number: int) -> float:
        nonlocal parameters
        losses = []
        for x, t in batches(loader, number):
            parameters, loss = compiled(parameters, x, t.astype(np.int32))
            losses.append(float(loss))
        return statistics.fmean(losses)

    return epoch


def autograd_leg(loader: DataLoader, weights: Weights) -> Epoch | None:
    if (autograd := peer("autograd")) is None:
        return None
    anp, special = peer("autograd.numpy"), peer("autograd.scipy.special")
    rows, parameters = np.arange(BATCH), [w.copy() for w in weights]

    def loss_of(parameters: Any, x: Any, t: Any) -> Any:
        W1, b1, W2, b2 = parameters
        scores = anp.dot(1 / (1 + anp.exp(-(anp.dot(x, W1) + b1))), W2) + b2
        return anp.mean(special.logsumexp(scores, axis=1) - scores[rows, t])

    value_and_grad = autograd.value_and_grad(loss_of)

    def epoch(number: int) -> float:
        nonlocal parameters
        losses = []
        for x, t in batches(loader, number):
            loss, gradients = value_and_grad(parameters, x, t)
            parameters = [w - RATE * g for w, g in zip(parameters, gradients, strict=True)]
            losses.append(float(loss))
        return statistics.fmean(losses)

    return epoch


LEGS: dict[str, Callable[[DataLoader, Weights], Epoch | None]] = {
    FLOOR: floor_leg,
    "its matrix products alone": products_leg,
    **{name: functools.partial(fdezero_leg, transform=way) for name, way in compiled_ways().items()},
    EAGER: fdezero_leg,
    TORCH: torch_leg,
    JAX: jax_leg,
    "autograd": autograd_leg,
    "DeZero as it is": dezero_legs.as_it_is,
    "DeZero held to float32": dezero_legs.held_to_float32,
}


def run() -> str:
    loader = DataLoader(fd.data.mnist("train"), BATCH, key=fd.random.key(1))
    first, last = nn.MLP.init(fd.random.key(0), (784, 1000, 10)).layers
    weights = [first.W, first.b, last.W, last.b]
    made = {name: make(loader, weights) for name, make in LEGS.items()}
    legs = {name: leg for name, leg in made.items() if leg is not None}
    times: Times = {name: [] for name in legs}
    losses: dict[str, list[float]] = {name: [] for name in legs}
    for number in range(EPOCHS):
        for name, epoch in legs.items():
            times[name].append(timed(lambda: losses[name].append(epoch(number))))
    for name, found in losses.items():
        if not np.isnan(found[0]):
            gap = max(abs(a - b) for a, b in zip(found, losses[FLOOR], strict=True))
            assert gap < 5e-5, f"the mean losses of {name} and of the floor differ by {gap:.1e}"
    shown = {name: ", ".join(f"{loss:.4f}" for loss in found[:3]) for name, found in losses.items() if not np.isnan(found[0])}
    return rows_of("one epoch", {"": times}, extra={"mean losses of epochs 1 to 3": shown})
