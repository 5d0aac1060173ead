"""Tests on several processes: a pool of ranks under mpiexec, which runs one test function after another.

`on_ranks(1, 2, 4)` over a test makes a test of it for each size. The function runs on every rank and takes `world` first:

    @on_ranks(1, 2, 4)
    def test_sum(world):
        assert world.all_reduce(world.rank) == world.size * (world.size - 1) / 2

A pool starts at the first test of its size and serves all tests of its pytest process; tests of three ranks take three of four. Its ranks wait at a pipe, because ranks
that wait in MPI keep their cores busy. `launch` starts an mpiexec of its own, for whole scripts and for faults that end ranks.
"""

import atexit
import contextlib
import faulthandler
import functools
import importlib
import importlib.util
import inspect
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest

from fdezero.distributed import waiting

ROOT = Path(__file__).resolve().parents[2]
GRACE = 3.0  # seconds that the other ranks have after one rank failed: they may wait for it for ever
STARTING = 60.0  # seconds until all ranks of a pool have imported what they need

SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",
    "FDEZERO_NATIVE_CACHE": "0",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",  # by default Open MPI refuses root, and more ranks than cores
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def mpiexec() -> str | None:
    """The launcher of this environment, else one of the system."""
    beside = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    return beside or shutil.which("mpiexec")


def why_not() -> str | None:
    """The reason why tests on several ranks cannot run here; None if they can."""
    if importlib.util.find_spec("mpi4py") is None:
        return "several processes need mpi4py: pip install 'fdezero[mpi]'"
    return None if mpiexec() else "several processes need mpiexec: pip install 'fdezero[mpi]'"


class Launched(NamedTuple):
    """What a run under mpiexec gave. `code` is None if it had to be ended after its time."""

    code: int | None
    stdout: str
    stderr: str
    seconds: float


def launch(size: int, *command: str, timeout: float = 60.0, folder: Path | None = None, **variables: str) -> Launched:
    """Run `python COMMAND…` on `size` ranks to its end; skip the test where MPI is missing."""
    if reason := why_not():
        pytest.skip(reason)
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = started(size, list(command), folder or ROOT, out, err, variables)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
            end(process)
        seconds = time.monotonic() - begun
        out.seek(0)
        err.seek(0)
        return Launched(code, out.read(), err.read(), seconds)


def started(size: int, command: list[str], folder: Path, out: Any, err: Any, variables: dict[str, str]) -> Any:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [str(mpiexec()), "-n", str(size), sys.executable, *command],
        cwd=folder,
        env=os.environ | SETTINGS | {"PYTHONPATH": path} | variables,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        start_new_session=True,  # so that a hang can be ended with all its ranks
    )


def end(process: Any) -> None:
    """End mpiexec and its ranks: ask first, so that MPICH's helpers end their ranks, then kill."""
    for how in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        if hasattr(os, "killpg"):
            try:
                os.killpg(process.pid, how)
            except ProcessLookupError:
                break
        else:
            process.kill()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            continue


