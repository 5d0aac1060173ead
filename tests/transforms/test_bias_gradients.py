"""The gradient of an array that was broadcast over rows, such as a bias: the sum over the rows, which one product adds up."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero.compiler.graph import evaluate
from fdezero.compiler.passes.sums import with_plain_sums
from fdezero.core import cotangents
from fdezero.testing import assert_trees_equal, check_grads

DTYPES = [np.float64, np.float32, np.float16, np.complex128, np.dtype(">f8")]


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """An array, and the number of its first axes that are summed."""
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 9, 20]), min_size=2, max_size=4))
    x = np.random.default_rng(draw(st.integers(0, 2**32))).standard_normal(shape).astype(draw(st.sampled_from(DTYPES)))
    if x.size and draw(st.booleans()):
        x.flat[draw(st.integers(0, x.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -0.0]))
    layout = draw(st.sampled_from("CFR"))
    x = np.ascontiguousarray(x[::-1])[::-1] if layout == "R" else np.array(x, order=layout)
    return x, draw(st.integers(1, x.ndim - 1))


@given(rows(), st.sampled_from([4, 1 << 9]))
def test_the_gradient_is_the_sum_over_rows(drawn: Any, chunk: int) -> None:
    x, count = drawn
    bias = np.zeros(x.shape[count:], x.dtype)
    gradient = lambda bias, x: fd.vjp(lambda bias: bias + np.zeros_like(x), bias)[1](x)[0]
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(cotangents, "SMALL", 0)
        patch.setattr(cotangents, "CHUNK", chunk)
        patch.setattr(cotangents, "ONES", {dtype: ones[:chunk] for dtype, ones in cotangents.ONES.items()})
        found = gradient(bias, x)
        assert found.dtype == x.dtype
        wanted = x.astype(complex).sum(tuple(range(count)))
        np.testing.assert_allclose(
            found,
            wanted if x.dtype.kind == "c" else wanted.real,
            10 ** -(x.dtype.itemsize * (1 + (x.dtype.kind != "c")) / 1.4),
            1e-2 if x.dtype == np.float16 else 1e-5,
        )
        assert_trees_equal(fd.compile(gradient)(bias, x), found, bits=True)


def test_many_rows_are_added_in_chunks() -> None:
    x = np.full((3 * cotangents.CHUNK + 5, 2), 0.1, np.float32)
    found = fd.grad(lambda b: np.sum((x + b) * x))(np.zeros(2, np.float32))
    np.testing.assert_allclose(found, len(x) * np.float64(np.float32(0.1)), 3e-6)
    written = np.empty(2, np.float32)
    assert_trees_equal(cotangents.sum_in_front(x, 1, written), cotangents.sum_in_front(x, 1), bits=True)


def test_derivatives_of_every_order_and_batches() -> None:
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal((400, 3)), rng.standard_normal(3)
    slope = lambda x, b: fd.grad(lambda b: np.sum(np.sin(x * b)))(b)
    check_grads(slope, (x, b), order=2)
    batch = np.stack([x, -x])
    assert_trees_equal(fd.vmap(slope, (0, None))(batch, b).shape, (2, 3))
    np.testing.assert_allclose(fd.vmap(slope, (0, None))(batch, b), np.stack([slope(x, b), slope(-x, b)]), 1e-13)


def test_loops_and_kernels_of_ours_get_a_plain_sum() -> None:
    x, b = np.ones((400, 3)), np.zeros(3)
    f = fd.compile(lambda x, b: fd.grad(lambda b: np.sum(np.sin(x * b)))(b))
    f(x, b)
    names = [step.name for step in f.graph.instructions]
    assert names.count("sum_in_front") == 1
    plain = with_plain_sums(f.graph)
    assert [step.name for step in plain.instructions] == [name.replace("sum_in_front", "sum") for name in names]
    np.testing.assert_allclose(evaluate(plain, (x, b))[0], f(x, b), 1e-15)
