"""What `python -m fdezero doctor` says about MPI, NCCL and shared memory, on sound machines and on others."""

import importlib.metadata
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdezero.commands.helpers import processes
from fdezero.commands.helpers.findings import ABSENT, BAD, GOOD
from fdezero.distributed.launchers import launch_of
from tests.distributed.gpus import gpus
from tests.distributed.ranks import why_not

SOUND = json.dumps({"mpi4py": "4.1.2", "library": "MPICH 5.0.2", "cuda": ""})
ROOT = """-----------------------------------------------
prterun has detected an attempt to run as root.

Running as root is *strongly* discouraged."""
PMIX = """Abort(807): Fatal error in internal_Init_thread: Internal MPI error!, error stack:
check_MPIR_CVAR_PMI_VERSION(167):  Runtime environment uses unsupported PMI version PMIx. Aborting.
   Exit code:    16"""
ROWS = {
    "sound": ((0, SOUND, ""), (0, "ranks 2\n", ""), GOOD, "MPI: mpi4py 4.1.2 with MPICH 5.0.2, and /a/mpiexec starts ranks that find each other"),
    "no library": (
        (1, "", "Traceback (most recent call last):\n  File ...\nRuntimeError: cannot load MPI library"), None,
        BAD, "MPI: mpi4py does not start MPI (RuntimeError: cannot load MPI library): pip install 'fdezero[mpi]', or install Open MPI or MPICH",
    ),
    "two MPIs": ((0, SOUND, ""), (0, "ranks 1\nranks 1\n", ""), BAD, "of /a/mpiexec do not find each other: it belongs to another MPI. Take /venv/mpiexec"),
    "PMIx": ((0, SOUND, ""), (16, "", PMIX), BAD, "/a/mpiexec cannot start two ranks: check_MPIR_CVAR_PMI_VERSION(167):  Runtime environment uses unsupported PMI version PMIx"),
    "root": ((0, SOUND, ""), (1, "", ROOT), BAD, "/a/mpiexec cannot start two ranks: prterun has detected an attempt to run as root"),
    "a hang": ((0, SOUND, ""), (None, "", ""), BAD, "/a/mpiexec cannot start two ranks: it does not come back"),
}  # fmt: skip


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what commands answer, one after the other."""

    def let(*replies: Any) -> None:
        left = iter(replies)
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.1.2")
        monkeypatch.setattr(processes, "_run", lambda command: next(left))
        monkeypatch.setattr(processes.shutil, "which", lambda name, path=None: "/venv/mpiexec" if path else "/a/mpiexec")
        monkeypatch.setattr(processes, "launch_of", lambda: None)

    return let


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_mpi_has(row: Any, answers: Callable[..., None]) -> None:
    asked, met, mark, words = row
    answers(asked, met)
    found = next(iter(processes.several_processes()))
    assert found.mark == mark
    assert words in found.text


def test_no_mpi4py_and_no_mpiexec(monkeypatch: pytest.MonkeyPatch, answers: Callable[..., None]) -> None:
    answers((0, SOUND, ""))
    monkeypatch.setattr(processes.shutil, "which", lambda name, path=None: None)
    assert next(iter(processes.several_processes())) == (BAD, "MPI: mpi4py 4.1.2 with MPICH 5.0.2, but there is no mpiexec on the path: pip install 'fdezero[mpi]'")

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert list(processes.several_processes()) == [(ABSENT, "MPI: mpi4py is not installed: pip install 'fdezero[mpi]' for several processes")]


def test_a_small_shared_memory_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "SHARED", tmp_path)
    usage = types.SimpleNamespace(total=64e6, free=60e6)
    monkeypatch.setattr(processes.shutil, "disk_usage", lambda path: usage)
    (found,) = processes._shared()
    assert found.mark == BAD
    assert f"{tmp_path}, 60 MB free of 64. Ranks of one machine and NCCL need more: docker run --shm-size=1g" in found.text
    usage.free = usage.total = 16e9
    assert list(processes._shared()) == [(GOOD, f"shared memory: {tmp_path}, 16000 MB free of 16000")]
    monkeypatch.setattr(processes, "SHARED", tmp_path / "none")
    assert list(processes._shared()) == []


def test_what_gpus_have(monkeypatch: pytest.MonkeyPatch) -> None:
    with gpus("stand-in", count=3):
        assert [*processes._gpus("MPIX_Query_cuda_support() is 1")] == [
            (GOOD, "NCCL 2.27.7, for 3 ranks on this machine"),
            (GOOD, "MPI reads the memory of GPUs: MPIX_Query_cuda_support() is 1"),
        ]
        monkeypatch.setattr("tests.distributed.nccl_stand_in.available", False)
        nccl, mpi = processes._gpus("")
        assert nccl.mark == mpi.mark == ABSENT
        assert "pip install 'fdezero[nccl12]' or 'fdezero[nccl13]'" in nccl.text
        assert "arrays are copied through the host" in mpi.text


@pytest.mark.parametrize(
    ("beside", "threads", "bound", "said"),
    [
        (4, "2", 8, (GOOD, "")),
        (4, "", 2, (GOOD, "")),
        (4, "", 8, (BAD, ", and each of 4 ranks on this machine computes with 8 threads: set OPENBLAS_NUM_THREADS=2, or let mpiexec bind each rank to cores of its own")),
        (16, "2", 8, (BAD, ", and each of 16 ranks on this machine computes with 2 threads: set OPENBLAS_NUM_THREADS=1, or let mpiexec bind each rank to cores of its own")),
    ],
)  # fmt: skip
def test_the_launcher_is_named_and_crowded_cores_are_told(beside: int, threads: str, bound: int, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = launch_of({"PMI_RANK": "1", "PMI_SIZE": "16", "MPI_LOCALNRANKS": str(beside), "MPI_LOCALRANKID": "1"})
    monkeypatch.setattr(processes, "launch_of", lambda: found)
    monkeypatch.setattr(processes.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(processes, "cores_of_process", lambda: set(range(bound)))
    for name in processes.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    mark, words = said
    assert list(processes._launcher()) == [(mark, f"launcher: MPICH started this process as rank 1 of 16{words}")]


def test_a_run_within_a_run_does_not_join_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    script = "import os; print([name for name in ('PMI_RANK', 'SLURM_PROCID', 'OMPI_ALLOW_RUN_AS_ROOT') if name in os.environ])"
    assert processes._run([processes.sys.executable, "-c", script]) == (0, "['OMPI_ALLOW_RUN_AS_ROOT']\n", "")


def test_mpi_of_this_environment() -> None:
    if reason := why_not():
        pytest.skip(reason)
    mpi = next(found for found in processes.several_processes() if found.text.startswith("MPI: "))
    assert mpi.mark == GOOD, mpi
