"""`show`: what stands in the grid, for data sets of every form."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.data import show
from fdezero.errors import MissingExtraError, RangeError, ShapeError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), np.uint8)
LABELS = np.array([2, 0, 1, 1, 2, 0, 0])


def drawn(figure: Any) -> list[tuple[np.ndarray, str]]:
    """The images and the titles of a figure."""
    return [(axes.images[0].get_array().data, axes.get_title()) for axes in figure.axes if axes.images]


def test_the_first_images_are_drawn_with_their_labels() -> None:
    figure = show((IMAGES, LABELS), 2, 3)
    found = drawn(figure)
    assert (len(figure.axes), [title for _, title in found]) == (6, ["2", "0", "1", "1", "2", "0"])
    for (image, _), expected in zip(found, IMAGES, strict=False):
        np.testing.assert_allclose(image, expected.transpose(1, 2, 0) / 255)
    assert len(matplotlib.pyplot.get_fignums()) == 0  # a notebook would draw it twice


def test_a_key_chooses_at_random() -> None:
    found = drawn(show((IMAGES, LABELS), 1, 4, key=fd.random.key(1)))
    order = fd.random.permutation(fd.random.key(1), 7)[:4]
    assert [title for _, title in found] == [str(LABELS[i]) for i in order]


class Pairs:
    classes = ("a", "b", "c")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> Any:
        return IMAGES[i], LABELS[i]


@pytest.mark.parametrize(
    ("dataset", "shape", "titles"),
    [
        (IMAGES, (4, 5, 3), [""] * 7),
        (IMAGES[:, :1] / 255, (4, 5), [""] * 7),
        (IMAGES[:, 0], (4, 5), [""] * 7),
        ((np.linspace(0, 1, 2 * 784).reshape(2, 784), [7, 8]), (28, 28), ["7", "8"]),
        (np.zeros((1, 3 * 16)), (4, 4, 3), [""]),
        ({"image": IMAGES[:2], "label": LABELS[:2]}, (4, 5, 3), ["2", "0"]),
        ([(IMAGES[0], 2), (IMAGES[1], 0)], (4, 5, 3), ["2", "0"]),
        (Pairs(), (4, 5, 3), ["c", "a"]),
        ((IMAGES[:1], np.array([[0.1, 0.0, 0.9]])), (4, 5, 3), ["2 0.90 0 0.10"]),
        ((IMAGES[:1], np.array([1.5])), (4, 5, 3), ["1.5"]),
    ],
)
def test_data_sets_of_every_form(dataset: Any, shape: tuple[int, ...], titles: list[str]) -> None:
    found = drawn(show(dataset))
    assert [image.shape for image, _ in found] == [shape] * len(titles)
    assert [title for _, title in found] == titles


def test_names_of_classes_and_values_outside() -> None:
    assert [title for _, title in drawn(show((IMAGES, LABELS), 1, 2, classes=["x", "y", "z"]))] == ["z", "x"]
    ((image, _),) = drawn(show(np.array([[[-1.0, 0.0], [1.0, 3.0]]])))
    np.testing.assert_allclose(image, [[0, 0.25], [0.5, 1]])
    ((image, _),) = drawn(show(np.full((1, 2, 2), 7)))
    np.testing.assert_array_equal(image, np.zeros((2, 2)))


def test_a_file_and_the_gpu(tmp_path: Path, gpu: Any) -> None:
    figure = show(fd.to_device((IMAGES, LABELS), "gpu"), 1, 2, to_file=tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert [title for _, title in drawn(figure)] == ["2", "0"]


def test_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ShapeError, match=r"show draws images \(H, W\) or \(C, H, W\).*got float64\[6,5,3\]"):
        show(np.ones((1, 6, 5, 3)))
    with pytest.raises(ShapeError, match=r"got float64\[5\]"):
        show(np.ones((2, 5)))
    with pytest.raises(RangeError, match="rows is a whole number of at least 1, got int 0"):
        show(IMAGES, 0)
    with pytest.raises(RangeError, match="no name for label 2: classes has 2"):
        show((IMAGES, LABELS), classes="xy")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fdezero\[plot\]'"):
        show(IMAGES)
