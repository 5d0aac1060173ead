"""Batches made by other processes: for examples whose Python code holds the lock that threads share.

Each process has a pipe. Step s goes to process s % n, and its answer is read when it is that step's turn. The arrays of a batch
travel apart from its pickle and are received into the memory of the result, so each is copied once on either side.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ..errors import StructureError, WorkerError
from ..messages import called

__all__: list[str] = []

READS_INTO = hasattr(os, "readv")  # not on Windows, whose pipes have other functions
PATIENCE = 5.0  # seconds for a process to end by itself


class WorkerTraceback(Exception):  # noqa: N818 - it is shown above an error, and never raised
    """The traceback of an error in another process, as text: the cause of the error that is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Processes:
    """Results of `make(*arguments)` for each of `tasks`, in their order, by `count` processes."""

    def __init__(
        self, make: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], count: int, method: bool | str
    ) -> None:
        context: Any = multiprocessing.get_context(None if method is True else str(method))
        inherits = context.get_start_method() == "fork"
        self._tasks, self._sent, self._next = tasks, 0, 0
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        try:
            for number in range(min(count, len(tasks))):
                here, there = context.Pipe()
                self._pipes.append(here)
                # A forked process has copies of our ends. It closes them, or the others would not see that we have ended.
                inherited = list(self._pipes) if inherits else []
                process = context.Process(
                    target=_work, args=(make, there, inherited), name=f"fdezero-loader-{number}", daemon=True
                )
                self._processes.append(process)
                process.start()
                there.close()
                self._send()
        except BaseException as error:
            self.close()
            if isinstance(error, pickle.PicklingError | AttributeError | TypeError) and not inherits:
                raise StructureError(
                    f"DataLoader: the data set and its functions must go to processes that start by {context.get_start_method()!r}, "
                    f"but something in them cannot be pickled: {error}. Define functions and classes at the top of a file, or use "
                    "threads: processes=False."
                ) from error
            raise

    def _send(self) -> None:
        """Give the next task to the process whose turn it is."""
        if self._sent < len(self._tasks):
            number = self._sent % len(self._pipes)
            with contextlib.suppress(OSError):  # `get` says so if the process has ended
                self._pipes[number].send(self._tasks[self._sent])
            self._sent += 1

    def get(self) -> Any:
        number = self._next % len(self._pipes)
        try:
            found, batch = receive(self._pipes[number])
        except (EOFError, OSError) as error:
            self._processes[number].join(PATIENCE)
            code = self._processes[number].exitcode
            step, index = self._tasks[self._next][:2]
            examples = ", ".join(map(str, index.reshape(-1)[:8].tolist()))
            why = " It was killed, perhaps because memory ran out." if code == -9 else ""
            raise WorkerError(
                f"DataLoader: process {number} ended with exit code {code} while it made step {step} (examples {examples}, ...).{why}"
            ) from error
        self._next += 1
        self._send()
        if found:
            return batch
        failure, text = batch
        raise failure from WorkerTraceback(text)

    def close(self) -> None:
        pipes, self._pipes = self._pipes, []
        processes, self._processes = self._processes, []
        self._tasks = ()
        for pipe in pipes:
            pipe.close()
        for process in processes:
            if process.pid is not None:
                process.terminate()
        for process in processes:
            if process.pid is not None:
                process.join(PATIENCE)
                if process.is_alive():
                    process.kill()
                    process.join()
                process.close()


def _work(make: Callable[..., Any], pipe: Connection, inherited: list[Connection]) -> None:
    """What a process does: answer tasks until the pipe is closed."""
    # Ctrl-C goes to all processes; the one that reads batches ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:
        other.close()
    with contextlib.suppress(EOFError, OSError):
        while True:
            arguments = pipe.recv()
            try:
                answer = True, make(*arguments)
            except Exception as error:
                answer = False, (_portable(error), traceback.format_exc())
            try:
                send(pipe, answer)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                error.add_note(f"in a batch of {called(make)} on its way to the process that trains")
                send(pipe, (False, (_portable(error), traceback.format_exc())))


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same where it cannot be pickled."""
    try:
        again = pickle.loads(pickle.dumps(error))
        if type(again) is type(error):
            return error
    except Exception:  # whatever a class of another library does when it is pickled
        pass
    same = RuntimeError(f"{type(error).__name__}: {error}")
    for note in getattr(error, "__notes__", ()):
        same.add_note(note)
    return same


def send(pipe: Connection, value: Any) -> None:
    """Send a tree of arrays: the pickle with the sizes of its buffers, then the buffers."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    pipe.send((text, [view.nbytes for view in views]))
    for view in views:
        if view.nbytes and READS_INTO:
            _write(pipe, view)
        elif view.nbytes:
            pipe.send_bytes(view)


def receive(pipe: Connection) -> Any:
    """What `send` sent. Arrays own their memory and can be written to."""
    text, sizes = pipe.recv()
    buffers = [np.empty(size, np.uint8) for size in sizes]
    for buffer in buffers:
        if buffer.size and READS_INTO:
            _read(pipe, buffer.data)
        elif buffer.size:
            pipe.recv_bytes_into(buffer.data)
    return pickle.loads(text, buffers=buffers)


def _write(pipe: Connection, view: memoryview) -> None:
    while view:
        view = view[os.write(pipe.fileno(), view) :]


def _read(pipe: Connection, view: memoryview) -> None:
    """Read into memory. Python's `recv_bytes_into` reads into a memory of its own and copies."""
    while view:
        count = os.readv(pipe.fileno(), [view])
        if not count:
            raise EOFError
        view = view[count:]
