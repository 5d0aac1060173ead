"""What transformations cost: a Hessian-vector product beside its gradient, Jacobians beside a loop over rows, gradients by example.

Here the first leg of each table is what the transformation is measured by, and not a floor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn

from .derivatives import residuals
from .measure import COMPILED, EAGER, Legs, Times, agree, interleaved, median, peer, ratio, table

PARAMETERS, ROWS = 200, 256
GRADIENT, LOOP = "the gradient", "a Python loop of gradients"
Parts = tuple[nn.MLP, np.ndarray, np.ndarray]


def compared(what: str, cases: dict[str, Times], head: str, faster: bool) -> str:
    """The table of CPU times, and of how many times as long as the first leg each takes, or as fast it is."""

    def cells(times: Times, name: str) -> list[str]:
        if name not in times:
            return ["", ""]
        first, mine = next(iter(times.values())), times[name]
        return [f"{1e3 * median(mine).cpu:.2f}", f"{ratio(first, mine) if faster else ratio(mine, first):.2f}"]

    names = dict.fromkeys(name for times in cases.values() for name in times)
    heads = [f"{case}, {column}" for case in cases for column in ("CPU ms", head)]
    return table([what, *heads], [[name, *(cell for times in cases.values() for cell in cells(times, name))] for name in names])


def network(*sizes: int) -> Parts:
    """An MLP, and a batch of inputs and labels."""
    rng = np.random.default_rng(0)
    model = nn.MLP.init(fd.random.key(0), sizes, activation=F.tanh)
    return model, rng.random((ROWS, sizes[0]), np.float32), rng.integers(0, sizes[-1], ROWS)


def product_times(sizes: tuple[int, ...], compiled: bool) -> Times:
    model, x, t = network(*sizes)
    direction = fd.tree.map(np.ones_like, model)

    def loss(model: nn.MLP) -> Any:
        return F.softmax_cross_entropy(model(x), t)

    made: Callable[[Any], Any] = (lambda f: fd.compile(f, threads=1)) if compiled else (lambda f: f)
    gradient = made(fd.grad(loss))
    product = made(lambda model, direction: fd.hvp(loss, (model,), (direction,)))
    forward = made(lambda model, direction: fd.jvp(loss, (model,), (direction,)))
    _, pushforward = fd.linearize(loss, model)
    legs: Legs = {
        GRADIENT: lambda: gradient(model),
        "hvp": lambda: product(model, direction),
        "jvp": lambda: forward(model, direction),
        "a pushforward of linearize": lambda: pushforward(direction),
        "linearize itself": lambda: fd.linearize(loss, model),
    }
    if compiled:
        legs = dict(list(legs.items())[:3])
    return interleaved(legs, 21)


def run_products() -> str:
    cases = {
        f"{'-'.join(map(str, sizes))}, {'compiled' if compiled else 'eager'}": product_times(sizes, compiled)
        for sizes in ((784, 256, 10), (64, 64, 10))
        for compiled in (False, True)
    }
    return compared(f"an MLP, {ROWS} rows", cases, "gradients", faster=False)


def dense(np: Any, W: Any) -> Callable[[Any], Any]:
    return lambda x: np.tanh(W @ np.tanh(W @ x))


def jacobian_times(function: Callable[[Any], Callable[[Any], Any]], x: np.ndarray) -> Times:
    ours, compiled = fd.jacobian(function(fd.numpy)), fd.compile(fd.jacobian(function(fd.numpy)), threads=1)
    legs: Legs = {}
    if (autograd := peer("autograd")) is not None:
        theirs = autograd.jacobian(function(peer("autograd.numpy")))
        legs["autograd, a loop over rows"] = lambda: theirs(x)
    legs |= {EAGER: lambda: ours(x), COMPILED: lambda: compiled(x)}
    if (jax := peer("jax")) is not None:
        jitted = jax.jit(jax.jacfwd(function(jax.numpy)))
        legs["JAX, jit of jacfwd"] = lambda: jax.block_until_ready(jitted(x))
    agree(legs, 1e-9, 1e-12)
    return interleaved(legs, 11)


def run_jacobians() -> str:
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal(PARAMETERS), rng.standard_normal((PARAMETERS, PARAMETERS)) / PARAMETERS**0.5
    cases = {
        "Rosenbrock, 398 x 200": jacobian_times(lambda np: residuals(np.concatenate), x),
        "two dense layers, 200 x 200": jacobian_times(lambda np: dense(np, W), x),
    }
    return compared("a Jacobian, 200 parameters", cases, "times as fast", faster=True)


def example_times(*sizes: int) -> Times:
    model, x, t = network(*sizes)

    def loss(model: nn.MLP, x: Any, t: Any) -> Any:
        return F.softmax_cross_entropy(model(x[None]), t[None])

    gradient = fd.grad(loss)
    mapped = fd.vmap(gradient, (None, 0, 0))
    compiled = fd.compile(mapped, threads=1)

    def loop() -> Any:
        found = [gradient(model, x[i], t[i]) for i in range(ROWS)]
        return fd.tree.map(lambda *leaves: np.stack(leaves), *found)

    legs: Legs = {LOOP: loop, EAGER: lambda: mapped(model, x, t), COMPILED: lambda: compiled(model, x, t)}
    if (jax := peer("jax")) is not None:
        weights = fd.tree.leaves(model)

        def jax_loss(weights: Any, x: Any, t: Any) -> Any:
            W1, b1, W2, b2 = weights
            return -jax.nn.log_softmax(jax.numpy.tanh(x @ W1 + b1) @ W2 + b2)[t]

        jitted = jax.jit(jax.vmap(jax.grad(jax_loss), (None, 0, 0)))
        legs["JAX, jit"] = lambda: jax.block_until_ready(jitted(weights, x, t))
    agree(legs, 1e-3, 1e-5)
    return interleaved(legs, 7)


def run_examples() -> str:
    cases = {"-".join(map(str, sizes)): example_times(*sizes) for sizes in ((64, 64, 10), (784, 100, 10))}
    return compared(f"gradients by example, {ROWS} rows", cases, "times as fast", faster=True)
