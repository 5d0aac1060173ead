"""Recurrent layers, which run whole sequences: RNN, GRU, LSTM; and `Outputs`, which puts them into a Sequential."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Self

from .. import functions as F
from .. import numpy as fnp
from .. import random
from ..errors import RangeError, StructureError
from ..functions.dropout import checked_rate
from ..messages import describe
from ..numpy.arguments import Array
from ..tree import Frozen, Module, static
from .cells import Cell, GRUCell, LSTMCell, RNNCell
from .containers import apply_at
from .lazy import SizedByFeatures
from .linear import check_sizes

__all__ = ["GRU", "LSTM", "RNN", "Outputs"]


def _as_rate(rate: Any) -> float:
    return checked_rate(rate, of="the dropout between recurrent layers")


def _thawed(cell: Any) -> Any:
    """The cell within `Frozen`, whose gradients `grad` leaves out anyway."""
    while isinstance(cell, Frozen):
        cell = cell.value
    return cell


class Recurrent(SizedByFeatures):
    """What the recurrent layers share. `cells` has one cell for each layer, or two for each, forward and backward."""

    kind: ClassVar[type[Cell]]
    returns_state: ClassVar[bool] = True  # so that Sequential can say what to write
    cells: tuple[Any, ...]
    bidirectional: bool = static(default=False)
    reverse: bool = static(default=False)
    dropout: float = static(default=0.0, converter=_as_rate)

    @classmethod
    def init(
        cls,
        key: Array,
        in_size: int,
        hidden_size: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        reverse: bool = False,
        dropout: float = 0.0,
        **options: Any,
    ) -> Self:
        """Draw the cells, each with a key of its own. Other options are those of the cell's `init`: bias, weight_init, dtype, ...

        bidirectional: each layer also has a cell that runs from the end to the start. reverse: only so. dropout: the rate between
        layers. Raises RangeError for a size or number that is not an integer of at least 1, or both ways together with reverse.
        """
        check_sizes(cls.__name__, in_size=in_size, hidden_size=hidden_size, num_layers=num_layers)
        if bidirectional and reverse:
            raise RangeError(
                f"{cls.__name__}: bidirectional=True has the reverse direction already: leave reverse=True out."
            )
        directions = 1 + bool(bidirectional)
        keys = random.split(key, num_layers * directions)
        kind: Any = cls.kind
        cells = [
            kind.init(keys[i], in_size if i < directions else directions * hidden_size, hidden_size, **options)
            for i in range(num_layers * directions)
        ]
        return cls(tuple(cells), bool(bidirectional), bool(reverse), dropout)

    def initial_state(self, *loops: int) -> Any:
        """Zeros, as a call takes and returns them: `initial_state(32)` begins 32 sequences."""
        return _thawed(self.cells[0]).initial_state(len(self.cells), *loops)

    def _function(self) -> Callable[..., Any]:
        """The function of `fd.functions` that runs the cells."""
        raise NotImplementedError

    def __call__(
        self,
        x: Array,
        state: Any = None,
        lengths: Array | None = None,
        *,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Array, Any]:
        return self._function()(
            x,
            [_thawed(cell).weights for cell in self.cells],
            state,
            lengths=lengths,
            reverse=self.reverse,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            key=key,
            train=train,
        )


class RNN(Recurrent):
    """Sequences through layers of RNNCell: x (..., T, in_size) -> (y (..., T, hidden_size), state (layers, ..., hidden_size)).

    The state begins where `state` says, by default at zero; the last one comes back. `lengths` (...) are the numbers of steps
    before the padding. Both directions: y (..., T, 2 * hidden_size), and two states for each layer. See `fd.functions.rnn`.
    """

    kind = RNNCell

    def _function(self) -> Callable[..., Any]:
        return partial(F.rnn, activation=_thawed(self.cells[0]).activation)


class GRU(Recurrent):
    """Sequences through layers of GRUCell: x (..., T, in_size) -> (y (..., T, hidden_size), state (layers, ..., hidden_size)).

    The state begins where `state` says, by default at zero; the last one comes back. `lengths` (...) are the numbers of steps
    before the padding. Both directions: y (..., T, 2 * hidden_size), and two states for each layer. See `fd.functions.gru`.
    """

    kind = GRUCell

    def _function(self) -> Callable[..., Any]:
        return F.gru


class LSTM(Recurrent):
    """Sequences through layers of LSTMCell: x (..., T, in_size) -> (y (..., T, hidden_size), (h, c)), (layers, ..., hidden_size) each.

    The state begins where `state` says, by default at zero; the last one comes back. `lengths` (...) are the numbers of steps
    before the padding. Both directions: y (..., T, 2 * hidden_size), and two states for each layer. See `fd.functions.lstm`.
    """

    kind = LSTMCell

    def _function(self) -> Callable[..., Any]:
        return F.lstm


def _as_choice(which: Any) -> str:
    if which not in ("all", "last"):
        raise RangeError(f'Outputs: which is "all" or "last", got {which!r}.')
    return str(which)


class Outputs(Module):
    """A recurrent layer that returns an array, as a Sequential needs it: `Outputs(LSTM.init(key, 8, 32), "last")`.

    "all": the outputs of all steps, x (..., T, in_size) -> (..., T, hidden_size). "last": the state h of the last layer at the end
    of the sequence, (..., hidden_size). With both directions, the states of both side by side, each after the whole sequence.
    """

    layer: Any
    which: str = static(default="all", converter=_as_choice)

    def __call__(self, x: Array, *, key: Array | None = None, train: bool = False) -> Array:
        result = apply_at("layer", self.layer, x, key=key, train=train)
        if not isinstance(result, tuple) or len(result) != 2:
            raise StructureError(f"Outputs takes a layer that returns (y, state), got {describe(result)}.").under(
                "layer"
            )
        y, state = result
        if self.which == "all":
            return y
        h = state[0] if isinstance(state, tuple) else state
        directions = y.shape[-1] // h.shape[-1]
        return fnp.concatenate([h[i] for i in range(-directions, 0)], -1) if directions > 1 else h[-1]
