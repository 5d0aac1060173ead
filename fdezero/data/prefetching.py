"""`prefetch`: a thread makes the next batches, and brings them to a GPU, while a step runs."""

from collections.abc import Iterable, Iterator
from typing import Any

from ..devices import backend_named, parse_device, to_device
from ..errors import DTypeError
from ..messages import describe
from .batches import Batches, Threads
from .samplers import whole

__all__ = ["prefetch"]

END = object()


class Ahead:
    """Results that one thread takes from an iterator, up to `count` ahead, and moves to a device on a stream of its own."""

    def __init__(self, batches: Iterator[Any], count: int, device: str | None) -> None:
        self._batches = batches
        moves = None if device is None else backend_named(device).moves_beside(parse_device(device) or 0)

        def task(_: int) -> Any:
            batch = next(batches, END)
            if device is None or batch is END:
                return batch, None
            return (to_device(batch, device), None) if moves is None else moves.move(lambda: to_device(batch, device))

        self._moves = moves
        self._threads = Threads(task, Forever(), 1, count)

    def get(self) -> Any:
        batch, event = self._threads.get()
        if event is not None and self._moves is not None:
            self._moves.wait(event)
        return batch

    def close(self) -> None:
        self._threads.close()
        if hasattr(self._batches, "close"):
            self._batches.close()


class Forever:
    """The steps of an iterator whose length is not known."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield 0


class Stream(Iterator[Any]):
    """The batches of any iterable, made ahead."""

    def __init__(self, ahead: Ahead) -> None:
        self._ahead = ahead

    def __next__(self) -> Any:
        try:
            batch = self._ahead.get()
        except BaseException:
            self.close()
            raise
        if batch is END:
            self.close()
            raise StopIteration
        return batch

    def close(self) -> None:
        """Stop here, and end the thread."""
        self._ahead.close()

    def __del__(self) -> None:
        self.close()


def prefetch(batches: Iterable[Any], n: int = 2, *, device: str | None = None) -> Any:
    """The same batches from a thread that makes up to `n` of them ahead, while the caller computes.

    With `device` the thread also moves them there. On a GPU it copies through pinned memory, on a stream of its own, and the
    caller's stream waits for each copy before it computes with it. An error in the thread is raised where its batch is asked for.
    The thread ends with the last batch, with an error, with `close()`, and when nobody holds the iterator any more.
    """
    whole(n, "data.prefetch: n", 1)
    if not hasattr(type(batches), "__iter__"):
        raise DTypeError(
            f"data.prefetch takes batches that can be iterated, such as loader.epoch(0), got {describe(batches)}."
        )
    if device is not None:
        to_device((), device)
    iterator = iter(batches)
    ahead = Ahead(iterator, n, device)
    if isinstance(iterator, Batches):
        return Batches(iterator.epoch, iterator.step, iterator.step + len(iterator), ahead)
    return Stream(ahead)
