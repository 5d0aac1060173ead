"""Workers: what they raise, where it happened, and that nothing of them stays behind."""

import gc
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.data import DataLoader
from fdezero.data import processes as processes_of_loaders
from fdezero.errors import RangeError, StructureError, WorkerError
from fdezero.testing import assert_trees_equal

from ..profiles import nightly
from .data_forms import Lazy
from .test_loader_laws import KEY, noise_of_batch, noise_of_example

WAYS = [
    pytest.param({}, id="here"),
    pytest.param({"workers": 2}, id="threads"),
    pytest.param({"prefetch": 2}, id="prefetch"),
    pytest.param({"workers": 2, "prefetch": 1}, id="threads and prefetch"),
    pytest.param({"workers": 2, "processes": "fork"}, id="fork"),
    pytest.param({"workers": 1, "processes": "fork", "prefetch": 2}, id="fork and prefetch"),
]
if not hasattr(os, "fork"):
    WAYS = WAYS[:4]
ways = pytest.mark.parametrize("way", WAYS)
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this machine cannot fork")

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # of fork in Python 3.12


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    """Each test leaves as many threads and processes as it found."""
    before = threading.active_count(), len(children())
    yield
    gc.collect()
    assert (threading.active_count(), len(children())) == before


def children() -> list[Any]:
    import multiprocessing

    return multiprocessing.active_children()


class Broken(Lazy):
    """A data set with one example that cannot be read."""

    def __init__(self, size: int, error: Callable[[], Any]) -> None:
        super().__init__(size)
        self.error = error

    def __getitem__(self, i: int) -> Any:
        if i == 13:
            self.error()
        return super().__getitem__(i)


def broken_file() -> None:
    raise OSError("cannot identify image file 'images/0013.png'")


def of_two_arguments() -> None:
    raise OfTwoArguments(1, 2)


class OfTwoArguments(Exception):  # noqa: N818 - like those of other libraries that cannot be pickled
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def stop() -> None:
    raise StopIteration


@ways
def test_a_broken_example_is_named(way: dict[str, Any]) -> None:
    loader = DataLoader(Broken(20, broken_file), 4, shuffle=False, **way)
    batches = loader.epoch(0)
    for _ in range(3):
        next(batches)
    with pytest.raises(OSError, match="images/0013.png") as caught:
        next(batches)
    shown = "".join(traceback.format_exception(caught.value))
    assert "in example 13 of the data set" in shown
    assert "in broken_file" in shown, "the worker's own traceback"
    assert list(batches) == []


@ways
def test_a_batch_that_cannot_be_read_is_named(way: dict[str, Any]) -> None:
    class Whole(Broken):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            return [self[i] for i in indices]

    for size, said in ((8, "8, 9, 10, 11, 12, 13, 14, 15 of"), (9, "9, 10, 11, 12, 13, 14, 15, 16, ... of")):
        with pytest.raises(OSError, match="0013") as caught:
            list(DataLoader(Whole(20, broken_file), size, shuffle=False, **way))
        assert f"in examples {said} the data set" in caught.value.__notes__


@ways
def test_an_example_that_ends_an_iteration_does_not_end_the_epoch(way: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="StopIteration in example 13 of the data set"):
        list(DataLoader(Broken(20, stop), 4, shuffle=False, **way))
    with pytest.raises(RuntimeError, match="raised StopIteration in step 0"):
        list(DataLoader(Lazy(20), 4, shuffle=False, collate=lambda examples: next(iter(())), **way))


@ways
def test_errors_of_functions_say_which_examples_they_had(way: dict[str, Any]) -> None:
    def fails(_: Any) -> Any:
        raise ValueError("no")

    for name, note in (("transform", "in transform of the batch of examples 0, 1, 2, 3 of"), ("transform_example", "transform_example of example 0 of"), ("collate", "in collate of the examples 0, 1, 2, 3 of")):
        options: dict[str, Any] = {name: fails}
        with pytest.raises(ValueError, match="no") as caught:
            next(DataLoader(Lazy(20), 4, shuffle=False, **options, **way).epoch(0))
        assert any(note in line for line in caught.value.__notes__)


