"""Libraries kept on disk: a second start compiles nothing, and nothing is loaded that somebody else could have written."""

import os
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import native
from fdezero.errors import CacheWarning
from fdezero.native import compilers, disk, identity, libraries
from fdezero.native.preamble import preamble

from ..compiler.test_compile_native import named_cpp, pytestmark  # noqa: F401, the mark also skips these without a compiler

SOURCE = 'extern "C" long long answer() { return %d; }'


def answer(number: int = 42) -> int:
    """The number that a library with this source returns."""
    return int(native.function_of(native.library(SOURCE % number), "answer", [], "i")())


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a cache that is switched on, and does not exist yet."""
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FDEZERO_NATIVE_CACHE")
    monkeypatch.setattr(disk, "_said", set())
    # Each test begins with a probe. One that calls no functions is compiled in half the time.
    monkeypatch.setattr(compilers, "_probing", lambda: 'extern "C" void probe(float *x, double *y) {}')
    return tmp_path / "cache" / "native"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Begin as a new process does; `runs()` is how often a program was started since, and begins again."""
    started: list[Any] = []
    popen = subprocess.Popen.__init__
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda self, *a, **k: (started.append(a), popen(self, *a, **k))[1])

    def again() -> int:
        count = len(started)
        started.clear()
        libraries._library.cache_clear()
        compilers._found.cache_clear()
        return count

    again()
    yield again
    again()


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so"))


def test_a_second_start_compiles_nothing(folder: Path, runs: Callable[[], int]) -> None:
    f = lambda x: np.sqrt(np.abs(x) + 1) * x
    x = np.linspace(-1, 1, 12)
    for start in range(3):
        compiled = fd.compile(f, native=True)
        assert all(np.array_equal(compiled(x), f(x)) for _ in range(3))
        assert (runs() == 0) == (start > 0), "the probe and the program, and then nothing"
    assert len(kept(folder)) == 1
    assert {path.suffix for path in folder.iterdir()} == {".so", ".note"}


