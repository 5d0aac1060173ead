"""The networks of `networks` in PyTorch, of its own modules, with fdezero's weights."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fdezero.models import resnet, vgg

RESNET_RATE, TRANSFORMER_RATE = 0.01, 1e-3
Weights = Mapping[str, np.ndarray]  # by fdezero's paths
Leg = Callable[[], Any]
Transform = Callable[[Any], Any]  # torch.compile, or


def as_it_is(network: Any) -> Any:
    return network



def _take(torch: Any, network: Any, weights: Weights, forms: Any) -> None:
    """Copy fdezero's weights into a network with torchvision's names."""
    state = network.state_dict()
    names = next(form for form in forms if form.name == "torchvision").keys(state)
    for name, ours in names.items():
        if name in state:
            array = torch.from_numpy(weights[ours])
            state[name].copy_(array.T if ours.startswith("head") and array.ndim == 2 else array)


def trained(optimizer: Any, loss_of: Callable[[], Any]) -> Leg:
    """A step of PyTorch."""

    def training() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return training


def _classifier(torch: Any, network: Any, optimizer: Any, x: Any, t: Any) -> Leg:
    """A step with the cross entropy of logits (..., classes)."""

    def loss_of() -> Any:
        y = network(x)
        return torch.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), t.reshape(-1))

    return trained(optimizer, loss_of)


def _placed(torch: Any, array: np.ndarray) -> Any:
    """The array on PyTorch's default device."""
    return torch.from_numpy(np.array(array)).to(torch.get_default_device())


def _images(torch: Any, network: Any, x: np.ndarray, channels_last: bool) -> Any:
    images = _placed(torch, x)
    if channels_last:
        network.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    return images


def resnet_leg(
    torch: Any, weights: Weights, x: np.ndarray, t: np.ndarray, *, channels_last: bool = False, transform: Transform = as_it_is
) -> Leg:
    from tests.models import torch_networks  # which needs torch

    network = torch_networks.ResNet((2, 2, 2, 2), False, 64, 1000)
    _take(torch, network, weights, resnet.FORMS)
    images = _images(torch, network, x, channels_last)
    optimizer = torch.optim.SGD(network.parameters(), RESNET_RATE, momentum=0.9)
    return _classifier(torch, transform(network), optimizer, images, _placed(torch, t))


def vgg_leg(
    torch: Any, weights: Weights, x: np.ndarray, t: None, *, channels_last: bool = False, transform: Transform = as_it_is
) -> Leg:
    from tests.models import torch_networks  # as above

    network = torch_networks.VGG((2, 2, 3, 3, 3), False, 64, 4096, 1000)
    _take(torch, network, weights, vgg.FORMS)
    network.eval()
    images, run = _images(torch, network, x, channels_last), transform(network)

    def forward() -> Any:
        with torch.no_grad():
            return run(images)

    return forward


def transformer_leg(torch: Any, weights: Weights, x: np.ndarray, t: np.ndarray, *, transform: Transform = as_it_is) -> Leg:
    """Of `TransformerEncoderLayer` with a causal mask, as PyTorch's tutorials write it; the table of symbols makes the logits as well."""
    length, size = weights["positions/W"].shape
    count = 1 + max(int(name.split("/")[1]) for name in weights if name.startswith("layers/"))

    class Transformer(torch.nn.Module):  # type: ignore[misc]  # torch may be missing
        def __init__(self) -> None:
            super().__init__()
            activation = torch.nn.GELU(approximate="tanh")
            options = {"dim_feedforward": 4 * size, "dropout": 0.0, "activation": activation, "batch_first": True, "norm_first": True}
            self.symbols = torch.nn.Embedding(*weights["symbols/W"].shape)
            self.positions = torch.nn.Embedding(length, size)
            self.layers = torch.nn.ModuleList(torch.nn.TransformerEncoderLayer(size, 4, **options) for _ in range(count))
            self.norm = torch.nn.LayerNorm(size)
            self.register_buffer("mask", torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1]))
            self.register_buffer("places", torch.arange(x.shape[1]))

        def forward(self, ids: Any) -> Any:
            y = self.symbols(ids) + self.positions(self.places)
            for layer in self.layers:
                y = layer(y, src_mask=self.mask, is_causal=True)
            return torch.nn.functional.linear(self.norm(y), self.symbols.weight)

    network = Transformer()
    given = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in weights.items()}
    state = network.state_dict()
    for name in ("symbols", "positions"):
        state[f"{name}.weight"].copy_(given[f"{name}/W"])
    norms = {"norm": "norm"}
    for i in range(count):
        ours, theirs = f"layers/{i}", f"layers.{i}"
        projections = [f"{ours}/attention/{name}" for name in ("queries", "keys", "values")]
        state[f"{theirs}.self_attn.in_proj_weight"].copy_(torch.cat([given[f"{name}/W"].T for name in projections]))
        state[f"{theirs}.self_attn.in_proj_bias"].copy_(torch.cat([given[f"{name}/b"] for name in projections]))
        for mine, its in (("attention/output", "self_attn.out_proj"), ("hidden", "linear1"), ("output", "linear2")):
            state[f"{theirs}.{its}.weight"].copy_(given[f"{ours}/{mine}/W"].T)
            state[f"{theirs}.{its}.bias"].copy_(given[f"{ours}/{mine}/b"])
        norms |= {f"{ours}/attention_norm": f"{theirs}.norm1", f"{ours}/output_norm": f"{theirs}.norm2"}
    for mine, its in norms.items():
        state[f"{its}.weight"].copy_(given[f"{mine}/scale"])
        state[f"{its}.bias"].copy_(given[f"{mine}/shift"])
    optimizer = torch.optim.Adam(network.parameters(), TRANSFORMER_RATE)
    return _classifier(torch, transform(network), optimizer, _placed(torch, x), _placed(torch, t))


LEGS: dict[str, Callable[..., Leg]] = {"resnet": resnet_leg, "vgg": vgg_leg, "transformer": transformer_leg}
