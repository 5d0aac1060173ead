"""Logs: whole rows after a crash, no row twice after a resume, strict JSON, columns that come later, TensorBoard."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import training
from fdezero.errors import FileError, MissingExtraError, RangeError

FILES = ("run.csv", "run.jsonl")
files = pytest.mark.parametrize("name", FILES)


@files
def test_rows_come_back_as_they_were_written(name: str, tmp_path: Path) -> None:
    with training.open_log(tmp_path / name) as log:
        log(1, {"loss": np.float32(0.5), "note": 'a, "b"', "epoch": 1})
        log(np.int64(2), {"loss": 1e-300, "note": "ü", "epoch": np.int64(2)})
        log(np.array(3), {"loss": math.inf, "note": "", "epoch": 2, "matrix": np.eye(2)})
    first, second, third = training.read_log(str(tmp_path / name))
    assert first == {"step": 1, "loss": 0.5, "note": 'a, "b"', "epoch": 1}
    assert second == {"step": 2, "loss": 1e-300, "note": "ü", "epoch": 2}
    assert (third["step"], third["loss"], third["epoch"], "matrix" in third) == (3, math.inf, 2, False)
    assert (type(first["step"]), type(second["epoch"])) == (int, int)


@files
def test_a_row_is_in_the_file_at_once(name: str, tmp_path: Path) -> None:
    log = training.open_log(tmp_path / name)
    for step in range(3):
        log(step, {"loss": step / 2})
        assert training.read_log(tmp_path / name)[-1] == {"step": step, "loss": step / 2}
    log.close()
    log.close()


@files
def test_a_run_that_goes_on_has_no_row_twice(name: str, tmp_path: Path) -> None:
    with training.open_log(tmp_path / name) as log:
        for step in (10, 20, 30, 40):
            log(step, {"loss": 1.0})
    content = (tmp_path / name).read_bytes()
    with training.open_log(tmp_path / name) as log:
        log(50, {"loss": 2.0})
    assert (tmp_path / name).read_bytes().startswith(content)
    with training.open_log(tmp_path / name) as log:  # the checkpoint was of step 25
        for step in (30, 40):
            log(step, {"loss": 3.0})
    assert [(row["step"], row["loss"]) for row in training.read_log(tmp_path / name)] == [(10, 1.0), (20, 1.0), (30, 3.0), (40, 3.0)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@files
def test_the_log_of_another_run_is_kept_beside_the_new_one(name: str, tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        with training.open_log(tmp_path / name) as log:
            log(10, {"loss": loss})
    assert training.read_log(tmp_path / name) == [{"step": 10, "loss": 2.0}]
    (tmp_path / f"{name}~").rename(tmp_path / f"old-{name}")
    assert training.read_log(tmp_path / f"old-{name}") == [{"step": 10, "loss": 1.0}]


@files
@pytest.mark.parametrize("content", [b"my notes", b"\0\0\0", b"{"])
def test_a_file_of_one_line_that_is_no_log_is_not_written_over(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match="is no log"), training.open_log(tmp_path / name) as log:
        log(1, {"loss": 1.0})
    assert (tmp_path / name).read_bytes() == content


@files
def test_a_log_that_somebody_removed_begins_anew_with_the_next_column(name: str, tmp_path: Path) -> None:
    with training.open_log(tmp_path / name) as log:
        log(1, {"loss": 1.0})
        (tmp_path / name).unlink()
        log(2, {"loss": 1.0, "more": 2.0})
    assert not name.endswith(".csv") or training.read_log(tmp_path / name) == [{"step": 2, "loss": 1.0, "more": 2.0}]


@files
def test_a_row_that_was_cut_off_is_left_out_and_written_over(name: str, tmp_path: Path) -> None:
    with training.open_log(tmp_path / name) as log:
        for step in range(3):
            log(step, {"loss": 0.5, "note": "ä"})
    content = (tmp_path / name).read_bytes()
    for cut in range(1, 9):
        (tmp_path / name).write_bytes(content[:-cut])
        assert [row["step"] for row in training.read_log(tmp_path / name)] == [0, 1]
    with training.open_log(tmp_path / name) as log:
        log(2, {"loss": 0.5, "note": "ä"})
    assert (tmp_path / name).read_bytes() == content


CHILD = """
import itertools, sys
from fdezero import training
logs = [training.open_log(name) for name in sys.argv[1:]]
for step in itertools.count():
    for log in logs:
        log(step, {"loss": step / 3, "note": "x" * 50})
    if step == 200:
        print("go", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_leaves_whole_rows(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in FILES]
    with subprocess.Popen([sys.executable, "-c", CHILD, *map(str, paths)], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    for path in paths:
        assert path.read_bytes().endswith(b"\n")
        rows = training.read_log(path)
        assert [row["step"] for row in rows] == [*range(len(rows))]
        assert len(rows) > 200


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = training.CSVLog(tmp_path / "run.csv")
    log(0, {"loss": 0.5})
    write, parts = os.write, [3]

    def full(file: int, data: bytes) -> int:
        if not parts:
            raise OSError(28, "No space left on device")
        return write(file, data[: parts.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        log(1, {"loss": 0.5})
    monkeypatch.undo()
    log(1, {"loss": 0.25})
    log.close()
    assert training.read_log(tmp_path / "run.csv") == [{"step": 0, "loss": 0.5}, {"step": 1, "loss": 0.25}]


def test_json_lines_are_strict_json(tmp_path: Path) -> None:
    with training.JSONLinesLog(tmp_path / "run.jsonl") as log:
        log(1, {"loss": math.nan, "up": math.inf, "down": -math.inf, "on": True})
    line = (tmp_path / "run.jsonl").read_text()
    assert json.loads(line, parse_constant=lambda name: 1 / 0) == {"step": 1, "loss": None, "up": math.inf, "down": -math.inf, "on": True}
    (row,) = training.read_log(tmp_path / "run.jsonl")
    assert math.isnan(row["loss"])


def test_a_new_name_becomes_a_column(tmp_path: Path) -> None:
    with training.CSVLog(tmp_path / "run.csv") as log:
        log(1, {"loss": 1.0})
        log(1, {"accuracy": 0.5})
        log(2, {"loss": 2.0, "a\nb": "two\nlines"})
    assert (tmp_path / "run.csv").read_text() == "step,loss,accuracy,a b\n1,1.0,,\n1,,0.5,\n2,2.0,,two lines\n"
    pandas = pytest.importorskip("pandas")
    assert list(pandas.read_csv(tmp_path / "run.csv").columns) == ["step", "loss", "accuracy", "a b"]
    with training.CSVLog(tmp_path / "run.csv") as log:
        log(3, {"accuracy": math.nan})
    assert (tmp_path / "run.csv").read_text().endswith("3,,nan,\n")


@pytest.mark.parametrize(
    ("do", "kind", "message"),
    [
        (lambda folder: training.open_log(folder / "run.txt"), FileError, "write run.csv, run.jsonl, or a folder"),
        (lambda folder: training.CSVLog(folder / "none" / "run.csv"), FileError, "there is no folder .*none"),
        (lambda folder: training.CSVLog(folder), FileError, "is a folder, not a file"),
        (lambda folder: training.CSVLog(folder / "other.csv")(1, {"loss": 1.0}), FileError, "other.csv is no log"),
        (lambda folder: training.JSONLinesLog(folder / "other.csv")(1, {"loss": 1.0}), FileError, "other.csv is no log"),
        (lambda folder: training.CSVLog(folder / "run.csv")({"loss": 1.0}, 1), RangeError, r"the step and the values, log\(3, .*got dict"),
        (lambda folder: training.CSVLog(folder / "run.csv")(1.5, {"loss": 1.0}), RangeError, "got float 1.5"),
        (lambda folder: training.CSVLog(folder / "run.csv")(1, 0.5), RangeError, "a dict of numbers by name; got float 0.5"),
        (lambda folder: training.CSVLog(folder / "run.csv")(1, {"loss": None}), RangeError, "'loss' is NoneType"),
        (lambda folder: training.CSVLog(folder / "run.csv")(1, {"loss": training.Mean()}), RangeError, "'loss' is Mean"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(do: Any, kind: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("name,age\nAda,36\n")
    with pytest.raises(kind, match=message):
        do(tmp_path)
    assert (tmp_path / "other.csv").read_text() == "name,age\nAda,36\n"


def points(folder: Path) -> list[tuple[int, str, float]]:
    """What stands in the files of TensorBoard, in the order of writing."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.out.tfevents.*"), key=lambda file: file.stat().st_mtime_ns):
        data = file.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            found += [(event.step, "purge", 0.0)] if event.HasField("session_log") else []
            data = data[16 + length :]
    return found


def test_tensorboard_gets_a_point_for_each_number(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with training.open_log(tmp_path / "runs") as log:
        assert not (tmp_path / "runs").exists()
        log(10, {"loss": np.float32(0.5), "accuracy": 0.25, "note": "text", "matrix": np.eye(2)})
        log.writer.add_histogram("W", np.arange(5), 10)
    assert [p for p in points(tmp_path / "runs") if p[1] != "W"] == [(10, "loss", 0.5), (10, "accuracy", 0.25)]
    with training.TensorBoardLog(tmp_path / "runs") as log:
        log(10, {"loss": 1.0})
    later = points(tmp_path / "runs")
    assert [p for p in later if p[1] != "W"][2:] == [(10, "purge", 0.0), (10, "loss", 1.0)]


def test_points_of_a_program_that_ends_without_close_are_there(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    code = f"from fdezero import training; log = training.TensorBoardLog({str(tmp_path)!r}); log(1, {{'loss': 0.5}})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert points(tmp_path) == [(1, "loss", 0.5)]


def test_tensorboard_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fdezero\[log\]"'):
        training.open_log(tmp_path / "runs")


def test_a_file_is_no_folder_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    (tmp_path / "runs").touch()
    with pytest.raises(FileError, match="is a file, not a folder"):
        training.TensorBoardLog(tmp_path / "runs")


def test_nothing_is_loaded_before_it_is_used() -> None:
    code = "import sys, fdezero; fdezero.training.CSVLog; assert not {'tqdm', 'tensorboardX', 'matplotlib'} & {*sys.modules}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    assert fd.training.CSVLog is training.CSVLog
