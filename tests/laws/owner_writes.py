"""Ways to write into an array."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Write = Callable[[Sequence[Any]], None]


def _in_place(x: Any) -> None:
    x *= 0


def _flat(x: Any) -> None:
    x.flat[...] = 7


def _flat_item(x: Any) -> None:
    x.flat[0] = 7


def _iterated(x: Any) -> None:
    with np.nditer(x, op_flags=["readwrite"]) as entries:
        for entry in entries:
            entry[...] = 7


def _buffer(x: Any) -> None:
    memoryview(x)[0] = 7.0


def _shape(x: Any) -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of NumPy 2.5, which still does it
        x.shape = (1, -1)


def _dtype(x: Any) -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        x.dtype = np.int64


def _item(x: Any) -> None:
    x[...] = 7


def _first(x: Any) -> None:
    x[0] = 7.0


def _viewed_as_integers(x: Any) -> None:
    x.view(np.int64)[...] = 7


WAYS: dict[str, Callable[[Any], Any]] = {
    "x[...] =": _item,
    "x[0] =": _first,
    "x *= 0": _in_place,
    "out=": lambda x: np.multiply(x, 0, out=x),
    "out= of a reduction": lambda x: np.cumsum(x, out=x),
    "np.copyto": lambda x: np.copyto(x, 7),
    "fill": lambda x: x.fill(7),
    "sort": lambda x: x[::-1].sort(),
    "resize": lambda x: x.resize((1,)),
    "byteswap": lambda x: x.byteswap(True),
    "partition": lambda x: x[::-1].partition(1),
    "put": lambda x: x.put([0], 7),
    "np.put": lambda x: np.put(x, [0], 7),
    "np.place": lambda x: np.place(x, np.ones(x.shape, bool), [7]),
    "np.putmask": lambda x: np.putmask(x, np.ones(x.shape, bool), 7),
    "flat[...] =": _flat,
    "flat[0] =": _flat_item,
    "nditer": _iterated,
    "real": lambda x: x.real.fill(7),
    "a transpose": lambda x: x.T.fill(7),
    "np.add.at": lambda x: np.add.at(x, [0], 7),
    "setfield": lambda x: x.setfield(7, np.float64),
    "shuffle": lambda x: np.random.default_rng(0).shuffle(x),
    "memoryview": _buffer,
    "integers": _viewed_as_integers,
    "a new shape": _shape,
    "a new dtype": _dtype,
}  # fmt: skip

OF_A_FEW_ENTRIES = {"x[0] =", "put", "np.put", "flat[0] =", "np.add.at", "memoryview"}


def writer(way: str) -> Write:
    """Writes in one way into everything that is given. A refusal is right as well."""

    def write(things: Sequence[Any]) -> None:
        for thing in things:
            try:
                WAYS[way](thing)
            except (ValueError, TypeError, AttributeError, BufferError, NotImplementedError, IndexError):
                continue

    return write
