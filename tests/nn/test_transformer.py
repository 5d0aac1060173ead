"""Transformer layers: against formulas in NumPy and PyTorch's layers of the same name, the cache, errors."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.errors import RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(13)
KEY = fd.random.key(4)
X, CONTEXT = RNG.standard_normal((2, 5, 6)), RNG.standard_normal((2, 4, 8))
SHIFTS = nn.initial.normal(0.3)


def moved(layer: Any) -> Any:
    """The layer with other scales and shifts than 1 and 0."""
    rng = np.random.default_rng(0)
    return fd.tree.map(lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape) if leaf.ndim == 1 else leaf, layer)


def encoder(**options: Any) -> nn.TransformerEncoderLayer:
    return moved(nn.TransformerEncoderLayer.init(KEY, 6, 2, hidden_size=7, bias_init=SHIFTS, dtype=np.float64, **options))


def decoder(**options: Any) -> nn.TransformerDecoderLayer:
    return moved(nn.TransformerDecoderLayer.init(KEY, 6, 2, hidden_size=7, context_size=8, bias_init=SHIFTS, dtype=np.float64, **options))


def normalised(norm: Any, x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * norm.scale + norm.shift


def small_network(layer: Any, x: np.ndarray) -> np.ndarray:
    return np.maximum(x @ layer.hidden.W + layer.hidden.b, 0) @ layer.output.W + layer.output.b


def test_an_encoder_layer_is_attention_and_a_network_with_shortcuts() -> None:
    layer = encoder()
    y = normalised(layer.attention_norm, X + layer.attention(X))
    assert_trees_close(layer(X), normalised(layer.output_norm, y + small_network(layer, y)), 1e-12)
    first = encoder(norm_first=True, causal=True)
    y = X + first.attention(normalised(first.attention_norm, X))
    assert_trees_close(first(X), y + small_network(first, normalised(first.output_norm, y)), 1e-12)
    lengths = np.array([5, 2])
    assert_trees_close(layer(X, lengths=lengths)[1, :2], layer(X[1, :2]), 1e-12)
    assert_trees_close(layer(X, np.tri(5, dtype=bool)), encoder(causal=True)(X), 1e-12)


def test_a_decoder_layer_also_attends_to_a_context() -> None:
    layer = decoder()
    y = normalised(layer.attention_norm, X + layer.attention(X))
    y = normalised(layer.cross_norm, y + layer.cross(y, CONTEXT))
    assert_trees_close(layer(X, CONTEXT), normalised(layer.output_norm, y + small_network(layer, y)), 1e-12)
    assert layer.attention.causal
    first = decoder(norm_first=True)
    mask = np.array([[True, True, False, True]])
    y = X + first.attention(normalised(first.attention_norm, X))
    y = y + first.cross(normalised(first.cross_norm, y), CONTEXT, mask)
    assert_trees_close(first(X, CONTEXT, None, mask), y + small_network(first, normalised(first.output_norm, y)), 1e-12)
    lengths = np.array([3, 1])
    assert_trees_close(layer(X, CONTEXT, context_lengths=lengths)[1], layer(X[1], CONTEXT[1, :1]), 1e-12)


def attention_state(torch: Any, name: str, layer: Any, separate: bool) -> dict[str, Any]:
    parts = [layer.queries, layer.keys, layer.values]
    weights = [torch.from_numpy(part.W.T.copy()) for part in parts]
    state = {f"{name}.in_proj_bias": torch.from_numpy(np.concatenate([part.b for part in parts]))}
    names = [f"{name}.{which}_proj_weight" for which in "qkv"]
    state |= dict(zip(names, weights, strict=True)) if separate else {f"{name}.in_proj_weight": torch.cat(weights)}
    return state | linear_state(torch, f"{name}.out_proj", layer.output)


def linear_state(torch: Any, name: str, layer: Any) -> dict[str, Any]:
    return {f"{name}.weight": torch.from_numpy(layer.W.T.copy()), f"{name}.bias": torch.from_numpy(layer.b)}


def norm_state(torch: Any, name: str, layer: Any) -> dict[str, Any]:
    return {f"{name}.weight": torch.from_numpy(layer.scale), f"{name}.bias": torch.from_numpy(layer.shift)}


@pytest.mark.parametrize("kind", ["TransformerEncoderLayer", "TransformerDecoderLayer"])
@pytest.mark.parametrize("norm_first", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_pytorchs_layers_of_the_same_name_agree(kind: str, norm_first: bool, activation: str) -> None:
    torch = pytest.importorskip("torch")
    is_decoder = kind == "TransformerDecoderLayer"
    ours = getattr(nn, kind).init(
        KEY, 6, 2, hidden_size=7, bias_init=SHIFTS, norm_first=norm_first, activation=getattr(F, activation), causal=True, dtype=np.float64
    )
    ours = moved(ours)
    theirs = getattr(torch.nn, kind)(6, 2, 7, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first, dtype=torch.float64)
    state = attention_state(torch, "self_attn", ours.attention, False)
    state |= linear_state(torch, "linear1", ours.hidden) | linear_state(torch, "linear2", ours.output)
    norms = [ours.attention_norm, ours.output_norm]
    if is_decoder:
        state |= attention_state(torch, "multihead_attn", ours.cross, False)
        norms.insert(1, ours.cross_norm)
    for i, norm in enumerate(norms):
        state |= norm_state(torch, f"norm{i + 1}", norm)
    theirs.load_state_dict(state)
    context = RNG.standard_normal((2, 4, 6))
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    x = torch.from_numpy(X).requires_grad_()
    y = theirs(x, torch.from_numpy(context), tgt_mask=hidden) if is_decoder else theirs(x, src_mask=hidden)
    weights = RNG.standard_normal(y.shape)
    (y * torch.from_numpy(weights)).sum().backward()
    value, pullback = fd.vjp(lambda layer, x: layer(x, context) if is_decoder else layer(x), ours, X)
    np.testing.assert_allclose(value, y.detach().numpy(), rtol=1e-9, atol=1e-12)
    gradient, slope = pullback(weights)
    np.testing.assert_allclose(slope, x.grad.numpy(), rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(gradient.hidden.W, theirs.linear1.weight.grad.numpy().T, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_cache_gives_the_outputs_of_all_tokens_together(norm_first: bool) -> None:
    layer = encoder(norm_first=norm_first, causal=True)
    other = decoder(norm_first=norm_first)
    cache, second = layer.empty_cache(2, length=6), other.empty_cache(2, length=6)
    start = 0
    for n in (1, 3, 1):
        x = X[:, start : start + n]
        y, cache = layer.extend(x, cache)
        assert_trees_close(y, layer(X)[:, start : start + n], 1e-12)
        y, second = other.extend(x, CONTEXT, second)
        assert_trees_close(y, other(X, CONTEXT)[:, start : start + n], 1e-12)
        start += n


def test_dropout_is_in_four_places_and_drops_nothing_in_inference() -> None:
    layer = encoder(dropout=0.5)
    assert_trees_equal(layer(X, key=KEY), encoder()(X), bits=True)
    assert layer.attention.dropout == 0.5
    only = layer.replace(attention=layer.attention.replace(dropout=0.0))
    assert not np.array_equal(layer(X, key=KEY, train=True), only(X, key=KEY, train=True))


def test_sizes_come_from_the_first_input() -> None:
    made = nn.init(nn.Sequential([nn.TransformerEncoderLayer.lazy(2), nn.TransformerEncoderLayer.lazy(3, hidden_size=5)]), KEY, X)
    assert [layer.hidden.W.shape for layer in made.layers] == [(6, 24), (6, 5)]


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: nn.TransformerEncoderLayer.init(KEY, 6, 4), RangeError, "size 6 cannot be cut into 4 equal heads"),
        (lambda: nn.TransformerDecoderLayer.init(KEY, 6, 2, hidden_size=0), RangeError, "TransformerDecoderLayer: hidden_size must be an integer"),
        (lambda: nn.TransformerEncoderLayer.init(KEY, 6, 2, activation="relu"), StructureError, "the activation is a function such as"),
        (lambda: nn.TransformerEncoderLayer.init(KEY, 6, 2, dropout=1.5), RangeError, "the rate is the probability to drop"),
        (lambda: encoder()(CONTEXT), ShapeError, r"\(at attention/queries\)"),
        (lambda: decoder()(X, X), ShapeError, r"\(at cross/keys\)"),
    ],
)
def test_bad_input_is_refused(call: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        call()
