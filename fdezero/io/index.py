"""The list of the checkpoints in a folder: `checkpoints.json`, with a line for each, in the order in which they were written.

The list changes under a lock and is replaced whole, so readers need no lock. A checkpoint that the list lacks, because a process was
killed between two files or somebody removed the list, is found by its name.
"""

import contextlib
import json
import math
import os
import re
import sys
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..devices import to_numpy
from ..errors import CheckpointWarning, DTypeError, FileError
from ..messages import describe
from .files import fcntl, write_whole

NAME = "checkpoints.json"
FILE = re.compile(r"step-(\d+)\.(npz|safetensors)")
PATIENCE = 30  # seconds to wait for the lock, which is held for milliseconds; a child of a killed process may have inherited it
CHUNK = 1 << 20
MOST = 1000  # entries of a metric that is an array
NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no words for them


@attrs.frozen
class Checkpoint:
    """A checkpoint: its step, its metrics, its file, and when and by which version it was written."""

    step: int
    metrics: Mapping[str, Any]
    path: Path
    time: str = ""
    fdezero: str = ""
    bytes: int | None = None  # None, and so for the next, if the list lacks the file
    crc32: str | None = None
    run: str = attrs.field(default="", repr=False)  # what wrote it: one instance of Checkpoints


def read(folder: Path) -> list[Checkpoint]:
    """The checkpoints of a folder, the last one written last; none if there is no such folder."""
    try:
        names = {name for name in os.listdir(folder) if FILE.fullmatch(name)}
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise FileError(
            f"{folder} is no folder for checkpoints: a file has this name, or that of a folder above."
        ) from None
    by_name: dict[str, Checkpoint] = {}
    for found in _listed(folder):
        by_name.pop(found.path.name, None)  # in a list that was edited, the last line of a file counts
        if found.path.name in names:
            by_name[found.path.name] = found
    listed = list(by_name.values())
    newest = _age(listed[-1].path) if listed else 0.0
    others = sorted((_age(folder / name), name) for name in names - {found.path.name for found in listed})
    before, after = (
        [_unlisted(folder / name) for age, name in others if (age > newest) is new] for new in (False, True)
    )
    return [*before, *listed, *after]


def _listed(folder: Path) -> list[Checkpoint]:
    """What the list says. A list that cannot be read counts as empty, with a warning."""
    path = folder / NAME
    try:
        entries = json.loads(path.read_bytes())["checkpoints"]
        return [_entry(folder, entry) for entry in entries if FILE.fullmatch(entry["file"])]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IsADirectoryError) as error:
        message = (
            f"{path} is damaged ({error}): the checkpoints beside it are found by their names, without their metrics."
        )
        warnings.warn(CheckpointWarning(message), stacklevel=2)
        return []


def _entry(folder: Path, entry: Mapping[str, Any]) -> Checkpoint:
    metrics = {str(name): _read(value) for name, value in entry.get("metrics", {}).items()}
    when, version, run = (str(entry.get(name, "")) for name in ("time", "fdezero", "run"))
    return Checkpoint(
        int(entry["step"]), metrics, folder / entry["file"], when, version, entry.get("bytes"), entry.get("crc32"), run
    )


def _unlisted(path: Path) -> Checkpoint:
    (number, _), when = FILE.fullmatch(path.name).groups(), time.gmtime(_age(path))  # type: ignore[union-attr]  # it matched
    return Checkpoint(int(number), {}, path, time.strftime("%Y-%m-%dT%H:%M:%SZ", when))


def _age(path: Path) -> float:
    """When a file was written, in seconds; 0 if another process has removed it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def write(folder: Path, checkpoints: list[Checkpoint]) -> None:
    """Replace the list."""
    lines = []
    for found in checkpoints:
        entry = {
            "step": found.step,
            "file": found.path.name,
            "metrics": {k: _written(v) for k, v in found.metrics.items()},
        }
        entry |= {name: getattr(found, name) for name in ("bytes", "crc32", "time", "fdezero", "run")}
        lines.append(json.dumps(entry, allow_nan=False))
    text = '{"format": 1, "checkpoints": [\n' + ",\n".join(lines) + "\n]}\n"
    write_whole(folder / NAME, lambda file: file.write(text.encode()))


def _written(value: Any) -> Any:
    if isinstance(value, list):
        return [_written(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(part) for part in value]
    return NUMBERS.get(value, value) if isinstance(value, str) else value


def version() -> str:
    """The version of fdezero."""
    return str(sys.modules[__package__.partition(".")[0]].__version__)


def plain(metrics: Mapping[str, Any] | None, prefix: str = "") -> dict[str, Any]:
    """Metrics as Python numbers by their paths, arrays as lists. A metric with a method `result` counts by its result.

    Raises DTypeError for anything else.
    """
    found: dict[str, Any] = {}
    for name, value in (metrics or {}).items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= plain(value, f"{path}/")
            continue
        array = np.asarray(to_numpy(value.result() if callable(getattr(value, "result", None)) else value))
        if (array.dtype.kind not in "biuf" and not np.can_cast(array.dtype, np.float64)) or array.size > MOST:
            raise DTypeError(
                f"the metric {path} is {describe(value)}: the list of checkpoints holds numbers, and arrays of up to {MOST} numbers. "
                "Leave it out, or put it into the state."
            )
        found[path] = array.astype(float).tolist() if array.dtype.kind not in "biuf" else array.tolist()
    return found


def checksum(descriptor: int) -> tuple[int, str]:
    """The bytes of an open file, and their CRC-32: the checksum of zip files, which costs half of the time of SHA-256."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    size = number = 0
    while data := os.read(descriptor, CHUNK):
        size, number = size + len(data), zlib.crc32(data, number)
    return size, f"{number:08x}"


def damage(found: Checkpoint) -> str:
    """What is wrong with the file of a checkpoint; empty if its bytes are those that were written, or nobody knows them."""
    if found.crc32 is None:
        return ""
    with open(found.path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size != found.bytes:
            return f"it has {size:,} bytes, and {found.bytes:,} were written"
        number = checksum(file.fileno())[1]
        return (
            "" if number == found.crc32 else f"its checksum is {number}, and that of what was written is {found.crc32}"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes and threads from changing the list. Where the system has no locks, the last one wins."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    break
                time.sleep(0.002)
            except OSError:  # some network file systems
                break
            else:
                break
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # said aloud, because a forked child may hold the descriptor also
        os.close(descriptor)