class Pool:
    """Ranks that wait for test functions."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115, open as long as the pool lives
        self.ranks: dict[Connection, int] = {}
        key = secrets.token_hex(16)
        with Listener(authkey=key.encode()) as listener:
            command = ["-m", __name__, str(listener.address)]
            self.process = started(size, command, ROOT, self.said, self.said, {"FDEZERO_POOL_KEY": key})
            accepting = threading.Thread(target=self.accept, args=[listener], daemon=True)  # accept() knows no time limit
            accepting.start()
            deadline = time.monotonic() + STARTING
            while accepting.is_alive() and self.process.poll() is None and time.monotonic() < deadline:
                accepting.join(0.1)
        if len(self.ranks) < size:
            words = self.words()
            self.close(kill=True)
            pytest.fail(f"the pool of {size} ranks did not start:\n{words}", pytrace=False)

    def accept(self, listener: Listener) -> None:
        with contextlib.suppress(OSError):  # closed, because a rank did not come
            while len(self.ranks) < self.size:
                connection = listener.accept()
                self.ranks[connection] = connection.recv()

    def words(self) -> str:
        """The end of what the ranks printed."""
        self.said.seek(0)
        return self.said.read()[-4000:]

    def close(self, kill: bool = False) -> None:
        if POOLS.get(self.size) is self:
            del POOLS[self.size]
        for connection in self.ranks:
            connection.close()  # its rank sees the end of the pipe, and leaves
        if kill:
            end(self.process)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            end(self.process)
        self.said.close()

    def run(self, module: str, name: str, arguments: dict[str, Any], limit: float, size: int | None = None) -> None:
        """Run the function on every rank, or on the first ones; raise what went wrong, with the rank."""
        for connection in self.ranks:
            connection.send((module, name, arguments, limit, size or self.size))
        outcomes: dict[int, tuple[str, str]] = {}
        deadline = time.monotonic() + limit
        while len(outcomes) < self.size and time.monotonic() < deadline:
            pending = [connection for connection, rank in self.ranks.items() if rank not in outcomes]
            for connection in wait(pending, max(0.0, deadline - time.monotonic())):
                rank = self.ranks[connection]  # type: ignore[index]  # wait() returns what it was given
                try:
                    outcomes[rank] = connection.recv()  # type: ignore[union-attr]  # the same
                except (EOFError, ConnectionResetError):
                    outcomes[rank] = ("failed", "the rank ended")
                if outcomes[rank][0] == "failed":
                    deadline = min(deadline, time.monotonic() + GRACE)
        missing = sorted(set(range(self.size)) - set(outcomes))
        failed = {rank: text for rank, (kind, text) in outcomes.items() if kind == "failed"}
        words = self.words() if missing else ""
        if missing or any(text == "the rank ended" for text in failed.values()):
            self.close(kill=True)
        if failed or missing:
            parts = [f"rank {rank} of {self.size}:\n{text}" for rank, text in sorted(failed.items())]
            if missing:
                parts += [f"ranks {missing} did not come back within {limit:g} s, or {GRACE:g} s after a failure"]
                parts += [words]
            pytest.fail("\n".join(parts), pytrace=False)
        for kind, text in outcomes.values():
            if kind == "skipped":
                pytest.skip(text)


POOLS: dict[int, Pool] = {}


@atexit.register
def _close_pools() -> None:
    for pool in list(POOLS.values()):
        pool.close()


def on_ranks(*sizes: int, limit: float = 60.0) -> Callable[[FunctionType], Callable[..., None]]:
    """A decorator: the test runs once for each size, on all ranks of a world of that size.

    Arguments of pytest's parametrize, and fixtures that pickle (such as tmp_path), reach every rank."""

    def decorate(function: FunctionType) -> Callable[..., None]:
        @functools.wraps(function)  # its name, marks and place
        def test(size: int, **arguments: Any) -> None:
            if size == 1:
                function(_world(), **arguments)
                return
            if reason := why_not():
                pytest.skip(reason)
            of = 4 if size == 3 else size  # the start of ranks takes longer than their tests
            if of not in POOLS:
                POOLS[of] = Pool(of)
            POOLS[of].run(function.__module__, function.__qualname__, arguments, limit, size)

        parameters = list(inspect.signature(function).parameters.values())[1:]
        size = inspect.Parameter("size", inspect.Parameter.KEYWORD_ONLY)
        test.__signature__ = inspect.Signature([*parameters, size])  # type: ignore[attr-defined]  # pytest reads it
        test.on_rank = function  # type: ignore[attr-defined]  # for the ranks
        return pytest.mark.parametrize("size", sizes, ids=[f"{size} ranks" for size in sizes])(test)

    return decorate


def _world() -> Any:
    import fdezero as fd

    return fd.distributed.world()


def _outcome(module: str, name: str, arguments: dict[str, Any], limit: float, size: int) -> tuple[str, str]:
    """Run one test function on this rank, in a world of the first ranks."""
    faulthandler.dump_traceback_later(max(1.0, limit - 1.0))  # a hang says where, in the words of the pool
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            world = _world()
            if size < world.size:
                is_out = world.rank >= size
                world = world.split(int(is_out))
                if is_out:
                    return "passed", ""
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
            found.on_rank(world, **arguments)
    except pytest.skip.Exception as skipped:
        return "skipped", str(skipped)
    except (Exception, pytest.fail.Exception):
        return "failed", traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    return "passed", ""


def _serve(arguments: Sequence[str]) -> None:
    """One rank of a pool: take jobs until the pipe is closed. It soon sleeps where it waits, because the cores are shared with other tests."""
    waiting.AWAKE = 1e-3
    world = _world()
    with Client(arguments[0], authkey=os.environ["FDEZERO_POOL_KEY"].encode()) as connection:
        connection.send(world.rank)
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            connection.send(_outcome(*job))


if __name__ == "__main__":
    _serve(sys.argv[1:])
