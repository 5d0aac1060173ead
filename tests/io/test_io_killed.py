"""Temporary files of processes that were killed are swept, those of living ones are not, and no file is torn."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.io import files

from ..profiles import NIGHTLY
from .test_io_saving import TREE, names, posix


def temporary(folder: Path, system: str, name: str = "x.npz", age: float = 0) -> Path:
    path = folder / f".{name}.{system}-{os.urandom(4).hex()}.fdezero.tmp"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


@posix
def test_dead_temporaries_are_swept_and_living_ones_are_not(tmp_path: Path) -> None:
    import fcntl

    here = files.this_system()
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
    young, old = temporary(tmp_path, files.this_system()), temporary(tmp_path, files.this_system(), age=2 * files.DAY)
    fd.save(tmp_path / "x.npz", TREE)
    assert (young.exists(), old.exists()) == (True, False)


@posix
def test_temporaries_of_other_users_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = temporary(tmp_path, files.this_system(), age=2 * files.DAY)
    monkeypatch.setattr(os, "geteuid", lambda: found.stat().st_uid + 1)
    fd.save(tmp_path / "x.npz", TREE)
    assert found.exists()


def test_systems_without_these_locks_sweep_what_nobody_has_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    dead = temporary(tmp_path, files.this_system())
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
