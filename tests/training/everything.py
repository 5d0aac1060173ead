"""A small training run with everything switched on, which goes on from its last checkpoint if it was killed.

`python -m tests.training.everything FOLDER STEPS` trains, and prints the step that it began with and a digest of its state.
"""

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.training import State

SIZE, BATCH = 40, 8
EVERY = 3  # steps from checkpoint to checkpoint; not a divisor of the steps of an epoch, nor of what is accumulated

OPTIMISER = optim.accumulate(optim.chain(optim.clip_by_global_norm(1.0), optim.adam(optim.schedules.cosine(0.02, 30))), k=2)
AVERAGES = optim.ema(0.9)
HALF = optim.precision.Policy(compute="float16")


def data() -> Any:
    rng = np.random.default_rng(0)
    return rng.standard_normal((SIZE, 6)).astype(np.float32), rng.integers(0, 3, SIZE)


def begin(x: Any) -> State:
    """The state before the first step. The loss scale is so high that some steps overflow and are skipped."""
    layers = [nn.Linear.lazy(12), nn.BatchNorm.lazy(), F.relu, nn.Dropout(0.3), nn.Linear.lazy(3)]
    model = nn.init(nn.Sequential(layers), fd.random.key(1), x)
    scale = optim.precision.LossScale.init(2.0**17, interval=4)
    more = {"averages": AVERAGES.init(model), "loss_scale": scale, "extra": {"seen": np.zeros(3)}}
    return State.init(model, OPTIMISER, fd.random.key(2), **more)


def step(state: State, batch: Any) -> tuple[State, dict[str, Any]]:
    """One step: float16, dropout, batch norm, accumulated gradients, an average, and what the user counts."""
    x, t = batch

    def loss_fn(model: Any) -> Any:
        y, successor = nn.step(HALF(model), x, key=fd.random.fold_in(state.key, state.step))
        return F.softmax_cross_entropy(y, t), (successor.model, F.accuracy(y, t))

    (loss, (model, accuracy)), grads = state.loss_scale.value_and_grad(loss_fn, has_aux=True)(state.model)
    model, optimiser, scale = state.loss_scale.step(OPTIMISER, model, grads, state.optimiser, before=state.model)
    averages = AVERAGES.update(state.averages, model)
    seen = state.extra["seen"] + fd.numpy.bincount(t, length=3)
    state = state.replace(
        model=model, optimiser=optimiser, averages=averages, loss_scale=scale, step=state.step + 1, extra={"seen": seen}
    )
    return state, {"loss": loss, "accuracy": accuracy}


def run(folder: Any, steps: int, after: Callable[[State], object] = lambda state: None, **options: Any) -> tuple[int, State, Any]:
    """Train up to a step: where it began, the last state, and the compiled step. `after` is called after each step."""
    x, t = data()
    compiled = fd.compile(step, max_recordings=1)
    loader = fd.data.DataLoader((x, t), BATCH, key=fd.random.key(3))
    state = begin(x)
    with fd.io.Checkpoints(folder, **{"keep": 2, "every": EVERY, "best": "accuracy"} | options) as checkpoints:
        if checkpoints.latest():
            state = checkpoints.restore(like=state)
        began = state.step
        while state.step < steps:
            for batch in loader.epoch(state.epoch, start=state.step - state.epoch * len(loader)):
                state, metrics = compiled(state, batch)
                checkpoints.save(state, state.step, metrics)
                after(state)
                if state.step == steps:
                    break
            else:
                state = state.replace(epoch=state.epoch + 1)
    return began, state, compiled


def digest(state: State) -> str:
    """A number for all bits of a state: paths, types, dtypes, shapes and entries."""
    found = hashlib.sha256()
    for path, leaf in fd.tree.flatten_to_dict(state).items():
        array = np.asarray(leaf)
        found.update(f"{path} {type(leaf).__name__} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    began, last, _ = run(sys.argv[1], int(sys.argv[2]))
    print(began, digest(last), flush=True)
