"""Attention and positions: blocks of every shape, other libraries, rows that see nothing, memory, errors."""

import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as f
from fdezero.errors import DTypeError, KeyMissingError, RangeError, ShapeError
from fdezero.ops import attention, attention_blocks
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

RNG = np.random.default_rng(7)


@pytest.fixture(params=[32, 0], ids=["plain", "blocks"], autouse=True)
def few_keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with both ways for few keys."""
    monkeypatch.setattr(sys.modules["fdezero.functions.attention"], "FEW_KEYS", request.param)


def normal(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def simple(q: Any, k: Any, v: Any, mask: Any = True, bias: Any = 0.0, causal: bool = False) -> Any:
    """Whole arrays and the library's own operations; -1e30 hides a key."""
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]) + bias
    T, S = scores.shape[-2:]
    sees = mask & (np.tri(T, S, S - T, dtype=bool) if causal else True)
    return F.softmax(f.where(sees, scores, -1e30)) @ v


@pytest.mark.parametrize("blocks", [(64, 1 << 19), (2, 1 << 19), (3, 1)], ids=["one", "of several entries", "many"])
@pytest.mark.parametrize("shape", [(7, 7), (3, 8), (1, 4)], ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_blocks_of_every_shape_give_the_values_and_gradients_of_whole_arrays(
    causal: bool, shape: tuple[int, int], blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_blocks, "ROWS", blocks[0])
    monkeypatch.setattr(attention_blocks, "BYTES", blocks[1])
    T, S = shape
    q, k, v, bias = normal(2, 3, T, 4), normal(2, 3, S, 4), normal(3, S, 2), normal(3, 1, S)
    mask = RNG.random((2, 1, T, S)) < 0.8
    mask[..., 0] = True
    weights = normal(2, 3, T, 2)
    ours = fd.value_and_grad(
        lambda q, k, v, bias: f.sum(weights * F.attention(q, k, v, mask, bias=bias, causal=causal)), (0, 1, 2, 3)
    )
    expected = fd.value_and_grad(
        lambda q, k, v, bias: f.sum(weights * simple(q, k, v, mask, bias, causal)), (0, 1, 2, 3)
    )(q, k, v, bias)
    assert_trees_close(ours(q, k, v, bias), expected, 1e-12)
    assert_trees_equal(fd.compile(ours)(q, k, v, bias), ours(q, k, v, bias), bits=True)


@pytest.mark.parametrize("shape", [(7, 7), (3, 8), (7, 4)], ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_blocks_on_a_gpu_give_what_the_cpu_gives(
    causal: bool, shape: tuple[int, int], gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    T, S = shape
    arrays = normal(2, 3, T, 4), normal(2, 3, S, 4), normal(3, S, 2), normal(3, 1, S), normal(T, S)
    mask, weights = RNG.random((2, 1, T, S)) < 0.8, normal(2, 3, T, 2)

    def gradients(q: Any, k: Any, v: Any, bias: Any, other: Any, mask: Any, weights: Any) -> Any:
        call = lambda q, k, v, bias, other: F.attention(q, k, v, mask, bias=bias + other, causal=causal)
        y, pullback = fd.vjp(call, q, k, v, bias, other)
        return y, pullback(weights), F.attention(q, k, v, bias=bias, causal=causal)

    expected = gradients(*arrays, mask, weights)
    monkeypatch.setattr(attention, "ELSEWHERE", 2 * 6 * S)  # two rows at a time
    assert len(attention._blocks(6, T, S, False)) == (T + 1) // 2
    there = gradients(*fd.to_device((*arrays, mask, weights), "gpu"))
    assert_trees_close(fd.to_numpy(there), expected, 1e-12)


def test_long_sequences_have_the_gradients_of_whole_arrays() -> None:
    q, k, v, weights = (normal(1, 1100, 4) for _ in range(4))
    ours, expected = (
        fd.grad(lambda q, k, v, g=g: f.sum(weights * g(q, k, v, causal=True)), (0, 1, 2))(q, k, v)
        for g in (F.attention, simple)
    )
    assert_trees_close(ours, expected, 1e-11)


def test_a_query_that_sees_no_key_gives_zeros_and_no_nan() -> None:
    q, k, v = normal(3, 4), normal(2, 4), normal(2, 5)
    mask = np.array([[True, False], [False, False], [True, True]])
    for sees, options in ((mask.any(-1), {"mask": mask}), (np.array([False, True, True]), {"causal": True})):
        call = lambda q, k, v, options=options: F.attention(q, k, v, **options)
        y, pullback = fd.vjp(call, q, k, v)
        gradients = pullback(np.ones_like(y))
        assert np.array_equal(~y.any(-1), ~sees)
        assert not gradients[0][~sees].any()
        assert all(np.isfinite(t).all() for t in gradients)
        check_grads(call, (q, k, v), order=2)
    assert_trees_equal(F.attention(q, k[:0], v[:0]), np.zeros((3, 5)))
    for queries in (q[:0], normal(0, 3, 4)):
        y, pullback = fd.vjp(F.attention, queries, k, v)
        assert y.shape == (*queries.shape[:-1], 5)
        assert not any(t.any() for t in pullback(y))
    assert fd.grad(lambda q: f.sum(F.attention(q, k[:0], v[:0])))(q).tolist() == np.zeros((3, 4)).tolist()


def test_a_bias_of_minus_infinity_hides_a_key() -> None:
    q, k, v = normal(3, 4), normal(5, 4), normal(5, 2)
    mask = np.tri(3, 5, 1, dtype=bool)
    bias = np.where(mask, 0.0, -np.inf)
    y, pullback = fd.vjp(lambda q, k, v, bias: F.attention(q, k, v, bias=bias), q, k, v, bias)
    assert_trees_close(y, F.attention(q, k, v, mask), 1e-15)
    assert not pullback(np.ones_like(y))[3][~mask].any()


def test_queries_share_the_heads_of_keys() -> None:
    q, k, v, mask = normal(2, 6, 4, 3), normal(2, 3, 5, 3), normal(2, 3, 5, 2), RNG.random((6, 4, 5)) < 0.7
    repeated = lambda q, k, v: F.attention(q, f.repeat(k, 2, 1), f.repeat(v, 2, 1), mask)
    grouped = lambda q, k, v: F.attention(q, k, v, mask)
    weights = normal(2, 6, 4, 2)
    first, second = (
        fd.value_and_grad(lambda q, k, v, g=g: f.sum(weights * g(q, k, v)), (0, 1, 2))(q, k, v)
        for g in (grouped, repeated)
    )
    assert_trees_close(first, second, 1e-13)
    single = F.attention(q, k[:, :1], v[:, :1])
    assert_trees_close(single, F.attention(q, f.repeat(k[:, :1], 6, 1), f.repeat(v[:, :1], 6, 1)), 1e-13)


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_pytorch_and_jax_agree(causal: bool, masked: bool) -> None:
    torch = pytest.importorskip("torch")
    q, k, v, weights = (normal(2, 3, 70, 8, dtype=np.float32) for _ in range(4))
    mask = (RNG.random((2, 1, 70, 70)) < 0.8) | np.eye(70, dtype=bool) if masked else None
    both = mask if not causal else np.tri(70, dtype=bool) if mask is None else mask & np.tri(70, dtype=bool)
    theirs = [torch.from_numpy(x.copy()).requires_grad_() for x in (q, k, v)]
    y = torch.nn.functional.scaled_dot_product_attention(
        *theirs, attn_mask=None if both is None else torch.from_numpy(both)
    )
    (y * torch.from_numpy(weights)).sum().backward()
    value, pullback = fd.vjp(lambda q, k, v: F.attention(q, k, v, mask, causal=causal), q, k, v)
    np.testing.assert_allclose(value, y.detach().numpy(), rtol=1e-5, atol=2e-6)
    for gradient, other in zip(pullback(weights), theirs, strict=True):
        np.testing.assert_allclose(gradient, other.grad.numpy(), rtol=1e-4, atol=5e-6)
    jax = pytest.importorskip("jax")
    swapped = [x.swapaxes(1, 2) for x in (q, k, v)]
    y = jax.nn.dot_product_attention(*swapped, mask=mask, is_causal=causal)
    np.testing.assert_allclose(value, np.asarray(y).swapaxes(1, 2), rtol=1e-5, atol=2e-6)


def test_the_scale_may_be_traced() -> None:
    q, k, v = normal(3, 4), normal(5, 4), normal(5, 2)
    check_grads(lambda scale: F.attention(q, k, v, scale=scale), (np.array(0.7),), order=2)
    assert_trees_close(F.attention(q, k, v, scale=np.array(0.7)), F.attention(q, k, v, scale=0.7), 1e-14)


def test_dropout_drops_weights_and_keeps_the_mean() -> None:
    q, k = np.zeros((1, 2)), np.zeros((4000, 2))
    key = fd.random.key(3)
    weights = F.attention(q, k, np.eye(4000), dropout=0.25, key=key, train=True)[0]
    dropped = weights == 0
    assert abs(dropped.mean() - 0.25) < 0.03
    np.testing.assert_allclose(weights[~dropped], 1 / (4000 * 0.75), rtol=1e-4)
    assert_trees_equal(F.attention(q, k, k, dropout=0.25, key=key), F.attention(q, k, k), bits=True)
    with pytest.raises(KeyMissingError, match="attention: dropout with train=True needs a random key"):
        F.attention(q, k, k, dropout=0.25, train=True)


def test_scores_of_any_size_do_not_overflow() -> None:
    q, k, v = normal(6, 8, dtype=np.float32), normal(9, 8, dtype=np.float32), normal(9, 3, dtype=np.float32)
    for factor in (1e4, 1e15):
        value, pullback = fd.vjp(F.attention, factor * q, factor * k, v)
        assert all(np.isfinite(x).all() for x in (value, *pullback(np.ones_like(value))))
        np.testing.assert_allclose(value, v[(q.astype(float) @ k.T.astype(float)).argmax(-1)], rtol=1e-5)


@pytest.mark.parametrize("special", [0.0, np.nan], ids=str)
def test_a_row_with_small_scores_keeps_its_digits_beside_one_with_great_scores(special: float) -> None:
    q, k, v = normal(2, 5, 8, dtype=np.float32), normal(2, 9, 8, dtype=np.float32), normal(2, 9, 3, dtype=np.float32)
    q[0, 1] *= 100
    q[1, 2] = special or q[1, 2]
    value, pullback = fd.vjp(F.attention, q, k, v)
    rows = np.ones((2, 5), dtype=bool)
    rows[1, 2] = not special
    exact, pull_exact = fd.vjp(F.attention, *(x.astype(float) for x in (np.where(rows[..., None], q, 0), k, v)))
    np.testing.assert_allclose(value[rows], exact[rows], rtol=1e-4, atol=1e-6)
    assert np.isnan(value[~rows]).all()
    weights = rows[..., None] * np.ones_like(value)
    np.testing.assert_allclose(pullback(weights)[0][rows], pull_exact(weights)[0][rows], rtol=1e-3, atol=1e-5)
    compiled = fd.compile(F.attention)
    compiled(q, k, v)  # the first call is as recorded
    assert_trees_equal(compiled(q, k, v), value, bits=True)


def test_float16_is_computed_in_float32() -> None:
    q, k, v = (normal(2, 40, 8, dtype=np.float16) for _ in range(3))
    v += np.float16(3)
    exact, pull_exact = fd.vjp(F.attention, *(x.astype(float) for x in (q, k, v)))
    value, pullback = fd.vjp(F.attention, q, k, v)
    assert value.dtype == np.float16
    np.testing.assert_allclose(value, exact, rtol=2.0**-10)
    weights = np.cos(np.arange(value.size)).reshape(value.shape).astype(np.float16)
    for t, other in zip(pullback(weights), pull_exact(weights.astype(float)), strict=True):
        assert t.dtype == np.float16
        np.testing.assert_allclose(t, other, rtol=2.0**-10, atol=1e-5)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_memory_is_linear_in_the_length(backward: bool) -> None:
    T = 3000
    q = normal(1, T, 8, dtype=np.float32)
    call = (
        fd.grad(lambda q: f.sum(F.attention(q, q, q, causal=True)))
        if backward
        else lambda q: F.attention(q, q, q, causal=True)
    )
    call(q[:, :10])
    tracemalloc.start()
    call(q)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * T * T / 4  # a quarter of the scores


def test_positions_turn_and_distances_remain() -> None:
    q, k = normal(1, 8), normal(1, 8)
    products = [
        (F.rotary(q, np.array([a])) @ F.rotary(k, np.array([b])).T)[0, 0] for a, b in ((3, 1), (12, 10), (502, 500))
    ]
    np.testing.assert_allclose(products, products[0], rtol=1e-10)
    assert_trees_equal(F.rotary(q), q)
    x = normal(5, 6, dtype=np.float16)
    assert F.rotary(x).dtype == np.float16
    late = F.rotary(np.ones((1, 2), np.float32), np.array([123_457]))[0]
    angle = 123_457 % (2 * np.pi)
    np.testing.assert_allclose(late, [np.cos(angle) - np.sin(angle), np.cos(angle) + np.sin(angle)], atol=1e-6)


ONE, MASK = np.ones((4, 3)), np.ones((4, 4), bool)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: F.attention(ONE, ONE[:, :2], ONE), ShapeError, r"queries and keys must have the same last axis, got q float64\[4,3\], k float64\[4,2\]"),
        (lambda: F.attention(ONE, ONE, ONE[:2]), ShapeError, "there must be as many values as keys"),
        (lambda: F.attention(ONE[0], ONE, ONE), ShapeError, r"attention expects q \(\.\.\., T, D\), k \(\.\.\., S, D\), v \(\.\.\., S, E\), got q float64\[3\]"),
        (lambda: F.attention(1j * ONE, ONE, ONE), DTypeError, "attention takes real numbers"),
        (lambda: F.attention(ONE, ONE, ONE, MASK * 1.0), DTypeError, r"boolean mask, True where a query sees a key, got float64\[4,4\]\. Numbers to add to the scores are bias="),
        (lambda: F.attention(ONE, ONE, ONE, MASK[:2]), ShapeError, r"the mask must broadcast to \(\.\.\., 4, 4\), queries and keys; got bool\[2,4\]"),
        (lambda: F.attention(ONE, ONE, ONE, bias=np.ones(3)), ShapeError, r"the bias must broadcast .* make bias\[:, None, None, :\]"),
        (lambda: F.attention(np.ones((4, 2, 3)), np.ones((3, 2, 3)), np.ones((3, 2, 3))), ShapeError, "or the heads of q be a multiple of those of k and v"),
        (lambda: F.attention(ONE, ONE, ONE, dropout=1.0), RangeError, "attention: the rate is the probability to drop"),
        (lambda: F.rotary(ONE), ShapeError, r"rotary turns pairs: it expects x \(\.\.\., T, D\) with an even D, got float64\[4,3\]"),
        (lambda: F.sinusoidal_positions(3, 0), RangeError, "sinusoidal_positions: size must be an integer of at least 1, got int 0"),
        (lambda: F.sinusoidal_positions(-3, 2), RangeError, "a count of positions is not negative, got -3"),
        (lambda: F.sinusoidal_positions(MASK, 2), DTypeError, r"positions are real numbers, got bool\[4,4\]"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(call: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        call()
