"""Rows of the table of layers: convolutions."""

from fdezero import nn

from .layer_row import Row

LAYERS = [
    Row("Conv1d", "", lambda key, dtype: nn.Conv1d.init(key, 2, 3, 3, padding="same", dtype=dtype), (2, 2, 5)),
    Row("Conv2d", "", lambda key, dtype: nn.Conv2d.init(key, 2, 3, (2, 3), padding=((1, 0), (1, 1)), dtype=dtype), (2, 2, 3, 4)),
    Row("Conv2d", "in groups", lambda key, dtype: nn.Conv2d.init(key, 4, 2, 2, stride=2, dilation=(1, 2), groups=2, bias=False, dtype=dtype), (4, 4, 5)),
    Row("Conv3d", "", lambda key, dtype: nn.Conv3d.init(key, 2, 2, (1, 2, 2), bias_init=nn.initial.constant(0.5), dtype=dtype), (1, 2, 2, 3, 2)),
    Row("ConvTranspose1d", "", lambda key, dtype: nn.ConvTranspose1d.init(key, 3, 2, 3, stride=2, padding=1, output_padding=1, dtype=dtype), (2, 3, 3)),
    Row("ConvTranspose2d", "", lambda key, dtype: nn.ConvTranspose2d.init(key, 4, 2, 2, stride=[1, 2], groups=2, dtype=dtype), (2, 4, 2, 2)),
    Row("ConvTranspose3d", "", lambda key, dtype: nn.ConvTranspose3d.init(key, 1, 2, 2, bias=False, dtype=dtype), (1, 1, 2, 2, 1)),
]
