"""Threads that share the work of one call."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any


def available_threads() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Workers:
    """Threads for blocks. They start on first use, and a forked child starts its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: ThreadPoolExecutor | None = None
        self.process = 0

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        with self.lock:
            if self.pool is None or self.process != os.getpid():
                self.pool = ThreadPoolExecutor(available_threads(), "fdezero")
                self.process = os.getpid()
        return self.pool.submit(function, *args)


WORKERS = _Workers()


def run_all(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], here: Callable[..., Any] | None = None
) -> list[Any]:
    """The results of `function` for all calls, in their order. Each but the first runs on a thread of its own.

    The first call runs on the caller's thread, as one of `here` if that is given.
    """
    started = [WORKERS.submit(function, *call) for call in calls[1:]]
    try:
        first = (here or function)(*calls[0])
    finally:  # even after an exception, no thread may write while the next call runs
        wait(started)
    return [first, *[each.result() for each in started]]
