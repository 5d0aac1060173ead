"""The script of a convolutional network: its lines, what it learns from a few images, and its weights."""

import re
from pathlib import Path
from typing import Any

import pytest

import fdezero as fd
from fdezero.examples import cnn as example
from fdezero.testing import assert_trees_equal

from .few_images import EPOCH, digits, put_in_place

SMALL = ["--device", "cpu", "--channels", "4", "--epochs", "1", "--images", "512", "--batch-size", "32", "--lr", "0.01"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(example, 1000, monkeypatch)


def test_it_learns_and_keeps_what_it_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cnn.npz"
    example.main([*SMALL, "--weights", str(file)])
    head, data, epoch, written, figure = capsys.readouterr().out.splitlines()
    assert head == "MNIST: CNN with 51,930 parameters, device: cpu"
    assert data == "512 images to train on, 1,000 to test with"
    assert (match := re.fullmatch(EPOCH, epoch))
    assert float(match[1]) < 2
    assert float(match[2]) > 0.6
    assert figure == f"test accuracy: {match[2]}"
    assert written.startswith(f"saved to {file} (")
    assert fd.load(file)["conv1/W"].shape == (4, 1, 3, 3)
    example.main([*SMALL, "--lr", "0", "--weights", str(file)])
    _, loaded, _, again, _, _ = capsys.readouterr().out.splitlines()
    assert loaded == f"loaded {file}"
    assert re.search(r"accuracy: (.*)", again)[1] == match[2]  # type: ignore[index]  # a line of an epoch has it


def test_the_step_has_the_bits_of_eager_code(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    options: Any = example.parse([*SMALL, "--images", "64"])
    model = example.CNN.init(fd.random.key(0), 4)
    data = [fd.tree.map(lambda a: a[:64], digits(split, 1000)) for split in ("train", "test")]
    for compile_ in (fd.compile, lambda f: f):
        monkeypatch.setattr(fd, "compile", compile_)
        trained.append(example.train(model, data, options))
    assert_trees_equal(trained[0], trained[1], bits=True)
