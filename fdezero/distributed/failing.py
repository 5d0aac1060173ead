"""The end of a rank: an error ends all of them, and a rank that is at the end of its script waits for the others."""

import atexit
import faulthandler
import functools
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import DisagreementError, WaitingError
from .agreement import first_difference, listed, uneven
from .launchers import is_child_of_rank, launch_of
from .notes import LAST, Note, Notes

__all__ = ["notes_of_run", "starting"]

Made = TypeVar("Made")

STARTING = (
    60.0  # seconds that processes have at least until all have called `world`: a busy machine or a slow disk needs many
)
SAME = 0.5  # seconds in which other ranks may fail with the same error: it is shown once
WRITING = 5.0  # seconds that threads have for their work, such as a checkpoint that is half written
SHOWING = 0.2  # seconds that the launcher has for passing on what was printed, before it hears of the end
INTERRUPTED = 130  # the status of a program that Ctrl-C ended, as shells count


def starting(make: Callable[[], Made], limit: float) -> Made:
    """The result of `make()`, which starts MPI where it is asked for: a call that waits for all ranks and cannot be interrupted.

    A rank may have ended before it called `world`, without a word to MPI. So after the limit Python's own timer, which needs no
    interpreter, shows where this rank waits, and ends the process. A limit that is short for a collective is too short for a start.
    """
    if "mpi4py.MPI" in sys.modules or launch_of() is None or is_child_of_rank() or not math.isfinite(limit):
        return make()

    def waiting_until_all_ranks_have_called_world() -> Made:  # the traceback shows this name
        return make()

    faulthandler.dump_traceback_later(min(max(limit, STARTING), 1e6), exit=True, file=2)
    try:
        return waiting_until_all_ranks_have_called_world()
    finally:
        faulthandler.cancel_dump_traceback_later()


@functools.cache
def notes_of_run(MPI: Any) -> Notes:
    """The mailbox of this process. From its first use on, an error that nobody catches ends all ranks. All ranks call this together."""
    notes = Notes(MPI.COMM_WORLD.Dup())
    Guard(notes)
    return notes


class Guard:
    """Takes the places of Python's hooks for errors, and calls the earlier ones to show the error."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.process = os.getpid()  # a forked process inherits the hooks, but must not touch MPI
        self.earlier, self.earlier_of_threads = sys.excepthook, threading.excepthook
        sys.excepthook, threading.excepthook = self.uncaught, self.uncaught_in_thread
        atexit.register(self.leave)

    def uncaught(self, kind: Any, error: Any, trace: Any) -> None:
        """What Python calls for an error of the main thread."""
        status = INTERRUPTED if issubclass(kind, KeyboardInterrupt) else 1
        self.fail(error, status, lambda: self.earlier(kind, error, trace))

    def uncaught_in_thread(self, arguments: Any) -> None:
        """What Python calls for an error of another thread."""
        if issubclass(arguments.exc_type, SystemExit):
            return
        self.fail(arguments.exc_value, 1, lambda: self.earlier_of_threads(arguments))

    def fail(self, error: Any, status: int, show: Any) -> None:
        """Show the error, and end all ranks. If other ranks have the same one, the first of them shows it."""
        from mpi4py import MPI

        if os.getpid() != self.process or MPI.Is_finalized():
            show()
            return
        try:
            # What ranks say when they wait for each other differs in the ranks that each of them knows of.
            is_ours = isinstance(error, DisagreementError | WaitingError)
            words = type(error).__name__ if is_ours else "".join(traceback.format_exception_only(error))
            same = self._who_else(words)
            if min(same) == self.notes.rank:
                whose = " (the traceback of the first)" if len(same) > 1 else ""
                sys.stdout.flush()
                print(
                    f"fdezero: {listed(same)} of {self.notes.size} ended with an error{whose}, so all ranks end:",
                    file=sys.stderr,
                    flush=True,
                )
                show()
                sys.stderr.flush()
                _finish_threads()
                time.sleep(SHOWING)
            else:
                time.sleep(LAST)
        finally:
            MPI.COMM_WORLD.Abort(status)

    def _who_else(self, words: str) -> list[int]:
        """The ranks that fail now with the same words, and this one."""
        notes, begun = self.notes, time.monotonic()
        notes.send(Note("failed", where=words))
        while time.monotonic() < begun + SAME:
            failed = [rank for rank, note in notes.read().items() if note.kind == "failed"]
            if len(failed) == notes.size - 1:
                break
            time.sleep(0.01)
        return [
            notes.rank,
            *[rank for rank, note in notes.latest.items() if note.kind == "failed" and note.where == words],
        ]

    def leave(self) -> None:
        """At the end of the script: wait for the other ranks, and tell those that wait in a collective that nobody will come."""
        from mpi4py import MPI

        if os.getpid() != self.process or MPI.Is_finalized():
            return
        self.notes.close()
        counts = {group: past[0] for group, past in self._pasts().items()}
        all_here, begun, told = self.notes.comm.Ibarrier(), time.monotonic(), False
        while not all_here.Test():
            if not told and time.monotonic() > begun + 0.1:
                told = True
                self.notes.send(Note("ended", counts=counts))
            self.notes.read()
            time.sleep(0.005)
        if (error := self._different_pasts()) is not None:
            self.uncaught(type(error), error, None)

    def _pasts(self) -> dict[int, tuple[int, int, Any]]:
        """What each world has called until now."""
        return {**self.notes.pasts, **{group: watch.past() for group, watch in self.notes.watches.items()}}

    def _different_pasts(self) -> DisagreementError | None:
        """The error for ranks that have called different collectives, without waiting for each other. All ranks ask at their end."""
        mine = self._pasts()
        of_all = self.notes.comm.allgather({group: past[:2] for group, past in mine.items()})
        different = [group for group in mine if len({of[group] for of in of_all if group in of}) > 1]
        calls = self.notes.comm.allgather({group: mine[group][2] for group in different})
        for group in different:
            known = {rank: of[group] for rank, of in enumerate(calls) if of.get(group)}
            if len(known) > 1:
                return first_difference(known)
            # One rank alone completed a call, or none did, because the script caught the error of a call that nobody else made.
            return uneven({rank: of[group][0] for rank, of in enumerate(of_all) if group in of})
        return None


def _finish_threads() -> None:
    """Give a little time to threads that Python would wait for, so that a checkpoint is whole."""
    until = time.monotonic() + WRITING
    for thread in threading.enumerate():
        if not thread.daemon and thread not in (threading.main_thread(), threading.current_thread()):
            thread.join(max(0.0, until - time.monotonic()))
