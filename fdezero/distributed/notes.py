"""Notes that ranks send each other beside their collectives: who waits where, who is at the end, and who failed."""

import os
import sys
import sysconfig
import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ..core.lines import EXAMPLES, PACKAGE, Line
from .agreement import Place

__all__ = ["LAST", "Note", "Notes", "users_line"]

LAST = 10.0  # seconds that a rank waits for the end which another one has announced
LIMIT = 600.0  # seconds: a rank may compute, save or load data for long while the others wait
ANSWERING = 0.5  # seconds between two looks for questions, on a thread
LIBRARIES = tuple({os.path.join(path, "") for name, path in sysconfig.get_paths().items() if "lib" in name})
LIBRARIES += (PACKAGE, "<frozen ", "<fdezero: ")


@attrs.frozen
class Note:
    """What a rank says: it "waits", "ended", "failed", "asks" where another one is, or "is" somewhere."""

    kind: str
    group: int = 0  # of a rank that waits: its world
    calls: Mapping[
        int, Place
    ] = {}  # of a rank that waits: its latest collectives there by number, the one that waits last
    where: str = ""  # the user's line; of a rank that failed: its error
    counts: Mapping[int, int] = {}  # of a rank that ended: the number of its collectives in each world


class Notes:
    """The mailbox of this process: the latest note of every rank. `comm` is a communicator of all ranks that nobody else uses.

    `limit` is how long a collective waits in this process, in seconds.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        self.comm, self.rank, self.size = comm, int(comm.Get_rank()), int(comm.Get_size())
        self.limit = LIMIT
        self.latest: dict[int, Note] = {}
        # By the number of their world.
        self.watches: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.pasts: dict[int, Any] = {}  # of worlds that are gone: what they have called
        # How many worlds these ranks have had: their names are the same on all ranks.
        self.made: dict[tuple[int, ...], int] = {}
        self._status = MPI.Status()
        self._sent: list[Any] = []
        self._lock = threading.RLock()  # threads read beside each other, and an answer is sent while one reads
        self._over = threading.Event()
        self._answering = threading.Thread(target=self._answer, name="fdezero ranks", daemon=True)
        if MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            self._answering.start()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._close_in_child)

    def send(self, note: Note, ranks: Iterable[int] | None = None) -> None:
        """Leave a note for some ranks, or for all. It does not wait until somebody reads it."""
        to = range(self.size) if ranks is None else ranks
        with self._lock:
            self._sent = [request for request in self._sent if not request.Test()]
            self._sent += [self.comm.isend(note, rank) for rank in to if rank != self.rank]

    def read(self) -> dict[int, Note]:
        """The latest note of every rank that left one. A rank that asks gets an answer."""
        with self._lock:
            while (message := self.comm.improbe(status=self._status)) is not None:
                rank = self._status.Get_source()
                note = message.recv()
                if note.kind == "asks":
                    self.send(Note("is", where=where_main_is()), [rank])
                else:
                    self.latest[rank] = note
            return self.latest

    def close(self) -> None:
        """Stop answering, before MPI ends."""
        self._over.set()
        if self._answering.is_alive() and self._answering is not threading.current_thread():
            self._answering.join()

    def _close_in_child(self) -> None:
        for watch in list(self.watches.values()):
            watch.close_in_child()

    def _answer(self) -> None:
        while not self._over.wait(ANSWERING):
            self.read()


def where_main_is() -> str:
    """The user's line that the main thread runs."""
    return users_line(sys._current_frames().get(threading.main_thread().ident or 0))


def users_line(innermost: Any) -> str:
    """The innermost line that does not belong to a library; the innermost one of all if every line does."""
    frame = innermost
    while frame is not None and _is_of_library(frame.f_code.co_filename):
        frame = frame.f_back
    frame = frame or innermost
    return "" if frame is None else str(Line(frame.f_code.co_filename, frame.f_lineno))


def _is_of_library(path: str) -> bool:
    return path.startswith(LIBRARIES) and not path.startswith(EXAMPLES)
