"""Native code of attention: lines of every length, hidden keys and rows of nothing give what NumPy's passes give."""

import sys
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.ops import attention_blocks
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..compiler.test_compile_native import pytestmark  # noqa: F401, the mark also skips these without a compiler

RNG = np.random.default_rng(11)
TOLERANCES = {np.float32: 3e-5, np.float64: 1e-12}


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operation for any number of keys, and blocks of 5 rows, of several entries if they are short."""
    monkeypatch.setattr(sys.modules["fdezero.functions.attention"], "FEW_KEYS", 0)
    monkeypatch.setattr(attention_blocks, "ROWS", 5)
    monkeypatch.setattr(attention_blocks, "BYTES", 2000)


def natively(function: Any, *args: Any, threads: int = 1) -> Any:
    native = fd.compile(function, native=True, threads=threads)
    native(*args)  # the first call is as recorded
    found = native(*args)
    assert native.source.count("= make") >= 1 + ("attention_pull" in native.source)
    return found


def drawn(T: int, S: int, dtype: Any) -> tuple[Any, ...]:
    normal = lambda *shape: RNG.normal(size=shape).astype(dtype)
    return normal(2, 3, T, 4), normal(2, 1, S, 4), normal(3, S, 3), normal(3, 1, S), RNG.random((2, 1, T, S)) < 0.7, normal(2, 3, T, 3)


def gradients(q: Any, k: Any, v: Any, bias: Any, mask: Any, t: Any, options: dict[str, Any]) -> Any:
    y, pullback = fd.vjp(lambda q, k, v, bias: F.attention(q, k, v, mask, bias=bias, **options), q, k, v, bias)
    return y, pullback(t), F.attention(q, k, v, causal=True), F.attention(q[..., :1, :], k, v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_lines_of_every_length_give_values_and_gradients(causal: bool, dtype: Any) -> None:
    for T, S in ((1, 1), (3, 8), (9, 3), (12, 12), (6, 37), (41, 41), (2, 70)):
        q, k, v, bias, mask, t = drawn(T, S, dtype)
        mask[0, 0, 0] = False  # a row that sees nothing
        key = fd.random.key(T)
        for options in ({}, {"dropout": 0.3, "key": key, "train": True}):
            call = lambda *args, options=options: gradients(*args, {"causal": causal, **options})
            assert_trees_close(natively(call, q, k, v, bias, mask, t), call(q, k, v, bias, mask, t), TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_weights_keep_their_digits(dtype: Any) -> None:
    scores = np.concatenate([np.linspace(-20, 20, 997), [-1e4, -90, -750]]).astype(dtype)
    q, k, v = np.ones((1, 1), dtype), scores[:, None], np.eye(1000, dtype=dtype)
    weights = natively(lambda q, k, v: F.attention(q, k, v, scale=1.0), q, k, v)[0]
    exact = np.exp(scores.astype(np.longdouble) - 20)
    exact /= exact.sum()
    np.testing.assert_allclose(weights[:998], exact[:998].astype(dtype), rtol=40 * np.finfo(dtype).eps, atol=1e-37)
    assert not weights[997]


def test_nan_stays_in_its_row_and_scores_of_any_size_do_not_overflow() -> None:
    q, k, v, *_ = drawn(6, 20, np.float32)
    q[0, 1, 2] = np.nan
    y = natively(lambda q, k, v: F.attention(q, k, v), q, k, v)
    assert np.isnan(y[0, 1, 2]).all()
    assert np.isnan(y).sum() == 3
    call = lambda q, k, v: fd.value_and_grad(lambda q: fnp.sum(F.attention(q, k, v)[..., 0]))(q)
    great = np.float32(1e15) * drawn(6, 20, np.float32)[0]
    assert all(np.isfinite(x).all() for x in natively(call, great, k, v))


def test_higher_orders_and_batches_agree() -> None:
    q, k, v = drawn(7, 7, np.float64)[:3]
    loss = lambda q: fnp.sum(fnp.sin(F.attention(q, k, v, causal=True)))

    def call(q: Any) -> Any:
        return fd.hvp(loss, (q,), (0.5 * q,)), fd.vmap(fd.grad(lambda q: fnp.sum(F.attention(q, q, q, causal=True) ** 2)))(q)

    assert_trees_close(natively(call, q), call(q), 1e-11)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdezero.ops.native_attention.SHARE", 1)
    arrays = drawn(13, 13, np.float32)
    call = lambda *args: gradients(*args, {"causal": True})
    first, *others = [natively(call, *arrays, threads=threads) for threads in (1, 2, 3)]
    for other in others:
        assert_trees_equal(other, first, bits=True)
