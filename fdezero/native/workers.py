"""Threads that share the work of one call."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
