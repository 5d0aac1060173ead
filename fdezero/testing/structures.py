"""Hypothesis strategies for pytrees, modules among them, and for layers with inputs that fit them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import functions as F
from .. import nn
from ..errors import RangeError
from ..tree import Module, module, static
from .strategies import Strategy, arrays, st

KINDS = ("Linear", "Function", "Dropout", "Sequential", "MLP")


@module
class Pair(Module):
    """A module of two subtrees and a static name: the smallest that shows what containers of a user's own do."""

    left: Any
    right: Any = None
    name: str = static(default="pair")


def pytrees(leaves: Any = None, *, max_leaves: int = 5, modules: bool = False) -> Strategy:
    """Nested dicts, lists and tuples of `leaves` (float64 arrays by default), with at least one leaf; shrinks to a leaf.

    With `modules`, fdezero modules (`Pair`), too.
    """
    leaf = arrays() if leaves is None else leaves
    names = st.text("abcxyz", min_size=1, max_size=3)

    def around(inner: Strategy) -> Strategy:
        containers = [
            st.dictionaries(names, inner, min_size=1, max_size=3),
            st.lists(inner, min_size=1, max_size=3),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
        ]
        return st.one_of(*containers, *[st.builds(Pair, inner, st.none() | inner)] * modules)

    return st.recursive(leaf, around, max_leaves=max_leaves)


def layers(
    kinds: Sequence[str] = KINDS,
    *,
    dtype: Any = np.float64,
    activations: Sequence[Callable[[Any], Any]] = (F.tanh, F.sigmoid, F.softplus),
    max_size: int = 3,
) -> Strategy:
    """Pairs (layer, x) of a layer of `fdezero.nn` and an input that fits it; shrinks to few numbers, all of them zero.

    `kinds` are names of layers; sizes are 1 to `max_size`, x has up to one axis in front. The activations have no kinks
    unless you give some. Raises RangeError for other kinds.
    """
    if not kinds or set(kinds) - set(KINDS):
        raise RangeError(f"layers: kinds are {', '.join(KINDS)}, got {', '.join(kinds) or 'none'}.")
    made: dict[str, Callable[..., Any]] = {
        "Linear": _linear,
        "Function": lambda draw, n, *_: nn.Function(draw(st.sampled_from(activations))),
        "Dropout": lambda draw, n, *_: nn.Dropout(draw(st.sampled_from([0.0, 0.5]))),
        "Sequential": _sequential,
        "MLP": _mlp,
    }

    @st.composite
    def pairs(draw: Any) -> Any:
        kind = draw(st.sampled_from([name for name in KINDS if name in kinds]))
        n = draw(st.integers(1, max_size))
        layer = made[kind](draw, n, dtype, tuple(activations), max_size)
        batch = draw(st.sampled_from([(), (1,), (2,)]))
        return layer, draw(arrays(dtype, (*batch, n)))

    return pairs()


def _linear(draw: Any, n: int, dtype: Any, activations: Any, max_size: int) -> nn.Linear:
    m = draw(st.integers(1, max_size))
    return nn.Linear(draw(arrays(dtype, (n, m))), draw(st.none() | arrays(dtype, (m,))))


def _chain(draw: Any, n: int, dtype: Any, activations: Any, max_size: int) -> list[nn.Linear]:
    chain = [_linear(draw, n, dtype, activations, max_size)]
    for _ in range(draw(st.integers(0, 1))):
        chain.append(_linear(draw, chain[-1].W.shape[1], dtype, activations, max_size))
    return chain


def _sequential(draw: Any, *given: Any) -> nn.Sequential:
    activations = given[2]
    return nn.Sequential(tuple(part for layer in _chain(draw, *given) for part in (layer, draw(st.sampled_from(activations)))))


def _mlp(draw: Any, *given: Any) -> nn.MLP:
    return nn.MLP(tuple(_chain(draw, *given)), draw(st.sampled_from(given[2])))
