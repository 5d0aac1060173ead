"""The cells of recurrent networks, one step each: RNN, GRU and LSTM.

Gates lie side by side in the columns of the weights: `Wx` (in, gates * hidden) multiplies the input and `Wh` (hidden, gates * hidden)
the state. The order of the gates is PyTorch's. Source: the documentation of torch.nn.RNN, GRU and LSTM.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..errors import ShapeError, StructureError
from ..messages import describe
from ..numpy.precision import in_single
from .activations import sigmoid, tanh
from .linear import linear

__all__ = ["gru_cell", "lstm_cell", "rnn_cell"]

State = tuple[Any, ...]  # (h,) or (h, c)
Weights = Sequence[Any]  # Wx, Wh and the biases of one layer in one direction


class Kind(NamedTuple):
    """What differs between the three kinds: `advance(z, state, Wh, ...) -> state`, where z is all that comes from the input."""

    name: str
    gates: int
    parts: tuple[str, ...]  # of the state
    weights: tuple[str, ...]
    advance: Callable[..., State]


def _rnn(z: Any, state: State, Wh: Any, *, activation: Callable[[Any], Any]) -> State:
    return (activation(z + fnp.matmul(state[0], Wh)),)


def _gru(z: Any, state: State, Wh: Any, bh: Any = None) -> State:
    # The factor gathers what a step adds to the cotangent of h. Without it, eager code would add the share of the output in
    # between, and compiled code after it. Compiled code leaves it out.
    h = state[0] * 1
    size = h.shape[-1]
    u = fnp.matmul(h, Wh)
    gates = sigmoid(z[..., : 2 * size] + u[..., : 2 * size])
    u = u[..., 2 * size :] if bh is None else u[..., 2 * size :] + bh
    n = tanh(z[..., 2 * size :] + gates[..., :size] * u)
    return (n + gates[..., size:] * (h - n),)


def _lstm(z: Any, state: State, Wh: Any) -> State:
    h, c = state
    size = c.shape[-1]
    z = z + fnp.matmul(h, Wh)
    gates = sigmoid(z[..., : 2 * size])  # the input gate and the forget gate, in one pass
    c = gates[..., size:] * c + gates[..., :size] * tanh(z[..., 2 * size : 3 * size])
    return sigmoid(z[..., 3 * size :]) * tanh(c), c


def rnn_kind(name: str, activation: Callable[[Any], Any]) -> Kind:
    """Raises StructureError for an activation that is not a function."""
    if isinstance(activation, type) or not callable(activation):
        raise StructureError(f"{name}: the activation is a function such as fd.functions.relu, got {activation!r}.")
    return Kind(name, 1, ("h",), ("Wx", "Wh", "b"), partial(_rnn, activation=activation))


def gru_kind(name: str) -> Kind:
    return Kind(name, 3, ("h",), ("Wx", "Wh", "b", "bh"), _gru)


def lstm_kind(name: str) -> Kind:
    return Kind(name, 4, ("h", "c"), ("Wx", "Wh", "b"), _lstm)


@in_single
def rnn_cell(x: Any, h: Any, Wx: Any, Wh: Any, b: Any = None, *, activation: Callable[[Any], Any] = tanh) -> Any:
    """The next state activation(x @ Wx + h @ Wh + b): x (..., n), h (..., m), Wx (n, m), Wh (m, m), b (m,) or None -> (..., m).

    h=None stands for zeros. Raises ShapeError for shapes that do not fit. DeZero's `RNN` has the same formula.
    Source: Elman, "Finding structure in time", Cognitive Science 14, 1990.
    """
    return _step(rnn_kind("rnn_cell", activation), x, h, (Wx, Wh, b))


@in_single
def gru_cell(x: Any, h: Any, Wx: Any, Wh: Any, b: Any = None, bh: Any = None) -> Any:
    """The next state of a gated recurrent unit: x (..., n), h (..., m), Wx (n, 3 m), Wh (m, 3 m), b (3 m,), bh (m,) -> (..., m).

    The columns are the gates r, z, n: r and z = sigmoid(x @ Wx + h @ Wh + b), n = tanh(x @ Wx + b + r * (h @ Wh + bh)), and the new
    state is (1 - z) * n + z * h. The reset gate r comes after the product with Wh, as in PyTorch and cuDNN; so the candidate n has a
    bias of its own there. h=None stands for zeros, b=None and bh=None for no bias. Raises ShapeError for shapes that do not fit.
    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, with r as in torch.nn.GRU.
    """
    return _step(gru_kind("gru_cell"), x, h, (Wx, Wh, b, bh))


@in_single
def _lstm_step(x: Any, h: Any, c: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    return _step(lstm_kind("lstm_cell"), x, (h, c), (Wx, Wh, b))


def lstm_cell(x: Any, state: Any, Wx: Any, Wh: Any, b: Any = None) -> tuple[Any, Any]:
    """The next state (h, c) of an LSTM: x (..., n), h and c (..., m), Wx (n, 4 m), Wh (m, 4 m), b (4 m,) or None -> two of (..., m).

    The columns are the gates i, f, g, o of x @ Wx + h @ Wh + b: the new c is sigmoid(f) * c + sigmoid(i) * tanh(g), the new h is
    sigmoid(o) * tanh(c). state=None stands for zeros. DeZero's `LSTM` has a matrix for each gate, and calls g u: Wx is
    `np.hstack([x2i.W, x2f.W, x2u.W, x2o.W])`, so are Wh and b. Raises StructureError or ShapeError for what does not fit.
    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers et al., 2000.
    """
    h, c = (None, None) if state is None else parts_of("lstm_cell", ("h", "c"), state)
    return _lstm_step(x, h, c, Wx, Wh, b)


def _step(kind: Kind, x: Any, state: Any, weights: Weights) -> Any:
    """The cell of a kind: one step."""
    x = fnp.asarray(x)
    if not x.ndim:
        raise ShapeError(f"{kind.name} takes x (..., features), got {describe(x)}.")
    ((Wx, Wh, b, *more),) = weights_of(kind, [weights], 1, x)
    z = linear(x, Wx, b)
    parts = state if isinstance(state, tuple) else (state,)
    start = tuple(
        zeros_of(x, weights, x.shape[:-1], Wh) if part is None else _checked_part(kind, name, part, Wh)
        for name, part in zip(kind.parts, parts, strict=True)
    )
    new = kind.advance(z, start, Wh, *more)
    return new if len(new) > 1 else new[0]


def _checked_part(kind: Kind, name: str, part: Any, Wh: Any) -> Any:
    part = fnp.asarray(part)
    if not part.ndim or part.shape[-1] != Wh.shape[0]:
        raise ShapeError(
            f"{kind.name}: the state {name} needs a last axis of {Wh.shape[0]} for Wh {describe(Wh)}, got {describe(part)}."
        )
    return part


def parts_of(name: str, names: tuple[str, ...], state: Any) -> tuple[Any, ...]:
    """The arrays of a state that has several."""
    if not isinstance(state, tuple | list) or len(state) != len(names):
        got = f"a {type(state).__name__} of {len(state)}" if isinstance(state, tuple | list) else describe(state)
        raise StructureError(f"{name}: the state is a pair ({', '.join(names)}), got {got}. None stands for zeros.")
    return tuple(state)


def zeros_of(x: Any, weights: Weights, loops: tuple[int, ...], Wh: Any) -> Any:
    dtype = np.result_type(*[leaf.dtype for leaf in trees.leaves((x, weights))])
    return fnp.zeros_like(Wh, dtype, shape=(*loops, Wh.shape[0]))


def weights_of(kind: Kind, weights: Any, directions: int, x: Any) -> list[list[Any]]:
    """The weights of each layer and direction, checked, with None for each bias that is left out."""
    name, names = kind.name, kind.weights
    if not isinstance(weights, tuple | list) or not weights or any(hasattr(item, "shape") for item in weights):
        got = "arrays" if isinstance(weights, tuple | list) and weights else describe(weights)
        raise StructureError(
            f"{name} takes a list with the weights of each layer, such as [({', '.join(names)})]; got {got}."
        )
    if len(weights) % directions:
        raise StructureError(
            f"{name}: bidirectional=True takes two weights a layer, forward and backward; got {len(weights)} in all."
        )
    places = [f"{name}: weights[{i}]" if len(weights) > 1 else name for i in range(len(weights))]
    found = [_checked_weights(kind, place, item) for place, item in zip(places, weights, strict=True)]
    hidden = found[0][1].shape[0]
    for i, (place, (Wx, Wh, *_)) in enumerate(zip(places, found, strict=True)):
        if Wh.shape[0] != hidden:
            raise ShapeError(f"{place}: Wh {describe(Wh)} has another hidden size than the layers before, {hidden}.")
        if Wx.shape[0] != (x.shape[-1] if i < directions else directions * hidden):
            got = f"x {describe(x)}" if i < directions else f"{directions * hidden} outputs of the layer below"
            wanted = f"a last axis of {Wx.shape[0]} for Wx {describe(Wx)}"
            raise ShapeError(f"{place} expects inputs with {wanted}, got {got}.")
    return found


def _checked_weights(kind: Kind, place: str, item: Any) -> list[Any]:
    names = kind.weights
    if not isinstance(item, tuple | list) or not 2 <= len(item) <= len(names):
        raise StructureError(f"{place}: the weights of a layer are ({', '.join(names)}), got {describe(item)}.")
    Wx, Wh, *biases = item
    for label, W in (("Wx", Wx), ("Wh", Wh)):
        if len(getattr(W, "shape", ())) != 2:
            raise StructureError(f"{place}: {label} is a matrix, got {describe(W)}.")
    size, columns = Wh.shape
    if columns != kind.gates * size or Wx.shape[1] != columns:
        times = f"{kind.gates} * hidden" if kind.gates > 1 else "hidden"
        shapes = f"Wx {describe(Wx)} and Wh {describe(Wh)}"
        raise ShapeError(f"{place}: Wx (features, {times}) and Wh (hidden, {times}) do not fit: got {shapes}.")
    for label, b, wide in zip(names[2:], biases, (columns, size), strict=False):
        if b is not None and getattr(b, "shape", None) != (wide,):
            raise ShapeError(f"{place}: {label} has the shape {(wide,)} for Wh {describe(Wh)}, got {describe(b)}.")
    return [Wx, Wh, *biases, *[None] * (len(names) - len(item))]
