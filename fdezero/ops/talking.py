"""Whether collectives talk to the other ranks now: not while a program is recorded, and not where results must not depend on ranks."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class _Talk(threading.local):
    """What collectives on plain values do in this thread: talk to the other ranks, or not while a program is recorded."""

    silent = False
    recorder: Any = None
    apart: tuple[Any, str] | None = None
    examples = 0  # how many collectives have returned examples
    # Makes an example that few functions refuse, from one that a function refused.
    harmless: Callable[[Any], Any] | None = None


TALK = _Talk()


@contextmanager
def silence(silent: bool = True) -> Iterator[None]:
    """Within, collectives return examples of their results, and no rank is asked. For recordings whose values nobody reads."""
    before, TALK.silent = TALK.silent, silent
    try:
        yield
    finally:
        TALK.silent = before


@contextmanager
def harmless_examples(harmless: Callable[[Any], Any]) -> Iterator[None]:
    """Within, collectives in silence return what `harmless` makes of their examples."""
    before, TALK.harmless = TALK.harmless, harmless
    try:
        yield
    finally:
        TALK.harmless = before


@contextmanager
def recording(recorder: Any) -> Iterator[None]:
    """Within, collectives on plain values are written down by `recorder`, so that none becomes a constant. None ends that."""
    before, TALK.recorder = TALK.recorder, recorder
    try:
        yield
    finally:
        TALK.recorder = before


@contextmanager
def apart(world: Any, what: str) -> Iterator[None]:
    """Within, collectives over ranks of `world` raise TraceError: `what` computes something there that must not depend on ranks."""
    before, TALK.apart = TALK.apart, (world, what)
    try:
        yield
    finally:
        TALK.apart = before


def make_harmless(outs: Sequence[Any]) -> None:
    """Count the examples of one collective, and change them where `harmless_examples` asks for it."""
    TALK.examples += 1
    if TALK.harmless is not None:
        for out in outs:
            out[...] = TALK.harmless(out)
