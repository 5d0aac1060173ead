"""A small causal Transformer over symbols: a model of characters or tokens that also generates them."""

import functools
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from .. import functions as F
from .. import numpy as fnp
from .. import random
from ..compiler import compile as compiled
from ..devices import array_module
from ..errors import KeyMissingError, RangeError, ShapeError
from ..functions.dropout import checked_rate
from ..messages import describe
from ..nn import initial
from ..nn.attention import AttentionCache
from ..nn.containers import at
from ..nn.embedding import Embedding
from ..nn.linear import Linear, check_sizes
from ..nn.normalisation import LayerNorm
from ..nn.transformer import TransformerEncoderLayer
from ..numpy.arguments import Array
from ..tree import Module, static

__all__ = ["Transformer"]

GELU = functools.partial(F.gelu, approximate="tanh")  # as in its source, and faster than the exact one
POSITIONS = ("learned", "sinusoidal", "rotary")


def _as_rate(rate: Any) -> float:
    return checked_rate(rate, of="Transformer")


class Transformer(Module):
    """A causal Transformer: integers ids (..., T) -> logits (..., T, vocabulary) of the symbol after each, T at most `length`.

    Layers are normalised first, and once more at the end. Positions are learned, or sines, or turn queries and keys ("rotary").
    Source: Vaswani et al., 2017; Radford et al., "Language models are unsupervised multitask learners", 2019 (its form).
    """

    symbols: Embedding
    positions: Embedding | None
    layers: tuple[TransformerEncoderLayer, ...]
    norm: LayerNorm
    output: Linear | None  # None: the table of the symbols
    length: int = static()
    sinusoidal: bool = static(default=False)
    dropout: float = static(default=0.0, converter=_as_rate)

    @classmethod
    def init(
        cls,
        key: Array,
        vocabulary: int,
        *,
        size: int = 128,
        heads: int = 4,
        layers: int = 4,
        length: int = 256,
        hidden_size: int | None = None,
        key_heads: int | None = None,
        positions: str = "learned",
        tied: bool = True,
        activation: Callable[[Array], Array] = GELU,
        dropout: float = 0.0,
        weight_init: initial.Initialiser = initial.normal(0.02),
        dtype: Any = np.float32,
    ) -> Self:
        """Draw a model for `vocabulary` symbols. `tied`: the logits come from the table of the symbols.

        Raises RangeError for sizes that are not integers of at least 1, heads that do not divide, and other positions.
        """
        check_sizes("Transformer", vocabulary=vocabulary, size=size, heads=heads, layers=layers, length=length)
        if positions not in POSITIONS:
            raise RangeError(f"Transformer: positions are {', '.join(map(repr, POSITIONS))}, got {positions!r}.")
        first, second, third, fourth, *keys = random.split(key, 4 + layers)
        options: Any = {"weight_init": weight_init, "dtype": dtype}
        blocks = [
            TransformerEncoderLayer.init(
                own, size, heads, hidden_size=hidden_size, activation=activation, norm_first=True, dropout=dropout,
                causal=True, rotary=positions == "rotary", key_heads=key_heads, **options,
            )
            for own in keys
        ]  # fmt: skip
        return cls(
            Embedding.init(first, vocabulary, size, **options),
            Embedding.init(second, length, size, **options) if positions == "learned" else None,
            tuple(blocks),
            LayerNorm.init(fourth, size, dtype=dtype),
            None if tied else Linear.init(third, size, vocabulary, bias=False, **options),
            int(length),
            positions == "sinusoidal",
            dropout,
        )

    def __call__(self, ids: Array, *, key: Array | None = None, train: bool = False) -> Array:
        ids = fnp.asarray(ids)
        if not ids.ndim or ids.shape[-1] > self.length:
            raise ShapeError(
                f"Transformer takes ids (..., T) with T at most its length {self.length}, got {describe(ids)}."
            )
        keys = [None] * (len(self.layers) + 1) if key is None or not train else random.split(key, len(self.layers) + 1)
        x = F.dropout(self._embedded(ids, 0), self.dropout, key=keys[0], train=train)
        for i, layer in enumerate(self.layers):
            with at(f"layers/{i}"):
                x = layer(x, key=keys[i + 1], train=train)
        return self._logits(x)

    def _embedded(self, ids: Array, start: Any) -> Array:
        x = self.symbols(ids)
        places = start + array_module(x).arange(ids.shape[-1])
        if self.positions is not None:
            return x + self.positions(places)
        if self.sinusoidal:
            return x + F.sinusoidal_positions(places, x.shape[-1], dtype=x.dtype)
        return x

    def _logits(self, x: Array) -> Array:
        x = self.norm(x)
        return F.linear(x, fnp.transpose(self.symbols.W)) if self.output is None else self.output(x)

    def empty_caches(self, *loops: int, length: int | None = None) -> tuple[AttentionCache, ...]:
        """A cache for each layer, for sequences (*loops, T) with T at most `length`, by default the model's."""
        length = self.length if length is None else length
        return tuple(layer.empty_cache(*loops, length=length) for layer in self.layers)

    def extend(self, ids: Array, caches: tuple[AttentionCache, ...]) -> tuple[Array, tuple[AttentionCache, ...]]:
        """Logits for the next ids (..., n) after those in the caches, as a call with all ids gives them; and the new caches."""
        x, grown = self._embedded(fnp.asarray(ids), caches[0].position), []
        for layer, cache in zip(self.layers, caches, strict=True):
            x, cache = layer.extend(x, cache)
            grown.append(cache)
        return self._logits(x), tuple(grown)

    def generate(
        self,
        ids: Array,
        count: int,
        *,
        key: Array | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> Array:
        """`ids` (..., T) with `count` more symbols, each drawn from the model: (..., T + count).

        Logits are divided by `temperature`; 0 takes the most likely symbol and needs no key. `top_k` draws among so many likely
        symbols. Each symbol is one run of a compiled step with a cache of keys and values. The same key gives the same symbols.
        Raises RangeError for more symbols than the length of the model, or no first one, KeyMissingError.
        """
        ids = fnp.asarray(ids)
        if not ids.ndim or not ids.shape[-1]:
            raise ShapeError(
                f"Transformer.generate goes on from ids (..., T) with T of at least 1, got {describe(ids)}."
            )
        if not isinstance(count, int | np.integer) or count < 0 or ids.shape[-1] + count > self.length:
            raise RangeError(
                f"Transformer.generate: {ids.shape[-1]} ids and {count} more must fit the length of the model, {self.length}."
            )
        if not temperature >= 0:
            raise RangeError(f"Transformer.generate: the temperature is at least 0, got {temperature}.")
        vocabulary = self.symbols.W.shape[0]
        if top_k is not None and (not isinstance(top_k, int | np.integer) or not 1 <= top_k <= vocabulary):
            raise RangeError(f"Transformer.generate: top_k is an integer from 1 to {vocabulary}, got {top_k}.")
        if key is None and temperature:
            raise KeyMissingError(
                "Transformer.generate draws symbols, so it needs key=fd.random.key(0); or take the most likely ones by temperature=0."
            )
        if not count:
            return ids
        keys: Any = [None] * int(count) if key is None or not temperature else random.split(key, int(count))
        logits, caches = _extended(self, ids, self.empty_caches(*ids.shape[:-1]))
        found = [ids]
        for i in range(int(count)):
            symbol = _chosen(logits[..., -1, :], keys[i], float(temperature), top_k)
            found.append(fnp.astype(symbol, ids.dtype)[..., None])
            if i + 1 < count:
                logits, caches = _extended(self, found[-1], caches)
        return fnp.concatenate(found, -1)


@compiled
def _extended(model: Transformer, ids: Array, caches: Any) -> Any:
    return model.extend(ids, caches)


def _chosen(logits: Array, key: Any, temperature: float, top_k: int | None) -> Array:
    """A symbol for each line of logits (..., vocabulary)."""
    if not temperature:
        return fnp.argmax(logits, axis=-1)
    logits = fnp.astype(logits, np.float32, copy=False) / temperature
    if top_k is not None:
        least = fnp.sort(logits, axis=-1)[..., -top_k, None]
        logits = fnp.where(logits >= least, logits, -np.inf)
    return random.categorical(key, logits)
