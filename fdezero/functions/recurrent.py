"""Whole sequences through layers of recurrent cells, by a scan over time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import numpy as fnp
from .. import random
from .. import tree as trees
from ..devices import array_module
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..numpy.precision import trees_in_single
from ..ops.checks import checked
from .activations import tanh
from .cells import Kind, State, Weights, gru_kind, lstm_kind, parts_of, rnn_kind, weights_of, zeros_of
from .dropout import checked_rate, dropout, missing_key
from .linear import linear

__all__ = ["gru", "lstm", "rnn"]


def rnn(
    x: Any,
    weights: Sequence[Weights],
    state: Any = None,
    *,
    activation: Callable[[Any], Any] = tanh,
    lengths: Any = None,
    reverse: bool = False,
    bidirectional: bool = False,
    dropout: float = 0.0,
    key: Any = None,
    train: bool = False,
) -> tuple[Any, Any]:
    """Sequences through layers of `rnn_cell`: x (..., T, n) -> (y (..., T, m), h (layers, ..., m)).

    See `lstm` for the arguments and what is raised.
    """
    run = Run(rnn_kind("rnn", activation), reverse, bidirectional, dropout, key, train)
    return _run(x, weights, state, lengths, run=run)


def gru(
    x: Any,
    weights: Sequence[Weights],
    state: Any = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    bidirectional: bool = False,
    dropout: float = 0.0,
    key: Any = None,
    train: bool = False,
) -> tuple[Any, Any]:
    """Sequences through layers of `gru_cell`: x (..., T, n) -> (y (..., T, m), h (layers, ..., m)). Arguments are those of `lstm`.

    The weights of a layer are (Wx, Wh), (Wx, Wh, b) or (Wx, Wh, b, bh). See `lstm` for what is raised.
    """
    return _run(x, weights, state, lengths, run=Run(gru_kind("gru"), reverse, bidirectional, dropout, key, train))


def lstm(
    x: Any,
    weights: Sequence[Weights],
    state: Any = None,
    *,
    lengths: Any = None,
    reverse: bool = False,
    bidirectional: bool = False,
    dropout: float = 0.0,
    key: Any = None,
    train: bool = False,
) -> tuple[Any, tuple[Any, Any]]:
    """Sequences through layers of `lstm_cell`: x (..., T, n) -> (y (..., T, m), (h, c)), h and c (layers, ..., m).

    weights: a list with (Wx, Wh) or (Wx, Wh, b) for each layer. With `bidirectional` each layer has two, forward and backward,
    whose outputs stand side by side in y (..., T, 2 m). state: where each of them begins, None for zeros. The last state comes
    back, so that a long sequence can go on in pieces. lengths: integers (...) from 0 to T. After its end a sequence keeps its
    state, y is 0, and x does not matter. Backwards a sequence begins at its end. reverse: from the last step to the first.
    dropout: the rate between layers, if train=True.
    Raises ShapeError, StructureError, DTypeError or RangeError for arguments that do not fit (on a GPU, lengths are not compared
    with T), KeyMissingError for dropout without a key.
    """
    return _run(x, weights, state, lengths, run=Run(lstm_kind("lstm"), reverse, bidirectional, dropout, key, train))


class Run(NamedTuple):
    """How sequences run through layers of one kind."""

    kind: Kind
    reverse: bool
    bidirectional: bool
    dropout: float
    key: Any
    train: bool

    @property
    def backwards(self) -> tuple[bool, ...]:
        """Of each direction, whether it goes from the last step to the first."""
        return (False, True) if self.bidirectional else (self.reverse,)

    def keys(self, layers: int) -> Any:
        """A key for the dropout after each layer but the last; None if nothing is dropped."""
        rate = checked_rate(self.dropout, of=self.kind.name)
        if not self.train or not rate or layers == 1:
            return None
        if self.key is None:
            raise missing_key(f"{self.kind.name}: dropout between layers")
        return random.split(self.key, layers - 1)


@trees_in_single
def _run(x: Any, weights: Any, state: Any, lengths: Any, *, run: Run) -> tuple[Any, Any]:
    from ..control import scan  # on first use: it loads the compiler, as large as the rest of an import

    kind, directions = run.kind, len(run.backwards)
    x = fnp.asarray(x)
    if run.reverse and run.bidirectional:
        raise RangeError(f"{kind.name}: bidirectional=True has the reverse direction already: leave reverse=True out.")
    if x.ndim < 2:
        raise ShapeError(
            f"{kind.name} takes x (..., T, features), got {describe(x)}. For one step call {kind.name}_cell, or write x[None]."
        )
    given = weights_of(kind, weights, directions, x)
    keys = run.keys(len(given) // directions)
    start = _start(kind, given, state, x)
    mask = None if lengths is None else _mask(kind.name, x, lengths)
    if mask is not None:
        x = fnp.where(mask, x, 0)  # so that not even a NaN after the end reaches a gradient
        mask = fnp.moveaxis(mask, -2, 0)
    x = fnp.moveaxis(x, -2, 0)
    last: list[State] = []
    for i in range(0, len(given), directions):
        ys = []
        for (Wx, Wh, b, *more), backwards in zip(given[i : i + directions], run.backwards, strict=True):
            z = linear(x, Wx, b)  # for all steps at once
            advance = partial(_advanced, kind, Wh, *more)
            state, y = scan(advance, start[len(last)], (z,) if mask is None else (z, mask), reverse=backwards)
            last.append(state)
            ys.append(y if mask is None else fnp.where(mask, y, 0))
        x = fnp.concatenate(ys, -1) if len(ys) > 1 else ys[0]
        if keys is not None and i + directions < len(given):
            x = dropout(x, run.dropout, key=keys[i // directions], train=True)
    ends = tuple(fnp.stack(part) for part in zip(*last, strict=True))
    return fnp.moveaxis(x, 0, -2), ends if len(ends) > 1 else ends[0]


def _advanced(kind: Kind, Wh: Any, *more: Any) -> Any:
    """One round: `more` are the other weights, the state, and what the round gets of the inputs."""
    *weights, state, (z, *mask) = more
    new = kind.advance(z, state, Wh, *weights)
    if mask:
        new = tuple(fnp.where(mask[0], after, before) for after, before in zip(new, state, strict=True))
    return new, new[0]


def _mask(name: str, x: Any, lengths: Any) -> Any:
    """Whether a step belongs to its sequence: bool (..., T, 1)."""
    lengths, steps = fnp.asarray(lengths), x.shape[-2]
    if lengths.dtype.kind not in "iu":
        raise DTypeError(f"{name}: lengths are integers, got {describe(lengths)}. Use lengths.astype(int).")
    if lengths.shape != x.shape[:-2]:
        raise ShapeError(f"{name}: x {describe(x)} needs lengths of shape {x.shape[:-2]}, got {describe(lengths)}.")
    test, error = partial(_is_length, steps=steps), partial(_not_a_length, name, steps)
    lengths = checked(lengths, test=test, error=error)
    return fnp.expand_dims(array_module(lengths).arange(steps) < fnp.expand_dims(lengths, -1), -1)


def _is_length(lengths: Any, *, steps: int) -> Any:
    return (lengths >= 0) & (lengths <= steps)


def _not_a_length(name: str, steps: int, lengths: Any) -> RangeError:
    return RangeError(
        f"{name}: lengths lie between {lengths.min()} and {lengths.max()}, but x has {steps} steps: lengths are from 0 to {steps}."
    )


def _start(kind: Kind, weights: Sequence[Weights], state: Any, x: Any) -> list[State]:
    """The first state of each layer and direction, in the dtype of all that it meets."""
    loops = x.shape[:-2]
    sizes = {item[1].shape[0] for item in weights}
    if state is None:
        return [tuple(zeros_of(x, weights, loops, item[1]) for _ in kind.parts) for item in weights]
    parts = parts_of(kind.name, kind.parts, state) if len(kind.parts) > 1 else (state,)
    parts = tuple(map(fnp.asarray, parts))
    dtype = np.result_type(*[leaf.dtype for leaf in trees.leaves((x, weights, parts))])
    for name, part in zip(kind.parts, parts, strict=True):
        wanted = (len(weights), *loops, *sizes)
        if part.shape != wanted:
            raise ShapeError(
                f"{kind.name}: the state {name} for x {describe(x)} has the shape (layers * directions, ..., hidden) = {wanted}, "
                f"got {describe(part)}."
            )
    parts = tuple(fnp.astype(part, dtype, copy=False) for part in parts)
    return [tuple(part[i] for part in parts) for i in range(len(weights))]
