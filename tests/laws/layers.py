"""The table of layers: how each layer of `fdezero.nn` is made, and an input that fits it. A layer needs one row or more."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn

KEY, OTHER = fd.random.split(fd.random.key(0))


class Row(NamedTuple):
    """A layer by its name in `nn`, a word for its variant, `make(key, dtype)`, and the shape of an input."""

    name: str
    variant: str
    make: Callable[[Any, Any], Any]
    shape: tuple[int, ...] = (5, 4)

    def __str__(self) -> str:
        return f"{self.name} {self.variant}".strip()

    def layer(self, key: Any = KEY, dtype: Any = np.float64) -> Any:
        return self.make(key, dtype)

    def x(self, dtype: Any = np.float64) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(self.shape).astype(dtype)


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
    Row("MLP", "", lambda key, dtype: nn.MLP.init(key, (4, 6, 3), activation=F.tanh, dtype=dtype)),
    Row("MLP", "with dropout", lambda key, dtype: nn.MLP.init(key, (4, 6, 5, 3), activation=F.softplus, dropout=0.5, dtype=dtype)),
]  # fmt: skip
