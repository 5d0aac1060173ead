"""A run on several ranks that is killed and started again ends with the bits of a run that was not."""

import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

import fdezero as fd

from ..io.test_io_saving import posix
from ..profiles import NIGHTLY
from .ranks import ROOT, end, on_ranks, started, why_not
from .resumed import run

SIZE, KILLS = 2, 20 if NIGHTLY else 1
ENDING = 20.0  # seconds in which the launcher ends the other ranks; a busy machine needs some


def killed(folder: Path, rank: int, steps: int, delay: float) -> None:
    """Start a run, and kill one of its ranks when it has made some steps."""
    points = folder / "steps"
    points.touch()
    done = points.stat().st_size
    with tempfile.TemporaryFile("w+") as said:
        process = started(SIZE, ["-m", "tests.distributed.resumed", str(folder), "1000000"], ROOT, said, said, {})
        try:
            until = time.monotonic() + 60
            while points.stat().st_size < done + steps and process.poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(delay)
            os.kill(int((folder / f"pid-{rank}").read_text()), signal.SIGKILL)
            code = process.wait(ENDING)
        finally:
            end(process)
        said.seek(0)
        assert code == 9, said.read()


@on_ranks(SIZE)
def goes_on(world: Any, folder: Path, steps: int) -> None:
    (folder / f"end-{world.rank}").write_text(" ".join(map(str, run(world, folder, steps))))


def finished(folder: Path, steps: int) -> tuple[int, str]:
    """Where a run up to a step began, and its digest. The ranks of the pool are as new as those of a launch."""
    goes_on(size=SIZE, folder=folder, steps=steps)
    (ended,) = {(folder / f"end-{rank}").read_text() for rank in range(SIZE)}  # all ranks say the same
    began, found = ended.split()
    return int(began), found


@posix
def test_a_run_whose_ranks_are_killed_has_the_bits_of_one_that_went_through(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    rng = random.Random(0)
    whole, again = tmp_path / "whole", tmp_path / "again"
    whole.mkdir()
    again.mkdir()
    for number in range(KILLS):
        killed(again, number % SIZE, rng.randint(1, 20), rng.uniform(0, 0.03))
    last = fd.io.Checkpoints(again).latest()
    steps = (last.step if last is not None else 0) + 5
    began, found = finished(again, steps)
    assert began == steps - 5 > 0, "the kills came before any checkpoint"
    assert found == finished(whole, steps)[1]
