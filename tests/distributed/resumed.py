"""A training run on several ranks that goes on from its last checkpoint: `mpiexec -n 2 python -m tests.distributed.resumed FOLDER STEPS`."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.training import State

from ..training.everything import digest

SIZE, BATCH, EVERY = 40, 16, 3  # 16 does not divide 40, and 3 is no divisor of the steps of an epoch
OPTIMISER = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(0.02))


def begin(x: Any, world: Any) -> State:
    layers = [nn.Linear.lazy(12), nn.BatchNorm.lazy(world=world), F.relu, nn.Dropout(0.3), nn.Linear.lazy(3)]
    return State.init(nn.init(nn.Sequential(layers), fd.random.key(1), x), OPTIMISER, fd.random.key(2))


def run(world: Any, folder: Path, steps: int) -> tuple[int, str]:
    """Train up to a step: where this run began, and a digest of the last state. A file holds the steps as points."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((SIZE, 6)).astype(np.float32), rng.integers(0, 3, SIZE)

    def loss_fn(model: Any, x: Any, t: Any, key: Any) -> Any:
        y, model = nn.step(model, x, key=key)
        return F.softmax_cross_entropy(y, t), model

    @fd.compile
    def step(state: State, x: Any, t: Any) -> State:
        key = fd.random.fold_in(fd.random.fold_in(state.key, state.step), world.rank)
        (_, model), grads = fd.distributed.value_and_grad(loss_fn, world, has_aux=True)(state.model, x, t, key)
        model, optimiser = OPTIMISER.step(model, grads, state.optimiser)
        return state.replace(model=model, optimiser=optimiser, step=state.step + 1)

    loader = fd.data.DataLoader((x, t), BATCH, key=fd.random.key(3), shard=world.share)
    state = begin(x, world)
    with fd.io.Checkpoints(folder, keep=2, every=EVERY, world=world) as checkpoints, open(folder / "steps", "ab", buffering=0) as points:
        if checkpoints.latest():
            state = checkpoints.restore(like=state)
        began = int(state.step)
        while state.step < steps:
            for batch in loader.epoch(int(state.epoch), start=int(state.step - state.epoch * len(loader))):
                state = step(state, *batch)
                checkpoints.save(state, int(state.step))
                points.write(b"." if world.rank == 0 else b"")
                if state.step == steps:
                    break
            else:
                state = state.replace(epoch=state.epoch + 1)
    return began, digest(state)


if __name__ == "__main__":
    world, folder = fd.distributed.world(), Path(sys.argv[1])
    (folder / f"pid-{world.rank}").write_text(str(os.getpid()))
    began, found = run(world, folder, int(sys.argv[2]))
    numbers = np.frombuffer(bytes.fromhex(found), np.int64)
    assert (world.all_reduce(numbers, "min") == world.all_reduce(numbers, "max")).all(), "the ranks have different states"
    if world.rank == 0:
        print(began, found, flush=True)
