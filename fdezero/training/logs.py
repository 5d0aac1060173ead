"""Logs: numbers by step, in a CSV file, in a file of JSON lines, or for TensorBoard. A log is any function of (step, values).

A file is made for runs that are killed and resumed. A row is written by one call of the system, so a killed run leaves whole rows. A
run that goes on from an earlier step replaces the rows from there on, so no row is there twice.
"""

import csv
import io
import json
import math
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..errors import FileError, MissingExtraError, RangeError
from ..io.files import write_whole
from ..messages import describe

__all__ = ["CSVLog", "JSONLinesLog", "TensorBoardLog", "open_log", "read_log"]

Values = Mapping[str, Any]


def open_log(path: Any, *, world: Any = None) -> "CSVLog | JSONLinesLog | TensorBoardLog | NoLog":
    """The log of this name: `run.csv`, `run.jsonl`, or a folder for TensorBoard, whose name has no ending.

    With `world` rank 0 alone writes. The other ranks get a log that they may call, and that does nothing.
    """
    if world is not None and world.rank:
        return NoLog()
    ending = Path(path).suffix.lower()
    if ending not in LOGS:
        raise FileError(f"no log has the ending {ending}: write run.csv, run.jsonl, or a folder without an ending.")
    return LOGS[ending](path)


class _Log:
    """What all logs share: they are called with a step and values, and closed; `with` closes them."""

    def __call__(self, step: Any, values: Values) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class NoLog(_Log):
    """The log of ranks that do not write."""

    def __call__(self, step: Any, values: Values) -> None:
        """Check the row, and forget it."""
        step_of(step), numbers(values)


class _FileLog(_Log):
    """Rows in a file that is opened by the first row, when it is known which rows of an earlier run stay."""

    def __init__(self, path: Any) -> None:
        self.path, self._name = Path(os.path.abspath(os.path.expanduser(path))), path
        if not self.path.parent.is_dir():
            raise FileError(f"{path}: there is no folder {self.path.parent} for the log.")
        if self.path.is_dir():
            raise FileError(f"{path} is a folder, not a file for a log.")
        self._file: int | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def __call__(self, step: Any, values: Values) -> None:
        """Write a row: the step, then numbers and texts by name. Arrays of several entries are left out."""
        row = {"step": step_of(step), **numbers(values)}
        if self._file is None:
            earlier = _rows(self.path, self._name) if self.path.exists() else []
            kept = [old for old in earlier if old["step"] < row["step"]]
            if earlier and not kept:  # another run: its log is not lost
                os.replace(self.path, f"{self.path}~")
            self._open(kept, row)
        self._append(self._line(row).encode())

    def _open(self, rows: list[dict[str, Any]], new: dict[str, Any]) -> None:
        """Let the file have these rows, and open it to write behind them."""
        data = self._text(rows, new).encode()
        if not self.path.exists() or self.path.read_bytes() != data:
            write_whole(self.path, lambda file: file.write(data))
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        size = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except BaseException:  # a full disk may have taken a part of the row
            os.ftruncate(self._file, size)
            raise

    def _text(self, rows: list[dict[str, Any]], new: dict[str, Any]) -> str:
        """The file with these rows, before a new one."""
        return "".join(map(self._line, rows))

    def _line(self, row: dict[str, Any]) -> str:
        raise NotImplementedError

    def close(self) -> None:
        """Close the file. The next row opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class CSVLog(_FileLog):
    """Rows in a CSV file: `log = CSVLog("run.csv")`, then `log(step, {"loss": 0.5})`. A new name becomes a new column.

    Raises FileError if the file exists and is no log.
    """

    _columns: list[str]

    def __call__(self, step: Any, values: Values) -> None:
        """Write a row, as `JSONLinesLog` does. If there is a new name, the file is written again with a further column."""
        row = {"step": step_of(step), **numbers(values)}
        if self._file is not None and any(name not in self._columns for name in row):
            self.close()
            self._open(_rows(self.path, self._name) if self.path.exists() else [], row)
        super().__call__(step, values)

    def _text(self, rows: list[dict[str, Any]], new: dict[str, Any]) -> str:
        self._columns = list(dict.fromkeys(name for row in (*rows, new) for name in row))
        return _csv_line(self._columns) + super()._text(rows, new)

    def _line(self, row: dict[str, Any]) -> str:
        return _csv_line(["" if (value := row.get(name)) is None else value for name in self._columns])


def _csv_line(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([" ".join(str(value).splitlines()) for value in values])
    return text.getvalue()


class JSONLinesLog(_FileLog):
    """Rows as lines of JSON: `log = JSONLinesLog("run.jsonl")`, then `log(step, {"loss": 0.5})`.

    JSON has no NaN, so NaN becomes null, and an infinity 1e999, which programs read as infinity. Raises FileError if the file exists and
    is no log.
    """

    def _line(self, row: dict[str, Any]) -> str:
        pairs = [f"{json.dumps(name)}: {_json(value)}" for name, value in row.items()]
        return "{" + ", ".join(pairs) + "}\n"


def _json(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "null" if math.isnan(value) else "1e999" if value > 0 else "-1e999"
    return json.dumps(value)


class TensorBoardLog(_Log):
    """Curves for TensorBoard, in a folder: `log = TensorBoardLog("runs/a")`. `log.writer` is the writer of tensorboardX, for images
    and histograms. A thread writes the points within ten seconds.

    Raises MissingExtraError if tensorboardX is not installed.
    """

    def __init__(self, folder: Any) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtraError('TensorBoardLog needs tensorboardX: pip install "fdezero[log]".') from error
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        if self.folder.is_file():
            raise FileError(f"{folder} is a file, not a folder for TensorBoard.")
        self._make, self._writer = SummaryWriter, None  # made by the first point, which says where a run goes on

    def __repr__(self) -> str:
        return f"TensorBoardLog({str(self.folder)!r})"

    def writer_from(self, step: int) -> Any:
        """The writer; the first call says at which step a run goes on: later points of an earlier run disappear."""
        if self._writer is None:
            goes_on = self.folder.is_dir() and any(self.folder.glob("events.out.tfevents.*"))
            options = {"purge_step": step if goes_on else None, "flush_secs": 10}
            suffix = f".{os.urandom(4).hex()}"  # the name has seconds: two runs in one second would share a file
            writer = self._make(str(self.folder), filename_suffix=suffix, **options)
            weakref.finalize(self, writer.close)  # its thread would not outlive a program that forgets to close
            self._writer = writer
        return self._writer

    @property
    def writer(self) -> Any:
        """tensorboardX's SummaryWriter."""
        return self.writer_from(0)

    def __call__(self, step: Any, values: Values) -> None:
        """Add a point to the curve of each number. Texts and arrays are left out."""
        writer = self.writer_from(step_of(step))
        for name, value in numbers(values).items():
            if not isinstance(value, str):
                writer.add_scalar(name, float(value), step_of(step))
        writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


