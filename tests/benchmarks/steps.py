"""Training steps as a user writes them, each a pure function: for counts of launches, for peaks of memory, and on a GPU."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim

from . import cnn, mnist, networks, pinn


class Step(NamedTuple):
    """`function(*state, *data) -> (*state, loss)`, or a forward pass, whose state stays as it is."""

    function: Callable[..., Any]
    state: tuple[Any, ...]
    data: tuple[Any, ...]


def _mnist() -> Step:
    rng, opt = np.random.default_rng(0), optim.sgd(mnist.RATE)
    model = nn.MLP.init(fd.random.key(0), (784, 1000, 10))
    return Step(mnist.step_of(opt), (model, opt.init(model)), (rng.random((100, 784), np.float32), rng.integers(0, 10, 100)))


def _dropout() -> Step:
    rng, opt = np.random.default_rng(0), optim.adam(1e-3)
    model = nn.MLP.init(fd.random.key(0), (784, 512, 512, 10), activation=F.relu, dropout=0.5)

    def train_step(model: Any, state: Any, key: Any, x: Any, t: Any) -> Any:
        key, now = fd.random.split(key)
        loss, gradients = fd.value_and_grad(lambda model: F.softmax_cross_entropy(model(x, key=now, train=True), t))(model)
        return *opt.step(model, gradients, state), key, loss

    data = rng.random((128, 784), np.float32), rng.integers(0, 10, 128)
    return Step(train_step, (model, opt.init(model), fd.random.key(1)), data)


def _cnn() -> Step:
    rng, opt = np.random.default_rng(0), optim.sgd(cnn.RATE)
    shapes = ((32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (3136, 10), (10,))
    model = cnn.net_of([0.1 * rng.standard_normal(shape, np.float32) for shape in shapes])
    data = rng.random((cnn.BATCH, 1, 28, 28), np.float32), rng.integers(0, 10, cnn.BATCH)
    return Step(mnist.step_of(opt), (model, opt.init(model)), data)


def _lstm() -> Step:
    """`nn.LSTM`, 64 times 32 inputs, 128 hidden units, 32 sequences."""
    rng, opt = np.random.default_rng(0), optim.sgd(0.5)
    model = nn.LSTM.init(fd.random.key(0), 32, 128)

    def train_step(model: Any, state: Any, x: Any, t: Any) -> Any:
        loss, gradients = fd.value_and_grad(lambda model: ((model(x)[0][:, -1] - t) ** 2).mean())(model)
        return *opt.step(model, gradients, state), loss

    return Step(train_step, (model, opt.init(model)), (rng.standard_normal((32, 64, 32), np.float32), rng.random((32, 128), np.float32)))


def _pinn() -> Step:
    """Of `pinn`, with Adam."""
    rng, opt = np.random.default_rng(0), optim.adam(1e-3)
    model = nn.MLP.init(fd.random.key(0), pinn.SIZES, activation=F.tanh, dtype=np.float64)

    def residual(model: Any, t: Any, x: Any) -> Any:
        u = lambda t, x: model(fd.numpy.stack([t, x]))[0]
        u_t, u_x = fd.grad(u, (0, 1))(t, x)
        return u_t + u(t, x) * u_x - pinn.VISCOSITY * fd.grad(fd.grad(u, 1), 1)(t, x)

    def train_step(model: Any, state: Any, t: Any, x: Any) -> Any:
        loss_of = lambda model: (fd.vmap(residual, (None, 0, 0))(model, t, x) ** 2).mean()
        loss, gradients = fd.value_and_grad(loss_of)(model)
        return *opt.step(model, gradients, state), loss

    return Step(train_step, (model, opt.init(model)), (rng.random(pinn.POINTS), rng.uniform(-1, 1, pinn.POINTS)))


def _network(make: Callable[[], networks.Network]) -> Step:
    network = make()
    step, opt = networks.step_of(network), network.optimiser
    if opt is None:
        return Step(lambda model, x: (model, step(model, x)), (network.model,), (network.x,))
    return Step(step, (network.model, opt.init(network.model)), (network.x, network.t))


TRAINING: dict[str, Callable[[], Step]] = {
    "MNIST, 784-1000-10": _mnist,
    "dropout and Adam, 784-512-512-10": _dropout,
    "CNN": _cnn,
    "LSTM": _lstm,
    "ResNet-18": lambda: _network(networks.resnet),
    "Transformer": lambda: _network(networks.transformer),
    "physics-informed network": _pinn,
}


def _attention() -> Step:
    arrays = [np.random.default_rng(k).standard_normal((4, 8, 512, 64), np.float32) for k in range(4)]

    def both(q: Any, k: Any, v: Any, t: Any) -> Any:
        y, pullback = fd.vjp(lambda q, k, v: F.attention(q, k, v, causal=True), q, k, v)
        return y, pullback(t)

    return Step(lambda *given: (both(*given),), (), tuple(arrays))


def _norm(function: Callable[..., Any], *shape: int) -> Callable[[], Step]:
    def make() -> Step:
        x, t = np.random.default_rng(0).standard_normal((2, *shape), np.float32)
        size = shape[1] if len(shape) == 4 else shape[-1]

        def both(x: Any, scale: Any, shift: Any, t: Any) -> Any:
            y, pullback = fd.vjp(function, x, scale, shift)
            return y, pullback(t)

        return Step(lambda *given: (both(*given),), (), (x, np.ones(size, np.float32), np.zeros(size, np.float32), t))

    return make


ALL: dict[str, Callable[[], Step]] = {
    **TRAINING,
    "VGG16, forward": lambda: _network(networks.vgg),
    "causal attention, 32 x 512 x 64, and gradients": _attention,
    "layer norm, 4096 x 512, and gradients": _norm(lambda x, scale, shift: F.layer_norm(x, scale, shift), 4096, 512),
}
