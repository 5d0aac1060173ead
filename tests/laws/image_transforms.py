"""The table of transforms of data: settings that do something, settings that do nothing, and what becomes of a batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero.data import transforms as T

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 3, 9, 8), np.uint8)
LABELS = np.array([2, 0, 1, 1, 2])
FLOATS = ("float16", "float32", "float64")
ALL = ("uint8", *FLOATS)


class Row(NamedTuple):
    """A transform by its name, the transform, its twin that does nothing, the dtypes of images that it takes, and shape and dtype of the result.

    `shape` is that of an example, None for an unchanged one; so is `dtype`. `of` says which part of (x, t) it changes: "x", "t" or "both".
    `linear` says that differences of results are linear in the images.
    """

    name: str
    transform: Any
    neutral: Any = None
    takes: tuple[str, ...] = ALL
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    of: str = "x"
    linear: bool = True

    def __str__(self) -> str:
        return f"{self.transform!r}".replace("::", ":")[:90]

    def batch(self, dtype: str) -> tuple[np.ndarray, np.ndarray]:
        """Images in a dtype, fractions if it is floating, and labels."""
        return (IMAGES if dtype == "uint8" else (IMAGES / 255).astype(dtype)).copy(), LABELS.copy()


def _brighter(batch: Any) -> Any:
    return batch[0] + 1, batch[1]


def _shifted(x: Any, key: Any) -> Any:
    return x + fd.numpy.astype(fd.vmap(lambda k: fd.random.uniform(k, x.shape[1:]))(key), x.dtype)


TRANSFORMS = [
    Row("to_float", T.to_float(), dtype="float32", linear=False),
    Row("to_float", T.to_float("float64"), dtype="float64", linear=False),
    Row("as_type", T.as_type("float16"), dtype="float16", linear=False),
    Row("normalise", T.normalise((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), T.normalise(), FLOATS),
    Row("normalise", T.normalise(0.5, 2), T.normalise([0, 0, 0], [1.0]), FLOATS),
    Row("noise", T.noise(0.1), T.noise(0)),
    Row("flatten", T.flatten(), shape=(216,)),
    Row("one_hot", T.one_hot(3), shape=(3,), dtype="float32", of="t"),
    Row("one_hot", T.one_hot(4, "float64", smoothing=0.1), shape=(4,), dtype="float64", of="t"),
    Row("centre_crop", T.centre_crop((4, 5)), T.centre_crop((9, 8)), shape=(3, 4, 5)),
    Row("random_crop", T.random_crop(6), T.random_crop((9, 8)), shape=(3, 6, 6)),
    Row("random_crop", T.random_crop((9, 8), (2, 1), mode="reflect"), shape=(3, 9, 8)),
    Row("horizontal_flip", T.horizontal_flip(), T.horizontal_flip(0)),
    Row("vertical_flip", T.vertical_flip(0.6), T.vertical_flip(0)),
    Row("cutout", T.cutout(4), T.cutout(0)),
    Row("cutout", T.cutout((3, 2), count=3, value=1)),
    Row("resize", T.resize((5, 12)), T.resize((9, 8)), shape=(3, 5, 12)),
    Row("resize", T.resize(5, "bicubic"), T.resize((9, 8), "bicubic"), shape=(3, 5, 5)),
    Row("resize", T.resize(12, "lanczos", shorter=True), T.resize(8, shorter=True), shape=(3, 13, 12)),
    Row("resize", T.resize(6, "box", antialias=False), T.resize((9, 8), "box"), shape=(3, 6, 6)),
    Row("resize", T.resize((13, 4), "nearest"), T.resize((9, 8), "nearest"), shape=(3, 13, 4)),
    Row("random_resized_crop", T.random_resized_crop(6), T.random_resized_crop((9, 8), (1, 1), (8 / 9, 8 / 9)), shape=(3, 6, 6)),
    Row("rotation", T.rotation(30), T.rotation(0)),
    Row("rotation", T.rotation((40, 50), mode="nearest", value=1), T.rotation(0, mode="nearest", value=1)),
    Row("affine", T.affine(10, 0.2, (0.8, 1.3), 10, shear_columns=5, value=1), T.affine()),
    Row("colour_jitter", T.colour_jitter(0.4, 0.3, 0.5, 0.1), T.colour_jitter(), linear=False),
    Row("colour_jitter", T.colour_jitter((0.5, 1.5), (1, 1), (1, 1), (0, 0)), T.colour_jitter((1, 1), 0, 0, (0, 0)), linear=False),
    Row("mixup", T.mixup(0.4, 3), dtype=None, of="both", linear=False),
    Row("cutmix", T.cutmix(classes=3), of="both", linear=False),
    Row("compose", T.compose(T.random_crop((9, 8), 2), T.horizontal_flip(), T.to_float(), T.normalise(0.5, 0.5), T.one_hot(3)), T.compose(), dtype="float32", linear=False, of="chain"),
    Row("compose", T.compose(_brighter, T.on(0, _shifted)), takes=FLOATS, linear=False),
    Row("on", T.on(0, T.rotation(20)), T.on(0, T.rotation(0))),
    Row("sometimes", T.sometimes(T.vertical_flip(1)), T.sometimes(T.vertical_flip(1), 0)),
    Row("sometimes", T.sometimes(T.compose(T.rotation(50), T.cutout(3)), 0.7), T.sometimes(T.rotation(50), 0)),
]  # fmt: skip
OTHERS = {"from_pil": "tests/data/test_image_transforms_pillow.py", "to_pil": "tests/data/test_image_transforms_pillow.py", "Transform": "the base"}
Transformed = Callable[..., Any]
