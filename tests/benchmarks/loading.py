"""Batches of images from arrays in memory and from items that are decoded one by one, beside torch's DataLoader; and how long a step waits."""

import statistics
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero.data import DataLoader, transforms

from . import networks
from .measure import NATIVE, Legs, compiled_ways, interleaved, peer, rows_of, table

REPETITIONS, STEPS = 5, 24
KEY = fd.random.key(0)
FLOOR = "NumPy, a loop by hand (floor)"


class Packed:
    """Images (3, size, size) as compressed bytes, and their labels: reading one decompresses it."""

    def __init__(self, count: int, size: int) -> None:
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (16, 3, size // 4, size // 4), np.uint8).repeat(4, axis=2).repeat(4, axis=3)
        self.files = [zlib.compress(image.tobytes()) for image in coarse]
        self.count, self.shape = count, (3, size, size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        pixels = np.frombuffer(zlib.decompress(self.files[i % 16]), np.uint8).reshape(self.shape)
        return pixels.astype(np.float32) / 255, i % 1000


def seen(batches: Iterable[Any]) -> int:
    """Iterate, and count the images."""
    return sum(len(x) for x, _ in batches)


def by_hand(dataset: Any, batch_size: int) -> Callable[[], int]:
    def batch(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(dataset, tuple):
            return dataset[0][index], dataset[1][index]
        examples = [dataset[i] for i in index.tolist()]
        return np.array([x for x, _ in examples]), np.array([t for _, t in examples])

    def epoch() -> Iterable[Any]:
        size = len(dataset[0]) if isinstance(dataset, tuple) else len(dataset)
        order = np.random.default_rng(0).permutation(size)
        return (batch(order[start : start + batch_size]) for start in range(0, size, batch_size))

    return lambda: seen(epoch())


def ours(dataset: Any, batch_size: int, **options: Any) -> Callable[[], int]:
    loader = DataLoader(dataset, batch_size, key=KEY, **options)
    return lambda: seen(loader.epoch(0))


def torch_loader(torch: Any, dataset: Any, batch_size: int, workers: int) -> Any:
    if isinstance(dataset, tuple):
        dataset = torch.utils.data.TensorDataset(*map(torch.from_numpy, dataset))
    return torch.utils.data.DataLoader(dataset, batch_size, shuffle=True, num_workers=workers)


def legs_of(dataset: Any, batch_size: int) -> Legs:
    legs: Legs = {FLOOR: by_hand(dataset, batch_size)}
    ways: dict[str, dict[str, Any]] = {"": {}, ", 2 threads": {"workers": 2}}
    if not isinstance(dataset, tuple):
        ways[", 2 processes"] = {"workers": 2, "processes": True}
    for name, options in ways.items():
        legs[f"fdezero{name}"] = ours(dataset, batch_size, **options)
    if (torch := peer("torch")) is not None:
        for workers in (0, 2):
            batches = torch_loader(torch, dataset, batch_size, workers)
            legs[f"PyTorch, {workers} workers"] = lambda batches=batches: seen(batches)
    return legs


def run() -> str:
    """An epoch of batches, without a step."""
    rng = np.random.default_rng(0)
    images = (rng.standard_normal((20_000, 3, 32, 32), np.float32), rng.integers(0, 10, 20_000))
    cases = {
        "20,000 arrays in memory, 3 x 32 x 32": interleaved(legs_of(images, 128), REPETITIONS),
        "1,000 decoded items, 3 x 128 x 128": interleaved(legs_of(Packed(1000, 128), 50), REPETITIONS),
    }
    return rows_of("an epoch", cases, unit="ms")


CHANGE = transforms.compose(transforms.random_crop(64), transforms.horizontal_flip(), transforms.normalise(0.5, 0.25))


class Item:
    """What an item of PyTorch's data set needs instead of a transform of batches: one image is changed alone, by PyTorch's numbers."""

    def __init__(self, dataset: Packed, torch: Any) -> None:
        self.dataset, self.torch = dataset, torch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Any:
        x, t = self.dataset[i]
        top, left, flip = (int(self.torch.randint(n, ())) for n in (9, 9, 2))
        x = self.torch.from_numpy(x)[:, top : top + 64, left : left + 64]
        return ((x.flip(-1) if flip else x) - 0.5) / 0.25, t


def sources() -> dict[str, Callable[[], Iterable[Any]]]:
    """One epoch of 16 x 3 x 64 x 64 by each way of loading: every image is decompressed, cropped, perhaps flipped, and normalised."""
    dataset = Packed(16 * STEPS, 72)
    ways: dict[str, dict[str, Any]] = {
        "no workers": {}, "prefetch=2": {"prefetch": 2}, "workers=2": {"workers": 2},
        "workers=1, processes=True": {"workers": 1, "processes": True},
    }  # fmt: skip

    def loader(options: dict[str, Any]) -> Callable[[], Iterable[Any]]:
        found = DataLoader(dataset, 16, key=KEY, transform=CHANGE, **options)
        return lambda: found.epoch(0)

    legs = {f"fdezero, {name}": loader(options) for name, options in ways.items()}
    if (torch := peer("torch")) is not None:
        for workers in (0, 1, 2):
            batches = torch_loader(torch, Item(dataset, torch), 16, workers)
            legs[f"PyTorch, {workers} workers"] = lambda batches=batches: ((x.numpy(), t.numpy()) for x, t in batches)
    return legs


def run_waiting() -> str:
    """Which share of the time the training step of ResNet-18 waits for its batch: all but the first, for which the workers start."""
    network = networks.resnet()
    ways = compiled_ways()
    step = ways.get(NATIVE, next(iter(ways.values())))(networks.step_of(network))
    assert network.optimiser is not None
    state = network.optimiser.init(network.model)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for repetition in range(3):
        for name, epoch in sources().items():
            model, moments, batches = network.model, state, iter(epoch())
            waits = []
            begin = time.perf_counter()
            for _ in range(STEPS):
                asked = time.perf_counter()
                x, t = next(batches)
                waits.append(time.perf_counter() - asked)
                model, moments, loss = step(model, moments, x, t)
                float(loss)
            total = time.perf_counter() - begin - waits[0]
            del batches
            if repetition:  # the first warms up
                found.setdefault(name, []).append((sum(waits[1:]) / total, 1e3 * sum(waits[1:]) / (STEPS - 1), 1e3 * waits[0]))
    rows = [
        [name, f"{100 * statistics.median(share):.1f}", f"{statistics.median(wait):.1f}", f"{statistics.median(first):.0f}"]
        for name, (share, wait, first) in ((name, list(zip(*runs, strict=True))) for name, runs in found.items())
    ]
    return table(["an epoch of 24 steps", "waiting, %", "a batch, ms", "the first batch, ms"], rows)
