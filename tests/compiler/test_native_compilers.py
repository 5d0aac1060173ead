"""The C++ compiler of native loops: missing, failing, or without vector functions; the number of its runs, and its libraries."""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.native import libraries

from .program_checks import assert_same_bits
from .test_compile_native import X, native, pytestmark  # noqa: F401, the mark also skips these without a compiler


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(fd.errors.MissingExtraError, match="'no-such-compiler' is not on the path. Install one"):
        native(np.sin)


@pytest.fixture
def compiler_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """Use a shell script as the compiler; returns its path."""

    def make(script: str) -> str:
        path = tmp_path / "compiler"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return str(path)

    return make


def test_a_compiler_that_fails(compiler_is: Any) -> None:
    compiler_is("echo 'unknown option -O3' >&2; exit 1")
    with pytest.raises(fd.errors.MissingExtraError, match="unknown option -O3"):
        native(np.sin)


def test_a_compiler_without_vectors(compiler_is: Any) -> None:
    """A compiler like Clang gives the same results, one number at a time."""
    path = compiler_is('case "$*" in *VECTOR*) exit 1;; esac; exec c++ "$@"')
    f = lambda x: np.exp(x) * np.sin(x) - np.tanh(x * 3)
    compiled = native(f)
    for _ in range(3):
        np.testing.assert_allclose(compiled(X), f(X), rtol=1e-13)
    assert libraries.compiler() == (path, (libraries.NATIVE,))


def test_the_first_call_runs_as_written_and_compiles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (calls.append(a), run(*a, **k))[1])
    compiled = native(lambda x: (x * 1.25 + 0.125) * x)
    for _ in range(4):
        assert_same_bits(compiled(X), (X * 1.25 + 0.125) * X, "a call")
    made = sum("loops" in str(call) for call in calls)
    assert 1 <= made <= 2, "the program, and the probe if no test before this one has made it"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of loaded libraries from /proc")
def test_libraries_are_unloaded_when_no_program_needs_them() -> None:
    def loaded() -> int:
        gc.collect()
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        return len({line.split()[4] for line in lines if "/loops.so" in line})

    libraries._library.cache_clear()
    before = loaded()
    functions = [native(lambda x, a=a: (x * a + a) * x) for a in (0.25, 0.75, 1.75)]
    for f in functions:
        f(X), f(X)
    assert loaded() == before + 3
    libraries._library.cache_clear()  # as if 256 other libraries had come since
    assert loaded() == before + 3
    assert_same_bits(f(X), (X * 1.75 + 1.75) * X, "a call after the cache is empty")
    del f, functions[1:]
    assert loaded() == before + 1
    functions[0].clear()
    assert loaded() == before
    assert_same_bits(functions[0](X), (X * 0.25 + 0.25) * X, "a call after clear")