def test_a_new_interpreter_loads_no_subprocess_module(folder: Path) -> None:
    code = f"""
        import sys
        from fdezero import native
        print(native.function_of(native.library({SOURCE % 3!r}), "answer", [], "i")(), "subprocess" in sys.modules)
    """
    ran = [subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert [line.split() for line in ran] == [["3", "True"], ["3", "False"]]


def test_lines_of_the_users_files_make_no_difference(folder: Path, runs: Callable[[], int]) -> None:
    for comment in ("", "  // train.py:17", "// train.py:18 /* \\"):
        assert native.function_of(native.library(f"{SOURCE % 5}{comment}\n"), "answer", [], "i")() == 5
    assert len(kept(folder)) == 1


@named_cpp
def test_what_a_library_depends_on_is_in_its_key(folder: Path, runs: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "compiler"
    script.write_text('#!/bin/sh\nexec c++ "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert (answer(), runs() > 0, answer(), runs()) == (42, True, 42, 0)
    changes: list[Callable[[], Any]] = [
        lambda: script.write_text('#!/bin/sh\nexec  c++ "$@"\n'),
        lambda: os.utime(script, (1, 1)),
        lambda: monkeypatch.setenv("CXX", f"{script} -g0"),
        lambda: monkeypatch.setattr(compilers, "OPTIONS", [*compilers.OPTIONS, "-g0"]),
        lambda: monkeypatch.setattr(identity, "processor", lambda: "another one"),
        lambda: monkeypatch.setattr(identity, "_system", lambda: "another C library"),
        lambda: monkeypatch.setattr(compilers, "preamble", lambda own=False: f"{preamble(own)}\n// another size of an object's head"),
    ]
    for number, change in enumerate(changes, 2):
        change()
        assert (answer(), runs() > 0, len(kept(folder))) == (42, True, number)
    assert (answer(), runs()) == (42, 0)


def test_damaged_files_are_made_anew(folder: Path, runs: Callable[[], int]) -> None:
    answer()
    (place,) = kept(folder)
    whole = place.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for data in (b"", whole[:1], whole[: len(whole) // 2], whole[:-1], bytes(flipped), whole + b"\0"):
        runs()
        damaged = folder / "damaged"
        damaged.write_bytes(data)
        damaged.chmod(0o600)
        for path in kept(folder):
            path.unlink()  # another compilation may have given other bytes
        damaged.replace(place)  # the library of before stays loaded
        assert (answer(), runs()) == (42, 1)
        assert kept(folder)[-1].read_bytes()[:4] == whole[:4]
    for path in kept(folder):
        path.unlink()
    (folder / place.name).mkdir()
    assert (answer(), runs()) == (42, 1)


def test_a_whole_file_that_is_no_library_is_made_anew(folder: Path, runs: Callable[[], int]) -> None:
    answer()
    (place,) = kept(folder)
    place.unlink()
    key = place.name.partition("-")[0]
    (folder / f"{key}-{disk.checksum(b'no library')}.so").write_bytes(b"no library")
    runs()
    assert (answer(), runs()) == (42, 1)
    assert (answer(), runs()) == (42, 0)


def test_an_unknown_note_is_not_believed(folder: Path, runs: Callable[[], int]) -> None:
    answer()
    for note in folder.glob("*.note"):
        note.rename(folder / f"{note.name.partition('-')[0]}-$(reboot).note")
    runs()
    assert answer() == 42
    assert runs() > 0


def test_the_folder_is_its_owners_alone(folder: Path, runs: Callable[[], int]) -> None:
    before = os.umask(0)
    try:
        answer()
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o022 == 0
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


HOSTILE: list[tuple[str, Callable[[Path, pytest.MonkeyPatch], Any]]] = [
    ("other users may write into .*native", lambda folder, _: folder.chmod(0o720)),
    ("other users may write into .*native", lambda folder, _: folder.chmod(0o1777)),
    ("other users may write into .*cache", lambda folder, _: folder.parent.chmod(0o770)),
    ("it is a symbolic link", lambda folder, _: (folder.rename(folder.parent / "real"), folder.symlink_to("real"))),
    ("it is not a folder", lambda folder, _: (folder.rename(folder.parent / "real"), folder.write_text(""))),
    ("it belongs to another user", lambda folder, patch: patch.setattr(os, "geteuid", lambda: 12345)),
]


@pytest.mark.parametrize(("reason", "change"), HOSTILE)
def test_a_folder_that_others_could_write_to_is_not_used(folder: Path, runs: Callable[[], int], monkeypatch: pytest.MonkeyPatch, reason: str, change: Any) -> None:
    """Not even a library is loaded that lies there with the right key and the right checksum."""
    answer(42)
    right = kept(folder)[0].name.partition("-")[0]
    answer(666)
    planted = next(path for path in kept(folder) if not path.name.startswith(right))
    planted = planted.rename(folder / f"{right}-{planted.name.partition('-')[2]}")
    for path in kept(folder):
        if path != planted:
            path.unlink()
    runs()
    assert answer(42) == 666, "the attack works where the folder is trusted"
    runs()
    change(folder, monkeypatch)
    before = sorted(folder.parent.rglob("*"))
    with pytest.warns(CacheWarning, match=rf"because {reason}\. Every start") as said:
        assert answer(42) == 42
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (answer(7), runs() > 0) == (7, True), "it is said once"
    assert sorted(folder.parent.rglob("*")) == before


def test_a_warning_that_is_an_error_comes_from_compile_itself(folder: Path, runs: Callable[[], int]) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    f = lambda x: (x + 1.5) * x
    with pytest.raises(CacheWarning):
        fd.compile(f, native=True)
    compiled = fd.compile(f, native=True)
    assert all(compiled(np.ones(3)).sum() == 7.5 for _ in range(3))


def test_a_file_that_others_could_write_to_is_not_loaded(folder: Path, runs: Callable[[], int]) -> None:
    answer()
    kept(folder)[0].chmod(0o666)
    runs()
    assert (answer(), runs()) == (42, 1)
    assert kept(folder)[0].stat().st_mode & 0o022 == 0
    (place,) = kept(folder)
    place.rename(folder / "elsewhere")
    place.symlink_to("elsewhere")
    assert (answer(), runs()) == (42, 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_pipe_is_not_waited_for(folder: Path, runs: Callable[[], int]) -> None:
    assert answer() == 42
    (place,) = kept(folder)
    place.unlink()
    os.mkfifo(place, 0o600)
    runs()
    assert answer() == 42
    assert place.is_file(), "made anew"


def test_links_and_shared_folders_on_the_way(folder: Path, runs: Callable[[], int], tmp_path: Path) -> None:
    """A link of one's own is as good as its folder. So is a folder like /tmp, where users cannot move each other's files."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(Path("shared") / ".." / "shared" / "mine")
    (tmp_path / "cache").symlink_to(tmp_path / "link")
    for _ in range(2):
        assert answer() == 42
    assert len(kept(shared / "mine" / "native")) == 1
    shared.chmod(0o777)
    runs()
    with pytest.warns(CacheWarning, match=r"other users may write into .*shared\."):
        answer()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "link")
    runs()
    assert answer() == 42


def test_the_environment_variable(folder: Path, runs: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDEZERO_NATIVE_CACHE", "0")
    assert (answer(), runs() > 1, answer(), runs() > 1, folder.parent.exists()) == (42, True, 42, True, False)
    for text in ("yes", "-1", "1e3", "٣"):
        monkeypatch.setenv("FDEZERO_NATIVE_CACHE", text)
        with pytest.raises(fd.errors.RangeError, match="FDEZERO_NATIVE_CACHE is a number of megabytes"):
            answer()


def test_the_oldest_libraries_make_room(folder: Path, runs: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    day = 24 * 60 * 60
    now = time.time()
    answer(0)
    size = kept(folder)[0].stat().st_size
    monkeypatch.setattr(disk, "limit", lambda: 3 * max(size, 1 << 12) + (1 << 12) + 1000)  # three of these and a note
    first: list[str] = []
    for number in range(3):
        before = set(kept(folder)) if number else set()
        answer(number)
        (new,) = set(kept(folder)) - before
        os.utime(new, (now - day * (3 - number),) * 2)
        first.append(new.name)
    unfinished = folder / f"left{disk.UNFINISHED}"
    unfinished.touch()
    os.utime(unfinished, (1, 1))
    runs()
    answer(0)  # the oldest is used again
    assert runs() == 0
    answer(3)
    names = {path.name for path in kept(folder)}
    assert first[1] not in names
    assert {first[0], first[2]} < names
    assert not unfinished.exists()
    monkeypatch.setattr(disk, "limit", lambda: 1)
    assert answer(4) == 4, "a library larger than all room is used all the same"
    assert kept(folder) == []


def test_where_nothing_can_be_written(folder: Path, runs: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full disk, a home that is read-only, a file in the place of a folder: nothing is kept, and nothing is said."""
    def full(*args: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert (answer(1), answer(1)) == (1, 1)
    assert list(folder.iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        patch.setenv("FDEZERO_CACHE", str(tmp_path / "other"))
        assert answer(2) == 2
    (tmp_path / "file").touch()
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "file" / "cache"))
    runs()
    assert (answer(3), runs() > 0) == (3, True)


def test_starts_at_the_same_time(folder: Path) -> None:
    """Processes and threads that make the same libraries at once: all are right, and a later start compiles nothing."""
    code = f"""
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from fdezero import native
        def answer(number):
            return native.function_of(native.library({SOURCE!r} % number), "answer", [], "i")()
        if "later" in sys.argv:
            print([answer(n) for n in range(2)], "subprocess" in sys.modules)
        else:
            with ThreadPoolExecutor(4) as pool:
                print(list(pool.map(answer, [0, 1, 0, 1])))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in started] == ["[0, 1, 0, 1]\n"] * 2
    assert subprocess.run([*command, "later"], capture_output=True, text=True, check=True).stdout == "[0, 1] False\n"
    assert not list(folder.glob(f"*{disk.UNFINISHED}"))


def test_threads_that_start_at_the_same_time(folder: Path, runs: Callable[[], int]) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, [8, 9] * 4)) == [8, 9] * 4


def test_what_says_which_processor_this_is() -> None:
    assert identity.processor()
    assert identity.processor() == identity.processor.__wrapped__()
    assert "MHz" not in identity.processor()
