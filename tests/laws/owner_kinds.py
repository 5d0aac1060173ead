"""Arrays of every kind, each with other ways to reach its memory."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fdezero.core.owners import LARGE, SMALL

Make = Callable[[], Sequence[Any]]  # an array, and other ways to reach its memory


class Own(np.ndarray):
    """A subclass without a purpose."""


def values(n: int = 3) -> np.ndarray:
    return np.linspace(0.5, 1.5, n)


def _viewed() -> Sequence[Any]:
    base = values(7)
    return base[2:5], base


def _with_an_earlier_view(n: int = 3) -> Sequence[Any]:
    x = values(n)
    return x, x[:]


def _two_views() -> Sequence[Any]:
    base = values(7)
    return base[2:5], base[1:6], base


def _broadcast() -> Sequence[Any]:
    base = values(1)
    return np.broadcast_to(base, (3,)), base


def _mapped() -> Sequence[Any]:
    with tempfile.TemporaryDirectory() as folder:
        x = np.memmap(Path(folder) / "x", np.float64, "w+", shape=(3,))
        x[...] = values()
        return x, x[:], np.asarray(x)


def _masked() -> Sequence[Any]:
    x = np.ma.masked_array(values(), [False, False, False])
    return x, x.data


def _of_a_record() -> Sequence[Any]:
    record = np.zeros(3, [("x", float), ("n", int)])
    record["x"] = values()
    return record["x"], record["x"]


def _in_a_buffer() -> Sequence[Any]:
    buffer = bytearray(values().tobytes())
    return np.frombuffer(buffer), np.frombuffer(buffer), memoryview(buffer).cast("d")


def _read_only_with_an_earlier_view() -> Sequence[Any]:
    x = values()
    view = x[:]
    x.flags.writeable = False
    return x, view


def _exported() -> Sequence[Any]:
    x = values()
    return x, memoryview(x)


KINDS: dict[str, Make] = {
    "plain": lambda: (values(),),
    "a view and its base": _viewed,
    "an earlier view": _with_an_earlier_view,
    "two views": _two_views,
    "F order": lambda: (values(4)[:3].reshape(3, 1).copy("F")[:, 0],),
    "reversed": lambda: (values()[::-1],),
    "every second": lambda: (values(5)[::2],),
    "broadcast": _broadcast,
    "mapped": _mapped,
    "masked": _masked,
    "a record's field": _of_a_record,
    "a record array": lambda: (values().view(np.recarray),),
    "a subclass": lambda: (values().view(Own),),
    "in a bytearray": _in_a_buffer,
    "read-only with an earlier view": _read_only_with_an_earlier_view,
    "exported": _exported,
    "large": lambda: (values(SMALL // 8 + 1),),
    "large with an earlier view": lambda: _with_an_earlier_view(SMALL // 8 + 1),
    "very large": lambda: (values(LARGE // 8 + 1),),
    "very large with an earlier view": lambda: _with_an_earlier_view(LARGE // 8 + 1),
}  # fmt: skip
