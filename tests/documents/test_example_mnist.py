"""The MNIST script: its lines, weights, plot, interrupts, and what it says of bad arguments."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.examples import mnist as example
from fdezero.testing import assert_trees_equal

SMALL = ["--epochs", "1", "--hidden", "16", "--batch-size", "1000", "--device", "cpu"]
EPOCH = r"epoch: {}, loss: \d+\.\d{{4}}, time: \d+\.\d{{4}}\[sec\]"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_one_line_an_epoch_then_the_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    example.main([*SMALL[2:], "--epochs", "2", "--lr", "0.5"])
    first, second, last = lines(capsys)
    assert re.fullmatch(EPOCH.format(1), first)
    assert re.fullmatch(EPOCH.format(2), second)
    assert re.fullmatch(r"test accuracy: 0\.\d{4}", last)
    losses = [float(line.split()[3][:-1]) for line in (first, second)]
    assert losses[1] < losses[0] < 2.4
    assert float(last.split()[-1]) > 0.7


def test_the_seed_alone_decides(capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for arguments in ([], [], ["--seed", "1"], ["--dropout", "0.5"]):
        example.main([*SMALL, *arguments])
        epoch, accuracy = lines(capsys)
        found.append((epoch.split(", time")[0], accuracy))
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_weights_are_saved_and_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "weights.npz"
    example.main([*SMALL, "--lr", "0.5", "--weights", str(file)])
    first = lines(capsys)
    saved = fd.load(file)
    assert {key: (array.shape, str(array.dtype)) for key, array in saved.items()} == {
        "layers/0/W": ((784, 16), "float32"), "layers/0/b": ((16,), "float32"),
        "layers/1/W": ((16, 10), "float32"), "layers/1/b": ((10,), "float32"),
    }  # fmt: skip
    example.main([*SMALL, "--lr", "0", "--weights", str(file)])
    assert lines(capsys)[-1] == first[-1]
    assert_trees_equal(fd.load(file), saved)
    assert list(tmp_path.iterdir()) == [file]


def test_weights_of_another_size_are_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "weights.npz"
    fd.save(file, {"layers": [{"W": np.ones((2, 3))}]})
    content = file.read_bytes()
    with pytest.raises(fd.errors.FileError, match="layers/0/W"):
        example.main([*SMALL, "--weights", str(file)])
    assert file.read_bytes() == content


@pytest.mark.parametrize("existing", [False, True])
def test_interrupted_training_leaves_whole_weights(existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.npz"
    start = fd.nn.MLP.init(fd.random.key(0), (784, 16, 10))
    if existing:
        fd.save(file, start)

    def interrupted(batches: Iterator[Any], *_: Any) -> Iterable[Any]:
        for step, batch in enumerate(batches):
            if step == 3:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(example, "progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        example.main([*SMALL, "--weights", str(file)])
    saved = fd.load(file, like=start)
    assert (saved.layers[0].W != start.layers[0].W).any()
    assert all(np.isfinite(leaf).all() for leaf in fd.tree.leaves(saved))
    assert list(tmp_path.iterdir()) == [file]


def test_plot_writes_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "plot.png"
    example.main([*SMALL, "--plot", str(file)])
    assert len(lines(capsys)) == 2
    assert file.read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("module", ["matplotlib", "tqdm"])
def test_without_an_extra(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    if module == "matplotlib":
        with pytest.raises(fd.errors.MissingExtraError, match=r"fdezero\[plot\]"):
            example.main([*SMALL, "--plot", str(tmp_path / "plot.png")])
    else:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        batches = iter([1, 2])
        assert example.progress(batches, 2, "epoch 1") is batches


def test_progress_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    batches = iter([1, 2, 3])
    assert example.progress(batches, 3, "epoch 1") is batches
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(example.progress(batches, 3, "epoch 1")) == [1, 2, 3]
    captured = capsys.readouterr()
    assert "epoch 1" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"], ["--epochs", "1.5"], ["--batch-size", "0"], ["--hidden", "-1"], ["--lr", "-0.1"], ["--lr", "nan"],
        ["--lr", "fast"], ["--dropout", "1"], ["--seed", "-1"], ["--device", "tpu"], ["--weights", "missing/folder/w.npz"],
        ["--plot", "missing/folder/p.png"], ["--plot", "plot.xyz"], ["--unknown"], ["extra"],
    ],
)  # fmt: skip
def test_bad_arguments_end_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        example.main(arguments)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert arguments[0] in captured.err or "folder" in captured.err


@pytest.mark.parametrize("device", ["gpu", "both"])
def test_without_a_gpu_one_sentence_says_what_is_missing(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(fd.errors.DeviceError, match=r"^no GPU for .*: CuPy .*\.$") as caught:
        example.main(["--device", device])
    assert "\n" not in str(caught.value)


def test_as_a_program_errors_are_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fdezero.examples.mnist", "--data-dir", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert re.fullmatch(r"error: no train-images\S* .*\n", ended.stderr)


@pytest.mark.gpu
def test_both_devices_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    example.main([*SMALL[:-1], "both"])
    found = lines(capsys)
    assert re.fullmatch(r"GPU speedup over CPU: \d+\.\dx", found[-1])
    losses = [float(line.split()[3][:-1]) for line in found if line.startswith("epoch")]
    assert abs(losses[0] - losses[1]) < 1e-3
