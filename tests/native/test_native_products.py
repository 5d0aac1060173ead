"""Native code of matrix products: tiles that fit, tiles that begin early, transposed factors, and what stays BLAS's."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.native import How
from fdezero.ops import native_products

from ..compiler.test_compile_native import pytestmark  # noqa: F401, the mark also skips these without a compiler

RNG = np.random.default_rng(7)


def multiplied(a: np.ndarray, b: np.ndarray, threads: int = 1) -> np.ndarray:
    """The product by native code, in memory that held other numbers."""
    out = np.full((a.shape[0], b.shape[1]), np.nan, a.dtype)
    make = native_products.matmul([a, b], out, {}, How(threads))
    assert make is not None
    make()(out, a, b)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(8, 5, 32), (8, 1, 64), (16, 33, 100), (2, 3, 32), (3, 4, 40), (5, 7, 33), (23, 2, 95), (9, 130, 48)],
    ids=str,
)
@pytest.mark.parametrize("order", ["C", "F", "rows apart", "backwards"])
def test_products(shape: tuple[int, int, int], dtype: str, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_products, "FEWEST", 0)
    monkeypatch.setattr(native_products, "MOST", 100)
    n, k, m = shape
    a, b = RNG.standard_normal((n, k)).astype(dtype), RNG.standard_normal((k, m)).astype(dtype)
    wide = np.zeros((n, k + 3), dtype)
    wide[:, :k] = a
    laid = {
        "C": a,
        "F": np.asfortranarray(a),
        "rows apart": wide[:, :k],
        "backwards": np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    }[order]
    expected = a.astype(float) @ b.astype(float)
    for threads in (1, 2):
        np.testing.assert_allclose(
            multiplied(laid, b, threads), expected, 0, (2e-6 if dtype == "float32" else 1e-14) * (k + 1) ** 0.5
        )


def test_what_is_not_a_number() -> None:
    a, b = np.ones((16, 128)), np.ones((128, 128))
    a[3, 5], b[7, 100], b[8, 101] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(multiplied(a, b), a @ b)


def test_a_program_takes_the_native_product_where_it_pays() -> None:
    a, b = RNG.standard_normal((32, 128)), RNG.standard_normal((128, 64))
    for given, is_native in (
        ((a, b), True), ((a.T.copy().T, b), True), ((a, b.T.copy().T), False), ((a[:1], b), False), ((a[:8, :4], b[:4]), False),
        ((a.astype(complex), b), False), ((np.ones((8, 3000)), np.ones((3000, 64))), False), ((a[:27], b), False),
    ):  # fmt: skip
        f = fd.compile(lambda x, y: np.tanh(x @ y), native=True)
        expected = np.tanh(given[0] @ given[1])
        for _ in range(2):
            np.testing.assert_allclose(f(*given), expected, 1e-12)
        assert ("native0(" in f.source) == is_native, f.source


def test_factors_and_results_that_do_not_fit_the_caches_stay_with_blas() -> None:
    for shape, is_native in (
        ((256, 512, 256), True), ((512, 512, 256), False), ((2048, 64, 512), True), ((2048, 64, 1024), False),
    ):  # fmt: skip
        a, b, out = (np.empty(pair, np.float32) for pair in (shape[:2], shape[1:], shape[::2]))
        assert (native_products.matmul([a, b], out, {}, How(1)) is not None) == is_native, shape
        assert (native_products.matmul([a.T.copy().T, b], out, {}, How(1)) is not None) == is_native, shape


def test_gradients_in_native_programs() -> None:
    a, b = RNG.standard_normal((32, 64)), RNG.standard_normal((64, 128))
    gradient: Any = fd.grad(lambda a, b: np.tanh(a @ b).sum(), argnums=(0, 1))
    f = fd.compile(gradient, native=True)
    for _ in range(3):
        for found, expected in zip(f(a, b), gradient(a, b), strict=True):
            np.testing.assert_allclose(found, expected, 1e-11, 1e-13)
