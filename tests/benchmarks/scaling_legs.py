"""The legs of `scaling`, each a program that trains the same network and prints JSON: `python -m tests.benchmarks.scaling_legs LEG ...`.

Under mpiexec it trains on the ranks that this starts; JAX trains on the CPU devices of one process.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

SIZES, BATCH = (784, 4096, 4096, 10), 512
RATES = {"sgd": 0.1, "adam": 1e-4}
Found = dict[str, Any]


def parameters() -> list[Any]:
    """Weights (inputs, outputs) and biases in turn."""
    rng = np.random.default_rng(0)
    found = []
    for i, o in pairwise(SIZES):
        found += [rng.standard_normal((i, o), np.float32) / np.float32(i**0.5), np.zeros(o, np.float32)]
    return found


def examples(rank: int = 0, size: int = 1) -> tuple[Any, Any]:
    """A rank's part of one global batch."""
    rng = np.random.default_rng(1)
    x, t = rng.random((BATCH, SIZES[0]), np.float32), rng.integers(0, SIZES[-1], BATCH)
    part = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    return x[part], t[part]


def measured(step: Callable[[], Any], count: int) -> Found:
    """The losses, and the seconds of all steps but the first two."""
    losses, seconds = [], []
    for _ in range(count + 2):
        begin = time.perf_counter()
        losses.append(float(step()))
        seconds.append(time.perf_counter() - begin)
    return {"losses": losses, "seconds": seconds[2:]}


def launched() -> tuple[int, int]:
    """The rank and the size that the launcher of MPI set."""
    return int(os.environ.get("PMI_RANK", "0")), int(os.environ.get("PMI_SIZE", "1"))


def by_hand(count: int, optimiser: str) -> Found | None:
    """NumPy in place, the gradient in one buffer, and mpi4py's Allreduce. SGD only."""
    rank, size = launched()
    comm = None
    if size > 1:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    held, (x, t) = parameters(), examples(rank, size)
    flat = np.empty(sum(p.size for p in held), np.float32)
    cuts = np.cumsum([p.size for p in held])[:-1]
    gradients = [part.reshape(p.shape) for part, p in zip(np.split(flat, cuts), held, strict=True)]
    values = [np.empty((len(x), n), np.float32) for n in SIZES[1:]]
    back = [np.empty_like(value) for value in values[:-1]]
    rows = np.arange(len(x))

    def step() -> float:
        given = x
        for k, value in enumerate(values):
            np.matmul(given, held[2 * k], out=value)
            value += held[2 * k + 1]
            given = np.maximum(value, 0, out=value) if k < 2 else value
        y = values[-1]
        y -= y.max(1, keepdims=True)
        picked = y[rows, t]
        np.exp(y, out=y)
        total = y.sum(1, keepdims=True)
        loss = float((np.log(total[:, 0]) - picked).sum()) / BATCH
        y /= total
        y[rows, t] -= 1
        y /= BATCH
        for k in (2, 1, 0):
            np.matmul((values[k - 1] if k else x).T, y, out=gradients[2 * k])
            y.sum(0, out=gradients[2 * k + 1])
            if k:
                np.matmul(y, held[2 * k].T, out=back[k - 1])
                y = np.multiply(back[k - 1], values[k - 1] > 0, out=back[k - 1])
        if comm is not None:
            comm.Allreduce(MPI.IN_PLACE, flat)
            loss = comm.allreduce(loss)
        np.multiply(flat, RATES["sgd"], out=flat)
        for p, g in zip(held, gradients, strict=True):
            np.subtract(p, g, out=p)
        return loss

    found = measured(step, count)
    return found if rank == 0 else None


