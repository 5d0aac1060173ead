"""Whole networks: training steps of ResNet-18 and of a small Transformer, and the forward pass of VGG16, each as a user writes it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import models, nn, optim

from . import networks_jax, networks_torch
from .measure import EAGER, JAX, TORCH, Legs, agree, compiled_ways, interleaved, peer, rows_of

REPETITIONS, STEPS_THAT_AGREE = 5, 3
Leg = Callable[[], Any]  # a step from where the last one ended, and its loss; or a forward pass and the logits


class Network(NamedTuple):
    """A network with its optimiser (without one: the forward pass alone), and what a step is given."""

    model: Any
    optimiser: optim.GradientTransformation | None
    loss: Callable[..., Any]  # loss(model, x, t) -> loss, model with its new statistics
    x: np.ndarray
    t: np.ndarray | None = None


def resnet() -> Network:
    """ResNet-18 with statistics; SGD with momentum, 16 images of 64 x 64."""

    def loss(model: Any, x: Any, t: Any) -> Any:
        y, model = nn.step(model, x)
        return F.softmax_cross_entropy(y, t), model

    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((16, 3, 64, 64), np.float32), rng.integers(0, 1000, 16)
    return Network(models.ResNet18.init(fd.random.key(0)), optim.momentum(networks_torch.RESNET_RATE, 0.9), loss, x, t)


def vgg() -> Network:
    """VGG16 at one image of 224 x 224."""
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    return Network(models.VGG16.init(fd.random.key(0)), None, lambda model, x, t: model(x), x)


def transformer() -> Network:
    """Four layers of four heads, size 128, over 65 symbols; Adam, 16 sequences of 128."""

    def loss(model: Any, x: Any, t: Any) -> Any:
        return F.softmax_cross_entropy(model(x, train=True), t), model

    ids = np.random.default_rng(0).integers(0, 65, (16, 129))
    model = models.Transformer.init(fd.random.key(0), 65, size=128, heads=4, layers=4, length=128)
    return Network(model, optim.adam(networks_torch.TRANSFORMER_RATE), loss, ids[:, :-1], ids[:, 1:].copy())


NETWORKS = {
    "ResNet-18, a training step, 16 x 64 x 64": resnet,
    "VGG16, forward, 1 x 224 x 224": vgg,
    "Transformer, a training step, 16 x 128": transformer,
}


def step_of(network: Network) -> Callable[..., Any]:
    """model, state, x, t -> model, state, loss; without an optimiser model, x -> logits."""
    opt, loss_of = network.optimiser, network.loss
    if opt is None:
        return lambda model, x: loss_of(model, x, None)

    def train_step(model: Any, state: Any, x: Any, t: Any) -> Any:
        (loss, moved), gradients = fd.value_and_grad(loss_of, has_aux=True)(model, x, t)
        return *opt.step(moved, gradients, state), loss

    return train_step


def fdezero_leg(network: Network, transform: Callable[..., Any]) -> Leg:
    step, model, opt = transform(step_of(network)), network.model, network.optimiser
    if opt is None:
        return lambda: step(model, network.x)
    state = opt.init(model)

    def training() -> float:
        nonlocal model, state
        model, state, loss = step(model, state, network.x, network.t)
        return float(loss)

    return training


def legs_of(name: str) -> Legs:
    """Ours, and those of the peers, which begin from the same numbers."""
    network = NETWORKS[name]()
    legs: Legs = {}
    made = {way: functools.partial(fdezero_leg, network, transform) for way, transform in compiled_ways().items()}
    made[EAGER] = functools.partial(fdezero_leg, network, lambda step: step)
    weights = fd.io.flatten_to_dict(network.model)
    if (torch := peer("torch")) is not None:
        make = networks_torch.LEGS[NETWORKS[name].__name__]
        made[TORCH] = functools.partial(make, torch, weights, network.x, network.t)
        if network.x.ndim == 4:
            made[f"{TORCH}, channels_last"] = functools.partial(made[TORCH], channels_last=True)
    if (jax := peer("jax")) is not None:
        made[JAX] = functools.partial(networks_jax.LEGS[NETWORKS[name].__name__], jax, weights, network.x, network.t)
    for leg, make_leg in made.items():
        legs[leg] = make_leg()
    return legs


def run() -> str:
    times = {}
    for name in NETWORKS:
        legs = legs_of(name)
        agree({leg: lambda step=step: [step() for _ in range(STEPS_THAT_AGREE)] for leg, step in legs.items()}, rtol=1e-3, atol=1e-3)
        floor = {TORCH: legs.pop(TORCH)} if TORCH in legs else {}
        times[name] = interleaved(floor | legs, REPETITIONS)
    return rows_of("a step", times, unit="ms")
