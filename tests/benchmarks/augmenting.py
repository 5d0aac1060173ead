"""Augmentation of whole batches, beside torchvision and albumentations on the same images, one draw for each image."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero.data import transforms as T

from .measure import Legs, interleaved, median, peer, ratio, table

REPETITIONS = 15
RNG = np.random.default_rng(0)
SMALL = RNG.integers(0, 256, (256, 3, 32, 32), np.uint8)  # as CIFAR-10
LARGE = RNG.integers(0, 256, (16, 3, 256, 256), np.uint8)  # as ImageNet, of which a loader reads this size
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KEY = fd.random.key(0)
OURS, TORCHVISION, ALBUMENTATIONS = "fdezero", "torchvision v2, image by image", "albumentations, image by image"
FINISH = (T.to_float(), T.normalise(MEAN, STD))


def ours(*parts: Any) -> Callable[[np.ndarray], Any]:
    transform = T.compose(*parts)
    return lambda x: transform(x, KEY if transform.draws else None)


def _torchvision(make: Callable[[Any, Any], list[Any]], finish: bool) -> Callable[[np.ndarray], Any] | None:
    v2 = peer("torchvision.transforms.v2")
    torch = peer("torch")
    if v2 is None or torch is None:
        return None
    parts = make(v2, torch)
    if finish:
        parts = [*parts, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    transform = v2.Compose(parts)
    return lambda x: torch.stack([transform(image) for image in torch.from_numpy(x)]).numpy()


def _albumentations(make: Callable[[Any], list[Any]], finish: bool) -> Callable[[np.ndarray], Any] | None:
    A = peer("albumentations")
    if A is None:
        return None
    peer("cv2").setNumThreads(1)
    transform = A.Compose([*make(A), *([A.Normalize(MEAN, STD)] if finish else [])], seed=0)

    def run(x: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(x.transpose(0, 2, 3, 1))  # as files are read
        return np.stack([transform(image=image)["image"] for image in images]).transpose(0, 3, 1, 2)

    return run


Case = tuple[np.ndarray, Callable[[np.ndarray], Any], Callable[[Any, Any], list[Any]], Callable[[Any], list[Any]], bool]
CASES: dict[str, Case] = {
    "crop, flip, normalise, 256 x 32 x 32": (
        SMALL, ours(T.random_crop(32, 4), T.horizontal_flip(), *FINISH),
        lambda v2, torch: [v2.RandomCrop(32, 4), v2.RandomHorizontalFlip()],
        lambda A: [A.Pad(4), A.RandomCrop(32, 32), A.HorizontalFlip()], True,
    ),
    "colour jitter, 256 x 32 x 32": (
        SMALL, ours(T.colour_jitter(0.4, 0.4, 0.4, 0.1)), lambda v2, torch: [v2.ColorJitter(0.4, 0.4, 0.4, 0.1)],
        lambda A: [A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=1)], False,
    ),
    "rotation, 256 x 32 x 32": (
        SMALL, ours(T.rotation(15)), lambda v2, torch: [v2.RandomRotation(15, v2.InterpolationMode.BILINEAR)],
        lambda A: [A.Rotate(15, p=1, border_mode=0)], False,
    ),
    "cutout, 256 x 32 x 32": (
        SMALL, ours(T.cutout(16)), lambda v2, torch: [v2.RandomErasing(1, (0.25, 0.25), (1, 1))],
        lambda A: [A.CoarseDropout((1, 1), (16, 16), (16, 16), p=1)], False,
    ),
    "noise, 256 x 32 x 32": (
        SMALL, ours(T.to_float(), T.noise(0.1)), lambda v2, torch: [v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(sigma=0.1, clip=False)],
        lambda A: [A.ToFloat(), A.GaussNoise((0.1, 0.1), p=1)], False,
    ),
    "resized crop, flip, normalise, 16 x 256 x 256": (
        LARGE, ours(T.random_resized_crop(224), T.horizontal_flip(), *FINISH),
        lambda v2, torch: [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()],
        lambda A: [A.RandomResizedCrop((224, 224), p=1), A.HorizontalFlip()], True,
    ),
    "resize to 160, 16 x 256 x 256": (
        LARGE, ours(T.resize(160)), lambda v2, torch: [v2.Resize((160, 160))], lambda A: [A.Resize(160, 160, interpolation=3)], False,
    ),
    "colour jitter, 16 x 256 x 256": (
        LARGE, ours(T.colour_jitter(0.4, 0.4, 0.4, 0.1)), lambda v2, torch: [v2.ColorJitter(0.4, 0.4, 0.4, 0.1)],
        lambda A: [A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=1)], False,
    ),
    "rotation, 16 x 256 x 256": (
        LARGE, ours(T.rotation(15)), lambda v2, torch: [v2.RandomRotation(15, v2.InterpolationMode.BILINEAR)],
        lambda A: [A.Rotate(15, p=1, border_mode=0)], False,
    ),
}  # fmt: skip


def run() -> str:
    rows = []
    for name, (x, mine, torchvisions, albumentationss, finish) in CASES.items():
        functions = {
            OURS: mine, TORCHVISION: _torchvision(torchvisions, finish), ALBUMENTATIONS: _albumentations(albumentationss, finish),
        }  # fmt: skip
        legs: Legs = {leg: lambda f=f, x=x: f(x) for leg, f in functions.items() if f is not None}
        for leg, f in legs.items():
            assert f().shape == mine(x).shape, leg
        times = interleaved(legs, REPETITIONS)
        cells = [name, f"{1e3 * median(times[OURS]).cpu:.2f}"]
        for leg in (TORCHVISION, ALBUMENTATIONS):
            cells += [f"{1e3 * median(times[leg]).cpu:.2f}", f"{ratio(times[OURS], times[leg]):.2f}"] if leg in times else ["", ""]
        rows.append(cells)
    return table(["images", f"{OURS}, CPU ms", f"{TORCHVISION}", "ratio to it", ALBUMENTATIONS, "ratio to it"], rows)
