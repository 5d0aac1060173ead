"""Work on threads that a program finishes before it ends: also after Ctrl-C, SIGTERM, or an error elsewhere."""

import os
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any


class Task:
    """A function that runs on a thread of its own, after the task before it. What it raises is kept in `error`."""

    def __init__(self, function: Callable[[], None], before: "Task | None") -> None:
        self.function: Callable[[], None] | None = function
        self.before = before
        self.error: BaseException | None = None
        # Not Thread.join: Python 3.11 takes a thread for ended if a signal's error leaves `join`.
        self.over = threading.Event()
        # Not a daemon: Python waits for it at the end, unless the process is killed.
        self.thread = threading.Thread(target=self._run, name="fdezero checkpoint", daemon=False)

    def start(self) -> None:
        """Start the thread; where there can be none, because Python is about to end or the system has no more, work at once."""
        try:
            self.thread.start()
        except RuntimeError:
            self._run()

    def _run(self) -> None:
        try:
            if self.before is not None:
                self.before.wait()
            if self.function is not None:
                self.function()
        except BaseException as error:
            self.error = error
        finally:
            self.before = self.function = None  # and with it all that it holds
            self.over.set()

    def wait(self) -> None:
        """Wait for the end. An interrupt comes out, and the task goes on."""
        if not self.is_over:
            self.over.wait()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for. An interrupt may have come before the thread was started."""
        return self.over.is_set() or self.thread.ident is None


def report(tasks: list[Task]) -> None:
    """Print errors that nobody has asked for."""
    for task in tasks:
        if task.error is not None:
            print("fdezero: a checkpoint failed, and no later call could say so:", file=sys.stderr)
            traceback.print_exception(task.error)


_open: weakref.WeakSet[Any] = weakref.WeakSet()  # whoever may have work that SIGTERM must not cut off
_process = os.getpid()


def ends_well(owner: Any) -> None:
    """Until `forget(owner)`, SIGTERM ends this process like `sys.exit`: blocks are left, and threads finish.

    A handler of the user's stays, and so does one that is set later. Only the main thread can set one.
    """
    global _process
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        _process = os.getpid()
        signal.signal(signal.SIGTERM, _terminate)
    _open.add(owner)


def forget(owner: Any) -> None:
    """Undo `ends_well(owner)`."""
    _open.discard(owner)
    if (
        not _open
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is _terminate
    ):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    if os.getpid() != _process:  # a forked child, which does not have the threads
        os.kill(os.getpid(), number)
    raise SystemExit(128 + number)
