"""Another process, started anew, which runs what travels to it."""

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

import fdezero as fd

LOCAL = ("<lambda>", "<locals>", "local object")  # what pickle says of functions that no name leads to


def dumped(value: Any) -> bytes:
    """The pickle of a value. cloudpickle makes it only where the value holds a function without a name."""
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError) as error:
        if not any(word in str(error) for word in LOCAL):
            raise
    cloudpickle = pytest.importorskip("cloudpickle")
    return cloudpickle.dumps(value)


def run(parcel: bytes) -> Any:
    """What the parcel's function gives for its arguments."""
    function, args = pickle.loads(parcel)
    return fd.to_numpy(function(*args))


class Elsewhere:
    """A process that was spawned, so nothing is there but what travels."""

    def __init__(self) -> None:
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def __call__(self, function: Any, *args: Any) -> Any:
        return self.pool.submit(run, dumped((function, args))).result(60)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Call it with a function and arguments."""
    process = Elsewhere()
    try:
        yield process
    finally:
        process.pool.shutdown(wait=False)
