"""A write is finished when a program ends, whatever ends it but `kill -9`; and processes that share a folder do not spoil it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero.io import Checkpoints

from .test_io_saving import posix

# Each way to end runs in a forked child, so that Python and fdezero start once. Its write takes a moment, and it ends in the middle.
ENDS = """if True:
    import json, os, signal, sys, time
    import numpy as np
    import fdezero as fd
    from fdezero.io import Checkpoints, npz

    folder, working = sys.argv[1], npz.write

    def slow(*args):
        began.append(True)
        time.sleep(pause)
        if broken:
            raise OSError(28, "No space left on device")
        working(*args)

    npz.write, began, broken, pause = slow, [], False, 0.15

    def began_to_save(name):
        checkpoints = Checkpoints(os.path.join(folder, name))
        checkpoints.save({"a": np.arange(3.0)}, 1)
        while not began:
            time.sleep(0.001)
        return checkpoints

    def kill(number):
        os.kill(os.getpid(), number)
        time.sleep(10)

    def the_end(name):
        began_to_save(name)

    def an_error(name):
        with began_to_save(name):
            raise ValueError("of the user")

    def exits(name):
        began_to_save(name)
        sys.exit(3)

    def ctrl_c(name):
        with began_to_save(name):
            kill(signal.SIGINT)

    def ctrl_c_alone(name):
        began_to_save(name)
        kill(signal.SIGINT)

    def terminated(name):
        with began_to_save(name):
            kill(signal.SIGTERM)

    def terminated_alone(name):
        began_to_save(name)
        kill(signal.SIGTERM)

    def terminated_while_waiting(name):
        checkpoints = began_to_save(name)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        checkpoints.wait()
        time.sleep(10)

    def users_handler(name):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        began_to_save(name)
        kill(signal.SIGTERM)

    def users_later_handler(name):
        with began_to_save(name) as checkpoints:
            mine = lambda *_: sys.exit(6)
            signal.signal(signal.SIGTERM, mine)
            checkpoints.close()
            assert signal.getsignal(signal.SIGTERM) is mine
            kill(signal.SIGTERM)

    def closed(name):
        began_to_save(name).close()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        kill(signal.SIGTERM)

    def terminated_twice(name):
        global pause
        pause = 30
        try:
            began_to_save(name)
            kill(signal.SIGTERM)
        finally:
            kill(signal.SIGTERM)

    def unasked(name):
        global broken
        broken = True
        began_to_save(name)

    def a_worker_of_the_user(name):
        began_to_save(name)
        child = os.fork()
        if child == 0:
            kill(signal.SIGTERM)
        assert os.waitpid(child, 0)[1] == signal.SIGTERM  # as without checkpoints

    ways = [the_end, an_error, exits, ctrl_c, ctrl_c_alone, terminated, terminated_alone, terminated_while_waiting, users_handler,
            users_later_handler, closed, terminated_twice, unasked, a_worker_of_the_user]
    children = {}
    for way in ways:
        child = os.fork()
        if child == 0:
            sys.stderr = open(os.path.join(folder, way.__name__ + ".txt"), "w")
            way(way.__name__)
            sys.exit(0)
        children[child] = way.__name__
    codes = {}
    for child, name in children.items():
        codes[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(codes))
"""

CODES = {
    "the_end": 0, "an_error": 1, "exits": 3, "ctrl_c": -2, "ctrl_c_alone": -2, "terminated": 143, "terminated_alone": 143,
    "terminated_while_waiting": 143, "users_handler": 5, "users_later_handler": 6, "closed": -15, "terminated_twice": -15, "unasked": 0,
    "a_worker_of_the_user": 0,
}  # fmt: skip


@posix
def test_a_write_is_finished_whatever_ends_the_program(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", ENDS, str(tmp_path)], capture_output=True, text=True, check=True, timeout=100)
    assert json.loads(run.stdout.splitlines()[-1]) == CODES
    for name in CODES.keys() - {"terminated_twice", "unasked"}:
        found = Checkpoints(tmp_path / name)
        assert [checkpoint.step for checkpoint in found.all()] == [1], (name, (tmp_path / f"{name}.txt").read_text())
        np.testing.assert_array_equal(found.restore()["a"], np.arange(3.0))
    assert Checkpoints(tmp_path / "terminated_twice").all() == []  # the second signal ends a program at once
    said = (tmp_path / "unasked.txt").read_text()
    assert "no later call could say so" in said
    assert "step-1.npz could not be written: [Errno 28] No space left on device" in said


TOGETHER = """if True:
    import os, sys
    import numpy as np
    import fdezero as fd
    from fdezero.io import Checkpoints

    folder, steps = sys.argv[1], 25
    ready, go = os.pipe(), os.pipe()
    for number in range(3):
        if os.fork() == 0:
            with Checkpoints(folder, keep=2, every=1) as checkpoints:
                checkpoints.save({"a": np.zeros(1000, int)}, 0)  # not due: all begin in an empty folder
                os.write(ready[1], b".")
                os.read(go[0], 1)
                for step in range(1, steps):
                    step = step if number < 2 else 1000 + step  # two that are the same run, and another one
                    checkpoints.save({"a": np.full(1000, step)}, step)
                    if number == 0:
                        checkpoints.wait()
                        Checkpoints(folder).restore()  # always whole, though others remove files
            os._exit(0)
    for _ in range(3):
        os.read(ready[0], 1)
    os.write(go[1], b"...")
    codes = [os.waitpid(-1, 0)[1] for _ in range(3)]
    print(codes)
