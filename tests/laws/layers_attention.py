"""Rows of the table of layers: tables of symbols, attention, Transformers."""

from typing import Any

import numpy as np

from fdezero import functions as F
from fdezero import nn

from .layer_row import Row

IDS = np.array([[2, 0, 2], [4, 3, 0]])


def _ids(dtype: Any) -> np.ndarray:
    return IDS


def _attention(key: Any, dtype: Any, **options: Any) -> nn.MultiHeadAttention:
    return nn.MultiHeadAttention.init(key, 4, 2, bias_init=nn.initial.normal(0.5), dtype=dtype, **options)


def _with_context(dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((2, 3, 4)).astype(dtype), rng.standard_normal((2, 5, 6)).astype(dtype)


def _with_mask(dtype: Any) -> tuple[np.ndarray, ...]:
    x, context = _with_context(dtype)
    return x, context, np.array([[True, False, True, True, False], [False] * 5, [True] * 5])


def _encoder(key: Any, dtype: Any, **options: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer.init(key, 4, 2, hidden_size=3, activation=F.tanh, dtype=dtype, **options)


def _decoder(key: Any, dtype: Any, **options: Any) -> nn.TransformerDecoderLayer:
    return nn.TransformerDecoderLayer.init(key, 4, 2, hidden_size=3, context_size=6, activation=F.tanh, dtype=dtype, **options)


LAYERS = [
    Row("Embedding", "", lambda key, dtype: nn.Embedding.init(key, 5, 3, dtype=dtype), input=_ids),
    # The row of the padding has no gradient, unlike a difference. So no id is 1.
    Row("Embedding", "with a row for padding", lambda key, dtype: nn.Embedding.init(key, 5, 3, padding_index=1, dtype=dtype), input=_ids),
    Row("MultiHeadAttention", "", _attention, (2, 3, 4)),
    Row("MultiHeadAttention", "causal, with turned positions, shared keys and dropout", lambda key, dtype: _attention(key, dtype, causal=True, rotary=True, key_heads=1, dropout=0.5), (5, 4)),
    Row("MultiHeadAttention", "to another sequence", lambda key, dtype: _attention(key, dtype, context_size=6), input=_with_context),
    Row("MultiHeadAttention", "with a mask", lambda key, dtype: _attention(key, dtype, context_size=6, bias=False), input=_with_mask),
    Row("TransformerEncoderLayer", "", _encoder, (2, 3, 4)),
    Row("TransformerEncoderLayer", "normalised first, causal, with dropout", lambda key, dtype: _encoder(key, dtype, norm_first=True, causal=True, dropout=0.5), (2, 3, 4)),
    Row("TransformerDecoderLayer", "", _decoder, input=_with_context),
    Row("TransformerDecoderLayer", "normalised first, with dropout", lambda key, dtype: _decoder(key, dtype, norm_first=True, dropout=0.5), input=_with_context),
]  # fmt: skip
