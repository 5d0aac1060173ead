"""Saving over a file: who can read it meanwhile, interrupts at every line, processes that are killed, and what they leave."""

import gc
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import FileError
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
