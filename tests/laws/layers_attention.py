"""Rows of the table of layers: tables of symbols, attention, Transformers."""

from typing import Any

import numpy as np

from fdezero import nn

from .layer_row import Row

IDS = np.array([[2, 0, 2], [4, 3, 0]])


def _ids(dtype: Any) -> np.ndarray:
    return IDS


LAYERS = [
    Row("Embedding", "", lambda key, dtype: nn.Embedding.init(key, 5, 3, dtype=dtype), input=_ids),
    # The row of the padding has no gradient, unlike a difference. So no id is 1.
    Row("Embedding", "with a row for padding", lambda key, dtype: nn.Embedding.init(key, 5, 3, padding_index=1, dtype=dtype), input=_ids),
]