"""


@posix
def test_processes_that_share_a_folder_do_not_spoil_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", TOGETHER, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert run.stdout.strip() == "[0, 0, 0]", run.stderr
    found = Checkpoints(folder).all()
    names = {checkpoint.path.name for checkpoint in found} | {"checkpoints.json"}
    assert names == {path.name for path in folder.iterdir()}
    assert {24, 1023, 1024} <= {checkpoint.step for checkpoint in found}
    for checkpoint in found:
        assert checkpoint.crc32 is not None
        tree = Checkpoints(folder).restore(like={"a": np.zeros(1000, int)}, step=checkpoint.step)
        fd.testing.assert_trees_equal(tree, {"a": np.full(1000, checkpoint.step)})


# The process ends at the number-th call that changes something on the disk.
CUT = """if True:
    import os, pathlib, sys
    import numpy as np
    import fdezero as fd
    from fdezero.io import Checkpoints

    root, counted = sys.argv[1], 0
    os.fsync = lambda descriptor: None  # a process that ends loses nothing that the system has

    def cutting(function):
        def call(*args, **options):
            global counted
            counted += 1
            if counted == number:
                os._exit(9)
            return function(*args, **options)
        return call

    def tree(step):
        return {"a": np.full(1000, step), "b": np.array(step)}

    number, code = 0, 9
    while code == 9:
        number += 1
        if (child := os.fork()) == 0:
            checkpoints = Checkpoints(os.path.join(root, str(number)), keep=2)
            for step in (1, 2, 3):
                checkpoints.save(tree(step), step)
                checkpoints.wait()
            os.fsync, os.replace, os.unlink, os.open = map(cutting, (os.fsync, os.replace, os.unlink, os.open))
            pathlib.Path.unlink = cutting(pathlib.Path.unlink)
            checkpoints.save(tree(4), 4)
            checkpoints.wait()
            checkpoints.save(tree(30), 3)
            checkpoints.wait()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9), code
    print(number)
"""


@posix
@pytest.mark.filterwarnings("error")
def test_a_run_that_ends_at_any_write_to_the_disk_leaves_whole_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", CUT, str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    cuts, newest = int(run.stdout), []
    assert cuts > 20
    for number in range(1, cuts + 1):
        checkpoints = Checkpoints(tmp_path / str(number), keep=2)
        found = checkpoints.restore()
        assert (found["a"] == found["b"]).all()
        newest.append(int(found["b"]))
        for checkpoint in checkpoints.all():
            tree = checkpoints.restore(step=checkpoint.step)
            assert (tree["a"] == tree["b"]).all()
            assert int(tree["b"]) in (checkpoint.step, 10 * checkpoint.step)
        checkpoints.restore()
        for step in (50, 51):
            checkpoints.save({"a": np.zeros(3)}, step)
        assert [checkpoint.step for checkpoint in checkpoints.all()] == [50, 51]
        names = sorted(path.name for path in checkpoints.folder.iterdir())
        assert names == ["checkpoints.json", "step-50.npz", "step-51.npz"], number
    assert newest == sorted(newest), "a later end has an earlier state"
    assert set(newest) == {3, 4, 30}


def test_a_fork_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    monkeypatch.setattr(checkpoints, "_process", -1)
    with pytest.raises(fd.errors.FileError, match="made in another process"):
        checkpoints.save({"a": 1}, 1)
