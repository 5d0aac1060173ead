"""Saving over a file: who can read it meanwhile, interrupts at every line, processes that are killed, and what they leave."""

import gc
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import FileError
from fdezero.io import files
from fdezero.io.cache import cached, checksum

from ..profiles import NIGHTLY

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, links and locks as POSIX has them")
TREE = {"W": np.arange(12.0).reshape(3, 4)[:, ::2], "step": 3}
OTHER = {"W": np.ones(5), "step": 4}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def spied(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[int]:
    """The permissions of every temporary file, at its creation and at each later call of the system."""
    seen: list[int] = []

    def look() -> None:
        seen.extend(stat.S_IMODE(path.lstat().st_mode) for path in folder.iterdir() if path.name.endswith(".tmp"))

    for name in ("open", "fsync", "replace", "fchmod", "fchown", "setxattr"):
        if working := getattr(os, name, None):
            def call(*args: Any, working: Callable[..., Any] = working, **kwargs: Any) -> Any:
                look()
                result = working(*args, **kwargs)
                look()
                return result

            monkeypatch.setattr(os, name, call)
    return seen


# --- permissions -----------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644, 0o666, 0o700])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
@pytest.mark.parametrize("foreign", [False, True], ids=["own group", "another group"])
def test_no_byte_is_readable_by_more_than_the_old_file_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, umask: int, foreign: bool
) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, TREE)
    path.chmod(mode)
    if foreign:
        monkeypatch.setattr(os, "getegid", lambda: path.stat().st_gid + 1)
    seen = spied(monkeypatch, tmp_path)
    before = os.umask(umask)
    try:
        fd.save(path, OTHER)
    finally:
        os.umask(before)
    assert len(seen) >= 4
    assert all(found & ~mode == 0 for found in seen)
    assert seen[-2:] == [mode, mode]
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert fd.load(path, like=OTHER)["step"] == 4


@posix
def test_a_new_file_has_the_permissions_that_the_user_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = spied(monkeypatch, tmp_path)
    before = os.umask(0o037)
    try:
        fd.save(tmp_path / "x.npz", TREE)
    finally:
        os.umask(before)
    assert set(seen) == {0o640}


@posix
def test_the_group_of_the_old_file_stays_or_loses_its_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can give a file to another group")
    path = tmp_path / "x.npz"
    fd.save(path, TREE)
    for mode, left in ((0o640, 0o600), (0o664, 0o644), (0o604, 0o604), (0o660, 0o600)):
        os.chown(path, 12345, 54321)
        path.chmod(mode)
        with monkeypatch.context() as patch:
            fd.save(path, OTHER)
            found = path.stat()
            assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 54321, mode)

            def refuse(*args: Any) -> None:
                raise PermissionError

            patch.setattr(os, "fchown", refuse)
            fd.save(path, TREE)
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (os.geteuid(), left)


@posix
def test_extended_attributes_stay_and_a_list_that_cannot_be_copied_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kept = tmp_path / "x.npz", {"user.origin": b"run 3", "system.posix_acl_access": b"list"}
    fd.save(path, TREE)
    path.chmod(0o664)
    written: dict[str, bytes] = {}

    def write(place: Any, name: str, value: bytes) -> None:
        if name in refused:
            raise PermissionError
        written[name] = value

    monkeypatch.setattr(os, "listxattr", lambda place: list(kept), raising=False)
    monkeypatch.setattr(os, "getxattr", lambda place, name: kept[name], raising=False)
    monkeypatch.setattr(os, "setxattr", write, raising=False)
    refused: tuple[str, ...] = ()
    fd.save(path, OTHER)
    assert (written, stat.S_IMODE(path.stat().st_mode)) == (kept, 0o664)
    refused = ("system.posix_acl_access",)
    fd.save(path, OTHER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@posix
def test_attributes_on_a_real_file_system(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, TREE)
    try:
        os.setxattr(path, "user.origin", b"run 3")
    except (AttributeError, OSError):
        pytest.skip("this file system does not have extended attributes")
    fd.save(path, OTHER)
    assert os.getxattr(path, "user.origin") == b"run 3"


# --- targets ---------------------------------------------------------------------------------------------------------


@posix
def test_a_read_only_file_is_not_written_over() -> None:
    script = """if True:
        import os, sys, numpy as np, fdezero as fd
        folder = sys.argv[1]
        fd.save(os.path.join(folder, "x.npz"), {"a": np.ones(2)})
        fd.load(os.path.join(folder, "x.npz"))  # now all modules are loaded
        os.unlink(os.path.join(folder, "x.npz"))
        if os.geteuid() == 0:  # whom nothing stops
            os.chown(folder, 12345, 12345)
            os.setegid(12345), os.seteuid(12345)
        fd.save(os.path.join(folder, "x.npz"), {"a": np.ones(2)})
        os.chmod(os.path.join(folder, "x.npz"), 0o444)
        try:
            fd.save(os.path.join(folder, "x.npz"), {"b": np.ones(2)})
        except PermissionError:
            print(sorted(fd.load(os.path.join(folder, "x.npz"))), os.listdir(folder))
        os.chmod(folder, 0o555)
        try:
            fd.save(os.path.join(folder, "y.npz"), {"b": np.ones(2)})
        except PermissionError:
            print(os.listdir(folder))
    """
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        found = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True)
    assert found.stdout == "['a'] ['x.npz']\n['x.npz']\n", found.stderr


