"""The sine script: its lines, what it learns, its pieces of time, weights and plot."""

import re
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero.examples import sine as example
from fdezero.testing import assert_trees_close, assert_trees_equal

from .few_images import show_nothing

SMALL = ["--epochs", "2", "--hidden", "8", "--lr", "0.02"]
HEAD = "sine: LSTM with 8 units and 329 parameters, 30 sequences in pieces of 30 steps, epochs: 2"
EPOCH = r"epoch: {}, loss: (\d\.\d{{6}}), time: \d+\.\d{{4}}\[sec\], error on a cosine: (\d\.\d{{4}})"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print no lines within an epoch, even on a slow machine."""
    show_nothing(monkeypatch)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed, without the figure at the end, which test_gallery.py looks at."""
    captured = capsys.readouterr()
    assert captured.err == ""
    return [line for line in captured.out.splitlines() if not line.startswith("error on a cosine: ")]


def numbers(line: str, epoch: int) -> tuple[float, ...]:
    found = re.fullmatch(EPOCH.format(epoch), line)
    assert found, line
    return tuple(map(float, found.groups()))


def test_it_learns_to_follow_a_curve_that_it_has_not_seen(capsys: pytest.CaptureFixture[str]) -> None:
    example.main(["--epochs", "3", "--hidden", "32", "--lr", "0.01"])
    _, *epochs = lines(capsys)
    (first, _), (second, _), (third, error) = (numbers(line, i) for i, line in enumerate(epochs, 1))
    assert third < second < first
    assert third < 0.003  # the noise of the targets alone is 0.05 ** 2 / 3 = 0.0008
    assert error < 0.07


def test_the_step_is_compiled_once_with_the_bits_of_eager_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found, compiled = [], []
    compile_ = fd.compile
    monkeypatch.setattr(example, "POINTS", 150)
    for make in (lambda f: compiled.append(compile_(f)) or compiled[-1], lambda f: f):
        monkeypatch.setattr(fd, "compile", make)
        example.main(SMALL)
        head, *epochs = lines(capsys)
        assert head == HEAD
        found.append([numbers(line, i) for i, line in enumerate(epochs, 1)])
    assert found[0] == found[1]
    assert repr(compiled[0]).endswith("1 recordings>")


def test_the_state_goes_on_into_the_next_piece_and_the_gradient_does_not() -> None:
    model, x = example.Forecaster.init(fd.random.key(0), 4), example.tracks(example.curve(fd.random.key(1)), 3)[:, :11]
    state = model.lstm.initial_state(3)
    _, state = example.loss_fn(model, state, x[:, :5], x[:, 1:6])
    _, state = example.loss_fn(model, state, x[:, 5:10], x[:, 6:])
    assert_trees_close(state, model(x[:, :10])[1], 1e-6)
    gradient = fd.grad(lambda state: example.loss_fn(model, state, x[:, :5], x[:, 1:6])[0])(state)
    assert not any(map(np.any, fd.tree.leaves(gradient)))


def test_the_sequences_are_the_curve_from_other_starts() -> None:
    values = np.arange(10, dtype=np.float32)
    assert_trees_equal(example.tracks(values, 3)[..., 0], np.stack([np.arange(s, s + 11) % 10 for s in (0, 3, 6)]).astype(np.float32))
    smooth = np.sin(np.linspace(0, 2 * np.pi, example.POINTS))
    noise = example.curve(fd.random.key(0)) - smooth
    assert 0.049 < np.abs(noise).max() < 0.0501
    assert abs(noise.mean()) < 0.003


def test_weights_are_saved_and_loaded_and_a_plot_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(example, "POINTS", 100)
    file, picture = tmp_path / "weights.npz", tmp_path / "sine.png"
    example.main([*SMALL, "--weights", str(file)])
    *_, epoch, written = lines(capsys)
    assert written.startswith(f"saved to {file}")
    saved = fd.load(file)
    assert set(saved) == {*[f"lstm/cells/0/{name}" for name in ("Wx", "Wh", "b")], "head/W", "head/b"}
    example.main([*SMALL, "--epochs", "1", "--lr", "0", "--weights", str(file), "--save", str(picture)])
    _, loaded, again, *_, drawn = lines(capsys)
    assert loaded == f"loaded {file}"
    assert numbers(again, 1)[1] == numbers(epoch, 2)[1]
    assert_trees_equal(fd.load(file), saved)
    assert drawn.startswith(f"saved to {picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")


BAD: dict[str, tuple[list[str], str]] = {
    "no epochs": (["--epochs", "0"], "0 is not a whole number, 1 or more"),
    "longer than the curve": (["--bptt", "1001"], "1001 is not a whole number, 1 or more and below 1001"),
    "an unknown option": (["--layers", "2"], "unrecognized arguments: --layers 2"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_one_line(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = BAD[what]
    with pytest.raises(SystemExit, match="2"):
        example.main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
