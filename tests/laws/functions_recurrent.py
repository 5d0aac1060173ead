"""Cases of recurrent networks, with loops over time, sequences and gates in plain NumPy as their reference."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(41)
INPUTS, HIDDEN = 2, 3


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def rnn_cell(x: Any, h: Any, Wx: Any, Wh: Any, b: Any = 0, activation: Any = np.tanh) -> Any:
    return activation(x @ Wx + h @ Wh + b)


def gru_cell(x: Any, h: Any, Wx: Any, Wh: Any, b: Any = 0, bh: Any = 0) -> Any:
    xr, xz, xn = np.split(x @ Wx + b, 3, -1)
    hr, hz, hn = np.split(h @ Wh, 3, -1)
    z = _sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + _sigmoid(xr + hr) * (hn + bh)) + z * h


def lstm_cell(x: Any, state: Any, Wx: Any, Wh: Any, b: Any = 0) -> Any:
    h, c = state
    i, f, g, o = np.split(x @ Wx + h @ Wh + b, 4, -1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def one_sequence(cell: Any, x: Any, weights: Any, states: Any, directions: Any) -> tuple[Any, list[Any]]:
    """All outputs of one sequence, and the last state of each layer and direction."""
    ends = []
    for layer in range(len(weights) // len(directions)):
        columns = []
        for k, backwards in enumerate(directions):
            place = layer * len(directions) + k
            state, ys = states[place], []
            for row in x[::-1] if backwards else x:
                state = cell(row, state, *weights[place])
                ys.append(state[0] if isinstance(state, tuple) else state)
            columns.append(np.array(ys[::-1] if backwards else ys).reshape(len(x), weights[place][1].shape[0]))
            ends.append(state)
        x = np.concatenate(columns, -1)
    return x, ends


def sequences(cell: Any, parts: int) -> Any:
    """`lstm` and the like by loops: one sequence after the other, cut to its length, and turned around for the way back."""

    def run(x: Any, weights: Any, state: Any = None, lengths: Any = None, reverse: bool = False, bidirectional: bool = False) -> Any:
        hidden, count, loops = weights[0][1].shape[0], len(weights), x.shape[:-2]
        state = np.zeros((parts, count, *loops, hidden)) if state is None else np.reshape(state, (parts, count, *loops, hidden))
        lengths = np.full(loops, x.shape[-2]) if lengths is None else lengths
        directions = (False, True) if bidirectional else (reverse,)
        y, last = np.zeros((*x.shape[:-1], hidden * len(directions))), np.empty_like(state)
        for place in np.ndindex(loops):
            starts = [tuple(state[(slice(None), i, *place)]) for i in range(count)]
            starts = starts if parts > 1 else [start[0] for start in starts]
            ys, ends = one_sequence(cell, x[place][: lengths[place]], weights, starts, directions)
            y[place][: len(ys)] = ys
            for i, end in enumerate(ends):
                last[(slice(None), i, *place)] = end
        return y, tuple(last) if parts > 1 else last[0]

    return run


def weights_of(gates: int, inputs: int = INPUTS, hidden: int = HIDDEN, biases: Any = (0,)) -> tuple[np.ndarray, ...]:
    """Wx, Wh, and biases of so many gates each (0: of all)."""
    shapes = [(inputs, gates * hidden), (hidden, gates * hidden), *[((gate or gates) * hidden,) for gate in biases]]
    return tuple(0.7 * RNG.standard_normal(shape) for shape in shapes)


FORMULAS = SimpleNamespace(rnn_cell=rnn_cell, gru_cell=gru_cell, lstm_cell=lstm_cell, rnn=sequences(rnn_cell, 1), gru=sequences(gru_cell, 1), lstm=sequences(lstm_cell, 2))
case = cases_of("functions", F, FORMULAS)

X, H, C = RNG.standard_normal((2, INPUTS)), RNG.standard_normal((2, HIDDEN)), RNG.standard_normal((2, HIDDEN))
XS = RNG.standard_normal((2, 3, INPUTS))  # two sequences of three steps
LENGTHS = np.array([1, 3])
CELLS: list[Case] = [
    case("rnn_cell", X, H, *weights_of(1), d=(0, 1, 2, 3, 4)), case("rnn_cell", X[0], H[0], *weights_of(1, biases=()), d=(0, 1, 2, 3), activation=np.sin),
    case("gru_cell", X, H, *weights_of(3, biases=(0, 1)), d=(0, 1, 2, 3, 4, 5)), case("gru_cell", X[0], H[0], *weights_of(3), d=(0, 1, 2, 3, 4)),
    case("lstm_cell", X, (H, C), *weights_of(4), d=(0, 1, 2, 3, 4)), case("lstm_cell", X[0], (H[0], C[0]), *weights_of(4, biases=()), d=(0, 1, 2, 3)),
]  # fmt: skip
SEQUENCES: list[Case] = [
    case("rnn", XS, [weights_of(1)], H[None], d=(0, 1, 2)),
    case("rnn", XS[0], [weights_of(1, biases=()), weights_of(1, HIDDEN)], d=(0, 1), reverse=True),
    case("gru", XS, [weights_of(3, biases=(0, 1))], H[None], d=(0, 1, 2), lengths=LENGTHS),
    case("gru", XS[0], [weights_of(3), weights_of(3, biases=())], d=(0, 1), bidirectional=True),
    case("lstm", XS, [weights_of(4)], (H[None], C[None]), d=(0, 1, 2)),
    case("lstm", XS, [weights_of(4), weights_of(4), weights_of(4, 2 * HIDDEN), weights_of(4, 2 * HIDDEN)], d=(0, 1), lengths=LENGTHS, bidirectional=True),
    case("lstm", XS, [weights_of(4, biases=())], d=(0, 1), lengths=LENGTHS, reverse=True),
]  # fmt: skip
CASES = CELLS + SEQUENCES
