"""No write into an array that the library hands out, holds or takes in changes another result: it is refused, or harmless."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd
from fdezero.core.owners import SMALL

from ..profiles import NIGHTLY
from .ownership import KINDS, PLACES, WAYS, expected, writer

PART = 1 if NIGHTLY else 5  # of the ways, one in so many; the next kind begins with the next way
LARGE_KINDS = [kind for kind, make in KINDS.items() if make()[0].nbytes > SMALL]
NUMPY_WRITES_ANYWAY = "np.add.at"  # NumPy's ufunc.at does not look at the read-only flag, which is all that guards large arrays


def differs(place: str, kind: str, way: str) -> bool:
    """Whether the result of the place depends on the write."""
    found = fd.tree.leaves(PLACES[place](KINDS[kind], writer(way)))
    wanted = fd.tree.leaves(expected(place, kind))
    return len(found) != len(wanted) or not all(
        np.shape(a) == np.shape(b) and np.array_equal(np.asarray(a), b, equal_nan=True)
        for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize("place", PLACES)
def test_no_write_changes_another_result(place: str) -> None:
    wrong = []
    for number, kind in enumerate(KINDS):
        for way in itertools.islice(WAYS, number % PART, None, PART):
            if kind in LARGE_KINDS and way == NUMPY_WRITES_ANYWAY:
                continue
            with np.errstate(all="ignore"):
                if differs(place, kind, way):
                    wrong.append((kind, way))
    assert not wrong


def test_the_law_can_fail() -> None:
    """A place that shares memory fails in every way that writes into a plain array."""

    def place(make: object, write: object) -> object:
        x = np.linspace(0.5, 1.5, 3)
        write([x])  # type: ignore[operator]
        return x

    wanted = place(None, lambda things: None)
    harmless = {way for way in WAYS if np.array_equal(place(None, writer(way)), wanted)}  # type: ignore[arg-type]
    assert harmless == {"resize"}  # which NumPy refuses while anything else refers to the array


def test_trees_from_a_file_share_nothing(tmp_path: Path) -> None:
    x = np.linspace(0.5, 1.5, 4)
    fd.save(tmp_path / "x.npz", {"x": x, "y": x})
    first, second = fd.load(tmp_path / "x.npz"), fd.load(tmp_path / "x.npz")
    first["x"] *= 0
    for y in (first["y"], second["x"], second["y"]):
        assert np.array_equal(x, y)