@ways
def test_an_epoch_that_is_given_up_leaves_nothing(way: dict[str, Any]) -> None:
    loader = DataLoader(Lazy(40), 4, key=KEY, **way)
    loader.epoch(0)  # never read
    batches = loader.epoch(0)
    first = next(batches)
    del batches  # the fixture counts
    with loader.epoch(0) as batches:
        assert_trees_equal(next(batches), first, bits=True)
    assert list(batches) == []
    assert len(batches) == 0
    list(loader.epoch(0))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_threads_work_ahead_but_not_further(workers: int) -> None:
    """Two batches for each thread, and the one that is handed out."""
    read: list[int] = []

    class Noted(Lazy):
        def __getitem__(self, i: int) -> Any:
            read.append(i)
            return super().__getitem__(i)

    with DataLoader(Noted(60), 2, shuffle=False, workers=workers).epoch(0) as batches:
        assert not read
        next(batches)
        wanted = 2 * (1 + 2 * workers)
        deadline = time.monotonic() + 20
        while len(read) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert sorted(read) == list(range(wanted))


def test_batches_that_wait_for_a_thread_are_not_made_after_the_end() -> None:
    read: list[int] = []
    go_on = threading.Event()

    class Held(Lazy):
        def __getitem__(self, i: int) -> Any:
            read.append(i)
            if i:
                assert go_on.wait(20)
            return super().__getitem__(i)

    batches = DataLoader(Held(10), 1, shuffle=False, workers=1).epoch(0)
    next(batches)
    timer = threading.Timer(0.05, go_on.set)
    timer.start()
    batches.close()  # waits for the batch that is being made, and for no other
    timer.join()
    assert read in ([0], [0, 1])


@pytest.mark.parametrize("method", [pytest.param("fork", marks=FORKS), pytest.param("spawn", marks=nightly), pytest.param(True, marks=nightly)])
def test_processes_make_the_same_bits(method: bool | str) -> None:
    for options in ({"transform": noise_of_batch}, {"transform_example": noise_of_example}, {}):
        whole = list(DataLoader(Lazy(23), 4, key=KEY, **options).epoch(1))  # type: ignore[arg-type]
        for workers in (1, 3):
            loader = DataLoader(Lazy(23), 4, key=KEY, workers=workers, processes=method, **options)  # type: ignore[arg-type]
            assert_trees_equal(list(loader.epoch(1)), whole, bits=True)
            assert_trees_equal(list(loader.epoch(1, 4)), whole[4:], bits=True)
    batch = loader.batch(0, 0)
    batch["x"] += 1  # the arrays are the caller's own


@FORKS
def test_an_error_that_cannot_be_pickled_comes_as_one_that_can() -> None:
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(OfTwoArguments(1, 2)))
    loader = DataLoader(Broken(20, of_two_arguments), 20, shuffle=False, workers=1, processes="fork")
    with pytest.raises(RuntimeError, match="OfTwoArguments: 1 and 2\nin example 13 of the data set"):
        next(loader.epoch(0))
    loader = DataLoader([(lambda: 0,)] * 4, 2, shuffle=False, workers=1, processes="fork", collate=lambda examples: examples)
    with pytest.raises(Exception, match="pickle") as caught:
        next(loader.epoch(0))
    assert "on its way to the process that trains" in "".join(caught.value.__notes__)


@FORKS
def test_a_process_that_is_killed_is_an_error_with_its_examples() -> None:
    loader = DataLoader(Broken(20, lambda: os.kill(os.getpid(), signal.SIGKILL)), 4, shuffle=False, workers=2, processes="fork")
    with pytest.raises(WorkerError, match=r"process 1 ended with exit code -9 .* step 3 \(examples 12, 13, 14, 15.*memory"):
        list(loader)
    loader = DataLoader(Broken(20, lambda: os._exit(3)), 4, shuffle=False, workers=1, processes="fork")
    with pytest.raises(WorkerError, match="exit code 3 while"):
        list(loader)


