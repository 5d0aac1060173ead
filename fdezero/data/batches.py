"""The batches of one epoch as an iterator that knows its length, made here, by threads, or by processes."""

import collections
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

__all__: list[str] = []

NAME = "fdezero-loader"  # of threads
Task = Callable[[int], Any]


class Results(Protocol):
    """Where an iterator gets its batches, in the order of the steps."""

    def get(self) -> Any:
        """The next batch."""

    def close(self) -> None:
        """End all threads and processes."""


class Here:
    """Each batch is made when it is asked for."""

    def __init__(self, task: Task, steps: Iterable[int]) -> None:
        self._task, self._steps = task, iter(steps)

    def get(self) -> Any:
        return self._task(next(self._steps))

    def close(self) -> None:
        self._steps = iter(())


class Threads:
    """Threads make batches ahead, at most `ahead` of them at a time, and hand them out in order.

    They begin with the first batch, so an epoch that nobody reads starts none.
    """

    def __init__(self, task: Task, steps: Iterable[int], threads: int, ahead: int) -> None:
        self._task, self._steps, self._threads, self._ahead = task, iter(steps), threads, ahead
        self._executor: Any = None
        self._waiting: collections.deque[Any] = collections.deque()

    def get(self) -> Any:
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor  # on use: it loads the threading machinery

            self._executor = ThreadPoolExecutor(self._threads, NAME)
        while len(self._waiting) < self._ahead and self._submit():
            pass
        batch = self._waiting.popleft().result()
        self._submit()
        return batch

    def _submit(self) -> bool:
        step = next(self._steps, None)
        if step is not None:
            self._waiting.append(self._executor.submit(self._task, step))
        return step is not None

    def close(self) -> None:
        self._steps = iter(())
        self._waiting.clear()
        if self._executor is not None:
            # A thread that happens to free the last reference cannot wait for itself.
            within = threading.current_thread().name.startswith(NAME)
            self._executor.shutdown(wait=not within, cancel_futures=True)


class Moved:
    """Results after a function, which runs where they are asked for."""

    def __init__(self, results: Results, move: Callable[[Any], Any]) -> None:
        self._results, self._move = results, move

    def get(self) -> Any:
        return self._move(self._results.get())

    def close(self) -> None:
        self._results.close()


class Batches(Iterator[Any]):
    """The batches of epoch `epoch` from step `step` on, which counts up with every batch. `len(batches)` remain.

    The end, an error, `close()`, the end of a `with` block and the loss of the last reference stop its threads and processes.
    """

    def __init__(self, epoch: int, start: int, stop: int, results: Results) -> None:
        self.epoch, self.step, self._stop, self._results = epoch, start, stop, results

    def __len__(self) -> int:
        return self._stop - self.step

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Any:
        if self.step >= self._stop:
            self.close()
            raise StopIteration
        try:
            batch = self._results.get()
        except BaseException:  # Ctrl-C as well: nothing is left behind
            self.close()
            raise
        self.step += 1
        return batch

    def close(self) -> None:
        """Stop here. There are no batches after that."""
        self._stop = self.step
        self._results.close()

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        if "_results" in vars(self):  # not if __init__ failed
            self.close()

    def __repr__(self) -> str:
        return f"Batches(epoch={self.epoch}, step={self.step}, {len(self)} to come)"
