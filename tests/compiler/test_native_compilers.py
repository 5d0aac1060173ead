"""The C++ compiler of native code: found, missing, failing, named with arguments, or without vector functions; what a process loads."""

import gc
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.native import compilers, libraries

from .program_checks import assert_same_bits
from .test_compile_native import X, named_cpp, native, pytestmark  # noqa: F401, the mark also skips these without a compiler

HAS_ZIG = importlib.util.find_spec("ziglang") is not None


def test_a_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(fd.errors.MissingExtraError, match=r"CXX='no-such-compiler' names none: 'no-such-compiler' is not on the path. Install one"):
        native(np.sin)


def test_without_any_compiler_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(fd.errors.MissingExtraError) as found:
        native(np.sin)
    told = str(found.value)
    for name in ("'c++'", "'g++'", "'clang++'", "ziglang is not installed", "pip install 'fdezero[native]'", "CXX"):
        assert name in told


@pytest.fixture
def compiler_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Write a shell script into a folder whose name has a space, and use it as the compiler; returns its path."""

    def make(script: str, cxx: str = "{}") -> Path:
        path = tmp_path / "a folder" / "compiler"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", cxx.format(path))
        return path

    return make


def test_a_compiler_that_fails(compiler_is: Any) -> None:
    path = compiler_is("echo 'unknown option -O3' >&2; exit 1")
    with pytest.raises(fd.errors.MissingExtraError, match=r"cannot make a library. It says: unknown option -O3") as found:
        native(np.sin)
    assert str(path) in str(found.value)


def test_a_compiler_that_fails_and_says_nothing(compiler_is: Any) -> None:
    compiler_is("exit 3")
    with pytest.raises(fd.errors.MissingExtraError, match=r"It says: nothing, and its exit status is 3\. Install one"):
        native(np.sin)


@named_cpp
def test_a_compiler_that_fails_later(compiler_is: Any, tmp_path: Path) -> None:
    compiler_is(f'if [ -e "{tmp_path}/full" ]; then echo "no space left" >&2; exit 1; fi; exec c++ "$@"')
    compiled = native(lambda x: x * 2.5 + 1)
    (tmp_path / "full").touch()
    compiled(X)  # the first call runs as written
    with pytest.raises(fd.errors.MissingExtraError, match=r"failed. It says: no space left"):
        compiled(X)


@named_cpp
@pytest.mark.parametrize("cxx", ["{}", "'{}'", "'{}' --marked", '"{}" --marked -DSPACE="a b"'])
def test_a_compiler_with_arguments(compiler_is: Any, cxx: str) -> None:
    """The value of CXX is a path, which may contain spaces, or a command as in a shell, such as `ccache g++`."""
    path = compiler_is('for word; do shift; [ "$word" = --marked ] || set -- "$@" "$word"; done; exec c++ "$@"', cxx)
    compiled = native(lambda x: (x + 0.5) * x)
    for _ in range(2):
        assert_same_bits(compiled(X), (X + 0.5) * X, cxx)
    more = [("--marked",)] * ("--marked" in cxx) + [("-DSPACE=a b",)] * ("SPACE" in cxx)
    assert compilers.compiler().command == (str(path), *sum(more, ()))


@named_cpp
def test_a_compiler_without_vectors(compiler_is: Any) -> None:
    """Without vector functions the results are the same, one number at a time."""
    compiler_is('case "$*" in *VECTOR*|*veclib*) exit 1;; esac; exec c++ "$@"')
    f = lambda x: np.exp(x) * np.sin(x) - np.tanh(x * 3)
    compiled = native(f)
    for _ in range(3):
        np.testing.assert_allclose(compiled(X), f(X), rtol=1e-13)
    assert compilers.compiler().form == "native"


@pytest.mark.skipif(not HAS_ZIG, reason="the package ziglang is not installed")
def test_zig_is_found_where_there_is_no_other_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    f = lambda x: np.exp(x) * np.sin(x) - np.tanh(x * 3)
    compiled = native(f)
    for _ in range(3):
        np.testing.assert_allclose(compiled(X), f(X), rtol=1e-13)
    assert Path(compilers.compiler().command[0]).stem == "zig"
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.delenv("ZIG_GLOBAL_CACHE_DIR", raising=False)
    g = lambda x: x * 2.5 + 1.5
    compiled = native(g)
    assert all(np.array_equal(compiled(X), g(X)) for _ in range(2)), "a home that cannot be written to"


@named_cpp
def test_another_compiler_comes_before_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    assert compilers.compiler().command == (shutil.which("c++"),)


def test_the_first_call_runs_as_written_and_compiles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = subprocess.run
    compilers.compiler()
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (calls.append(a), run(*a, **k))[1])
    compiled = native(lambda x: (x * 1.25 + 0.125) * x)
    for _ in range(4):
        assert_same_bits(compiled(X), (X * 1.25 + 0.125) * X, "a call")
    assert len(calls) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of loaded libraries from /proc")
def test_libraries_are_unloaded_when_no_program_needs_them() -> None:
    def loaded() -> int:
        gc.collect()
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        return len({line.split()[4] for line in lines if "/library.so" in line})

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
