"""The table of layers: how each layer of `fdezero.nn` is made, and an input that fits it. A layer needs one row or more.

Files `layers_*.py` beside this one hold the rows of a family each, in a list `LAYERS`.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn

from .layer_row import Row


def _sequential(key: Any, dtype: Any) -> nn.Sequential:
    first, second = fd.random.split(key)
    return nn.Sequential([nn.Linear.init(first, 4, 6, dtype=dtype), F.tanh, nn.Dropout(0.5), nn.Dropout(0.25), nn.Linear.init(second, 6, 3, dtype=dtype)])


LAYERS = [
    Row("Linear", "", lambda key, dtype: nn.Linear.init(key, 4, 3, dtype=dtype)),
    Row("Linear", "without bias", lambda key, dtype: nn.Linear.init(key, 4, 3, bias=False, dtype=dtype), (2, 3, 4)),
    Row("Function", "", lambda key, dtype: nn.Function(F.gelu)),
    Row("Dropout", "", lambda key, dtype: nn.Dropout(0.5)),
    Row("Dropout", "of nothing", lambda key, dtype: nn.Dropout(0.0)),
    Row("Sequential", "", _sequential),
    Row("Sequential", "nested", lambda key, dtype: nn.Sequential([nn.Dropout(0.25), _sequential(key, dtype), fd.Frozen(_sequential(key, dtype).layers[4].replace(W=np.ones((3, 2), dtype), b=None))])),
    Row("Checkpoint", "", lambda key, dtype: nn.Checkpoint(_sequential(key, dtype))),
    Row("MLP", "", lambda key, dtype: nn.MLP.init(key, (4, 6, 3), activation=F.tanh, dtype=dtype)),
    Row("MLP", "with dropout", lambda key, dtype: nn.MLP.init(key, (4, 6, 5, 3), activation=F.softplus, dropout=0.5, dtype=dtype)),
]  # fmt: skip

for _file in sorted(Path(__file__).parent.glob("layers_*.py")):
    LAYERS += importlib.import_module(f"{__package__}.{_file.stem}").LAYERS
