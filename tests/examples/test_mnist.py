"""The MNIST script: its lines, weights, plot and interrupts, and its messages for bad arguments."""

import itertools
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero import training
from fdezero.examples import mnist as example
from fdezero.testing import assert_trees_equal
from fdezero.training import bars

from ..native.compilers import HAS_COMPILER
from .few_images import digits, refused, show_nothing

SMALL = ["--epochs", "1", "--hidden", "16", "--batch-size", "100", "--device", "cpu"]
HEAD = ["MNIST: MLP 784-16-10 with 12,730 parameters, device: cpu, batch size: 100, epochs: 1",
        "6,000 images to train on, 1,000 to test with"]  # fmt: skip
EPOCH = r"epoch: {}, loss: \d+\.\d{{4}}, time: \d+\.\d{{4}}\[sec\], test accuracy: [01]\.\d{{4}}"
UNSAVED = "the parameters are not saved: to keep them, add --weights mlp.npz"
COMMAND = [sys.executable, "-m", "fdezero.examples.mnist"]


def mnist(split: str, **_: object) -> tuple[np.ndarray, np.ndarray]:
    """A tenth of the images, flat: with small batches as many steps as with all of them."""
    images, labels = digits(split, 6000 if split == "train" else 1000)
    return images.reshape(len(images), -1), labels


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a part of the data once, and print no lines within an epoch, even on a slow machine."""
    monkeypatch.setattr(example, "mnist", mnist)
    show_nothing(monkeypatch)


class Drawn(bars._Nothing):
    """A display that is drawn at each step, and keeps what it got."""

    interval = -1.0

    def __init__(self) -> None:
        self.draws: list[tuple[int, str]] = []

    def draw(self, count: int, text: str, last: bool = False) -> None:
        self.draws.append((count, text))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed, without the figure at the end, which test_gallery.py looks at."""
    captured = capsys.readouterr()
    assert captured.err == ""
    return [line for line in captured.out.splitlines() if not line.startswith("test accuracy: ")]


def numbers(line: str) -> tuple[float, float]:
    """The loss and the test accuracy in the line of an epoch."""
    loss, accuracy = re.findall(r"(?:loss|accuracy): ([\d.]+)", line)
    return float(loss), float(accuracy)


def test_it_says_what_it_does_and_one_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    example.main([*SMALL[2:], "--epochs", "2", "--lr", "0.5"])
    *head, first, second, last = lines(capsys)
    assert head == [HEAD[0].replace("epochs: 1", "epochs: 2"), HEAD[1]]
    assert re.fullmatch(EPOCH.format(1), first)
    assert re.fullmatch(EPOCH.format(2), second)
    assert last == UNSAVED
    (before, lower), (after, higher) = numbers(first), numbers(second)
    assert after < before < 2.4
    assert 0.7 < lower < higher < 1


def test_the_first_line_comes_before_the_data(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def load(*_: object, **__: object) -> None:
        seen.extend(lines(capsys))
        raise InterruptedError

    monkeypatch.setattr(example, "mnist", load)
    with pytest.raises(InterruptedError):
        example.main(SMALL)
    assert seen == HEAD[:1]


def test_the_readme_shows_what_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"```text\n(MNIST: .*?)```", readme, re.DOTALL)[0].splitlines()
    sizes = {"train": 60_000, "test": 10_000}
    monkeypatch.setattr(example, "mnist", lambda split, **_: (np.zeros((sizes[split], 1)), np.zeros(sizes[split])))
    monkeypatch.setattr(example, "train", lambda model, *_: (model, [{"seconds": 1.0, "accuracy": 0.8648}]))
    example.main(["--device", "cpu"])
    assert capsys.readouterr().out.splitlines() == [*shown[:2], *shown[-2:]]
    pattern = EPOCH.replace(r"\d+\.\d{{4}}\[sec", r"\.\.\.\[sec")
    assert re.fullmatch(pattern.format(1), shown[2])
    assert re.fullmatch(pattern.format(5), shown[-3])


