"""The sweep script: every way to run the trainings gives the same losses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fdezero.examples import sweep as example

from ..profiles import nightly

SMALL = ["--rates", "3", "--seeds", "1", "--epochs", "2", "--workers", "1"]
ROW = r"rate (\d\.\d{5}): test loss (\d\.\d{4}) \((\d\.\d{4})\)(  <- best)?"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OPENBLAS_NUM_THREADS", "1")  # which the script sets for its workers


def rows(out: str, way: str) -> list[tuple[str, ...]]:
    head, last, *found, figure = out.splitlines()
    assert head == f"sweep: 3 rates and 1 seeds with {way}"
    assert figure.startswith("test loss of the best rate: ")
    assert re.fullmatch(r"3 trainings in \d+\.\d\d seconds", last)
    matched = [re.fullmatch(ROW, line) for line in found]
    assert all(matched), found
    return [match.groups() for match in matched if match]


def in_a_process(way: str, *options: str) -> str:
    """What a shell gets. The other library warns and logs as it likes there."""
    done = subprocess.run(
        [sys.executable, "-m", "fdezero.examples.sweep", "--with", way, *SMALL, *options],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def expected() -> list[float]:
    return [example.train(trial) for trial in trials()]


def trials() -> list[example.Trial]:
    return [example.Trial(rate, 0, 2) for rate in (1e-4, (1e-4 * 0.3) ** 0.5, 0.3)]


@pytest.mark.parametrize("way", ["threads", "vmap", "futures"])
def test_the_losses_are_those_of_one_process(way: str, expected: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    example.main(["--with", way, *SMALL])
    found = rows(capsys.readouterr().out, way)
    assert [float(row[2]) for row in found] == pytest.approx(expected, abs=6e-5)
    assert [row[3] is not None for row in found] == [loss == min(expected) for loss in expected]


def test_threads_of_joblib_run_the_same_trainings(expected: list[float]) -> None:
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config("threading"):  # processes of theirs start in seconds
        assert example.by_joblib(trials(), 2) == expected


@nightly
@pytest.mark.parametrize(("way", "module"), [("joblib", "joblib"), ("dask", "distributed"), ("ray", "ray")])
def test_other_libraries_run_the_same_trainings(way: str, module: str, expected: list[float]) -> None:
    pytest.importorskip(module)
    found = rows(in_a_process(way, *(["--workers", "2"] if way == "joblib" else [])), way)  # one worker of joblib is no process
    assert [float(row[2]) for row in found] == pytest.approx(expected, abs=6e-5)


def test_threads_give_the_same_bits_and_vmap_the_same_numbers(expected: list[float]) -> None:
    assert example.by_threads(trials(), 3) == expected
    assert example.by_vmap(trials(), 1) == pytest.approx(expected, rel=1e-4)
    assert len(example.train_step.recordings) == 1  # for all rates


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(example.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        example.main(["--with", "dask"])
    assert ended.value.code == 2
    assert "--with dask needs a package: pip install 'dask[distributed]'" in capsys.readouterr().err
