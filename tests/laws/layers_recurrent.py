"""Rows of the table of layers: recurrent cells and layers."""

from typing import Any

import numpy as np

from fdezero import functions as F
from fdezero import nn

from .layer_row import Row

RNG = np.random.default_rng(5)
XS = RNG.standard_normal((2, 3, 4))  # two sequences of three steps
STATE = RNG.standard_normal((3, 2, 3))


def _step(dtype: Any) -> tuple[Any, ...]:
    return XS[:, 0].astype(dtype), STATE[0].astype(dtype)


def _step_of_lstm(dtype: Any) -> tuple[Any, ...]:
    return XS[:, 0].astype(dtype), tuple(STATE[:2].astype(dtype))


def _uneven(dtype: Any) -> tuple[Any, ...]:
    return XS.astype(dtype), STATE[:1].astype(dtype), np.array([1, 3])


def _stacked(key: Any, dtype: Any) -> nn.LSTM:
    return nn.LSTM.init(key, 4, 2, num_layers=2, bidirectional=True, dropout=0.5, forget_bias=1.0, dtype=dtype)


LAYERS = [
    Row("RNNCell", "", lambda key, dtype: nn.RNNCell.init(key, 4, 3, dtype=dtype), input=_step),
    Row("GRUCell", "", lambda key, dtype: nn.GRUCell.init(key, 4, 3, bias_init=nn.initial.normal(0.5), dtype=dtype), input=_step),
    Row("LSTMCell", "", lambda key, dtype: nn.LSTMCell.init(key, 4, 3, dtype=dtype), input=_step_of_lstm),
    Row("RNN", "backwards", lambda key, dtype: nn.RNN.init(key, 4, 2, reverse=True, bias=False, activation=F.softplus, dtype=dtype), (3, 4)),
    Row("GRU", "of given lengths", lambda key, dtype: nn.GRU.init(key, 4, 3, dtype=dtype), input=_uneven),
    Row("LSTM", "both ways, in layers, with dropout", _stacked, (2, 3, 4)),
    Row("Outputs", "all", lambda key, dtype: nn.Outputs(nn.RNN.init(key, 4, 3, dtype=dtype)), (2, 3, 4)),
    Row("Outputs", "last", lambda key, dtype: nn.Outputs(_stacked(key, dtype), "last"), (2, 3, 4)),
]
