"""`Row`: a layer of `fdezero.nn` for the table of layers, and inputs that fit it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import nn
from fdezero.nn.standing import layers_of
from fdezero.nn.state import statistics_in

PROPERTIES = ("derivatives", "vmap", "compiled", "CPU", "stand-in", "float16", "saved", "keys")
KEY, OTHER = fd.random.split(fd.random.key(0))


class Row(NamedTuple):
    """A layer by its name in `nn`, a word for its variant, `make(key, dtype)`, and its input.

    The input has normal entries of the given shape, or `input(dtype)` makes it: integers, or a tuple of several arguments.
    `order` is the number of derivatives that are compared with differences.

    """

    name: str
    variant: str
    make: Callable[[Any, Any], Any]
    shape: tuple[int, ...] = (5, 4)
    input: Callable[[Any], Any] | None = None
    order: int = 2

    def __str__(self) -> str:
        return f"{self.name} {self.variant}".strip()

    @property
    def claims(self) -> set[str]:
        """The cells of the coverage table: every law holds for every layer, but not every layer has derivatives of its inputs."""
        return set(PROPERTIES) - (set() if self.order else {"derivatives"})

    def layer(self, key: Any = KEY, dtype: Any = np.float64) -> Any:
        return self.make(key, dtype)

    def xs(self, dtype: Any = np.float64) -> tuple[Any, ...]:
        """The arguments of a call."""
        if self.input is None:
            return (np.random.default_rng(0).standard_normal(self.shape).astype(dtype),)
        x = self.input(dtype)
        return x if isinstance(x, tuple) else (x,)


def is_stateful(layer: Any) -> bool:
    """Whether there is a layer with statistics in the tree."""
    return any(isinstance(node.value, nn.Stateful) for node in layers_of(layer))


def called(train: bool, key: Any = KEY) -> Callable[..., Any]:
    """How a law calls a layer: `nn.step` in training, if it has statistics. Only the result counts."""

    def call(layer: Any, *xs: Any) -> Any:
        if train and is_stateful(layer):
            return nn.step(layer, *xs, key=key, train=True)[0]
        return nn.apply(layer, *xs, key=key, train=train)

    return call


def stepped(train: bool, key: Any = KEY) -> Callable[..., Any]:
    """Like `called`, with the statistics of the layer's successor as a further result, if there are any."""

    def call(layer: Any, *xs: Any) -> Any:
        if not is_stateful(layer):
            return called(train, key)(layer, *xs)
        y, successor = nn.step(layer, *xs, key=key, train=train)
        return y, [statistics_in(node.value) for node in layers_of(successor) if isinstance(node.value, nn.Stateful)]

    return call
