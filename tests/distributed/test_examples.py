"""The examples under mpiexec: each line once, and what one process learns."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

import fdezero as fd
from fdezero import training
from fdezero.examples import distributed, mnist
from fdezero.testing import assert_trees_close

from ..examples.few_images import show_nothing
from .ranks import launch, on_ranks

MNIST = ["--epochs", "1", "--hidden", "16", "--images", "6000", "--batch-size", "99", "--device", "cpu", "--lr", "0.5", "--dropout", "0.5"]


def numbers(line: str) -> list[float]:
    """The numbers of a line, without the time."""
    return [float(text) for text in re.findall(r"[\d.]+", re.sub(r"time: [\d.]+|[\d.]+ s$", "", line)) if text != "."]


def printed(text: str) -> list[str]:
    """Lines without those of the display, which a slow machine has."""
    return [line for line in text.splitlines() if not re.search(r", step \d+ of", line)]


def outputs(folder: Path) -> list[str]:
    return [
        "--weights", str(folder / "w.npz"), "--log", str(folder / "run.csv"), "--checkpoints", str(folder / "run"),
    ]  # fmt: skip


def test_mnist_on_two_processes_is_mnist_on_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With dropout, and a last batch of 60 that two processes share."""
    folders = [tmp_path / name for name in ("two", "one")]
    for folder in folders:
        folder.mkdir()
    run = launch(2, "-m", "fdezero.examples.mnist", *MNIST, *outputs(folders[0]))
    assert run.code == 0, run.stderr
    assert printed(run.stderr) == []
    show_nothing(monkeypatch)
    mnist.main([*MNIST, *outputs(folders[1])])
    two, one = printed(run.stdout), printed(capsys.readouterr().out)
    assert two[0] == one[0].replace("device: cpu,", "device: cpu, processes: 2,")
    assert two[1] == one[1]
    assert numbers(two[2]) == pytest.approx(numbers(one[2]), abs=2e-3)
    assert [line.partition(" ")[0] for line in two] == [line.partition(" ")[0] for line in one]  # each line once
    assert_trees_close(*[fd.load(folder / "w.npz") for folder in folders], 1e-3)
    rows = [training.read_log(folder / "run.csv") for folder in folders]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == [61]
    assert sorted(path.name for path in (folders[0] / "run").glob("*.npz")) == ["step-61.npz"]


@on_ranks(4)
def runs(world: Any, arguments: list[str], file: str) -> None:
    """The example on the ranks of a pool: what rank 0 prints goes to the file."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        distributed.main(arguments)
    if world.rank == 0:
        Path(file).write_text(out.getvalue())


def test_the_example_of_several_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bits on four processes, and a checkpoint of these that one process goes on from."""
    options = ["--reproducible", "--checkpoints", str(tmp_path / "run")]
    runs(size=4, arguments=["--epochs", "1", *options], file=str(tmp_path / "printed"))
    four = printed((tmp_path / "printed").read_text())
    assert four[0] == "4 processes, backend: mpi"
    assert four[2].startswith("all processes hold the same parameters, whose sum is ")
    distributed.main(["--epochs", "1", "--reproducible"])
    one = printed(capsys.readouterr().out)
    assert one[0] == "1 process, backend: none"
    assert (one[2], numbers(one[1])) == (four[2], numbers(four[1]))
    distributed.main(["--epochs", "2", *options])
    on, second, end, _ = printed(capsys.readouterr().out)[1:]
    assert on.startswith("goes on after epoch 1, step 24: ")
    distributed.main(["--epochs", "2", "--reproducible"])
    _, _, whole, last, _ = printed(capsys.readouterr().out)
    assert (end, numbers(second)) == (last, numbers(whole))


def test_an_example_of_one_process_runs_once() -> None:
    run = launch(2, "-c", "from fdezero.examples._terminal import run; run(lambda: print('trained'))")
    assert (run.code, run.stdout.split()) == (0, ["trained"])
    assert run.stderr.split("\n")[0] == "this example runs on one process; 1 more had nothing to do"


def test_the_example_alone_learns(capsys: pytest.CaptureFixture[str]) -> None:
    distributed.main(["--epochs", "3"])
    _, *epochs, end, figure = printed(capsys.readouterr().out)
    assert len(epochs) == 3
    assert figure.startswith("test accuracy: 0.9")
    assert float(epochs[-1].split("test_accuracy: ")[1].split(",")[0]) > 0.9
    assert end.startswith("all processes hold the same parameters")


def test_a_run_that_was_interrupted_is_not_measured_by_the_stated_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(step: Any, state: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        return state, [{"test_accuracy": 0.5}]  # Ctrl-C came in the second epoch

    monkeypatch.setattr(distributed.training, "fit", fit)
    distributed.main([])
    assert capsys.readouterr().out.endswith("test accuracy: 0.5000\n")
