"""How ranks meet in a collective: they compare new calls, wait with a limit, and say why nobody comes."""

import collections
import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import DisagreementError, FdezeroError, StructureError
from .agreement import Call, Place, call_of, disagreement, ended, first_difference, waiting
from .notes import LAST, Note, Notes, users_line

__all__ = ["EVERY", "Watch"]

TESTS = 100  # looks at a message before others get the core: most small ones have come by then
MOVING = 2e-5  # seconds: a look that takes longer has copied a part of a large message
AWAKE = 0.02  # seconds without a change after which a rank sleeps between two looks
LONGEST = 2e-3  # seconds of such a sleep
GRACE = 0.5  # seconds after which ranks that wait tell each other where
ANSWERS = 3.0  # seconds that silent ranks have for saying where they are, after the limit
EVERY = 100  # one of so many known calls is compared again, because ranks may make known calls in another order
MOST = 1024  # calls that are known at once; with more, for example where lengths always change, all are compared anew
MASK = 2**62 - 1

give_way: Callable[[], Any] = getattr(os, "sched_yield", lambda: time.sleep(0))


@attrs.frozen(eq=False)
class Known:
    """A call that all ranks of the world agreed on."""

    call: Call
    digest: int
    where: str  # the line of its first use


class Watch:
    """Stands by all collectives of one world on this rank.

    `comm` is the world's communicator; comparisons have a copy of it for themselves. `notes` is the mailbox of the process.
    """

    def __init__(self, comm: Any, notes: Notes) -> None:
        self.comm, self.notes = comm.Dup(), notes
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self.ranks = _ranks_in(notes.comm, comm)  # in the whole run
        self.every = EVERY
        self.unfinished: list[Any] = []  # MPI may still write where these messages arrive
        self.is_broken = False  # whether a collective has ended with an error, perhaps on this rank alone
        self._busy = threading.Lock()
        self.leave = self._busy.release
        self._begin()

    def _begin(self) -> None:
        """Nothing has been called yet. All ranks of the world do this together."""
        made = self.notes.made[self.ranks] = self.notes.made.get(self.ranks, 0) + 1
        self.group = int.from_bytes(
            hashlib.blake2b(repr((self.ranks, made)).encode(), digest_size=7).digest(), "little"
        )
        self.number = self.history = 0
        self.known: dict[Hashable, Known] = {}
        self.agreed: dict[int, Known] = {}  # by digest: the same ones, in the same order, on all ranks
        self.now: Known | None = None
        self.before: Known | None = None
        self.recent: collections.deque[tuple[int, Known]] = collections.deque(maxlen=EVERY)
        self.notes.watches[self.group] = self

    def enter(self, name: str) -> None:
        """Begin something that all ranks do together, until `leave`. Raises StructureError if another thread does so in this world."""
        if not self._busy.acquire(blocking=False):
            raise StructureError(
                f"{name}: another thread of rank {self.rank} is in a collective of the same world. Ranks would take the messages of one "
                "for those of the other. Call collectives on one thread, and not in the transform of a loader, or give each thread "
                "a world of its own: world.split(0), on all ranks."
            )

    def renew(self) -> None:
        """Forget all calls: from now on, another world calls. All ranks do this together."""
        self.notes.pasts[self.group] = self.past()
        del self.notes.watches[self.group]
        self._begin()

    def close_in_child(self) -> None:
        """Refuse collectives in a process that this one has forked, which shares its connections to other ranks."""

        def refuse(name: str) -> None:
            raise StructureError(
                f"{name}: this process was forked from rank {self.rank}, as the workers of a loader or a pool are. Only the processes "
                "that the launcher started take part in collectives: call it there."
            )

        self.enter = refuse  # type: ignore[method-assign]  # so the call costs nothing elsewhere

    def meet(self, key: Hashable, collective: Any, arrays: Sequence[Any]) -> Known:
        """Begin a collective on arrays. `key` tells calls apart on this rank; a new one is compared with the others'.

        Returns the call, which `meet_again` takes. Raises DisagreementError, on every rank, if the others call something else.
        """
        known = self.known.get(key)
        if known is None:
            call = call_of(collective, arrays)
            # Keys may differ where calls do not, such as in static fields of a tree.
            known = self.agreed.get(call.digest)
            if known is None:
                return self._meet_first(key, Known(call, call.digest, users_line(sys._getframe(1))))
            if len(self.known) >= MOST:
                self.known.clear()
            self.known[key] = known
        self.meet_again(known)
        return known

    def _meet_first(self, key: Hashable, known: Known) -> Known:
        self.number += 1
        self.before = self.now
        self._agree(known)
        if len(self.agreed) >= MOST:
            self.known.clear()
            self.agreed.clear()
        self.known[key] = self.agreed[known.digest] = known
        self._note(known)
        return known

    def meet_again(self, known: Known) -> None:
        """Begin a collective that was compared before. Once in `every` calls it is compared again, with those before it."""
        self.number += 1
        self.before = self.now
        if self.every and not self.number % self.every:
            self._agree(known)
        self._note(known)

    def _note(self, known: Known) -> None:
        self.now = known
        self.history = (self.history * 1_000_003 + known.digest) & MASK
        self.recent.append((self.number, known))

    def meet_for(self, name: str) -> None:
        """Begin something else that all ranks do together."""
        self.meet(name, Call(name), ())

    def wait(self, is_over: Callable[[], Any]) -> None:
        """Return once `is_over()`, which may be the `Test` of a request.

        Raises DisagreementError if another rank waits in another collective or is at the end of its script, and WaitingError after
        the limit.
        """
        try:
            for _ in range(TESTS):
                if is_over():
                    return
            self._wait_longer(is_over)
        except BaseException as error:
            self.unfinished.append(is_over)
            if not isinstance(error, FdezeroError | KeyboardInterrupt | SystemExit):
                self._explain(error)  # MPI's own: a message of another length has come
            raise

    def _explain(self, error: BaseException) -> None:
        """Raise DisagreementError if the other ranks say within a short time that they do something else."""
        search, began = Search(self), time.monotonic()
        while time.monotonic() < began + 2 * GRACE:
            try:
                search.look(GRACE)
            except DisagreementError as found:
                raise found from error
            time.sleep(LONGEST)

    def _wait_longer(self, is_over: Callable[[], Any]) -> None:
        clock = time.monotonic
        began = moved = before = clock()
        search = None
        while not is_over():
            after = clock()
            if after - before > MOVING:
                moved = after
            if after - moved < AWAKE:
                give_way()
            else:
                search = search or Search(self)
                search.look(after - began)
                time.sleep(min((after - moved) / 64, LONGEST))
            before = clock()

    def place(self) -> Place:
        """Where this rank is."""
        assert self.now is not None
        return Place(self.now.call, self.number, users_line(sys._getframe(1)))

    def _agree(self, found: Known) -> None:
        """Compare the call with those that the other ranks make now, and those that they made before."""
        self.now = found
        mine = np.array([self.number, found.digest, self.history], np.int64)
        of_all = np.empty((self.size, 3), np.int64)
        self.wait(self.comm.Iallgather(mine, of_all).Test)
        if not (of_all == mine).all():
            raise self.compared()

    def compared(self) -> Exception:
        """The error for what the ranks do, or for the first call in which they differed.

        Ranks ask each other by notes, and not by a collective: one of them may wait for another step, or have ended.
        """
        notes, calls, until = self.notes, self.calls(), time.monotonic() + ANSWERS
        others = [rank for rank in self.ranks if rank != notes.rank]
        notes.send(Note("waits", self.group, calls), others)
        while True:
            latest = notes.read()
            said = {rank: latest[rank].calls for rank in others if rank in latest and latest[rank].group == self.group}
            if sum(max(of) >= self.number for of in said.values()) == len(others) or time.monotonic() > until:
                return first_difference({**said, notes.rank: calls})
            time.sleep(LONGEST)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # it was not made to the end
            self.notes.pasts[self.group] = self.past()

    def past(self) -> tuple[int, int, dict[int, Place]]:
        """What it has called until now: how often, a digest of it all, and the latest calls."""
        return self.number, self.history, self.completed()

    def calls(self) -> dict[int, Place]:
        """The latest calls by their numbers, and the one that is running."""
        return {**self.completed(), self.number: self.place()}

    def completed(self) -> dict[int, Place]:
        """The latest calls by their numbers, with the lines of their first uses."""
        return {number: Place(known.call, number, f"{known.where} (at first)") for number, known in self.recent}


