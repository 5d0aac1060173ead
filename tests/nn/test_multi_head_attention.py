"""MultiHeadAttention: against loops over heads and PyTorch, masks, the cache, errors."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.errors import DTypeError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(11)
KEY = fd.random.key(2)
X, CONTEXT = RNG.standard_normal((2, 5, 6)), RNG.standard_normal((2, 4, 8))


def layer(size: int = 6, heads: int = 3, **options: Any) -> nn.MultiHeadAttention:
    return nn.MultiHeadAttention.init(KEY, size, heads, bias_init=nn.initial.normal(0.3), dtype=np.float64, **options)


def by_heads(attention: nn.MultiHeadAttention, x: np.ndarray, context: np.ndarray, sees: Any = True) -> np.ndarray:
    """One example and one head after the other."""
    size = attention.queries.W.shape[1] // attention.heads
    y = np.zeros((*x.shape[:2], attention.heads * size))
    for n in range(len(x)):
        for head in range(attention.heads):
            at, shared = (slice(i * size, (i + 1) * size) for i in (head, head * attention.key_heads // attention.heads))
            q = (x[n] @ attention.queries.W + attention.queries.b)[:, at]
            k = (context[n] @ attention.keys.W + attention.keys.b)[:, shared]
            v = (context[n] @ attention.values.W + attention.values.b)[:, shared]
            weights = np.exp(q @ k.T / np.sqrt(size)) * np.broadcast_to(sees, (len(x), x.shape[1], context.shape[1]))[n]
            y[n][:, at] = weights / weights.sum(-1, keepdims=True) @ v
    return y @ attention.output.W + attention.output.b


def test_each_head_attends_by_itself() -> None:
    assert_trees_close(layer()(X), by_heads(layer(), X, X), 1e-13)
    cross = layer(context_size=8)
    assert_trees_close(cross(X, CONTEXT), by_heads(cross, X, CONTEXT), 1e-13)
    assert_trees_close(layer(causal=True)(X), by_heads(layer(causal=True), X, X, np.tri(5)), 1e-13)
    shared = layer(heads=6, key_heads=2)
    assert shared.keys.W.shape == (6, 2)
    assert_trees_close(shared(X), by_heads(shared, X, X), 1e-13)


def test_masks_and_lengths_hide_keys() -> None:
    cross = layer(context_size=8)
    for mask in (RNG.random((5, 4)) < 0.7, RNG.random((2, 5, 4)) < 0.7, RNG.random((2, 1, 4)) < 0.7):
        mask[..., 0] = True
        assert_trees_close(cross(X, CONTEXT, mask), by_heads(cross, X, CONTEXT, mask), 1e-13)
    lengths = np.array([3, 1])
    within = np.arange(4) < lengths[:, None, None]
    assert_trees_close(cross(X, CONTEXT, lengths=lengths), by_heads(cross, X, CONTEXT, within), 1e-13)
    assert_trees_close(cross(X, CONTEXT, mask | within, lengths=lengths), cross(X, CONTEXT, lengths=lengths), 1e-13)
    of_heads = np.stack([np.broadcast_to(mask, (2, 5, 4))] * 3, 1)
    assert_trees_close(cross(X, CONTEXT, of_heads), cross(X, CONTEXT, mask), 1e-13)
    assert_trees_close(cross(X[0], CONTEXT[0], lengths=lengths[0]), cross(X, CONTEXT, lengths=lengths)[0], 1e-13)
    with pytest.raises(RangeError, match="lengths lie between 3 and 5, but the sequences have 4 steps"):
        cross(X, CONTEXT, lengths=np.array([3, 5]))
    with pytest.raises(DTypeError, match="lengths are integers"):
        cross(X, CONTEXT, lengths=np.array([3.0, 4.0]))


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_pytorch_agrees(causal: bool) -> None:
    torch = pytest.importorskip("torch")
    ours = layer(causal=causal, **({} if causal else {"context_size": 8}))
    theirs = torch.nn.MultiheadAttention(6, 3, batch_first=True, dtype=torch.float64, **({} if causal else {"kdim": 8, "vdim": 8}))
    parts = [ours.queries, ours.keys, ours.values]
    weights = [torch.from_numpy(part.W.T.copy()) for part in parts]
    state = {"in_proj_bias": torch.from_numpy(np.concatenate([part.b for part in parts]))}
    state |= {"in_proj_weight": torch.cat(weights)} if causal else dict(zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), weights, strict=True))
    state |= {"out_proj.weight": torch.from_numpy(ours.output.W.T.copy()), "out_proj.bias": torch.from_numpy(ours.output.b)}
    theirs.load_state_dict(state)
    context = X if causal else CONTEXT
    lengths = np.array([context.shape[1], 2])
    ignored = torch.from_numpy(np.arange(context.shape[1]) >= lengths[:, None])
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    x = torch.from_numpy(X).requires_grad_()
    given = [x] * 3 if causal else [x, *[torch.from_numpy(CONTEXT)] * 2]
    y, _ = theirs(*given, key_padding_mask=ignored, attn_mask=hidden, need_weights=False)
    weights = RNG.standard_normal(y.shape)
    (y * torch.from_numpy(weights)).sum().backward()
    value, pullback = fd.vjp(lambda layer, x: layer(x, x if causal else CONTEXT, lengths=lengths), ours, X)
    np.testing.assert_allclose(value, y.detach().numpy(), rtol=1e-10)
    gradient, slope = pullback(weights)
    np.testing.assert_allclose(slope, x.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradient.output.W, theirs.out_proj.weight.grad.numpy().T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"rotary": True, "key_heads": 1}], ids=["plain", "turned and shared"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_cache_gives_the_outputs_of_all_tokens_together(options: Any, compiled: bool) -> None:
    attention = layer(causal=True, **options)
    whole = attention(X)
    extend = fd.compile(type(attention).extend) if compiled else type(attention).extend
    for pieces in ((5,), (1, 1, 1, 1, 1), (2, 3)):
        cache, start = attention.empty_cache(2, length=7), 0
        for n in pieces:
            y, cache = extend(attention, X[:, start : start + n], cache)
            assert_trees_close(y, whole[:, start : start + n], 1e-13)
            start += n
        assert int(cache.position) == 5
    with pytest.raises(RangeError, match="the cache holds 5 of 7 tokens, so 3 more do not fit"):
        extend(attention, X[:, :3], cache)


def test_a_cache_is_for_causal_attention() -> None:
    attention = layer()
    with pytest.raises(StructureError, match="make the layer with causal=True"):
        attention.extend(X, attention.empty_cache(2, length=5))


def test_sizes_come_from_the_first_input() -> None:
    made = nn.init(nn.MultiHeadAttention.lazy(2, causal=True), KEY, X)
    assert (made.queries.W.shape, made.heads, made.causal) == ((6, 6), 2, True)


def test_initialisers_draw_each_map() -> None:
    made = nn.MultiHeadAttention.init(KEY, 6, 2, weight_init=nn.initial.glorot_uniform, bias=False)
    assert made.queries.b is None
    assert not np.array_equal(made.queries.W, made.keys.W)
    assert abs(made.output.W).max() <= np.sqrt(6 / 12)
    assert made.output.W.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: layer(6, 4), RangeError, "size 6 cannot be cut into 4 equal heads, but into 1, 2, 3, 6"),
        (lambda: layer(6, 3, key_heads=2), RangeError, "3 heads cannot share 2 key_heads equally"),
        (lambda: layer(6, 2, rotary=True), RangeError, "rotary turns pairs of entries, but a head has 3 of them"),
        (lambda: layer(6, 0), RangeError, "MultiHeadAttention: heads must be an integer of at least 1, got int 0"),
        (lambda: layer(dropout=1.0), RangeError, "MultiHeadAttention: the rate is the probability to drop"),
        (lambda: layer()(X[0, 0]), ShapeError, r"MultiHeadAttention expects x \(\.\.\., T, size\), got float64\[6\]"),
        (lambda: layer()(CONTEXT), ShapeError, r"linear expects a last axis of 6, got x float64\[2,4,8\] .*\(at queries\)"),
        (lambda: layer()(X, CONTEXT), ShapeError, r"linear expects a last axis of 6, .*\(at keys\)"),
        (lambda: layer()(X, None, np.ones((2, 5))), ShapeError, r"the mask must broadcast to \(\.\.\., 5, 5\)"),
        (lambda: layer().empty_cache(length=0), RangeError, "MultiHeadAttention: the cache: length must be an integer of at least 1"),
    ],
)
def test_bad_input_is_refused(call: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        call()


def test_float16_stays_and_dropout_needs_a_key() -> None:
    half = nn.MultiHeadAttention.init(KEY, 6, 2, dropout=0.5, dtype=np.float16)
    x = X.astype(np.float16)
    assert half(x).dtype == np.float16
    assert_trees_equal(half(x, key=KEY), half(x), bits=True)
    assert not np.array_equal(half(x, key=KEY, train=True), half(x))


def test_lengths_of_another_shape_are_refused() -> None:
    layer = nn.MultiHeadAttention.init(fd.random.key(0), 8, 2)
    with pytest.raises(ShapeError, match=r"lengths have a number for each sequence, shape \(2,\), got int64\[2,1\]"):
        layer(np.ones((2, 3, 8), np.float32), lengths=np.array([[1], [2]]))