@posix
def test_links_and_places_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path, link = tmp_path / "real" / "x.npz", tmp_path / "link.npz"
    link.symlink_to("real/x.npz")
    fd.save(link, TREE)  # a link to a file that is not there yet
    os.link(path, tmp_path / "hard.npz")
    fd.save(link, OTHER)
    assert link.is_symlink()
    assert fd.load(path, like=OTHER)["step"] == 4
    assert fd.load(tmp_path / "hard.npz", like=TREE)["step"] == 3  # the other name keeps the old content
    (tmp_path / "folder.npz").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "folder.npz", tmp_path / "real", tmp_path / "pipe"):
        with pytest.raises(FileError, match="is a folder or a device, not a file"):
            fd.save(place, TREE)
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        fd.save(tmp_path / "a", TREE)
    (tmp_path / "gone.npz").symlink_to("nowhere/x.npz")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fd.save(tmp_path / "gone.npz", TREE)
    assert names(tmp_path) == ["a", "b", "folder.npz", "gone.npz", "hard.npz", "link.npz", "pipe", "real"]
    assert names(tmp_path / "real") == ["x.npz"]


# --- interrupts ------------------------------------------------------------------------------------------------------


def interrupted(run: Callable[[], object], at: int) -> int:
    """Call `run` with a KeyboardInterrupt before line number `at` of all that it runs; the number of lines that it got to."""
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == at:
                raise KeyboardInterrupt
        return trace

    raised: list[BaseException] = []

    def traced() -> None:
        sys.settrace(trace)
        try:
            run()
        except BaseException as error:
            raised.append(error)
        finally:
            sys.settrace(None)

    gc.disable()  # Python prints what a callback of the collector raises, and goes on
    # A thread of its own: CPython 3.11 keeps an exception that was handled where the trace raised another one.
    thread = threading.Thread(target=traced)
    thread.start()
    thread.join()
    gc.enable()
    if raised:
        raise raised[0]
    return count


@pytest.mark.parametrize("compress", [True, False])
def test_an_interrupt_at_any_line_is_an_interrupt_and_leaves_no_rubbish(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, OTHER)
    old = path.read_bytes()
    fd.save(path, TREE, compress=compress)
    new = path.read_bytes()
    lines = interrupted(lambda: fd.save(path, TREE, compress=compress), -1)
    assert lines > 300
    kept = 0
    for at in range(1, lines + 1, 1 if NIGHTLY else 2):
        path.write_bytes(old)
        with pytest.raises(KeyboardInterrupt):
            interrupted(lambda: fd.save(path, TREE, compress=compress), at)
        assert names(tmp_path) == ["x.npz"]
        kept += path.read_bytes() == old
        assert path.read_bytes() in (old, new)
    assert kept > 100


def test_an_interrupt_of_the_cache_leaves_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path / "cache"))
    data = b"data" * 1000

    def fill() -> bytes:
        return cached("name", checksum(data), lambda: data, damaged="damaged")

    fill()
    (tmp_path / "cache" / "name").unlink()
    lines = interrupted(fill, -1)
    for at in range(1, lines + 1):
        (tmp_path / "cache" / "name").unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt):
            interrupted(fill, at)
        assert names(tmp_path / "cache") in ([], ["name"])
    assert fill() == data
    assert names(tmp_path / "cache") == ["name"]


# --- temporaries of processes that were killed -----------------------------------------------------------------------


def temporary(folder: Path, system: str, name: str = "x.npz", age: float = 0) -> Path:
    path = folder / f".{name}.{system}-{os.urandom(4).hex()}.fdezero.tmp"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


