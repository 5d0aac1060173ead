"""The layers of Transformers: attention and a small network at each position, each with a shortcut and a normalisation."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import numpy as fnp
from .. import random
from ..errors import StructureError
from ..functions.dropout import checked_rate
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import static
from . import initial
from .attention import AttentionCache, MultiHeadAttention
from .containers import at
from .lazy import SizedByFeatures
from .linear import Linear, check_sizes
from .normalisation import LayerNorm

__all__ = ["TransformerDecoderLayer", "TransformerEncoderLayer"]

Activation = Callable[[Array], Array]


def _as_rate(rate: Any) -> float:
    return checked_rate(rate, of="a Transformer layer")


def _checked_sizes(of: str, size: int, hidden_size: int | None, activation: Any) -> int:
    """The size between the two linear maps."""
    hidden_size = 4 * size if hidden_size is None else hidden_size
    check_sizes(of, size=size, hidden_size=hidden_size)
    if not callable(activation):
        raise StructureError(
            f"{of}: the activation is a function such as fd.functions.gelu, got {describe(activation)}."
        )
    return hidden_size


class _Sublayers(SizedByFeatures):
    """What both layers share: a sublayer with its shortcut, its normalisation and dropout. Each layer lists its own fields."""

    def _around(self: Any, name: str, x: Array, keys: Any, train: bool, function: Callable[..., Array]) -> Array:
        """x + function(x), normalised before or after, with dropout. The function and the dropout have a key each."""
        norm: Any = getattr(self, f"{name}_norm")
        with at(name):
            y = function(norm(x) if self.norm_first else x, keys[0])
        y = x + F.dropout(y, self.dropout, key=keys[1], train=train)
        normalised: Array = y if self.norm_first else norm(y)
        return normalised

    def _at_each_position(self: Any, x: Array, keys: Any, train: bool) -> Array:
        """The two linear maps, with an activation and dropout in between."""

        def feed(x: Array, key: Any) -> Array:
            y: Array = self.output(F.dropout(self.activation(self.hidden(x)), self.dropout, key=key, train=train))
            return y

        y: Array = self._around("output", x, keys, train, feed)
        return y

    def _extended(self: Any, x: Array, cache: AttentionCache) -> tuple[Array, AttentionCache]:
        """x after the attention to itself, and the cache."""
        caches = [cache]

        def attend(x: Array, key: Any) -> Array:
            y, caches[0] = self.attention.extend(x, caches[0])
            return y

        y: Array = self._around("attention", fnp.asarray(x), (None, None), False, attend)
        return y, caches[0]

    def empty_cache(self: Any, *loops: int, length: int) -> AttentionCache:
        """See `MultiHeadAttention.empty_cache`."""
        cache: AttentionCache = self.attention.empty_cache(*loops, length=length)
        return cache

    def _keys(self: Any, key: Array | None, train: bool, count: int) -> Any:
        return [None] * count if key is None or not train else random.split(key, count)


class TransformerEncoderLayer(_Sublayers):
    """Attention to the sequence itself, then two linear maps at each position: x (..., T, size) -> (..., T, size).

    Each of the two has a shortcut, a LayerNorm after it (or before it, with `norm_first`), and dropout. `mask` and `lengths` are
    those of MultiHeadAttention. With `causal` it is the layer of a decoder without a context, as in GPT.
    """

    attention: MultiHeadAttention
    attention_norm: LayerNorm
    hidden: Linear
    output: Linear
    output_norm: LayerNorm
    activation: Activation = static(default=F.relu)
    norm_first: bool = static(default=False)
    dropout: float = static(default=0.0, converter=_as_rate)

    @classmethod
    def init(
        cls,
        key: Array,
        size: int,
        heads: int,
        *,
        hidden_size: int | None = None,
        activation: Activation = F.relu,
        norm_first: bool = False,
        dropout: float = 0.0,
        causal: bool = False,
        rotary: bool = False,
        key_heads: int | None = None,
        eps: float = 1e-5,
        bias: bool = True,
        weight_init: initial.Initialiser = initial.lecun_normal,
        bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the linear maps; `hidden_size` is 4 * size by default. `dropout` also drops weights of the attention.

        Raises RangeError for sizes and heads that do not fit.
        Source: Vaswani et al., "Attention is all you need", 2017, section 3; Xiong et al., 2020 (norm_first).
        """
        options: Any = {"bias": bias, "weight_init": weight_init, "bias_init": bias_init, "dtype": dtype}
        between = _checked_sizes("TransformerEncoderLayer", size, hidden_size, activation)
        first, second, third, *others = random.split(key, 5)
        attention = MultiHeadAttention.init(
            first, size, heads, key_heads=key_heads, causal=causal, rotary=rotary, dropout=dropout, **options
        )
        hidden, output = Linear.init(second, size, between, **options), Linear.init(third, between, size, **options)
        norms = [LayerNorm.init(own, size, eps=eps, dtype=dtype) for own in others]
        return cls(attention, norms[0], hidden, output, norms[1], activation, bool(norm_first), dropout)

    def __call__(
        self,
        x: Array,
        mask: Array | None = None,
        *,
        lengths: Array | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Array:
        def attend(x: Array, key: Any) -> Array:
            return self.attention(x, mask=mask, lengths=lengths, key=key, train=train)

        keys = self._keys(key, train, 4)
        x = self._around("attention", fnp.asarray(x), keys[:2], train, attend)
        return self._at_each_position(x, keys[2:], train)

    def extend(self, x: Array, cache: AttentionCache) -> tuple[Array, AttentionCache]:
        """The outputs for the next tokens x (..., n, size), and the cache with them. See `MultiHeadAttention.extend`."""
        x, cache = self._extended(x, cache)
        return self._at_each_position(x, (None, None), False), cache


class TransformerDecoderLayer(_Sublayers):
    """As TransformerEncoderLayer, causal, with attention to a context (..., S, context_size) in the middle.

    x (..., T, size) -> (..., T, size). `mask` and `lengths` are those of x, `context_mask` and `context_lengths` of the context.
    """

    attention: MultiHeadAttention
    attention_norm: LayerNorm
    cross: MultiHeadAttention
    cross_norm: LayerNorm
    hidden: Linear
    output: Linear
    output_norm: LayerNorm
    activation: Activation = static(default=F.relu)
    norm_first: bool = static(default=False)
    dropout: float = static(default=0.0, converter=_as_rate)

    @classmethod
    def init(
        cls,
        key: Array,
        size: int,
        heads: int,
        *,
        context_size: int | None = None,
        hidden_size: int | None = None,
        activation: Activation = F.relu,
        norm_first: bool = False,
        dropout: float = 0.0,
        causal: bool = True,
        rotary: bool = False,
        key_heads: int | None = None,
        eps: float = 1e-5,
        bias: bool = True,
        weight_init: initial.Initialiser = initial.lecun_normal,
        bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the linear maps, as TransformerEncoderLayer does. `rotary` turns x alone, not the context.

        Raises RangeError for sizes and heads that do not fit.
        Source: Vaswani et al., "Attention is all you need", 2017, section 3.
        """
        options: Any = {"bias": bias, "weight_init": weight_init, "bias_init": bias_init, "dtype": dtype}
        between = _checked_sizes("TransformerDecoderLayer", size, hidden_size, activation)
        first, second, third, fourth, *others = random.split(key, 7)
        shared: Any = {"key_heads": key_heads, "dropout": dropout, **options}
        attention = MultiHeadAttention.init(first, size, heads, causal=causal, rotary=rotary, **shared)
        cross = MultiHeadAttention.init(second, size, heads, context_size=context_size, **shared)
        hidden, output = Linear.init(third, size, between, **options), Linear.init(fourth, between, size, **options)
        norms = [LayerNorm.init(own, size, eps=eps, dtype=dtype) for own in others]
        return cls(
            attention, norms[0], cross, norms[1], hidden, output, norms[2], activation, bool(norm_first), dropout
        )

    def __call__(
        self,
        x: Array,
        context: Array,
        mask: Array | None = None,
        context_mask: Array | None = None,
        *,
        lengths: Array | None = None,
        context_lengths: Array | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Array:
        def attend(x: Array, key: Any) -> Array:
            return self.attention(x, mask=mask, lengths=lengths, key=key, train=train)

        keys = self._keys(key, train, 6)
        x = self._around("attention", fnp.asarray(x), keys[:2], train, attend)
        return self._after_attention(x, context, context_mask, context_lengths, keys[2:], train)

    def _after_attention(
        self, x: Array, context: Array, mask: Array | None, lengths: Array | None, keys: Any, train: bool
    ) -> Array:
        def attend(x: Array, key: Any) -> Array:
            return self.cross(x, context, mask, lengths=lengths, key=key, train=train)

        x = self._around("cross", x, keys[:2], train, attend)
        return self._at_each_position(x, keys[2:], train)

    def extend(
        self,
        x: Array,
        context: Array,
        cache: AttentionCache,
        context_mask: Array | None = None,
        *,
        context_lengths: Array | None = None,
    ) -> tuple[Array, AttentionCache]:
        """The outputs for the next tokens x (..., n, size), and the cache with them. See `MultiHeadAttention.extend`."""
        x, cache = self._extended(x, cache)
        return self._after_attention(x, context, context_mask, context_lengths, [None] * 4, False), cache
