"""Compiled programs on CuPy arrays give the results of eager code, on the stand-in everywhere and on a GPU if there is one."""

from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.testing import assert_trees_close


def _loss(model: Any, x: Any, t: Any, key: Any) -> Any:
    return F.softmax_cross_entropy(model(x, key=key, train=True), t)


def _inputs(dropout: float) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    model = nn.MLP.init(fd.random.key(0), (5, 7, 3), dropout=dropout)
    return model, rng.random((4, 5), dtype=np.float32), rng.integers(0, 3, 4), fd.random.key(1)


def test_a_training_step_is_the_eager_one(gpu: Any) -> None:
    opt = optim.sgd(0.1)

    def step(model: Any, x: Any, t: Any, key: Any) -> Any:
        loss, gradients = fd.value_and_grad(_loss)(model, x, t, key)
        return opt.step(model, gradients, opt.init(model))[0], loss

    inputs = fd.to_device(_inputs(0.5), "gpu")
    expected, compiled = step(*inputs), fd.compile(step)
    for _ in range(3):
        result = compiled(*inputs)
        assert fd.device_of(result) == "gpu:0"
        assert_trees_close(fd.to_numpy(result), fd.to_numpy(expected), 1e-6)


def test_gradients_around_and_loops_within_compiled_functions(gpu: Any) -> None:
    x = fd.to_device(np.linspace(0.1, 1, 12).reshape(3, 4), "gpu")

    def rolled(x: Any) -> Any:
        carry, _ = fd.scan(lambda h, row: (np.tanh(h * row), h), x[0] * 1.0, x)
        return carry.sum()

    expected = fd.grad(rolled)(x)
    assert_trees_close(fd.to_numpy(fd.grad(fd.compile(rolled))(x)), fd.to_numpy(expected), 1e-12)
    assert_trees_close(fd.to_numpy(fd.compile(fd.grad(rolled))(x)), fd.to_numpy(expected), 1e-12)


def test_another_device_is_recorded_anew(gpu: Any) -> None:
    double = fd.compile(lambda x: x * 2)
    x = np.arange(3.0)
    double(x)
    result = double(fd.to_device(x, "gpu"))
    assert len(double.recordings) == 2
    assert fd.device_of(result) == "gpu:0"
    assert_trees_close(fd.to_numpy(result), x * 2, 0)
