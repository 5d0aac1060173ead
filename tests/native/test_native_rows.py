"""Native code of scatter_add: rows come in the order of the index, and an index out of range is NumPy's error."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero.ops import indexing
from fdezero.testing import assert_trees_equal

from ..compiler.test_compile_native import pytestmark  # noqa: F401, the mark also skips these without a compiler

RNG = np.random.default_rng(3)


def natively(call: Any, *args: Any, threads: int = 1) -> Any:
    native = fd.compile(call, native=True, threads=threads)
    native(*args)  # the first call is as recorded
    found = native(*args)
    assert "native0(" in native.source
    return found


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
@pytest.mark.parametrize(
    ("loops", "own", "points", "rest"),
    [((), (), (40,), (5,)), ((), (), (3, 7), ()), ((3,), (), (9,), (2, 2)), ((2, 3), (2, 3), (9,), (4,)), ((3,), (1,), (5,), (33,))],
    ids=str,
)  # fmt: skip
def test_terms_are_added_in_the_order_of_the_index(loops: Any, own: Any, points: Any, rest: Any, dtype: str) -> None:
    n = 6
    x = (1000 * RNG.normal(size=(*loops, *points, *rest))).astype(dtype)
    index = RNG.integers(-n, n, (*own, *points))
    expected = np.zeros((*loops, n, *rest), dtype)
    for loop in np.ndindex(loops):
        for place in np.ndindex(points):
            at = index[(*[0 if n == 1 else i for i, n in zip(loop, own, strict=True)], *place)] if own else index[place]
            expected[(*loop, at)] += x[(*loop, *place)]
    call = lambda x, index: indexing.scatter_add(x, index, points=len(points), rest=len(rest), shape=(n,))
    assert_trees_equal(natively(call, x, index), expected, bits=True)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdezero.ops.native_rows.SHARE", 1)
    W, t, ids = RNG.normal(size=(20, 70)), RNG.normal(size=(50, 70)), RNG.integers(0, 20, 50).astype(np.int32)
    gradient = lambda W, t, ids: fd.vjp(lambda W: F.embedding(ids, W), W)[1](t)[0]
    expected = np.zeros_like(W)
    np.add.at(expected, ids, t)
    for threads in (1, 2, 3):
        assert_trees_equal(natively(gradient, W, t, ids.astype(np.int64), threads=threads), expected, bits=True)


def test_an_index_out_of_range_is_an_error_in_every_call() -> None:
    x, index = np.ones((4, 2)), np.array([0, 2, -3, 1])
    native = fd.compile(lambda x, index: indexing.scatter_add(x, index, points=1, rest=1, shape=(3,)), native=True)
    for _ in range(2):
        assert native(x, index).tolist() == [[2, 2], [1, 1], [1, 1]]
    for wrong in (3, -4):
        with pytest.raises(IndexError, match=f"index {wrong} is out of bounds for axis 0 with size 3"):
            native(x, np.array([0, wrong, 1, 1]))
    assert native(x, index).tolist() == [[2, 2], [1, 1], [1, 1]]