LOGS: dict[str, Callable[[Any], Any]] = {
    ".csv": CSVLog, ".jsonl": JSONLinesLog, ".ndjson": JSONLinesLog, "": TensorBoardLog,
}  # fmt: skip


def step_of(step: Any) -> int:
    """The number of a step. Raises RangeError for what is none."""
    if (
        np.ndim(step)
        or isinstance(step, bool)
        or not isinstance(step, int | float | np.generic | np.ndarray)
        or int(step) != step
    ):
        raise RangeError(
            f"a log is called with the step and the values, log(3, {{'loss': 0.5}}); got {describe(step)}."
        )
    return int(step)


def numbers(values: Values) -> dict[str, Any]:
    """Numbers as Python's, and texts, by name; arrays of several entries are left out. Raises RangeError for anything else."""
    if not isinstance(values, Mapping):
        raise RangeError(f"a log is called with the step and a dict of numbers by name; got {describe(values)}.")
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name == "step" or np.ndim(value):
            continue
        if hasattr(value, "item"):
            value = value.item()
        if not isinstance(value, int | float | str):
            raise RangeError(f"a log takes numbers and texts, but {name!r} is {describe(value)}.")
        found[" ".join(str(name).splitlines())] = value
    return found


def read_log(path: Any) -> list[dict[str, Any]]:
    """The rows of a CSV file or of JSON lines, with numbers as numbers. A row that was cut off by a crash is left out.

    Raises FileError for a file that is no log.
    """
    return _rows(Path(path), path)


def _rows(place: Path, name: Any) -> list[dict[str, Any]]:
    data = place.read_bytes()
    try:
        text = data[: data.rfind(b"\n") + 1].decode()
        if data and not text and not data.startswith(b'{"step": '):  # no first row that was cut off: it is not a log's
            raise ValueError("no line")
        if place.suffix.lower() == ".csv":
            rows = [
                {column: _number(value) for column, value in row.items() if value != ""}
                for row in csv.DictReader(io.StringIO(text), strict=True)
            ]
        else:
            found = map(json.loads, text.splitlines())
            rows = [{key: math.nan if value is None else value for key, value in row.items()} for row in found]
        if all(isinstance(row["step"], int) for row in rows):
            return rows
    except (ValueError, KeyError, AttributeError, TypeError, csv.Error):
        pass
    raise FileError(f"{name} is no log: each row needs a whole number as its step. Choose another file.")


def _number(text: Any) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
