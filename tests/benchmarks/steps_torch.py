"""The training steps of `steps` in PyTorch, of its own modules, with weights of its own: for peaks of memory and on a GPU."""

from collections.abc import Callable
from typing import Any

import fdezero as fd

from . import cnn, networks, networks_torch, pinn
from .networks_torch import Leg, Transform, as_it_is, trained


def _classifier(torch: Any, transform: Transform, network: Any, optimizer: Any, *shape: int) -> Leg:
    x, t, run = torch.rand(shape), torch.randint(10, shape[:1]), transform(network)
    return trained(optimizer, lambda: torch.nn.functional.cross_entropy(run(x), t))


def mnist_leg(torch: Any, transform: Transform = as_it_is) -> Leg:
    network = torch.nn.Sequential(torch.nn.Linear(784, 1000), torch.nn.Sigmoid(), torch.nn.Linear(1000, 10))
    return _classifier(torch, transform, network, torch.optim.SGD(network.parameters(), 0.01), 100, 784)


def dropout_leg(torch: Any, transform: Transform = as_it_is) -> Leg:
    layers: list[Any] = []
    for n, m in ((784, 512), (512, 512)):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU(), torch.nn.Dropout(0.5)]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(512, 10))
    return _classifier(torch, transform, network, torch.optim.Adam(network.parameters()), 128, 784)


def cnn_leg(torch: Any, transform: Transform = as_it_is) -> Leg:
    layers: list[Any] = []
    for n, m in ((1, 32), (32, 64)):
        layers += [torch.nn.Conv2d(n, m, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(3136, 10))
    return _classifier(torch, transform, network, torch.optim.SGD(network.parameters(), 0.01), cnn.BATCH, 1, 28, 28)


def lstm_leg(torch: Any, transform: Transform = as_it_is) -> Leg:
    network, x, t = torch.nn.LSTM(32, 128, batch_first=True), torch.randn(32, 64, 32), torch.rand(32, 128)
    run = transform(network)
    return trained(torch.optim.SGD(network.parameters(), 0.5), lambda: torch.nn.functional.mse_loss(run(x)[0][:, -1], t))


def pinn_leg(torch: Any, transform: Transform = as_it_is) -> Leg:
    layers: list[Any] = []
    for n, m in zip(pinn.SIZES, pinn.SIZES[1:], strict=False):
        layers += [torch.nn.Linear(n, m, dtype=torch.float64), torch.nn.Tanh()]
    network = torch.nn.Sequential(*layers[:-1])
    t, x = torch.rand(pinn.POINTS, dtype=torch.float64), torch.rand(pinn.POINTS, dtype=torch.float64)
    run = transform(network)

    def loss_of() -> Any:
        t.requires_grad_()
        x.requires_grad_()
        u = run(torch.stack([t, x], 1))[:, 0]
        u_t, u_x = torch.autograd.grad(u.sum(), (t, x), create_graph=True)
        u_xx = torch.autograd.grad(u_x.sum(), x, create_graph=True)[0]
        return (u_t + u * u_x - pinn.VISCOSITY * u_xx).square().mean()

    return trained(torch.optim.Adam(network.parameters()), loss_of)


def _network(make: Callable[[], networks.Network]) -> Callable[..., Leg]:
    def leg(torch: Any, transform: Transform = as_it_is) -> Leg:
        network = make()
        weights: Any = fd.io.flatten_to_dict(network.model)
        return networks_torch.LEGS[make.__name__](torch, weights, network.x, network.t, transform=transform)

    return leg


LEGS: dict[str, Callable[..., Leg]] = {
    "MNIST, 784-1000-10": mnist_leg,
    "dropout and Adam, 784-512-512-10": dropout_leg,
    "CNN": cnn_leg,
    "LSTM": lstm_leg,
    "ResNet-18": _network(networks.resnet),
    "Transformer": _network(networks.transformer),
    "VGG16, forward": _network(networks.vgg),
    "physics-informed network": pinn_leg,
}
