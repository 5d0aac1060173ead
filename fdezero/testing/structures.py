"""Hypothesis strategies for pytrees and modules, and for layers with matching inputs."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import functions as F
from .. import nn
from ..errors import RangeError
from ..tree import Module, static
from .strategies import Strategy, arrays, st


def is_layer(value: Any) -> bool:
    """Whether a name of `nn` is a layer that can be called: not a function, not a base of layers, not a description of one."""
    bases = (nn.Lazy, nn.Sized, nn.Stateful)
    if not isinstance(value, type) or not issubclass(value, Module) or value in bases:
        return False
    return any("__call__" in vars(base) for base in value.__mro__)


def _takes_one_input(layer: Any) -> bool:
    parameters = list(inspect.signature(layer.__call__).parameters.values())[2:]
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


KINDS = tuple(name for name in nn.__all__ if is_layer(getattr(nn, name)) and _takes_one_input(getattr(nn, name)))


class Pair(Module):
    """A module with two subtrees and a static name: a minimal container as a user would write it."""

    left: Any
    right: Any = None
    name: str = static(default="pair")


def pytrees(leaves: Any = None, *, max_leaves: int = 5, modules: bool = False) -> Strategy:
    """Nested dicts, lists and tuples of `leaves` (float64 arrays by default), with at least one leaf; shrinks to a leaf.

    With `modules=True`, the trees also contain fdezero modules (`Pair`).
    """
    leaf = arrays() if leaves is None else leaves
    names = st.text("abcxyz", min_size=1, max_size=3)

    def around(inner: Strategy) -> Strategy:
        containers: list[Strategy] = [
            st.dictionaries(names, inner, min_size=1, max_size=3),
            st.lists(inner, min_size=1, max_size=3),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
        ]
        if modules:
            containers.append(st.builds(Pair, inner, st.none() | inner))
        return st.one_of(*containers)

    return st.recursive(leaf, around, max_leaves=max_leaves)


def layers(
    kinds: Sequence[str] = KINDS,
    *,
    dtype: Any = np.float64,
    activations: Sequence[Callable[[Any], Any]] = (F.tanh, F.sigmoid, F.softplus),
    max_size: int = 3,
) -> Strategy:
    """Pairs (layer, x) of a layer of `fdezero.nn` and a matching input; shrinks to small arrays of zeros.

    `kinds` are names of layers, sizes are 1 to `max_size`, and x has at most one batch axis. The default activations
    do not have kinks. Raises RangeError for other kinds.
    """
    if not kinds or set(kinds) - set(KINDS):
        raise RangeError(f"layers: kinds are {', '.join(KINDS)}, got {', '.join(kinds) or 'none'}.")
    options = _Options(dtype, tuple(activations), max_size)

    @st.composite
    def pairs(draw: Any) -> Any:
        kind = draw(st.sampled_from([name for name in KINDS if name in kinds]))
        n = draw(st.integers(1, max_size))
        layer = MAKERS[getattr(nn, kind)](draw, n, options)
        batch = draw(st.sampled_from([(), (1,), (2,)]))
        layer, shape = layer if isinstance(layer, tuple) else (layer, (n,))
        return layer, draw(shape(batch) if callable(shape) else arrays(dtype, (*batch, *shape)))

    return pairs()


class _Options(NamedTuple):
    dtype: Any
    activations: tuple[Callable[[Any], Any], ...]
    max_size: int


def _linear(draw: Any, n: int, options: _Options) -> nn.Linear:
    m = draw(st.integers(1, options.max_size))
    return nn.Linear(draw(arrays(options.dtype, (n, m))), draw(st.none() | arrays(options.dtype, (m,))))


def _function(draw: Any, n: int, options: _Options) -> nn.Function:
    return nn.Function(draw(st.sampled_from(options.activations)))


def _dropout(draw: Any, n: int, options: _Options) -> nn.Dropout:
    return nn.Dropout(draw(st.sampled_from([0.0, 0.5])))


def _chain(draw: Any, n: int, options: _Options) -> list[nn.Linear]:
    chain = [_linear(draw, n, options)]
    for _ in range(draw(st.integers(0, 1))):
        chain.append(_linear(draw, chain[-1].W.shape[1], options))
    return chain


def _sequential(draw: Any, n: int, options: _Options) -> nn.Sequential:
    activations = st.sampled_from(options.activations)
    return nn.Sequential(tuple(part for layer in _chain(draw, n, options) for part in (layer, draw(activations))))


def _mlp(draw: Any, n: int, options: _Options) -> nn.MLP:
    return nn.MLP(tuple(_chain(draw, n, options)), draw(st.sampled_from(options.activations)))


def _convolution(kind: Any) -> Callable[[Any, int, _Options], Any]:
    """A maker of convolutions for inputs of n channels."""

    def make(draw: Any, n: int, options: _Options) -> Any:
        sizes = st.integers(1, options.max_size)
        outputs, kernel, space = draw(sizes), draw(sizes), draw(sizes)
        is_transposed = kind.__name__.startswith("ConvTranspose")
        channels = (n, outputs) if is_transposed else (outputs, n)
        W = draw(arrays(options.dtype, (*channels, *(kernel,) * kind.rank)))
        b = draw(st.none() | arrays(options.dtype, (outputs,)))
        stride, padding = draw(st.integers(1, 2)), 0 if is_transposed else draw(st.integers(kernel // 2, kernel))
        space = space if is_transposed else max(space, kernel - 2 * padding)
        return kind(W, b, stride, padding), (n, *(space,) * kind.rank)

    return make


def _checkpoint(draw: Any, n: int, options: _Options) -> nn.Checkpoint:
    return nn.Checkpoint(_linear(draw, n, options))


def _cell(kind: Any) -> Callable[[Any, int, _Options], Any]:
    """A maker of recurrent cells for inputs of n features."""

    def make(draw: Any, n: int, options: _Options) -> Any:
        gates, m = {nn.RNNCell: 1, nn.GRUCell: 3, nn.LSTMCell: 4}[kind], draw(st.integers(1, options.max_size))
        biases = [(gates * m,), (m,)] if kind is nn.GRUCell else [(gates * m,)]
        weights = [draw(arrays(options.dtype, (rows, gates * m))) for rows in (n, m)]
        return kind(*weights, *[draw(st.none() | arrays(options.dtype, shape)) for shape in biases])

    return make


def _recurrent(kind: Any) -> Callable[[Any, int, _Options], Any]:
    """A maker of recurrent layers for sequences of n features."""

    def make(draw: Any, n: int, options: _Options) -> Any:
        cell = _cell(kind.kind)(draw, n, options)
        above = [_cell(kind.kind)(draw, cell.Wh.shape[0], options)] if draw(st.booleans()) else []
        above = [layer for layer in above if layer.Wh.shape == cell.Wh.shape]
        return kind((cell, *above), reverse=draw(st.booleans())), (draw(st.integers(1, options.max_size)), n)

    return make


def _outputs(draw: Any, n: int, options: _Options) -> Any:
    layer, shape = _recurrent(draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM])))(draw, n, options)
    return nn.Outputs(layer, draw(st.sampled_from(["all", "last"]))), shape


def _square(draw: Any, n: int, options: _Options) -> nn.Linear:
    return nn.Linear(draw(arrays(options.dtype, (n, n))))


def _channel_dropout(kind: Any, rank: int) -> Callable[[Any, int, _Options], Any]:
    return lambda draw, n, options: (kind(draw(st.sampled_from([0.0, 0.5]))), (n,) * (rank + 1))


def _flatten(draw: Any, n: int, options: _Options) -> nn.Flatten:
    return nn.Flatten(-1)


def _residual(draw: Any, n: int, options: _Options) -> nn.Residual:
    return nn.Residual(_square(draw, n, options), draw(st.none() | st.just(_square(draw, n, options))))


def _bilinear(draw: Any, n: int, options: _Options) -> nn.Bilinear:
    m = draw(st.integers(1, options.max_size))
    return nn.Bilinear(draw(arrays(options.dtype, (n, n, m))), draw(st.none() | arrays(options.dtype, (m,))))


def _prelu(draw: Any, n: int, options: _Options) -> nn.PReLU:
    return nn.PReLU(draw(arrays(options.dtype, ()) | arrays(options.dtype, (n,))), axis=-1)


def _weight_norm(draw: Any, n: int, options: _Options) -> nn.WeightNorm:
    linear = _square(draw, n, options)
    direction = linear.replace(W=linear.W + 200 * np.eye(n, dtype=options.dtype))  # of any length but 0
    return nn.WeightNorm(direction, draw(arrays(options.dtype, (n,))))


def _spectral_norm(draw: Any, n: int, options: _Options) -> nn.SpectralNorm:
    linear = _square(draw, n, options)
    u = np.full(n, n**-0.5, options.dtype)
    return nn.SpectralNorm(linear.replace(W=linear.W + 1000 * np.eye(n, dtype=options.dtype)), u, u)


def _embedding(draw: Any, n: int, options: _Options) -> Any:
    rows = draw(st.integers(1, options.max_size))
    layer = nn.Embedding(draw(arrays(options.dtype, (rows, n))))  # no row of padding: its derivative is a convention
    return layer, lambda batch: arrays(np.int64, (*batch, n), min_value=0, max_value=rows - 1)


def _attention(draw: Any, n: int, options: _Options) -> Any:
    heads = draw(st.sampled_from([1, n]))
    keys, values = (nn.Linear(draw(arrays(options.dtype, (n, n // heads)))) for _ in range(2))  # all heads share them
    queries, output = _square(draw, n, options), _square(draw, n, options)
    layer = nn.MultiHeadAttention(queries, keys, values, output, heads, 1, causal=draw(st.booleans()))
    return layer, (draw(st.integers(1, options.max_size)), n)


def _pool(kind: Any, rank: int) -> Callable[[Any, int, _Options], Any]:
    """A maker of pooling layers for inputs of n channels."""

    def make(draw: Any, n: int, options: _Options) -> Any:
        sizes = st.integers(1, options.max_size)
        kernel, space = draw(sizes), draw(sizes)
        is_adaptive = kind.__name__.startswith("Adaptive")
        layer = kind(kernel) if is_adaptive else kind(kernel, draw(st.none() | st.integers(1, 2)), kernel // 2)
        return layer, (n, *(space if is_adaptive else max(space, kernel),) * rank)

    return make


def _global_pool(kind: Any) -> Callable[[Any, int, _Options], Any]:
    return lambda draw, n, options: (kind(axis=-1), (n, draw(st.integers(1, options.max_size))))


def _normalised(kind: Any) -> Callable[[Any, int, _Options], Any]:
    """A maker of layers that normalise inputs of n channels."""

    def make(draw: Any, n: int, options: _Options) -> Any:
        scale, shift = (draw(st.none() | arrays(options.dtype, (n,))) for _ in range(2))
        if kind is nn.BatchNorm:
            mean, variance = draw(arrays(options.dtype, (n,))), draw(arrays(options.dtype, (n,), min_value=0))
            return nn.BatchNorm(scale, shift, mean, variance, axis=-1, eps=1.0), (n,)
        if kind in (nn.GroupNorm, nn.InstanceNorm):  # with an axis of examples, and more than one number to normalise
            layer = nn.GroupNorm(scale, shift, 1) if kind is nn.GroupNorm else nn.InstanceNorm(scale, shift)
            shape = (1, n, draw(st.integers(2, options.max_size + 1)))
            return layer, lambda batch: arrays(options.dtype, shape)
        return nn.RMSNorm(scale) if kind is nn.RMSNorm else nn.LayerNorm(scale, shift), (n,)

    return make


def _local_response_norm(draw: Any, n: int, options: _Options) -> Any:
    return nn.LocalResponseNorm(draw(st.integers(1, 3)), 0.5), (n, n)


def _encoder(draw: Any, n: int, options: _Options) -> Any:
    # eps is so large that a line of nearly equal entries is no steep place.
    line = arrays(options.dtype, (n,))
    norms = [nn.LayerNorm(draw(line), draw(line), eps=1.0) for _ in range(2)]
    queries, keys, values, joined, hidden, output = [_square(draw, n, options) for _ in range(6)]
    layer = nn.TransformerEncoderLayer(
        nn.MultiHeadAttention(queries, keys, values, joined, 1, 1), norms[0], hidden, output, norms[1],
        draw(st.sampled_from(options.activations)), draw(st.booleans()),
    )  # fmt: skip
    return layer, (draw(st.integers(1, options.max_size)), n)


# Functions that draw a layer for inputs with n entries, or a layer and the shape of an input without its batch axis, or a layer and
# a function of the batch axis that gives a strategy for inputs
MAKERS: dict[type, Callable[[Any, int, _Options], Any]] = {
    nn.Linear: _linear,
    nn.Function: _function,
    nn.Checkpoint: _checkpoint,
    nn.Dropout: _dropout,
    nn.Sequential: _sequential,
    nn.MLP: _mlp,
    **{kind: _convolution(kind) for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d)},
    **{kind: _convolution(kind) for kind in (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)},
    **{kind: _pool(kind, 1) for kind in (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d)},
    **{kind: _pool(kind, 2) for kind in (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)},
    **{kind: _pool(kind, 3) for kind in (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveMaxPool3d, nn.AdaptiveAvgPool3d)},
    **{kind: _global_pool(kind) for kind in (nn.GlobalAvgPool, nn.GlobalMaxPool)},
    **{kind: _normalised(kind) for kind in (nn.BatchNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm)},
    nn.LocalResponseNorm: _local_response_norm,
    **{kind: _cell(kind) for kind in (nn.RNNCell, nn.GRUCell, nn.LSTMCell)},
    **{kind: _recurrent(kind) for kind in (nn.RNN, nn.GRU, nn.LSTM)},
    nn.Outputs: _outputs,
    nn.Embedding: _embedding,
    nn.MultiHeadAttention: _attention,
    nn.TransformerEncoderLayer: _encoder,
    nn.Flatten: _flatten,
    nn.Dropout1d: _channel_dropout(nn.Dropout1d, 1),
    nn.Dropout2d: _channel_dropout(nn.Dropout2d, 2),
    nn.Dropout3d: _channel_dropout(nn.Dropout3d, 3),
    nn.Residual: _residual,
    nn.Bilinear: _bilinear,
    nn.PReLU: _prelu,
    nn.WeightNorm: _weight_norm,
    nn.SpectralNorm: _spectral_norm,
}
