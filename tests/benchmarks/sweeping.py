"""Many small trainings: one after another, in two processes, and all in one program by vmap; beside the products alone, JAX and PyTorch."""

import functools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim

from .measure import JAX, NATIVE, TORCH, Legs, Seconds, Times, agree, compiled_ways, peer, rows_of, timed

SIZES, BATCH, STEPS, COUNTS, REPETITIONS = (20, 64, 10), 64, 100, (8, 64), 5
B1, B2, EPSILON = 0.9, 0.999, 1e-8
Tree = Any


@functools.cache
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((STEPS, BATCH, SIZES[0]), np.float32), rng.integers(0, SIZES[-1], (STEPS, BATCH))


def rates(count: int) -> np.ndarray:
    return np.geomspace(1e-4, 3e-3, count).astype(np.float32)


def start(key: Any) -> tuple[Tree, Tree]:
    model = nn.MLP.init(key, SIZES, activation=F.tanh)
    return model, optim.adam(1.0).init(model)


def step(model: Tree, state: Tree, rate: Any, x: Any, t: Any) -> tuple[Tree, Tree]:
    grads = fd.grad(lambda model: F.softmax_cross_entropy(model(x), t))(model)
    return optim.adam(rate).step(model, grads, state)


def one(train: Callable[..., Any], model: Tree, state: Tree, rate: Any) -> Tree:
    for x, t in zip(*data(), strict=True):
        model, state = train(model, state, rate, x, t)
    return model


@functools.cache
def compiled(name: str) -> Callable[..., Any]:
    return compiled_ways()[name](step)


def elsewhere(name: str, job: tuple[Tree, Tree, Any]) -> tuple[Tree, float]:
    """One training in a process of a pool, and the CPU time that it took there."""
    began = time.process_time()
    return one(compiled(name), *job), time.process_time() - began


class Case:
    """A number of trainings, with all legs."""

    def __init__(self, count: int, pool: ProcessPoolExecutor) -> None:
        self.pool, self.rates = pool, rates(count)
        self.models, self.states = fd.vmap(start)(fd.random.split(fd.random.key(0), count))
        self.jobs = [(*fd.tree.map(lambda leaf, i=i: leaf[i], (self.models, self.states)), rate) for i, rate in enumerate(self.rates)]

    def legs(self) -> Legs:
        legs: Legs = {"the products alone (floor)": self.products()}
        for name, way in compiled_ways().items():
            kind = "native" if name == NATIVE else "compiled"
            legs[f"fdezero, one after another, {kind}"] = functools.partial(self.in_turn, name)
            legs[f"fdezero, two processes, {kind}"] = functools.partial(self.in_processes, name)
            legs[f"fdezero, vmap, {kind}"] = functools.partial(self.mapped, way(fd.vmap(step, (0, 0, 0, None, None))))
        if jax := peer("jax"):
            legs[f"{JAX} of vmap"] = self.by_jax(jax)
        if torch := peer("torch"):
            legs[f"{TORCH}, one after another"] = functools.partial(self.by_torch, torch)
        return legs

    def in_turn(self, name: str) -> list[Any]:
        return stacked([leaves_of(one(compiled(name), *job)) for job in self.jobs])

    def in_processes(self, name: str) -> list[Any]:
        found = list(self.pool.map(functools.partial(elsewhere, name), self.jobs))
        self.cpu = sum(cpu for _, cpu in found)
        return stacked([leaves_of(model) for model, _ in found])

    def mapped(self, train: Callable[..., Any]) -> list[Any]:
        return leaves_of(one(train, self.models, self.states, self.rates))

    def products(self) -> Callable[[], Any]:
        """The five products of a step for all trainings, each in one call."""
        W1, W2 = (layer.W for layer in self.models.layers)
        count = len(self.rates)
        h, y = np.empty((count, BATCH, SIZES[1]), np.float32), np.empty((count, BATCH, SIZES[2]), np.float32)
        g1, g2, back = np.empty_like(W1), np.empty_like(W2), np.empty_like(h)
        final = self.mapped(compiled_ways()["fdezero, compiled"](fd.vmap(step, (0, 0, 0, None, None))))

        def run() -> Any:
            for x in data()[0]:
                np.matmul(x, W1, out=h)
                np.matmul(h, W2, out=y)
                np.matmul(h.swapaxes(1, 2), y, out=g2)
                np.matmul(y, W2.swapaxes(1, 2), out=back)
                np.matmul(x.T, back, out=g1)
            return final  # no training: so that legs agree

        return run

    def by_jax(self, jax: Any) -> Callable[[], Any]:
        jnp = jax.numpy

        def loss(params: Any, x: Any, t: Any) -> Any:
            h = jnp.tanh(x @ params[0] + params[1])
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h @ params[2] + params[3]), t[:, None], 1))

        def update(params: Any, moments: Any, rate: Any, k: Any, x: Any, t: Any) -> Any:
            grads = jax.grad(loss)(params, x, t)
            new = [(B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g) for (m, v), g in zip(moments, grads, strict=True)]
            scales = rate / (1 - B1**k), 1 - B2**k
            return [p - scales[0] * m / (jnp.sqrt(v / scales[1]) + EPSILON) for p, (m, v) in zip(params, new, strict=True)], new

        train = jax.jit(jax.vmap(update, (0, 0, 0, None, None, None)))
        params = [jax.device_put(leaf) for leaf in leaves_of(self.models)]
        zeros, batches = [(jnp.zeros_like(p), jnp.zeros_like(p)) for p in params], [jax.device_put(b) for b in zip(*data(), strict=True)]

        def run() -> Any:
            found, moments = params, zeros
            for k, (x, t) in enumerate(batches, 1):
                found, moments = train(found, moments, self.rates, np.float32(k), x, t)
            return jax.block_until_ready(found)

        return run

    def by_torch(self, torch: Any) -> list[Any]:
        found = []
        for model, _, rate in self.jobs:
            W1, b1, W2, b2 = (torch.nn.Parameter(torch.tensor(leaf)) for leaf in leaves_of(model))
            opt = torch.optim.Adam([W1, b1, W2, b2], float(rate), (B1, B2), EPSILON)
            for x, t in zip(*map(torch.from_numpy, data()), strict=True):
                opt.zero_grad()
                torch.nn.functional.cross_entropy(torch.tanh(x @ W1 + b1) @ W2 + b2, t).backward()
                opt.step()
            found.append([p.detach().numpy() for p in (W1, b1, W2, b2)])
        return stacked(found)

    def times(self, legs: Legs) -> Times:
        """Like `interleaved`; the CPU time of processes is theirs."""
        times: Times = {name: [] for name in legs}
        for _ in range(REPETITIONS):
            for name, leg in legs.items():
                self.cpu = 0.0
                taken = timed(leg)
                times[name].append(Seconds(taken.cpu + self.cpu, taken.wall))
        return times


def leaves_of(model: Tree) -> list[Any]:
    return [leaf for layer in model.layers for leaf in (layer.W, layer.b)]


def stacked(models: list[list[Any]]) -> list[Any]:
    return [np.stack(leaves) for leaves in zip(*models, strict=True)]


def run() -> str:
    found = {}
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        for count in COUNTS:
            case = Case(count, pool)
            legs = case.legs()
            agree(legs, 2e-3, 2e-4)  # which also starts the processes and compiles everything
            found[f"{count} trainings"] = case.times(legs)
    return rows_of(f"{STEPS} steps each", found, "ms")
