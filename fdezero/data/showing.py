"""`show`: the first images of a data set in a grid, with their labels."""

import importlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from ..devices import to_numpy
from ..errors import MissingExtraError, RangeError, ShapeError
from ..messages import describe
from .sources import source_of
from .transforms.settings import whole

__all__ = ["show"]

WITHOUT_WINDOWS = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


def show(
    dataset: Any,
    rows: int = 4,
    columns: int = 8,
    *,
    key: Any = None,
    classes: Sequence[str] | None = None,
    to_file: Any = None,
) -> Any:
    """Draw images of a data set in a grid, each with its label, and return the figure of matplotlib (extra `plot`).

    A script opens a window, a notebook draws the figure, and `to_file="grid.png"` saves it.

    The data set is images (N, C, H, W), flat ones such as those of `mnist`, a pair (x, t), or whatever a `DataLoader` takes. The
    first images are drawn; with a key they are chosen at random. `classes` are the names of the labels. Images are uint8, or
    floating numbers: from 0 to 1 as they are, others from their least to their greatest.

    Raises ShapeError for what is no image, RangeError for a grid without places, MissingExtraError without matplotlib.
    """
    for name, count in (("rows", rows), ("columns", columns)):
        whole(1)(count, f"show: {name}")
    try:
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise MissingExtraError("show needs the package matplotlib: pip install 'fdezero[plot]'") from None
    source = source_of(dataset, "show")
    count = min(rows * columns, source.size)
    order = np.arange(count) if key is None else to_numpy(random.permutation(key, source.size))[:count]
    examples = [to_numpy(example) for example in source.examples(order)]
    rows = max(1, min(rows, -(-count // columns)))
    figure = pyplot.figure(figsize=(1.4 * columns, 1.6 * rows), layout="constrained")
    for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if place < count:
            image, label = _parts(examples[place])
            axes.imshow(_drawn(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if label is not None:
                axes.set_title(_name(label, classes, getattr(dataset, "classes", None)), fontsize="small")
    if to_file is not None:
        figure.savefig(to_file)
    elif _has_windows(pyplot):
        pyplot.show()
    pyplot.close(figure)  # a notebook draws what a cell returns, and would draw an open figure once more
    return figure


def _has_windows(pyplot: Any) -> bool:
    """Whether matplotlib opens windows: not where it only writes files, nor in a notebook."""
    backend = str(pyplot.get_backend()).lower()
    return backend not in WITHOUT_WINDOWS and "inline" not in backend


def _parts(example: Any) -> tuple[Any, Any]:
    """The image and the label of an example, which may be a pair, a dict or the image alone."""
    if isinstance(example, dict):
        parts = list(example.values())
        image = next((part for part in parts if np.ndim(part) > 1), parts[0] if parts else None)
        return image, next((part for part in parts if np.ndim(part) == 0), None)
    if isinstance(example, tuple | list):
        return example[0], example[1] if len(example) > 1 else None
    return example, None


def _name(label: Any, classes: Sequence[str] | None, own: Any) -> str:
    """A label as its class's name, as its number, or, from a row of shares, as its greatest parts."""
    names = classes if classes is not None else own
    label = np.asarray(label)
    if label.ndim == 1:
        return " ".join(
            f"{_name(k, names, None)} {label[k]:.2f}" for k in np.argsort(-label, kind="stable")[:2] if label[k] > 0
        )
    if names is not None and label.dtype.kind in "iu" and label.ndim == 0:
        if not 0 <= label < len(names):
            raise RangeError(f"show: there is no name for label {label}: classes has {len(names)}.")
        return str(names[int(label)])
    return str(label)


def _drawn(image: Any) -> np.ndarray:
    """An image as matplotlib draws it: (H, W) or (H, W, C), numbers from 0 to 1."""
    image = np.asarray(image)
    if image.ndim == 1:
        for channels in (1, 3):
            side = math.isqrt(image.size // channels)
            if channels * side * side == image.size:
                image = image.reshape(channels, side, side)
                break
    if (
        image.ndim not in (2, 3)
        or image.dtype.kind not in "uifb"
        or (image.ndim == 3 and image.shape[0] not in (1, 3, 4))
    ):
        raise ShapeError(f"show draws images (H, W) or (C, H, W) with 1, 3 or 4 channels, got {describe(image)}.")
    if image.ndim == 3:
        image = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    if image.dtype == np.uint8:
        return image / 255
    image = image.astype(np.float64)
    low, high = (image.min(), image.max()) if image.size else (0.0, 1.0)
    if low < 0 or high > 1:  # normalised images, or integers
        return (image - low) / max(high - low, np.finfo(np.float64).tiny)
    return image
