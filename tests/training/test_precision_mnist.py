"""Every night a convolutional network learns MNIST in float16: as well as in float32 with a loss scale, and not at all without one."""

from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.data import DataLoader, mnist
from fdezero.optim.precision import LossScale, Policy

from ..profiles import nightly


def network(x: Any) -> Any:
    convolutions = [
        nn.Conv2d.lazy(8, 5, stride=2, padding=2),
        F.relu,
        nn.Conv2d.lazy(16, 3, stride=2, padding=1),
        F.relu,
    ]
    return nn.init(
        nn.Sequential([*convolutions, F.flatten, nn.Linear.lazy(64), F.relu, nn.Linear.lazy(10)]),
        fd.random.key(0),
        x[:2],
    )


def trained(model: Any, opt: Any, scale: LossScale | None, epochs: int, weight: float = 1.0) -> tuple[float, float]:
    """The accuracy on test images, and the share of gradients that are 0 in the last 100 steps; the loss has a weight."""

    @fd.compile
    def step(model: Any, state: Any, scale: Any, x: Any, t: Any) -> Any:
        def loss_fn(model: Any) -> Any:
            return F.softmax_cross_entropy(model(x), t) * np.float32(weight)

        if scale is None:
            _, grads = fd.value_and_grad(loss_fn)(model)
            model, state = opt.step(model, grads, state)
        else:
            _, grads = scale.value_and_grad(loss_fn)(model)
            model, state, scale = scale.step(opt, model, grads, state)
        return model, state, scale, sum(fd.numpy.sum(leaf == 0) for leaf in fd.tree.leaves(grads))

    loader, state, zeros = DataLoader(mnist("train", flatten=False), 100, key=fd.random.key(1)), opt.init(model), []
    for epoch in range(epochs):
        for x, t in loader.epoch(epoch):
            model, state, scale, zero = step(model, state, scale, x, t)
            zeros.append(float(zero))
    images, labels = mnist("test", flatten=False)
    answers = np.concatenate([model(images[i : i + 1000]).argmax(axis=1) for i in range(0, len(images), 1000)])
    return float(np.mean(answers == labels)), float(np.mean(zeros[-100:])) / sum(
        leaf.size for leaf in fd.tree.leaves(model)
    )


@nightly
def test_float16_with_a_scale_reaches_the_accuracy_of_float32() -> None:
    net = network(mnist("test", flatten=False)[0])
    exact, _ = trained(net, optim.adam(1e-3), None, 3)
    half, _ = trained(Policy(compute="float16")(net), optim.adam(1e-3), LossScale.init(interval=200), 3)
    assert exact > 0.97
    assert abs(half - exact) < 0.003


@nightly
def test_without_a_scale_small_gradients_vanish_and_nothing_is_learnt() -> None:
    net, weight = network(mnist("test", flatten=False)[0]), 1e-6
    model, opt = Policy(compute="float16")(net), optim.momentum(0.05 / weight)
    lost, zeros = trained(model, opt, None, 1, weight)
    kept, few = trained(model, opt, LossScale.init(2.0**24, interval=200, greatest=2.0**30), 1, weight)
    assert lost < 0.3
    assert zeros > 0.9
    assert kept > 0.96
    assert few < 0.5  # of units that are never active