@posix
def test_dead_temporaries_are_swept_and_living_ones_are_not(tmp_path: Path) -> None:
    import fcntl

    here = files._system()
    dead = temporary(tmp_path, here), temporary(tmp_path, here, "other.npz"), temporary(tmp_path, "00000000", age=2 * files.DAY)
    away = temporary(tmp_path, "00000000")
    living = temporary(tmp_path, here, age=2 * files.DAY)
    foreign = [tmp_path / name for name in (".x.npz.tmp", "x.fdezero.tmp", f".x.npz.{here}-1234.fdezero.tmp", "notes.txt")]
    for path in foreign:
        path.write_text("of somebody else")
    (tmp_path / f".folder.{here}-12345678.fdezero.tmp").mkdir()
    (tmp_path / f".link.{here}-12345678.fdezero.tmp").symlink_to("notes.txt")
    os.mkfifo(tmp_path / f".pipe.{here}-12345678.fdezero.tmp")
    with open(living, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fd.save(tmp_path / "x.npz", TREE)
    assert not any(path.exists() for path in dead)
    assert all(path.exists() for path in (away, living, *foreign))
    assert len(names(tmp_path)) == 2 + len(foreign) + 3 + 1
    fd.save(tmp_path / "x.npz", TREE)
    assert not living.exists()


@posix
def test_where_locks_are_unknown_temporaries_stay_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def unknown(*args: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    young, old = temporary(tmp_path, files._system()), temporary(tmp_path, files._system(), age=2 * files.DAY)
    fd.save(tmp_path / "x.npz", TREE)
    assert (young.exists(), old.exists()) == (True, False)


@posix
def test_temporaries_of_other_users_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = temporary(tmp_path, files._system(), age=2 * files.DAY)
    monkeypatch.setattr(os, "geteuid", lambda: found.stat().st_uid + 1)
    fd.save(tmp_path / "x.npz", TREE)
    assert found.exists()


def test_systems_without_these_locks_sweep_what_nobody_has_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    dead = temporary(tmp_path, files._system())
    fd.save(tmp_path / "x.npz", TREE)
    assert not dead.exists()
    assert names(tmp_path) == ["x.npz"]


@posix
def test_a_temporary_swept_before_it_was_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    swept = []
    working = fcntl.flock

    def late(descriptor: int, flags: int) -> None:
        if not swept:
            swept.extend(tmp_path.glob(".x.npz*.tmp"))
            swept[0].unlink()
        working(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", late)
    fd.save(tmp_path / "x.npz", TREE)
    assert len(swept) == 1
    assert names(tmp_path) == ["x.npz"]
    assert fd.load(tmp_path / "x.npz", like=TREE)["step"] == 3


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("size", [0, 1, 4_000, 8_000, 20_000, 50_000, 200_000])
def test_a_tree_of_any_size_comes_back(tmp_path: Path, size: int, compress: bool) -> None:
    tree = {"a": np.arange(float(size)), "b": np.array(1.0)}
    fd.save(tmp_path / "tree.npz", tree, compress=compress)
    fd.testing.assert_trees_equal(fd.load(tmp_path / "tree.npz"), tree)


def test_threads_that_save_at_once_do_not_sweep_each_other(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(15):
                fd.save(tmp_path / f"{i % 2}.npz", {"a": np.full(20_000, float(number))}, compress=False)
                assert len(set(fd.load(tmp_path / f"{i % 2}.npz")["a"].tolist())) == 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert names(tmp_path) == ["0.npz", "1.npz"]


KILLED = """if True:
    import os, random, signal, sys, time
    import numpy as np
    import fdezero as fd

    path, kills = sys.argv[1], int(sys.argv[2])
    rng, torn, left = random.Random(0), 0, 0
    fd.save(path, {"a": np.zeros(50_000), "b": np.zeros(())})
    for number in range(kills):
        child = os.fork()
        if child == 0:
            for i in range(1000):
                fd.save(path, {"a": np.full(50_000, i, float), "b": np.array(float(i))}, compress=bool(number % 2))
        time.sleep(rng.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left += len(os.listdir(os.path.dirname(path))) > 1
        found = fd.load(path)
        torn += not (found["a"] == found["b"]).all()
    fd.save(path, {"a": np.zeros(3)})
    print(torn, left, os.listdir(os.path.dirname(path)))
"""


@posix
def test_a_process_that_is_killed_tears_no_file_and_its_rubbish_is_swept(tmp_path: Path) -> None:
    kills = 2000 if NIGHTLY else 60
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "x.npz"), str(kills)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    torn, left, rest = run.stdout.strip().split(" ", 2)
    assert (torn, rest) == ("0", "['x.npz']")
    assert int(left) > kills // 10, "the kills came too late to leave anything"


@posix
def test_a_stopped_process_keeps_its_temporary(tmp_path: Path) -> None:
    script = """if True:
        import sys, numpy as np, fdezero as fd
        from fdezero.io.files import write_whole
        def write(file):
            print("writing", flush=True)
            sys.stdin.readline()
            file.write(b"whole")
        write_whole(sys.argv[1], write)
    """
    path = tmp_path / "x.npz"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        assert run.stdout.readline() == "writing\n"
        run.send_signal(signal.SIGSTOP)
        fd.save(path, TREE)
        assert len(names(tmp_path)) == 2
        run.send_signal(signal.SIGCONT)
        run.communicate("\n", timeout=60)
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["x.npz"]
