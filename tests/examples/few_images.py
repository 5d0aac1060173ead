"""A few images of MNIST in place of all, for the tests of scripts."""

import functools
import re
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.training import bars

EPOCH = r"epoch: 1, loss: (\d\.\d{4}), time: \d+\.\d\[sec\], test accuracy: (0\.\d{4})"  # the line of the first epoch, by training scripts


@functools.cache
def digits(split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images (count, 1, 28, 28) and labels of a split."""
    images, labels = _all(split)
    return images[:count], labels[:count]


@functools.cache
def _all(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read once for all numbers of images."""
    return fd.data.mnist(split, flatten=False)


def put_in_place(example: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a script see so many images of each split, and write no lines within an epoch, even on a slow machine."""

    def few(split: str, flatten: bool = True, **_: Any) -> tuple[np.ndarray, np.ndarray]:
        images, labels = digits(split, count)
        return (images.reshape(count, -1) if flatten else images), labels

    monkeypatch.setattr(example, "mnist", few)
    show_nothing(monkeypatch)


def refused(example: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The error, as the only line that is printed."""
    with pytest.raises(SystemExit) as ended:
        example.main(arguments)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"error: .* \(--help shows the options\)\n", captured.err)
    return captured.err


def show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a display of progress show nothing, even on a slow machine."""
    monkeypatch.setattr(bars, "_display", lambda *_: bars._Nothing)
