"""The script of a ResNet-18: its lines, resized images, what it learns from a few of them, and its file."""

import re
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero import models
from fdezero.examples import resnet as example

from .few_images import EPOCH, digits, put_in_place

SMALL = ["--device", "cpu", "--width", "8", "--images", "480", "--batch-size", "20", "--lr", "0.005", "--size", "24"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(example, 480, monkeypatch)


def test_it_learns_and_says_how_to_load_what_it_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "resnet.npz"
    example.main([*SMALL, "--weights", str(file)])
    head, data, epoch, written, how, figure = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"MNIST: ResNet18 with 17\d,\d{3} numbers, device: cpu", head)
    assert data == "480 images to train on, 480 to test with, (1, 24, 24) each"
    assert (match := re.fullmatch(EPOCH, epoch))
    assert float(match[1]) < 2.3
    assert float(match[2]) > 0.2
    assert figure == f"test accuracy: {match[2]}"
    assert written.startswith(f"saved to {file} (")
    names = {"fd": fd}
    exec(how.removeprefix("to load it: "), names)
    model = names["model"]
    assert isinstance(model, models.ResNet18)
    assert model.norm.mean.any()  # the statistics of training came along
    images = example.resized(digits("test", 480)[0], 24)
    assert np.mean(np.argmax(model(images), -1) == digits("test", 480)[1]) == pytest.approx(float(match[2]), abs=0.0051)


def test_resizing_keeps_lines_and_means() -> None:
    """Linear interpolation of a linear image gives that line again, away from the border."""
    line = np.arange(28.0)[None, None, None] + np.zeros((1, 1, 28, 1))
    found = example.resized(line, 56)
    assert found.shape == (1, 1, 56, 56)
    np.testing.assert_allclose(found[0, 0, 5, 1:-1], np.arange(54) / 2 + 0.25, atol=1e-12)
    np.testing.assert_allclose(example.resized(np.ones((2, 1, 28, 28)), 32), 1)
    images = digits("test", 480)[0][:3]
    np.testing.assert_array_equal(example.resized(images, 28), images)
