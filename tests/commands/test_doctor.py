"""`python -m fdezero doctor`: a line for each part of the machine, and what to do where a part is missing or broken."""

import argparse
import importlib.metadata
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdezero.commands import doctor
from fdezero.errors import MissingExtraError

ROOT = Path(__file__).parents[2]


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, str]]:
    """The exit status, and each line by its first word, without the colon."""
    status = doctor.run(argparse.Namespace())
    lines = capsys.readouterr().out.splitlines()
    assert all(line[:4] in ("ok  ", "--  ", "!!  ") for line in lines)
    return status, {line[4:].split()[0].rstrip(":"): line for line in lines}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SIZE", 64)
    monkeypatch.setattr(doctor, "several_processes", lambda: iter(()))  # tests of its own start MPI


def test_a_sound_machine_has_a_line_for_each_part(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.delenv("CXX", raising=False)
    (tmp_path / "file").write_bytes(bytes(3_000_000))
    _, lines = report(capsys)
    assert lines["numpy"] == f"ok  numpy {np.__version__}"
    assert lines["cache"] == f"ok  cache: {tmp_path}, 3 MB"
    assert "GFLOP/s in a product" not in lines["BLAS"]
    assert lines["BLAS"].startswith("ok  BLAS: ")
    assert lines["BLAS"].endswith("(OPENBLAS_NUM_THREADS=1)")
    assert f"Python {sys.version.split()[0]}" in lines["fdezero"]
    assert {"compiler", "attrs", "optree", "packages"} <= set(lines)


def test_too_many_threads_are_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5000")
    status, lines = report(capsys)
    assert status == 1
    assert lines["BLAS"].startswith("!!")
    assert f"set OMP_NUM_THREADS={doctor._cores()}" in lines["BLAS"]


def test_a_compiler_that_is_named_and_missing_is_a_fault_and_none_at_all_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    status, lines = report(capsys)
    assert status == 1
    assert "'no-such-compiler' is not on the path" in lines["compiler"]
    monkeypatch.delenv("CXX")

    def missing() -> Any:
        raise MissingExtraError("there is none: pip install 'fdezero[native]'.")

    monkeypatch.setattr(doctor, "compiler", missing)
    assert report(capsys)[1]["compiler"] == "--  compiler: there is none: pip install 'fdezero[native]'"


def test_a_cache_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "file" / "below"))
    status, lines = report(capsys)
    assert status == 1
    assert "cannot be written, so nothing is kept: set FDEZERO_CACHE" in lines["cache"]


def test_an_old_or_missing_package_is_told_with_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    usual = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: {"numpy": "1.26.4", "tqdm": "", "optree": ""}.get(name) if name in ("numpy", "tqdm", "optree") else usual(name))
    status, lines = report(capsys)
    assert status == 1
    assert lines["numpy"] == "!!  numpy 1.26.4: pip install 'numpy>=2.0'"
    assert lines["optree"] == "!!  optree is missing: pip install 'optree>=0.13'"
    assert lines["tqdm"] == "--  tqdm: pip install 'fdezero[progress]' if you need it"


def test_a_gpu_that_is_installed_and_does_not_work_is_a_fault(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "why_no_gpu", lambda: "CuPy is installed, but the driver shows no GPU.")
    for names, mark in (((), "--"), (("cupy-cuda12x",), "!!")):
        monkeypatch.setattr(importlib.metadata, "distributions", lambda names=names: [types.SimpleNamespace(name=name) for name in names])
        assert report(capsys)[1]["GPU"] == f"{mark}  GPU: CuPy is installed, but the driver shows no GPU"


def test_devices_are_listed(strict_cupy: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = strict_cupy.cuda.runtime
    facts = {"name": b"NVIDIA H200", "totalGlobalMem": 150_000_000_000}
    for name, answer in {"driverGetVersion": 13010, "runtimeGetVersion": 12090, "getDeviceProperties": facts}.items():
        monkeypatch.setattr(runtime, name, lambda *index, answer=answer: answer, raising=False)
    assert report(capsys)[1]["gpu:0"] == "ok  gpu:0: NVIDIA H200, 150 GB, CuPy 14.2.0, driver for CUDA 13.1, CUDA 12.9"


def test_an_error_while_looking_is_a_finding(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise OSError("no such thing\nand more")

    monkeypatch.setattr(doctor, "why_no_gpu", broken)
    status, lines = report(capsys)
    assert status == 1
    assert lines["gpu"] == "!!  gpu: OSError: no such thing"


def test_the_extras_named_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for package, extra in doctor.EXTRAS.items():
        assert any(line.lower().startswith(package.lower()) for line in extras[extra]), (package, extra)
