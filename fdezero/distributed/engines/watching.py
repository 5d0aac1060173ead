"""A watch over messages that work in the background: a GPU that waits for a rank waits for ever, and the host with it.

One event at a time is followed, so a message costs the host nothing but a look. A thread asks whether the event has come and
whether NCCL has found an error, and ends the run if a message takes longer than its limit.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import DeviceError

__all__ = ["Watch"]

PAUSE = 1.0  # seconds between two looks


def end_all(message: str) -> None:
    """Say what went wrong, and end all ranks: the thread that should raise is inside a call that does not return."""
    print(message, file=sys.stderr, flush=True)
    from .mpi import mpi

    mpi().COMM_WORLD.Abort(1)


class Watch:
    """Follows the messages of one engine, for at most `limit` seconds each; None for as long as they take."""

    def __init__(self, limit: float | None, who: str, end: Callable[[str], None] = end_all) -> None:
        self.limit = float("inf") if limit is None else limit
        self.who, self.end_all = who, end
        self.count = 0  # of messages so far, the same on all ranks
        self.followed: tuple[Any, float, str] | None = None  # an event, when it was recorded, and what it stands behind
        self.failed: str = ""
        self.joined: Any = None
        self.stopped = threading.Event()
        self.thread: threading.Thread | None = None

    @contextlib.contextmanager
    def over(self, what: str) -> Iterator[None]:
        """Watch a call that waits for the other ranks on the host."""
        timer = threading.Timer(
            min(self.limit, threading.TIMEOUT_MAX), self.fail, [f"more than {self.limit:g} s pass while {what}"]
        )
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def follow(self, joined: Any) -> None:
        """Ask this communicator for errors from now on."""
        self.joined = joined

    def ask(self) -> None:
        """Raise what the thread has found since the last message."""
        if self.failed:
            raise DeviceError(self.failed)

    def note(self, what: str, array: Any, stream: Any) -> None:
        """A message has been given to the stream."""
        self.count += 1
        if self.followed is None and not stream.is_capturing():
            said = f"message {self.count}, {what} of {array.dtype} {array.shape}"
            self.followed = (stream.record(), time.monotonic(), said)
            if self.thread is None:
                self.thread = threading.Thread(target=self._look_on, name="fdezero-nccl", daemon=True)
                self.thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self.stopped.set()

    def fail(self, message: str) -> None:
        """Leave the communicator, so that no kernel waits any longer, and end all ranks."""
        self.failed = f"{self.who}: {message}"
        if self.joined is not None:
            with contextlib.suppress(Exception):  # the reason above is the one to tell
                self.joined.abort()
        self.end_all(f"fdezero: {self.failed}.")

    def _look_on(self) -> None:
        while not self.stopped.wait(min(PAUSE, self.limit / 4)):
            if reason := self._look():
                self.fail(reason)
                return

    def _look(self) -> str:
        """What has gone wrong, or nothing."""
        followed = self.followed
        try:
            self.joined.check_async_error()
        except Exception as error:
            return (
                f"NCCL reports {error} after message {self.count}: another rank has ended, or the network between them"
            )
        if followed is None:
            return ""
        event, begun, said = followed
        if event.done:
            self.followed = None
        elif time.monotonic() - begun > self.limit:
            return f"{said}, has not ended on the GPU after {self.limit:g} s: a rank has not come to it, or has another message there"
        return ""
