"""Following messages that a GPU works on: where a rank does not come, the GPU waits for ever, and the host with it.

One event at a time is followed, so a message costs the host a look. A thread asks whether the event has come and whether NCCL has
found an error. What it raises ends all ranks, as an error of any thread does.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import DeviceError, WaitingError
from ..agreement import Call, Place
from ..waiting import Search
from .mpi import mpi

__all__ = ["Follower"]

PAUSE = 1.0  # seconds between two looks
ADVICE = "NCCL_DEBUG=INFO in the environment shows what NCCL does; NCCL_SOCKET_IFNAME chooses the network."


class Followed(NamedTuple):
    """An event on the stream, and the collective behind which it stands."""

    event: Any
    begun: float
    place: Place


class Late(Search):
    """Finds out why a message does not end on the GPU, while the host may have gone on to later ones."""

    def __init__(self, watch: Any, place: Place) -> None:
        super().__init__(watch)
        self.calls = {**{n: call for n, call in self.calls.items() if n < place.number}, place.number: place}
        self.place = place

    def _before(self) -> Place | None:
        return self.calls.get(self.place.number - 1)


class Follower:
    """Follows the messages of one engine. `watch` stands by the collectives of its world on the host, and knows the limit."""

    def __init__(self, watch: Any) -> None:
        self.watch = watch
        self.followed: Followed | None = None
        self.joined: Any = None
        self.stopped = threading.Event()
        self.thread: threading.Thread | None = None

    @contextlib.contextmanager
    def joining(self) -> Iterator[None]:
        """Follow NCCL's call by which all ranks join, which waits on the host."""
        limit = self.watch.notes.limit

        def fail() -> None:
            raise WaitingError(
                f"NCCL does not connect the {self.watch.size} ranks within the limit of {limit:g} s. {ADVICE}"
            )

        timer = threading.Timer(min(limit, threading.TIMEOUT_MAX), fail)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def note(self, stream: Any) -> None:
        """A message has been given to the stream."""
        if self.followed is None and not stream.is_capturing():
            known = self.watch.now
            call, where = (known.call, known.where) if known is not None else (Call("a message"), "its first line")
            self.followed = Followed(stream.record(), time.monotonic(), Place(call, self.watch.number, where))
            if self.thread is None:
                self.thread = threading.Thread(target=self._follow, name="fdezero NCCL", daemon=True)
                self.thread.start()

    def stop(self) -> None:
        """Follow no longer."""
        self.stopped.set()

    def _follow(self) -> None:
        while not self.stopped.wait(min(PAUSE, self.watch.notes.limit / 4)):
            self._ask()
            followed = self.followed
            if followed is None:
                continue
            if followed.event.done:
                self.followed = None
            elif time.monotonic() - followed.begun > self.watch.notes.limit:
                self._explain(followed)

    def _ask(self) -> None:
        """Raise DeviceError for what NCCL has found in the background."""
        try:
            self.joined.check_async_error()
        except Exception as error:
            raise DeviceError(
                f"NCCL reports an error on rank {self.watch.rank} of {self.watch.size}, after collective number "
                f"{self.watch.number}: {error}. Has another rank ended, or its network? {ADVICE}"
            ) from error

    def _explain(self, followed: Followed) -> None:
        """Raise WaitingError or DisagreementError that says which ranks a message waits for."""
        limit = self.watch.notes.limit
        if mpi().Query_thread() != mpi().THREAD_MULTIPLE:
            raise WaitingError(
                f"{followed.place.call} at {followed.place.where} has not ended on the GPU within {limit:g} s. {ADVICE}"
            )
        search = Late(self.watch, followed.place)
        while not followed.event.done:  # a message that was only slow
            search.look(time.monotonic() - followed.begun)
            time.sleep(0.01)
        self.followed = None
