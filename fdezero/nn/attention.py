"""Attention with several heads, of a sequence to itself or to another one; with a cache of keys and values for generation."""

from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import numpy as fnp
from .. import random
from ..devices import array_module
from ..errors import RangeError, ShapeError, StructureError
from ..functions.dropout import checked_rate
from ..messages import describe
from ..numpy.arguments import Array
from ..ops.checks import checked
from ..tree import Module, static
from . import initial
from .containers import at
from .lazy import SizedByFeatures
from .linear import Linear, check_sizes

__all__ = ["AttentionCache", "MultiHeadAttention"]


class AttentionCache(Module):
    """Keys and values of the tokens so far, in memory for `length` tokens, so that a compiled step keeps its shapes."""

    keys: Array  # (..., key_heads, length, head_size)
    values: Array  # as the keys
    position: Array  # how many tokens there are: an integer


def _as_rate(rate: Any) -> float:
    return checked_rate(rate, of="MultiHeadAttention")


class MultiHeadAttention(SizedByFeatures):
    """Attention of x (..., T, size) to itself, or to a context (..., S, context_size) -> (..., T, size).

    Queries, keys and values are linear maps of the inputs, cut into heads; another linear map joins the heads. `mask` is
    boolean, True where a query sees a key: it broadcasts to (..., T, S), or with one axis more than x to (..., heads, T, S).
    `lengths` (...) are the numbers of keys before the padding. `causal`, `dropout` and `rotary` are those of `fd.functions`.
    """

    queries: Linear
    keys: Linear
    values: Linear
    output: Linear
    heads: int = static()
    key_heads: int = static()
    causal: bool = static(default=False)
    rotary: bool = static(default=False)
    dropout: float = static(default=0.0, converter=_as_rate)

    @classmethod
    def init(
        cls,
        key: Array,
        size: int,
        heads: int,
        *,
        context_size: int | None = None,
        key_heads: int | None = None,
        causal: bool = False,
        rotary: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
        weight_init: initial.Initialiser = initial.lecun_normal,
        bias_init: initial.Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the four linear maps, each with a key of its own. With fewer `key_heads`, neighbouring heads share keys and values.

        Raises RangeError for sizes that are not integers of at least 1, and for heads that do not divide.
        Source: Vaswani et al., "Attention is all you need", 2017, section 3.2.2.
        """
        context_size = size if context_size is None else context_size
        key_heads = heads if key_heads is None else key_heads
        check_sizes("MultiHeadAttention", size=size, heads=heads, context_size=context_size, key_heads=key_heads)
        if size % heads:
            fitting = ", ".join(str(n) for n in range(1, min(size, 64) + 1) if size % n == 0)
            raise RangeError(
                f"MultiHeadAttention: size {size} cannot be cut into {heads} equal heads, but into {fitting}."
            )
        if heads % key_heads:
            raise RangeError(f"MultiHeadAttention: {heads} heads cannot share {key_heads} key_heads equally.")
        if rotary and size // heads % 2:
            raise RangeError(
                f"MultiHeadAttention: rotary turns pairs of entries, but a head has {size // heads} of them. Take other heads."
            )
        narrow = size // heads * key_heads
        options: Any = {"bias": bias, "weight_init": weight_init, "bias_init": bias_init, "dtype": dtype}
        shapes = ((size, size), (context_size, narrow), (context_size, narrow), (size, size))
        layers = [Linear.init(k, n, m, **options) for k, (n, m) in zip(random.split(key, 4), shapes, strict=True)]
        queries, keys, values, output = layers
        return cls(queries, keys, values, output, heads, key_heads, bool(causal), bool(rotary), dropout)

    def __call__(
        self,
        x: Array,
        context: Array | None = None,
        mask: Array | None = None,
        *,
        lengths: Array | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Array:
        x = fnp.asarray(x)
        context = x if context is None else fnp.asarray(context)
        for name, part in (("x", x), ("context", context)):
            if part.ndim < 2:
                raise ShapeError(f"MultiHeadAttention expects {name} (..., T, size), got {describe(part)}.")
        q, k, v = self._projected("queries", x), self._projected("keys", context), self._projected("values", context)
        if self.rotary:
            q, k = F.rotary(q), F.rotary(k)
        mask = None if mask is None else _with_heads(mask, x.ndim)
        if lengths is not None:
            shape = fnp.asarray(lengths).shape
            if shape not in (x.shape[:-2], context.shape[:-2]):
                raise ShapeError(
                    f"MultiHeadAttention: lengths have a number for each sequence, shape {context.shape[:-2]}, got {describe(lengths)}."
                )
            within = F.length_mask(lengths, context.shape[-2])[..., None, None, :]
            mask = within if mask is None else mask & within
        y = F.attention(q, k, v, mask, causal=self.causal, dropout=self.dropout, key=key, train=train)
        return self._joined(y)

    def _projected(self, name: str, x: Array) -> Array:
        """x (..., T, n) through the linear map of this name, cut into heads: (..., heads, T, head_size)."""
        layer: Any = getattr(self, name)
        with at(name):
            y = layer(x)
        heads = self.heads if name == "queries" else self.key_heads
        return fnp.swapaxes(fnp.reshape(y, (*y.shape[:-1], heads, y.shape[-1] // heads)), -2, -3)

    def _joined(self, y: Array) -> Array:
        y = fnp.swapaxes(y, -2, -3)
        return self.output(fnp.reshape(y, (*y.shape[:-2], y.shape[-2] * y.shape[-1])))

    def empty_cache(self, *loops: int, length: int) -> AttentionCache:
        """The cache before the first token, for sequences (*loops, ...) of at most `length` tokens."""
        check_sizes("MultiHeadAttention: the cache", length=length)
        W = self.values.W
        shape = (*loops, self.key_heads, int(length), W.shape[-1] // self.key_heads)
        zeros = fnp.zeros_like(W, shape=shape)
        return AttentionCache(zeros, fnp.zeros_like(zeros), array_module(W).asarray(np.int64(0)))

    def extend(self, x: Array, cache: AttentionCache) -> tuple[Array, AttentionCache]:
        """The outputs for the next tokens x (..., n, size), and the cache with them: as if all tokens were there, and causal.

        Raises RangeError for more tokens than the cache has room for (not on a GPU), StructureError without causal=True.
        """
        if not self.causal:
            raise StructureError(
                "MultiHeadAttention.extend adds tokens that earlier ones did not see: make the layer with causal=True."
            )
        x = fnp.asarray(x)
        n, length = x.shape[-2], cache.keys.shape[-2]
        position = checked(
            cache.position,
            test=lambda position: position + n <= length,
            error=lambda position: RangeError(
                f"MultiHeadAttention.extend: the cache holds {position} of {length} tokens, so {n} more do not fit: make a longer one."
            ),
        )
        q, k, v = self._projected("queries", x), self._projected("keys", x), self._projected("values", x)
        numbers = array_module(x, cache.keys).arange(max(length, n))
        own = position + numbers[:n]
        if self.rotary:
            q, k = F.rotary(q, own), F.rotary(k, own)
        places = numbers[:length]
        keys, values = (_written(old, new, places - position) for old, new in ((cache.keys, k), (cache.values, v)))
        y = F.attention(q, keys, values, places <= own[:, None])
        return self._joined(y), AttentionCache(keys, values, position + n)


def _with_heads(mask: Array, ndim: int) -> Array:
    """The mask with an axis for the heads, unless it has one or no axis in front of (T, S)."""
    mask = fnp.asarray(mask)
    return mask if mask.ndim <= 2 or mask.ndim == ndim + 1 else fnp.expand_dims(mask, -3)


def _written(old: Array, new: Array, places: Array) -> Array:
    """`old` (..., length, m) with the rows of `new` (..., n, m) where `places` (length,) are 0 to n - 1."""
    n = new.shape[-2]
    inside = fnp.expand_dims((places >= 0) & (places < n), -1)
    moved = new if n == 1 else fnp.take(new, fnp.clip(places, 0, n - 1), axis=-2)
    return fnp.where(inside, fnp.astype(moved, old.dtype), old)