class Search:
    """Finds out why a collective does not come to its end."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.calls = watch, watch.calls()
        self.place = self.calls[watch.number]
        self.others = [rank for rank in watch.ranks if rank != watch.notes.rank]
        self.told = self.asked = False

    def look(self, waited: float) -> None:
        """Read the notes of the others. Raise if one of them says why it does not come, or after the limit."""
        watch, notes = self.watch, self.watch.notes
        latest = notes.read()
        if any(note.kind == "failed" for note in latest.values()) and waited < notes.limit + LAST:
            return  # it shows its error, and ends all
        if waited < min(GRACE, notes.limit):  # a rank may be at its end, and its last message on the way
            return
        if not self.told:
            self.told = True
            notes.send(Note("waits", watch.group, self.calls), self.others)
        gone = {rank: latest[rank].counts for rank in self.others if rank in latest and latest[rank].kind == "ended"}
        here, elsewhere = self._waiting(latest)
        here[notes.rank] = self.place
        if any(place.call != self.place.call for place in here.values()):
            raise disagreement(here)
        if gone:
            raise ended(here, {rank: counts.get(watch.group, 0) for rank, counts in gone.items()})
        if waited < notes.limit:
            return
        silent = [rank for rank in self.others if rank not in here and rank not in elsewhere]
        if not self.asked:
            self.asked = True
            notes.send(Note("asks"), silent)
        answers = {rank: latest[rank].where if rank in latest and latest[rank].kind == "is" else "" for rank in silent}
        if all(answers.values()) or waited > notes.limit + ANSWERS:
            raise waiting(here, elsewhere, answers, notes.limit, self._before())

    def _waiting(self, latest: dict[int, Note]) -> tuple[dict[int, Place], dict[int, Place]]:
        """The other ranks of the world that wait: in this collective, and in another one.

        Raises DisagreementError if one of them made another call before.
        """
        here, elsewhere = {}, {}
        for rank in self.others:
            note = latest.get(rank)
            if note is None or note.kind != "waits":
                continue
            number = max(note.calls)
            if note.group != self.watch.group:
                elsewhere[rank] = note.calls[number]
            elif number == self.place.number:
                here[rank] = note.calls[number]
            elif common := [n for n in note.calls if n in self.calls and note.calls[n].call != self.calls[n].call]:
                raise disagreement({rank: note.calls[min(common)], self.watch.notes.rank: self.calls[min(common)]})
            elif number > self.place.number:
                elsewhere[rank] = note.calls[number]
        return here, elsewhere

    def _before(self) -> Place | None:
        before = self.watch.before
        return Place(before.call, self.place.number - 1, f"{before.where} (at first)") if before is not None else None


def _ranks_in(whole: Any, comm: Any) -> tuple[int, ...]:
    """The ranks of `comm`, as `whole` counts them."""
    group, inner = whole.Get_group(), comm.Get_group()
    try:
        return tuple([int(rank) for rank in inner.Translate_ranks(list(range(inner.Get_size())), group)])
    finally:
        group.Free()
        inner.Free()
