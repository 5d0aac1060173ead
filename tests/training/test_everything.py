"""A run with everything switched on: killed and started again it has the same bits, its memory is flat, and its step is recorded once."""

import gc
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd

from ..io.test_io_saving import posix
from ..profiles import NIGHTLY, nightly
from . import everything

STEPS, TIMES = 30, 5  # how long a run is, and how often it is killed
KILLED = """if True:
    import json, os, random, signal, sys, time
    from pathlib import Path
    from tests.training import everything

    root, runs, times, steps = Path(sys.argv[1]), *map(int, sys.argv[2:])
    rng = random.Random(0)

    def start(folder):
        progress, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(progress)
            began, state, _ = everything.run(folder, steps, lambda state: os.write(write, b"."))
            (folder / "end.txt").write_text(json.dumps([began, everything.digest(state)]))
            os._exit(0)
        os.close(write)
        return child, progress

    def finished(folder):
        child, progress = start(folder)
        status = os.waitpid(child, 0)[1]
        os.close(progress)
        return json.loads((folder / "end.txt").read_text()) if status == 0 else [-1, f"status {status}"]

    began, wanted = finished(root / "whole")
    again, different = [], []
    for number in range(runs):
        folder = root / str(number)
        for _ in range(times):
            child, progress = start(folder)
            for _ in range(rng.randint(0, steps // times + everything.EVERY)):
                os.read(progress, 1)  # a step is done; nothing if the run is over
            time.sleep(rng.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(progress)
        began, found = finished(folder)
        again.append(began)
        if found != wanted:
            different.append((number, began, found))
    print(json.dumps([again, different, sorted(path.name for path in folder.iterdir())]))
"""


@posix
def test_a_run_that_was_killed_has_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    runs = 40 if NIGHTLY else 2
    numbers = map(str, (runs, TIMES, STEPS))
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path), *numbers]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60 + 30 * runs, cwd=Path(__file__).parents[2])
    assert run.returncode == 0, run.stderr
    began, different, left = json.loads(run.stdout.splitlines()[-1])
    assert different == [], run.stderr
    assert max(began) > 0, "the kills came before any checkpoint"
    assert not [name for name in left if "tmp" in name]


def test_the_compiled_run_has_the_bits_of_the_eager_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, compiled, _ = everything.run(tmp_path / "compiled", 12)
    monkeypatch.setattr(fd, "compile", lambda function, **options: function)
    _, eager, _ = everything.run(tmp_path / "eager", 12)
    assert everything.digest(compiled) == everything.digest(eager)
    first, second = (fd.load(tmp_path / name / "step-12.npz") for name in ("compiled", "eager"))
    fd.testing.assert_trees_equal(first, second)


def test_a_digest_tells_states_apart(tmp_path: Path) -> None:
    _, state, _ = everything.run(tmp_path, 2)
    for changed in (state.replace(step=3), state.replace(step=np.int64(2)), fd.tree.update(state, {"model/layers/0/W": state.model[0].W * np.float32(1.000001)})):
        assert everything.digest(changed) != everything.digest(state)


def live(state: Any) -> tuple[int, int]:
    """The objects that the garbage collector knows, and the bytes that Python and NumPy have asked for."""
    gc.collect()
    return len(gc.get_objects()), tracemalloc.get_traced_memory()[0]


def test_memory_stays_flat_and_the_step_is_recorded_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    steps = 10_000 if NIGHTLY else 200

    def after(state: Any) -> None:
        if state.step == 50:  # not before: recording would take three times as long
            tracemalloc.start()
        if state.step in (100, steps):
            seen.append(live(state))

    try:
        _, state, compiled = everything.run(tmp_path, steps, after, every=37, in_flight=0)
    finally:
        tracemalloc.stop()
    assert state.step == steps
    assert "1 recording\n" in compiled.explain()
    (objects, early), (later, late) = seen
    assert later - objects < 50, f"{later - objects} objects more"
    assert late - early < 50_000, f"{late - early} bytes more in {steps - 100} steps"


RESIDENT = """if True:
    import sys
    from tests.training import everything
    def after(state):
        if state.step in (2000, int(sys.argv[2])):
            print([line for line in open("/proc/self/status") if line.startswith("VmRSS")][0].split()[1], flush=True)
    everything.run(sys.argv[1], int(sys.argv[2]), after, every=100)
"""


@nightly
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_the_memory_of_the_process_stays_flat(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RESIDENT, str(tmp_path), "10000"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900, cwd=Path(__file__).parents[2])
    early, late = map(int, run.stdout.split())
    assert late - early < 2_000, f"{early} kB after 2,000 steps, {late} kB after 10,000"
