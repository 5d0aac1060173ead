"""Streams, events and CUDA graphs of the stand-in for CuPy: what runs during a capture is only noted, and computed by each launch."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

NOTED: list[list[Callable[[], None]]] = []  # of the capture that runs now, if one does


class Streams(threading.local):
    """The streams that each thread has entered."""

    def __init__(self) -> None:
        self.entered: list[Stream] = []


streams = Streams()
STOPPED = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"


class Event(tuple[str, "Stream"]):
    """cupy.cuda.Event: what it stands behind."""

    done = True


class Stream:
    """cupy.cuda.Stream. Everything has ended when a call returns; events are noted, so that tests see who waits for whom."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.null, self.ptr = null, 0 if null else id(self)
        self.waited: list[Any] = []

    def __enter__(self) -> "Stream":
        streams.entered.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        streams.entered.pop()

    def record(self) -> Any:
        return Event(("event of", self))

    def wait_event(self, event: Any) -> None:
        self.waited.append(event)

    def synchronize(self) -> None:
        """Everything has ended when a call returns."""
        stopped(STOPPED)

    def is_capturing(self) -> bool:
        return bool(NOTED)

    def begin_capture(self, mode: Any = None) -> None:
        if self.null:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert not NOTED, "a capture runs already"
        NOTED.append([])

    def end_capture(self) -> "Graph":
        if not NOTED:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph(NOTED.pop())


class Graph:
    """cupy.cuda.Graph."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        self.steps, self.launches = steps, 0

    def launch(self, stream: Any = None) -> None:
        self.launches += 1
        for step in self.steps:
            step()


NULL = Stream(null=True)


def current_stream() -> Stream:
    return streams.entered[-1] if streams.entered else NULL


def stopped(what: str) -> None:
    """End a capture in which the host would wait, or call a library that CuPy refuses then."""
    if NOTED:
        NOTED.clear()
        raise (NotImplementedError if "cuBLAS" in what else RuntimeError)(what)


def noted(places: tuple[np.ndarray, ...], compute: Callable[[], Any]) -> bool:
    """Whether a capture runs. Then `compute` gives the numbers of `places` in each launch, and not now."""
    if not NOTED:
        return False

    def step() -> None:
        found = compute()
        for place, value in zip(places, found if isinstance(found, tuple) else (found,), strict=True):
            place[...] = value

    for place in places:
        place.fill(0)
    NOTED[-1].append(step)
    return True


@contextlib.contextmanager
def using_allocator(allocator: Any) -> Iterator[None]:
    yield


class MemoryPool:
    """cupy.cuda.MemoryPool; memory is NumPy's here."""

    def malloc(self, size: int) -> None:
        raise NotImplementedError
