"""scatter_add, the adjoint of indexing: each of its ways gives the bits of a loop in the order of the index."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as f
from fdezero.ops import indexing, scattering
from fdezero.testing import assert_trees_equal

RNG = np.random.default_rng(5)
LOOPS = [((), ()), ((3,), ()), ((), (2,)), ((2, 1), (1, 3))]
ROWS = {  # the sizes of the indexed axes, the rest, and the points: each is a way of its own, or a boundary between two
    "single entries": ((9,), (), (500,)),
    "narrow rows": ((300,), (scattering.NARROW,), (5000,)),
    "few entries": ((7,), (30,), (20,)),
    "rounds": ((300,), (70,), (400,)),
    "one by one": ((3,), (200,), (90,)),
    "a single row": ((1,), (60,), (300,)),
    "two indices": ((5, 4), (60,), (30, 20)),
    "more than 65536 rows": ((70_000,), (40,), (450,)),
    "nothing": ((4,), (3,), (0,)),
}


def in_a_loop(x: np.ndarray, indices: list[np.ndarray], sizes: tuple[int, ...], rest: int) -> np.ndarray:
    points = indices[0].shape
    y = np.zeros(sizes + x.shape[x.ndim - rest :], x.dtype)
    for point in np.ndindex(points):
        y[tuple(index[point] for index in indices)] += x[point]
    return y


def drawn(sizes: tuple[int, ...], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Indices, some negative, small ones more often than large ones."""
    return [(n * RNG.random(shape) ** 3).astype(np.int64) - RNG.choice([0, n], shape) for n in sizes]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int64])
def test_terms_are_added_in_the_order_of_the_index(name: str, dtype: Any) -> None:
    sizes, rest, points = ROWS[name]
    for of_x, of_index in LOOPS if name != "more than 65536 rows" else LOOPS[:1]:
        x = (8 * RNG.standard_normal(of_x + points + rest)).astype(dtype)
        indices = drawn(sizes, of_index + points)
        y = indexing.scatter_add(x, *indices, points=len(points), rest=len(rest), shape=sizes)
        loops = np.broadcast_shapes(of_x, of_index)
        wide = np.broadcast_to(x, loops + points + rest)
        spread = [np.broadcast_to(index, loops + points) for index in indices]
        for loop in np.ndindex(loops):
            expected = in_a_loop(wide[loop], [index[loop] for index in spread], sizes, len(rest))
            assert_trees_equal(y[loop], expected, bits=True)


@pytest.mark.parametrize("name", ROWS)
def test_compiled_and_eager_have_the_same_bits(name: str) -> None:
    sizes, rest, points = ROWS[name]
    x, weights = RNG.standard_normal(sizes + rest), RNG.standard_normal(points + rest)
    indices = drawn(sizes, points)

    def gradient(x: Any, weights: Any, *indices: Any) -> Any:
        return fd.grad(lambda x: f.sum(x[indices] * weights))(x)

    for order in ("C", "F"):
        args = (np.asarray(x, order=order), np.asarray(weights, order=order), *indices)  # type: ignore[call-overload]  # a str, not a Literal
        assert_trees_equal(fd.compile(gradient)(*args), gradient(*args), bits=True)


def test_float16_is_rounded_once() -> None:
    ones = np.ones((4096, 8), np.float16)  # one by one, the sum would stay at 2048
    for n in (4096, 3000):
        y = indexing.scatter_add(ones[:n], np.zeros(n, np.int64), points=1, rest=1, shape=(2,))
        assert y.dtype == np.float16
        assert y.tolist() == [[n] * 8, [0] * 8]


@pytest.mark.parametrize("wrong", [300, -301])
def test_an_index_out_of_range_is_an_error(wrong: int) -> None:
    index = np.array([*range(300), wrong])
    with pytest.raises(IndexError, match=rf"index {wrong} is out of bounds for an axis of length 300\."):
        indexing.scatter_add(np.ones((301, 70)), index, points=1, rest=1, shape=(300,))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_gathered_into_the_memory_of_a_compiled_function(dtype: Any, order: Any) -> None:
    x = np.asarray(RNG.standard_normal((50, 300)), order=order)
    index = RNG.integers(0, 50, (4, 25)).astype(dtype)
    rows = fd.compile(lambda x, index: 2 * f.take(x, index, axis=0))
    assert_trees_equal(rows(x, index), 2 * x[index], bits=True)
    assert_trees_equal(rows(x, index[::-1].copy()), 2 * x[index[::-1]], bits=True)
    wrong = index.copy()
    wrong[0, 0] = 50
    with pytest.raises(IndexError, match="index 50 is out of bounds"):
        rows(x, wrong)
    if np.issubdtype(dtype, np.signedinteger):
        assert_trees_equal(rows(x, index - 50), 2 * x[index], bits=True)
