"""Compiled training steps on a GPU: the numbers of the CPU, without a transfer and without a wait, in few launches."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import models, nn, optim
from fdezero.testing import assert_trees_close
from tests.devices.strict_cupy_array import TRANSFERS

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.standard_normal((3, 1, 8, 8)), np.array([0, 2, 1])


class Net(fd.Module):
    """Two convolutions with relu and pooling, and a linear layer."""

    first: nn.Conv2d
    second: nn.Conv2d
    last: nn.Linear

    def __call__(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.first(x)), 2)
        x = F.max_pool2d(F.relu(self.second(x)), 2)
        return self.last(x.reshape(len(x), -1))


class SmallResNet(models.ResNet):
    """ResNet-18 with one block in each stage."""

    DEPTHS = (1, 1, 1, 1)
    BOTTLENECK = False


def net() -> Net:
    keys, options = fd.random.split(fd.random.key(0), 3), {"padding": 1, "dtype": np.float64}
    return Net(
        nn.Conv2d.init(keys[0], 1, 2, 3, **options), nn.Conv2d.init(keys[1], 2, 3, 3, **options), nn.Linear.init(keys[2], 12, 3, dtype=np.float64)
    )


def classified(model: Any, x: Any, t: Any) -> Any:
    y, model = nn.step(model, x)
    return F.softmax_cross_entropy(y, t), model


def last_state(model: Any, x: Any, t: Any) -> Any:
    return F.mean_squared_error(model(x)[0][:, -1], t), model


def next_symbols(model: Any, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t), model


STEPS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "CNN": lambda: (net(), optim.sgd(0.1), classified, IMAGES, LABELS),
    "LSTM": lambda: (nn.LSTM.init(fd.random.key(0), 3, 2, dtype=np.float64), optim.sgd(0.1), last_state, RNG.standard_normal((2, 4, 3)), np.ones((2, 2))),
    "ResNet": lambda: (
        SmallResNet.init(fd.random.key(0), 3, channels=1, width=2, dtype=np.float64), optim.momentum(0.1), classified,
        RNG.standard_normal((3, 1, 32, 32)), LABELS,
    ),
    "Transformer": lambda: (
        models.Transformer.init(fd.random.key(0), 5, size=4, heads=2, layers=1, length=4, dtype=np.float64), optim.adam(0.1), next_symbols,
        RNG.integers(0, 5, (2, 4)), RNG.integers(0, 5, (2, 4)),
    ),
}  # fmt: skip


@contextlib.contextmanager
def neither_transfers_nor_waits() -> Iterator[None]:
    """AssertionError if the block copies between host and device or waits: counted by the stand-in, and by an emulator of a device."""
    TRANSFERS.clear()
    emulator = sys.modules.get("cupy_emulator")
    with emulator.counting() if emulator else contextlib.nullcontext({}) as happened:
        yield
    assert TRANSFERS == []
    assert not any(happened[what] for what in ("h2d", "d2h", "peer", "sync") if what in happened), happened


@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_neither_transfers_nor_waits(name: str, gpu: Any) -> None:
    model, opt, loss_of, x, t = STEPS[name]()

    def step(model: Any, state: Any, x: Any, t: Any) -> Any:
        (loss, moved), gradients = fd.value_and_grad(loss_of, has_aux=True)(model, x, t)
        return *opt.step(moved, gradients, state), loss

    state = opt.init(model)
    there, compiled = fd.to_device((model, state, x, t), "gpu"), fd.compile(step)
    expected = model, state
    for number in range(4):
        expected = step(*expected[:2], x, t)
        if number < 3:
            found = compiled(*there)
        else:
            with neither_transfers_nor_waits():
                found = compiled(*there)
        there = *found[:2], *there[2:]
        assert_trees_close(fd.to_numpy(found), expected, 1e-7)
    assert len(compiled.recordings) <= 2  # the second, because CuPy's own functions make all arrays in C order