def test_what_cannot_go_to_a_new_process_is_said() -> None:
    class Local(Lazy):
        pass

    with pytest.raises(StructureError, match=r"'spawn'.*Local.*at the top of a file, or use threads"):
        DataLoader(Local(8), 2, shuffle=False, workers=2, processes="spawn").epoch(0)


def test_options_of_workers_are_checked_at_once() -> None:
    with pytest.raises(RangeError, match="workers=2"):
        DataLoader(np.arange(4), 2, shuffle=False, processes=True)
    with pytest.raises(RangeError, match="got 'threads'"):
        DataLoader(np.arange(4), 2, shuffle=False, workers=1, processes="threads")
    for name in ("workers", "prefetch"):
        options: dict[str, Any] = {name: -1}
        with pytest.raises(RangeError, match=f"the {name} is 0 or more"):
            DataLoader(np.arange(4), 2, shuffle=False, **options)


def test_trees_of_arrays_go_through_pipes_in_pieces_of_their_own() -> None:
    import multiprocessing

    here, there = multiprocessing.Pipe()
    tree = {"x": np.arange(12.0).reshape(3, 4)[:, ::2], "f": np.asfortranarray(np.ones((2, 3))), "empty": np.zeros((0, 3)), "t": [1, None, "a"]}
    processes_of_loaders.send(there, tree)
    found = processes_of_loaders.receive(here)
    assert_trees_equal(found, tree, bits=True)
    assert all(array.flags.writeable for array in (found["x"], found["f"]))
    here.close()
    there.close()


SCRIPT = """
    import os, sys, time
    import numpy as np
    import fdezero as fd

    class Slow:
        def __len__(self):
            return 1000
        def __getitem__(self, i):
            time.sleep(0.01)
            return np.full((30, 30), i)

    if __name__ == "__main__":
        options = eval(sys.argv[1])
        batches = fd.data.DataLoader(Slow(), 4, key=fd.random.key(0), **options).epoch(0)
        next(batches)
        import multiprocessing
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        if len(sys.argv) < 3:
            for _ in batches:
                pass
"""


def started(tmp_path: Path, options: dict[str, Any], *more: str) -> tuple[subprocess.Popen[str], list[int]]:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "PYTHONPATH": str(Path(fd.__file__).parents[1])}
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), repr(options), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip
    assert run.stdout is not None
    return run, [int(number) for number in run.stdout.readline().split()]


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def none_runs(pids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(map(is_running, pids)):
            return True
        time.sleep(0.02)
    return False


ENDS = [
    pytest.param({"workers": 2, "processes": "fork"}, id="fork"),
    pytest.param({"workers": 2, "prefetch": 2}, id="threads", marks=nightly),
    pytest.param({"workers": 2, "processes": "spawn", "prefetch": 1}, id="spawn", marks=nightly),
]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("options", ENDS)
def test_ctrl_c_kill_and_exit_leave_no_process(tmp_path: Path, options: dict[str, Any]) -> None:
    runs = [started(tmp_path, options), started(tmp_path, options), started(tmp_path, options, "exit")]
    for _, pids in runs[:2]:
        assert len(pids) >= (2 if "processes" in options else 0)
    os.killpg(runs[0][0].pid, signal.SIGINT)
    os.kill(runs[1][0].pid, signal.SIGKILL)
    errors = [run.communicate(timeout=60)[1] for run, _ in runs]
    assert re.search(r"KeyboardInterrupt\s*$", errors[0]), errors[0]
    assert "Exception ignored" not in errors[0]
    assert runs[1][0].returncode == -signal.SIGKILL
    assert (runs[2][0].returncode, errors[2]) == (0, "")
    for _, pids in runs:
        assert none_runs(pids)
