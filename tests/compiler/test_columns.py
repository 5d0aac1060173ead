"""The stacked results of compiled loops lie in the program's memory: used again, but never while somebody holds them."""

import threading
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.testing import assert_trees_equal

XS = np.arange(40_000.0).reshape(20, 2000)


def summed(xs: Any) -> Any:
    return fd.scan(lambda c, x: (c + x, c * 2), np.zeros(2000), xs)[1]


def expected(xs: np.ndarray) -> np.ndarray:
    return 2 * (np.cumsum(xs, 0) - xs)


def test_results_that_are_held_are_not_written_again() -> None:
    f = fd.compile(summed)
    held = [f(XS + k) for k in range(6)]
    parts = [f(XS - k)[3:, ::2] for k in range(6)]
    for k, (y, part) in enumerate(zip(held, parts, strict=True)):
        assert y.flags.writeable
        assert_trees_equal(y, expected(XS + k))
        assert_trees_equal(part, expected(XS - k)[3:, ::2])
    held[0][:] = -1
    assert_trees_equal(f(XS), expected(XS))
    assert_trees_equal(held[1], expected(XS + 1))


def test_a_loop_in_a_loop_and_pullbacks_that_are_called_later() -> None:
    nested = fd.compile(lambda xs: fd.scan(lambda c, k: (c, summed(xs + c) * k), np.float64(1), np.arange(3.0))[1])
    for _ in range(3):
        assert_trees_equal(nested(XS), np.stack([expected(XS + 1) * k for k in range(3)]))
    f = fd.compile(lambda xs: fnp.sum(fd.scan(lambda c, x: (np.sin(c * x), c), np.ones(2000), xs)[1] ** 2))
    pullbacks = [fd.vjp(f, XS / 40_000 + k)[1] for k in range(3)]
    for k, pullback in enumerate(pullbacks):
        assert_trees_equal(pullback(np.float64(1)), (fd.grad(f)(XS / 40_000 + k),), bits=True)


def test_what_follows_a_loop_may_write_over_its_rows() -> None:
    f = fd.compile(lambda xs: (lambda y: (np.sin(y) + 1, y.sum()))(summed(xs)))
    for k in range(3):
        y, total = f(XS + k)
        assert_trees_equal((y, total), (np.sin(expected(XS + k)) + 1, expected(XS + k).sum()), bits=True)
    assert "into=[None, " in f.source


@pytest.mark.parametrize("name", ["_", "__", "v0"])
def test_an_argument_may_have_any_name(name: str) -> None:
    f = fd.compile(eval(f"lambda {name}: summed({name}) + {name}", {"summed": summed}))
    for k in range(2):
        assert_trees_equal(f(XS + k), expected(XS + k) + XS + k)


def test_threads_have_memory_of_their_own() -> None:
    f, found = fd.compile(summed), {}
    f(XS)

    def run(k: int) -> None:
        found[k] = [f(XS + k) for _ in range(5)]

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, results in found.items():
        for y in results:
            assert_trees_equal(y, expected(XS + k))


def test_rows_that_no_recording_said_are_refused() -> None:
    """A program that fails runs again as recorded, so the caller gets what eager code gives."""
    f = fd.compile(summed)
    f(XS)
    (loop,) = [i.operation for i in f.graph.instructions if i.name == "scan"]
    for wrong in (np.empty((20, 2000), np.float32), np.empty((20, 1999))):
        with pytest.raises(TypeError, match=r"a round of a loop gives float64\[2000\]"):
            loop.run(np.zeros(2000), XS, into=[None, wrong])


def test_numbers_empty_rows_and_no_rounds() -> None:
    f = fd.compile(lambda xs: fd.scan(lambda c, x: (c + 1, (x.sum(), c, x[:0])), 0, xs)[1])
    for _ in range(2):
        sums, counts, empty = f(XS)
        assert_trees_equal((sums, counts), (XS.sum(1), np.arange(20)))
        assert empty.shape == (20, 0)
        assert f(XS[:0])[2].shape == (0, 0)
