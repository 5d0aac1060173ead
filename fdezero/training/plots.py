"""Plots of a run: its history, a confusion matrix, images with predictions, histograms of parameters and gradients. Extra `plot`.

Each function returns the figure of matplotlib, which notebooks show, and saves it with `to_file="plot.png"`. No window opens.
"""

import functools
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..devices import to_numpy
from ..errors import MissingExtraError, RangeError, ShapeError, StructureError
from ..messages import describe
from ..nn.places import matching, places
from ..values import is_floating
from .logs import read_log
from .metrics.classes import ConfusionMatrix

__all__ = ["plot_confusion_matrix", "plot_histograms", "plot_history", "plot_images"]

MARKS = ("val_", "valid_", "validation_", "test_", "train_")  # in front of the names of metrics that belong together
NO_CURVES = ("step", "epoch", "seconds")
FEW = 25  # classes whose counts can be read


@functools.cache
def _class() -> Any:
    """The figures that are made here: those of matplotlib, without a window, and with a picture for notebooks."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plots need matplotlib: pip install 'fdezero[plot]'.") from error

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            data = io.BytesIO()
            self.savefig(data, format="png")
            return data.getvalue()

    return Picture


def _figure(width: float, height: float) -> Any:
    return _class()(figsize=(width, height), layout="constrained")


def _done(figure: Any, to_file: Any) -> Any:
    if to_file is not None:
        figure.savefig(to_file)
    return figure


def plot_history(history: Any, names: Sequence[str] | None = None, *, to_file: Any = None) -> Any:
    """The curves of a run: what `fit` returns, rows of dicts, or the name of a log file. Metrics whose names differ by `val_` or `test_`
    share a panel.

    `names` chooses metrics. Raises StructureError if there is no such number in the rows.
    """
    rows = read_log(history) if isinstance(history, str | os.PathLike) else list(history)
    if not all(isinstance(row, Mapping) for row in rows):
        raise StructureError(f"plot_history takes dicts, one for each epoch; got {describe(rows[0])}.")
    known = list(dict.fromkeys(name for row in rows for name, value in row.items() if _is_number(value)))
    chosen = [name for name in known if name not in NO_CURVES] if names is None else list(names)
    if not chosen or (missing := [name for name in chosen if name not in known]):
        what = repr(missing[0]) if chosen else "a metric"
        raise StructureError(
            f"plot_history: the rows do not have {what}. They have {', '.join(known) or 'no numbers'}."
        )
    along = next((name for name in ("epoch", "step") if all(name in row for row in rows)), None)
    panels: dict[str, list[str]] = {}
    for name in chosen:
        title = next((name.removeprefix(mark) for mark in MARKS if name.startswith(mark)), name)
        panels.setdefault(title, []).append(name)
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = _figure(4.8 * columns, 3.2 * lines)
    for axes, (title, curves) in zip(figure.subplots(lines, columns, squeeze=False).flat, panels.items(), strict=False):
        for name in curves:
            here = [(i if along is None else row[along], row[name]) for i, row in enumerate(rows) if name in row]
            axes.plot(*zip(*here, strict=True), ".-" if len(here) < 100 else "-", label=name)
        axes.set(xlabel=along or "row", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    for axes in figure.axes[len(panels) :]:
        axes.axis("off")
    return _done(figure, to_file)


def _is_number(value: Any) -> bool:
    return not isinstance(value, str | bool) and isinstance(value, int | float | np.number)


def plot_confusion_matrix(
    matrix: Any, classes: Sequence[str] | None = None, *, normalise: bool = False, to_file: Any = None
) -> Any:
    """A confusion matrix, a `ConfusionMatrix` or its result (classes, classes): labels in rows, predictions in columns.

    Colours are fractions of a row, and with `normalise` also the numbers. `classes` are their names. Raises ShapeError for another shape.
    """
    counts = to_numpy(matrix.result() if isinstance(matrix, ConfusionMatrix) else matrix)
    n = len(counts) if np.ndim(counts) else 0
    if np.shape(counts) != (n, n) or not n:
        raise ShapeError(f"plot_confusion_matrix takes a matrix (classes, classes), got {describe(counts)}.")
    if classes is not None and len(classes) != n:
        raise ShapeError(f"plot_confusion_matrix: there are {n} classes, but {len(classes)} names.")
    sums = counts.sum(1, keepdims=True)
    fractions = counts / np.where(sums == 0, 1, sums)
    side = min(12.0, 2 + 0.45 * n)
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="fraction of the label")
    names = list(map(str, range(n) if classes is None else classes))
    if n <= FEW or classes is not None:
        axes.set_xticks(range(n), names, rotation=0 if max(map(len, names)) <= 2 else 90)
        axes.set_yticks(range(n), names)
    if n <= FEW:
        for i, j in np.ndindex(n, n):
            text = f"{fractions[i, j]:.2f}" if normalise else f"{counts[i, j]:.6g}"
            colour = "white" if fractions[i, j] > 0.5 else "black"
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize="small")
    axes.set(xlabel="prediction", ylabel="label")
    return _done(figure, to_file)


def plot_images(
    images: Any,
    predictions: Any = None,
    labels: Any = None,
    *,
    classes: Sequence[str] | None = None,
    columns: int = 8,
    to_file: Any = None,
) -> Any:
    """Images in a grid, below the predictions of a model: red where the label is another one.

    Images are (n, height, width), (n, channels, height, width), or flat squares (n, size). Numbers outside 0 to 1 are scaled.
    Raises ShapeError for what is no image.
    """
    pictures = _pictures(to_numpy(images))
    texts: list[Any] = [None if given is None else to_numpy(given) for given in (predictions, labels)]
    for given in texts:
        if given is not None and np.shape(given) != (len(pictures),):
            raise ShapeError(
                f"plot_images: {len(pictures)} images need as many predictions and labels, got {describe(given)}."
            )
    if isinstance(columns, bool) or not isinstance(columns, int) or columns < 1:
        raise RangeError(f"plot_images: columns is a whole number, 1 or more; got {columns!r}.")
    columns = min(columns, max(1, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    figure = _figure(1.4 * columns, 1.6 * rows)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < len(pictures):
            axes.imshow(pictures[i], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            said = next((given[i] for given in texts if given is not None), None)
            if said is not None:
                wrong = all(given is not None for given in texts) and texts[0][i] != texts[1][i]
                name = f"{said}" if classes is None else classes[int(said)]
                axes.set_title(name, color="red" if wrong else "black", fontsize="small")
    return _done(figure, to_file)


def _pictures(images: Any) -> Any:
    """Images as matplotlib takes them: (n, height, width) or (n, height, width, 3), from 0 to 1."""
    if images.ndim == 2 and (side := math.isqrt(images.shape[1])) ** 2 == images.shape[1]:
        images = images.reshape(-1, side, side)
    if images.ndim == 4 and images.shape[1] in (1, 3):
        images = images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] != 3):
        raise ShapeError(
            f"plot_images takes images (n, height, width), (n, 1 or 3, height, width) or flat squares, got {describe(images)}."
        )
    images = images / 255 if images.dtype == np.uint8 else images.astype(np.float64)
    if images.size and not 0 <= images.min() <= images.max() <= 1:
        low, high = np.nanmin(images), np.nanmax(images)
        images = (images - low) / (high - low if high > low else 1)
    return images


def plot_histograms(tree: Any, *paths: str, bins: int = 50, to_file: Any = None) -> Any:
    """A histogram of each floating array of a tree, such as a model or its gradients, with its path: `plot_histograms(grads, "layers/*")`.

    The title counts entries that are not finite. `paths` are patterns as in `nn.freeze`.
    Raises StructureError if nothing matches, or if there is no floating array.
    """
    found = [place.path for place in matching(paths, places(tree), "plot_histograms")] if paths else [""]
    leaves = {
        path: to_numpy(leaf)
        for path, leaf in trees.flatten_with_path(tree)
        if is_floating(getattr(leaf, "dtype", np.dtype(int)))
        and any(path == p or not p or path.startswith(f"{p}/") for p in found)
    }
    if not leaves:
        raise StructureError(f"plot_histograms: there is no floating array in {describe(tree)}.")
    columns = min(4, len(leaves))
    rows = -(-len(leaves) // columns)
    figure = _figure(3.6 * columns, 2.4 * rows)
    for axes, (path, leaf) in zip(figure.subplots(rows, columns, squeeze=False).flat, leaves.items(), strict=False):
        values = leaf.astype(np.float64).ravel()
        finite = values[np.isfinite(values)]
        if finite.size:
            axes.hist(finite, bins, color="tab:blue")
        odd = values.size - finite.size
        title = (path or describe(leaf)) + (f" ({odd:,} not finite)" if odd else "")
        axes.set_title(title, fontsize="small", color="red" if odd else "black")
        axes.tick_params(labelsize="small")
    for axes in figure.axes[len(leaves) :]:
        axes.axis("off")
    return _done(figure, to_file)
