"""Plots: what they draw, read back from the figures; files, notebooks, and mistakes."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn, training
from fdezero.errors import MissingExtraError, RangeError, ShapeError, StructureError

pytest.importorskip("matplotlib")

HISTORY = [
    {"step": 10 * e, "epoch": e, "loss": 1 / e, "val_loss": 1.5 / e, "accuracy": 0.1 * e, "seconds": 2.0, "matrix": np.eye(2), "note": "a"}
    for e in (1, 2, 3)
]  # fmt: skip


def curves(figure: Any) -> dict[str, dict[str, list[list[float]]]]:
    return {
        axes.get_title(): {line.get_label(): [list(line.get_xdata()), list(line.get_ydata())] for line in axes.lines} for axes in figure.axes if axes.lines
    }


def test_a_history_has_a_panel_for_each_metric() -> None:
    found = curves(training.plot_history(HISTORY))
    assert {title: list(lines) for title, lines in found.items()} == {"loss": ["loss", "val_loss"], "accuracy": ["accuracy"]}
    assert found["loss"]["val_loss"] == [[1, 2, 3], [1.5, 0.75, 0.5]]
    assert list(curves(training.plot_history(HISTORY, ["seconds"]))) == ["seconds"]


def test_a_history_may_be_a_log_with_gaps(tmp_path: Path) -> None:
    with training.CSVLog(tmp_path / "run.csv") as log:
        log(1, {"loss": 1.0})
        log(2, {"val_loss": 2.0})
        log(3, {"loss": 0.5})
    found = curves(training.plot_history(tmp_path / "run.csv", to_file=tmp_path / "history.png"))
    assert found == {"loss": {"loss": [[1, 3], [1.0, 0.5]], "val_loss": [[2], [2.0]]}}
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_confusion_matrix_shows_counts_or_fractions(tmp_path: Path) -> None:
    predictions, labels = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1])
    metric = training.ConfusionMatrix(2).update(predictions, labels)
    axes = training.plot_confusion_matrix(metric, ["cat", "dog"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "0", "1", "3"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "label")
    shares = training.plot_confusion_matrix(metric.result(), normalise=True, to_file=tmp_path / "matrix.svg").axes[0]
    assert [text.get_text() for text in shares.texts] == ["1.00", "0.00", "0.25", "0.75"]
    np.testing.assert_allclose(shares.images[0].get_array(), [[1, 0], [0.25, 0.75]])
    assert "<svg" in (tmp_path / "matrix.svg").read_text()
    assert not training.plot_confusion_matrix(np.ones((30, 30))).axes[0].texts


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (np.linspace(0, 1, 48).reshape(3, 16), (4, 4)), (np.ones((3, 4, 5)), (4, 5)), (np.zeros((3, 1, 4, 5), np.float32), (4, 5)),
        (np.full((3, 3, 4, 5), 255, np.uint8), (4, 5, 3)), (np.linspace(-2, 7, 180).reshape(3, 3, 4, 5), (4, 5, 3)),
    ],
)  # fmt: skip
def test_images_stand_below_their_predictions(images: Any, shape: tuple[int, ...]) -> None:
    figure = training.plot_images(images, np.array([1, 0, 1]), np.array([1, 1, 1]), classes=["cat", "dog"], columns=2)
    shown = [axes for axes in figure.axes if axes.images]
    assert [(axes.get_title(), axes.title.get_color()) for axes in shown] == [("dog", "black"), ("cat", "red"), ("dog", "black")]
    pictures = [np.asarray(axes.images[0].get_array()) for axes in shown]
    assert [picture.shape for picture in pictures] == [shape] * 3
    assert 0 <= min(picture.min() for picture in pictures) <= max(picture.max() for picture in pictures) <= 1
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in training.plot_images(images).axes] == [""] * 3
    assert [axes.get_title() for axes in training.plot_images(images, labels=[7, 8, 9]).axes] == ["7", "8", "9"]


def test_histograms_are_by_path_and_count_what_is_not_finite() -> None:
    model = nn.MLP.init(fd.random.key(0), (3, 4, 2))
    figure = training.plot_histograms(model)
    assert [axes.get_title() for axes in figure.axes] == fd.tree.paths(model)
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 12
    grads = fd.tree.update(fd.tree.trainable(model), {"layers/1/b": np.array([np.nan, np.inf], np.float32)})
    titles = [axes.get_title() for axes in training.plot_histograms(grads, "layers/*/b", bins=5).axes]
    assert titles == ["layers/0/b", "layers/1/b (2 not finite)"]
    assert [axes.get_title() for axes in training.plot_histograms(model, "layers/1").axes] == ["layers/1/W", "layers/1/b"]
    assert len(training.plot_histograms(np.ones(3)).axes) == 1


def test_arrays_on_a_gpu_are_drawn(strict_cupy: Any) -> None:
    model = fd.to_device(nn.MLP.init(fd.random.key(0), (3, 4, 2)), "gpu")
    assert len(training.plot_histograms(model).axes) == 4
    assert training.plot_images(fd.to_device(np.ones((2, 4, 4)), "gpu")).axes


def test_notebooks_show_a_picture_and_no_window_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    figure = training.plot_history(HISTORY)
    assert figure._repr_png_().startswith(b"\x89PNG\r\n")


def test_plots_are_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from fdezero.training import plots

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    plots._class.cache_clear()
    with pytest.raises(MissingExtraError, match=r"fdezero\[plot\]"):
        training.plot_history(HISTORY)


@pytest.mark.parametrize(
    ("do", "kind", "message"),
    [
        (lambda: training.plot_history([]), StructureError, "do not have a metric. They have no numbers"),
        (lambda: training.plot_history(HISTORY, ["lost"]), StructureError, "do not have 'lost'. They have step, epoch, loss"),
        (lambda: training.plot_history([0.5]), StructureError, "takes dicts, one for each epoch; got float 0.5"),
        (lambda: training.plot_confusion_matrix(np.ones((2, 3))), ShapeError, r"\(classes, classes\), got float64\[2,3\]"),
        (lambda: training.plot_confusion_matrix(np.eye(2), ["a"]), ShapeError, "2 classes, but 1 names"),
        (lambda: training.plot_images(np.ones((2, 5))), ShapeError, r"flat squares, got float64\[2,5\]"),
        (lambda: training.plot_images(np.ones((2, 4, 5, 6))), ShapeError, "takes images"),
        (lambda: training.plot_images(np.ones((2, 4, 4)), [1]), ShapeError, "2 images need as many predictions"),
        (lambda: training.plot_images(np.ones((2, 4, 4)), columns=0), RangeError, "columns is a whole number"),
        (lambda: training.plot_histograms({"a": np.arange(3)}), StructureError, "no floating array in dict"),
        (lambda: training.plot_histograms({"a": np.ones(3)}, "b"), StructureError, "nothing matches 'b'"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(do: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        do()