def test_the_display_tells_the_mean_loss_so_far(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_display", lambda *_: lambda: display)
    display = Drawn()
    example.main(SMALL)
    epoch = lines(capsys)[2]
    assert [count for count, _ in display.draws] == [*range(61), 60]
    assert display.draws[-1][1] == f"loss: {numbers(epoch)[0]:.4f}"
    assert all(re.fullmatch(r"loss: \d\.\d{4}", text) for _, text in display.draws[1:])


def test_the_step_is_compiled_with_the_bits_of_eager_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found, compiled = [], []
    compile_ = fd.compile
    for make in (lambda **_: lambda f: compiled.append(compile_(f)) or compiled[-1], lambda **_: lambda f: f):
        monkeypatch.setattr(fd, "compile", make)
        example.main([*SMALL, "--dropout", "0.5"])
        found.append(re.sub("time: .*sec", "", lines(capsys)[2]))
    assert found[0] == found[1]
    assert repr(compiled[0]).endswith("1 recordings>")


def test_the_seed_alone_decides(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for arguments in ([], [], ["--seed", "1"], ["--dropout", "0.5"]):
        example.main([*SMALL, *arguments])
        found.append(numbers(lines(capsys)[2]))
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_weights_are_saved_and_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "weights.npz"
    example.main([*SMALL, "--lr", "0.5", "--weights", str(file)])
    *_, epoch, written, how = lines(capsys)
    saved = fd.load(file)
    assert {key: (array.shape, str(array.dtype)) for key, array in saved.items()} == {
        "layers/0/W": ((784, 16), "float32"), "layers/0/b": ((16,), "float32"),
        "layers/1/W": ((16, 10), "float32"), "layers/1/b": ((10,), "float32"),
    }  # fmt: skip
    assert written == f"saved to {file} ({file.stat().st_size / 1000:.0f} kB)"
    names = {"fd": fd}
    exec(how.removeprefix("to load it: "), names)
    assert_trees_equal(fd.tree.flatten_to_dict(names["model"]), saved)
    example.main([*SMALL, "--lr", "0", "--weights", str(file)])
    head, loaded, *_, again, _, _ = lines(capsys)
    assert (head, loaded) == (HEAD[0], f"loaded {file}")
    assert numbers(again)[1] == numbers(epoch)[1]
    assert_trees_equal(fd.load(file), saved)
    assert list(tmp_path.iterdir()) == [file]


def test_weights_of_another_size_are_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "weights.npz"
    fd.save(file, {"layers": [{"W": np.ones((2, 3))}]})
    content = file.read_bytes()
    with pytest.raises(fd.errors.FileError, match="layers/0/W"):
        example.main([*SMALL, "--weights", str(file)])
    assert file.read_bytes() == content


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come after so many steps."""

    class Interrupting(Drawn):
        def draw(self, count: int, text: str, last: bool = False) -> None:
            if next(steps) == step:
                raise KeyboardInterrupt

    steps = itertools.count()
    monkeypatch.setattr(bars, "_display", lambda *_: Interrupting)


@pytest.mark.parametrize("existing", [False, True])
def test_interrupted_training_leaves_whole_weights_and_says_so(
    existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weights.npz"
    start = fd.nn.MLP.init(fd.random.key(0), (784, 16, 10))
    if existing:
        fd.save(file, start)
    interrupt_at(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        example.main([*SMALL, "--weights", str(file)])
    assert lines(capsys)[-2].startswith(f"saved to {file}")
    saved = fd.load(file, like=start)
    assert (saved.layers[0].W != start.layers[0].W).any()
    assert all(np.isfinite(leaf).all() for leaf in fd.tree.leaves(saved))
    assert list(tmp_path.iterdir()) == [file]


def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run, log = tmp_path / "run", tmp_path / "run.csv"
    whole = ["--epochs", "2", "--hidden", "16", "--batch-size", "100", "--device", "cpu", "--dropout", "0.5", "--lr", "0.5"]
    example.main([*whole, "--weights", str(tmp_path / "whole.npz")])
    *_, second, _, _ = lines(capsys)
    options = [*whole, "--checkpoints", str(run), "--log", str(log), "--weights", str(tmp_path / "parts.npz")]
    interrupt_at(90, monkeypatch)  # 62 times in the first epoch: before it, after each of 60 steps, at the end
    with pytest.raises(KeyboardInterrupt):
        example.main(options)
    assert f"saved to {run / 'step-88.npz'} (" in "".join(lines(capsys))
    show_nothing(monkeypatch)
    (tmp_path / "parts.npz").unlink()
    example.main(options)
    _, _, on, again, *_ = lines(capsys)
    assert on == f"goes on from {run / 'step-88.npz'}, in epoch 2"
    assert numbers(again)[1] == numbers(second)[1]
    assert_trees_equal(fd.load(tmp_path / "parts.npz"), fd.load(tmp_path / "whole.npz"), bits=True)
    rows = training.read_log(log)
    assert [(row["step"], row["epoch"]) for row in rows] == [(60, 1), (120, 2)]
    assert rows[1]["accuracy"] == pytest.approx(numbers(second)[1], abs=1e-4)


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
def test_native_code_gives_the_same_to_rounding(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for native in ([], ["--native"]):
        example.main([*SMALL, *native])
        found.append(numbers(lines(capsys)[2]))
    assert found[0] == pytest.approx(found[1], abs=0.0011)


def test_plot_writes_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "plot.png"
    example.main([*SMALL, "--save", str(file)])
    digits = tmp_path / "plot-digits.png"
    assert lines(capsys)[-3:-1] == [f"saved to {path} ({path.stat().st_size / 1000:.0f} kB)" for path in (file, digits)]
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in (file, digits))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"], ["--epochs", "1.5"], ["--batch-size", "0"], ["--hidden", "-1"], ["--lr", "-0.1"], ["--lr", "nan"],
        ["--lr", "fast"], ["--dropout", "1"], ["--seed", "-1"], ["--device", "tpu"], ["--weights", "missing/folder/w.npz"],
        ["--weights", "w.pt"], ["--save", "missing/folder/p.png"], ["--save", "plot.xyz"], ["--log", "log.txt"],
        ["--data-dir", "missing/folder"], ["--epoch", "1"], ["--unknown"], ["extra"],
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert arguments[0] in refused(example, arguments, capsys)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.npz").mkdir()
    assert "w.npz is a folder" in refused(example, ["--weights", str(tmp_path / "w.npz")], capsys)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # The superuser may always write.
    assert f"you may not write to {tmp_path}" in refused(example, ["--weights", str(tmp_path / "other.npz")], capsys)


@pytest.mark.parametrize("device", ["gpu", "both"])
def test_without_a_gpu_one_sentence_says_what_is_missing(
    device: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "--device: there is no GPU to use. CuPy is " in refused(example, ["--device", device], capsys)


def test_as_a_program_errors_are_one_line(tmp_path: Path) -> None:
    ended = subprocess.run([*COMMAND, "--data-dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert re.fullmatch(r"MNIST: .*\n", ended.stdout)
    assert re.fullmatch(r"error: no train-images\S* .*\n", ended.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interrupt for a single process")
def test_as_a_program_it_ends_quietly_when_interrupted() -> None:
    with subprocess.Popen([*COMMAND, *SMALL[2:], "--epochs", "10000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline().startswith("MNIST: ")
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (130, "interrupted: nothing was saved\n")


@pytest.mark.gpu
def test_both_devices_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    example.main([*SMALL[:-1], "both"])
    found = lines(capsys)
    assert re.fullmatch(r"GPU speedup over CPU: \d+\.\dx", found[-2])
    losses = [numbers(line)[0] for line in found if line.startswith("epoch:")]
    assert abs(losses[0] - losses[1]) < 1e-3
