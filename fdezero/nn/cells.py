"""The cells of recurrent networks: one step, with the state as an argument and a result."""

from collections.abc import Callable
from typing import Any, Self, TypeAlias

import numpy as np

from .. import functions as F
from .. import numpy as fnp
from .. import random
from ..errors import RangeError, StructureError
from ..numpy.arguments import Array
from ..tree import static
from . import initial
from .lazy import SizedByFeatures
from .linear import check_sizes

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]

Initialiser: TypeAlias = initial.Initialiser


class Cell(SizedByFeatures):
    """What the cells share: how weights are drawn, and the first state."""

    Wx: Array  # (in_size, gates * hidden_size)
    Wh: Array  # (hidden_size, gates * hidden_size)
    b: Array | None = None  # (gates * hidden_size,)

    @property
    def weights(self) -> tuple[Array | None, ...]:
        """Wx, Wh and the biases, as `fd.functions` takes them."""
        return self.Wx, self.Wh, self.b

    def initial_state(self, *loops: int) -> Any:
        """Zeros (*loops, hidden_size), in the dtype and on the device of the cell: `initial_state(32)` begins 32 sequences."""
        return fnp.zeros_like(self.Wh, shape=(*loops, self.Wh.shape[0]))


def _drawn(
    of: str,
    gates: int,
    key: Array,
    sizes: tuple[int, int],
    bias: bool,
    weight_init: Initialiser,
    recurrent_init: Initialiser | None,
    bias_init: Initialiser,
    dtype: Any,
) -> tuple[Array, Array, Array | None]:
    """Wx, Wh and b. The initialisers draw the matrix of each gate on its own, so that they see its sizes."""
    check_sizes(of, in_size=sizes[0], hidden_size=sizes[1])
    matrices = []
    plan = zip(random.split(key), sizes, (weight_init, recurrent_init), ("weight_init", "recurrent_init"), strict=True)
    for own, rows, initialiser, name in plan:
        name, initialiser = ("weight_init", weight_init) if initialiser is None else (name, initialiser)
        keys = random.split(own, gates)
        parts = [initial.draw(initialiser, keys[i], (rows, sizes[1]), dtype, of=f"{of}: {name}") for i in range(gates)]
        matrices.append(fnp.concatenate(parts, -1))
    Wx, Wh = matrices
    return Wx, Wh, _bias(of, key, 0, gates * sizes[1], bias_init, dtype) if bias else None


def _bias(of: str, key: Array, number: int, size: int, bias_init: Initialiser, dtype: Any) -> Array:
    return initial.draw(bias_init, random.fold_in(key, number), (size,), dtype, of=f"{of}: bias_init")


def _as_activation(activation: Any) -> Any:
    if isinstance(activation, type) or not callable(activation):
        raise StructureError(f"RNNCell: the activation is a function such as fd.functions.relu, got {activation!r}.")
    return activation


class RNNCell(Cell):
    """One step of a simple recurrent network: x (..., in_size), state (..., hidden_size) or None -> the next state. See `rnn_cell`."""

    activation: Callable[[Array], Array] = static(default=F.tanh, converter=_as_activation)

    @classmethod
    def init(
        cls,
        key: Array,
        in_size: int,
        hidden_size: int,
        *,
        activation: Callable[[Array], Array] = F.tanh,
        bias: bool = True,
        weight_init: Initialiser = initial.lecun_normal,
        recurrent_init: Initialiser | None = None,
        bias_init: Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the weights on the key's device: by default normal with variance 1 / rows, as in DeZero; b is zero.

        `recurrent_init` draws Wh; None stands for `weight_init`. Raises RangeError for a size that is not an integer of at least 1.
        """
        sizes = in_size, hidden_size
        drawn = _drawn("RNNCell", 1, key, sizes, bias, weight_init, recurrent_init, bias_init, dtype)
        return cls(*drawn, activation)

    def __call__(self, x: Array, state: Array | None = None) -> Array:
        return F.rnn_cell(x, state, self.Wx, self.Wh, self.b, activation=self.activation)


class GRUCell(Cell):
    """One step of a gated recurrent unit: x (..., in_size), state (..., hidden_size) or None -> the next state. See `gru_cell`."""

    bh: Array | None = None  # (hidden_size,), of the candidate

    @classmethod
    def init(
        cls,
        key: Array,
        in_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        weight_init: Initialiser = initial.lecun_normal,
        recurrent_init: Initialiser | None = None,
        bias_init: Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the weights on the key's device: by default normal with variance 1 / rows; b and bh are zero.

        The initialisers draw the matrix of each gate on its own. `recurrent_init` draws Wh; None stands for `weight_init`.
        Raises RangeError for a size that is not an integer of at least 1.
        """
        sizes = in_size, hidden_size
        drawn = _drawn("GRUCell", 3, key, sizes, bias, weight_init, recurrent_init, bias_init, dtype)
        return cls(*drawn, _bias("GRUCell", key, 1, hidden_size, bias_init, dtype) if bias else None)

    @property
    def weights(self) -> tuple[Array | None, ...]:
        """Wx, Wh and the biases, as `fd.functions` takes them."""
        return self.Wx, self.Wh, self.b, self.bh

    def __call__(self, x: Array, state: Array | None = None) -> Array:
        return F.gru_cell(x, state, self.Wx, self.Wh, self.b, self.bh)


class LSTMCell(Cell):
    """One step of an LSTM: x (..., in_size), state (h, c) of two (..., hidden_size) or None -> the next state. See `lstm_cell`."""

    @classmethod
    def init(
        cls,
        key: Array,
        in_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        forget_bias: float = 0.0,
        weight_init: Initialiser = initial.lecun_normal,
        recurrent_init: Initialiser | None = None,
        bias_init: Initialiser = initial.zeros,
        dtype: Any = np.float32,
    ) -> Self:
        """Draw the weights on the key's device: by default normal with variance 1 / rows, as in DeZero; b is zero.

        `forget_bias` is added to b at the forget gate: 1 makes a new cell remember. The initialisers draw the matrix of each gate
        on its own. `recurrent_init` draws Wh; None stands for `weight_init`.
        Raises RangeError for a size that is not an integer of at least 1, or a forget_bias without bias.
        Source of forget_bias: Jozefowicz et al., "An empirical exploration of recurrent network architectures", ICML 2015.
        """
        if forget_bias and not bias:
            raise RangeError(f"LSTMCell: forget_bias={forget_bias!r} needs bias=True.")
        sizes = in_size, hidden_size
        Wx, Wh, b = _drawn("LSTMCell", 4, key, sizes, bias, weight_init, recurrent_init, bias_init, dtype)
        if forget_bias:
            i, f, g, o = fnp.split(b, 4)
            b = fnp.concatenate([i, fnp.astype(f + forget_bias, f.dtype, copy=False), g, o])
        return cls(Wx, Wh, b)

    def initial_state(self, *loops: int) -> tuple[Array, Array]:
        """Zeros h and c (*loops, hidden_size): `initial_state(32)` begins 32 sequences."""
        return super().initial_state(*loops), super().initial_state(*loops)

    def __call__(self, x: Array, state: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
        return F.lstm_cell(x, state, self.Wx, self.Wh, self.b)