def fdezero_steps(
    count: int, optimiser: str, *, native: bool = False, sharded: bool = False, **options: Any
) -> Found | None:
    """The script of the guide: two lines are about ranks."""
    import fdezero as fd
    from fdezero import functions as F
    from fdezero import nn, optim

    world = fd.distributed.world()
    model = nn.MLP.init(fd.random.key(0), SIZES, activation=F.relu)
    model = fd.tree.unflatten(fd.tree.flatten(model)[1], parameters())
    opt: Any = getattr(optim, optimiser)(RATES[optimiser])
    opt = optim.sharded(opt, world) if sharded else opt
    state, (x, t) = opt.init(model), examples(world.rank, world.size)

    def loss_of(model: Any, x: Any, t: Any) -> Any:
        return F.softmax_cross_entropy(model(x), t)

    @fd.compile(threads=1, native=native)
    def train_step(model: Any, state: Any, x: Any, t: Any) -> Any:
        loss, gradients = fd.distributed.value_and_grad(loss_of, world, **options)(model, x, t)
        model, state = opt.step(model, gradients, state)
        return model, state, loss

    def step() -> float:
        nonlocal model, state
        model, state, loss = train_step(model, state, x, t)
        return float(loss)

    found = measured(step, count)
    return found if world.rank == 0 else None


def torch_steps(count: int, optimiser: str) -> Found | None:
    """DistributedDataParallel over gloo."""
    import torch

    torch.set_num_threads(1)
    rank, size = launched()
    layers: list[Any] = []
    given = parameters()
    for k, (i, o) in enumerate(pairwise(SIZES)):
        layer = torch.nn.Linear(i, o)
        layer.weight.data.copy_(torch.from_numpy(given[2 * k].T.copy()))
        layer.bias.data.zero_()
        layers += [layer, torch.nn.ReLU()]
    model: Any = torch.nn.Sequential(*layers[:-1])
    if size > 1:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
        model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    made = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimiser]
    opt = made(model.parameters(), RATES[optimiser])
    x, t = map(torch.from_numpy, examples(rank, size))

    def step() -> float:
        opt.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), t)
        loss.backward()
        opt.step()
        return float(loss.item())

    found = measured(step, count)
    if size > 1:
        losses = torch.tensor(found["losses"])
        torch.distributed.all_reduce(losses)
        found["losses"] = (losses / size).tolist()
        torch.distributed.destroy_process_group()
    return found if rank == 0 else None


def jax_steps(count: int, optimiser: str) -> Found:
    """A jitted step: the batch is shared out over the CPU devices of one process, and each of them holds the parameters."""
    import jax
    import optax
    from jax.sharding import NamedSharding, PartitionSpec

    mesh = jax.make_mesh((len(jax.devices()),), ("data",))
    everywhere, parts = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    opt = getattr(optax, optimiser)(RATES[optimiser])
    x, t = jax.device_put(examples(), parts)
    held = jax.device_put(parameters(), everywhere)
    state = jax.device_put(opt.init(held), everywhere)

    def loss_of(held: Any, x: Any, t: Any) -> Any:
        for k in range(0, len(held), 2):
            x = (jax.nn.relu(x) if k else x) @ held[k] + held[k + 1]
        return optax.softmax_cross_entropy_with_integer_labels(x, t).mean()

    def train_step(held: Any, state: Any, x: Any, t: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(held, x, t)
        updates, state = opt.update(gradients, state, held)
        return optax.apply_updates(held, updates), state, loss

    compiled = jax.jit(train_step, donate_argnums=(0, 1))

    def step() -> float:
        nonlocal held, state
        held, state, loss = compiled(held, state, x, t)
        jax.block_until_ready(held)
        return float(loss)

    return measured(step, count)


LEGS: dict[str, Callable[[int, str], Found | None]] = {
    "numpy": by_hand,
    "fdezero": fdezero_steps,
    "native": lambda count, optimiser: fdezero_steps(count, optimiser, native=True),
    "sharded": lambda count, optimiser: fdezero_steps(count, optimiser, native=True, sharded=True),
    "reproducible": lambda count, optimiser: fdezero_steps(count, optimiser, native=True, reproducible=True, shards=2),
    "torch": torch_steps,
    "jax": jax_steps,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("leg", choices=LEGS)
    parser.add_argument("--optimiser", choices=RATES, default="sgd")
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    found = LEGS[options.leg](options.steps, options.optimiser)
    if found is not None:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
