"""Recurrent layers: their state as a value, in a Sequential, drawn by initialisers, described without sizes; and their messages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero import numpy as fnp
from fdezero.errors import FdezeroError, KeyMissingError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((2, 5, 4))
LAYERS = [nn.RNN, nn.GRU, nn.LSTM]


def made(kind: Any, *sizes: int, **options: Any) -> Any:
    return kind.init(KEY, *sizes, dtype=np.float64, **options)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_is_its_cell_step_by_step(kind: Any) -> None:
    layer = made(kind, 4, 3)
    (cell,), state, rows = layer.cells, None, []
    for t in range(X.shape[1]):
        state = cell(X[:, t], state)
        rows.append(state if isinstance(state, np.ndarray) else state[0])
    y, last = layer(X)
    assert_trees_close(y, np.stack(rows, 1), 1e-14)
    assert_trees_close(fd.tree.map(lambda part: part[0], last), state, 1e-14)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_first_state_is_zero_and_fits_a_scan(kind: Any) -> None:
    layer = made(kind, 4, 3, num_layers=2, bidirectional=True)
    assert_trees_equal(layer(X, layer.initial_state(2)), layer(X), bits=True)
    cell = layer.cells[0]

    def step(state: Any, x: Any) -> Any:
        state = cell(x, state)
        return state, state

    last, _ = fd.scan(step, cell.initial_state(2), np.moveaxis(X, 1, 0))
    one = kind(layer.cells[:1])
    assert_trees_close(fd.tree.map(lambda part: part[0], one(X)[1]), last, 1e-14)


def test_truncated_backpropagation_takes_and_returns_the_state() -> None:
    model, t = made(nn.LSTM, 4, 3), np.ones((2, 5, 3))

    def loss_fn(model: Any, state: Any, x: Any, t: Any) -> Any:
        y, state = model(x, fd.stop_gradient(state))
        return F.mean_squared_error(y, t), state

    step = fd.compile(fd.value_and_grad(loss_fn, has_aux=True))
    (_, state), first = step(model, model.initial_state(2), X[:, :2], t[:, :2])
    (loss, state), second = step(model, state, X[:, 2:], t[:, 2:])
    _, middle = model(X[:, :2])
    expected = fd.grad(lambda model: F.mean_squared_error(model(X[:, 2:], middle)[0], t[:, 2:]))(model)
    assert_trees_close(second, expected, 1e-12)
    assert_trees_close(state, model(X)[1], 1e-12)
    whole = fd.grad(lambda model: F.mean_squared_error(model(X)[0][:, 2:], t[:, 2:]))(model)
    assert not np.allclose(whole.cells[0].Wh, expected.cells[0].Wh, rtol=1e-3)  # which goes on into the first piece
    assert loss > 0
    assert first.cells[0].Wh.any()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_puts_a_layer_into_a_sequential(kind: Any, bidirectional: bool) -> None:
    layer = made(kind, 4, 3, num_layers=2, bidirectional=bidirectional, dropout=0.5)
    head = nn.Linear.init(KEY, 3 * (1 + bidirectional), 2, dtype=np.float64)
    y, state = layer(X)
    h = state[0] if isinstance(state, tuple) else state
    last = np.concatenate([h[2], h[3]], -1) if bidirectional else h[1]
    assert_trees_equal(nn.Sequential([nn.Outputs(layer), head])(X), head(y), bits=True)
    assert_trees_equal(nn.Sequential([nn.Outputs(layer, "last"), head])(X), head(last), bits=True)
    assert_trees_close(last[:, :3], y[:, -1, :3], 1e-14)
    assert_trees_close(last[:, 3:], y[:, 0, 3:], 1e-14)
    first, _ = fd.random.split(KEY)
    dropped = nn.Sequential([nn.Outputs(layer), head])(X, key=KEY, train=True)
    assert_trees_equal(dropped, head(layer(X, key=first, train=True)[0]), bits=True)


def test_a_sequential_may_end_with_a_state() -> None:
    layer = made(nn.LSTM, 4, 3)
    assert_trees_equal(nn.Sequential([F.tanh, layer])(X), layer(np.tanh(X)), bits=True)


def test_layers_are_described_without_the_size_of_their_input() -> None:
    model = nn.Sequential([nn.Outputs(nn.LSTM.lazy(3, num_layers=2, bidirectional=True), "last"), nn.Linear.lazy(2)])
    model = nn.init(model, KEY, X.astype(np.float32))
    assert [cell.Wx.shape for cell in model.layers[0].layer.cells] == [(4, 12), (4, 12), (6, 12), (6, 12)]
    assert model(X.astype(np.float32)).shape == (2, 2)
    assert nn.init(nn.GRUCell.lazy(3), KEY, X[:, 0]).Wx.shape == (4, 9)


def test_each_gate_has_a_matrix_of_its_own() -> None:
    cell = nn.LSTMCell.init(KEY, 5, 4, weight_init=nn.initial.glorot_uniform, recurrent_init=nn.initial.orthogonal(), dtype=np.float64)
    for gate in np.split(cell.Wh, 4, -1):
        assert_trees_close(gate @ gate.T, np.eye(4), 1e-12)
    assert np.abs(cell.Wx).max() < np.sqrt(6 / 9)  # the bound of a (5, 4) matrix; that of a (5, 16) one is smaller
    assert np.abs(cell.Wx).max() > np.sqrt(6 / 21)
    assert_trees_close(np.var(made(nn.GRUCell, 400, 100).Wx) * 400, 1.0, 0.02)
    gates = np.split(made(nn.GRUCell, 4, 4).Wx, 3, -1)
    assert len({gate.tobytes() for gate in gates}) == 3


def test_the_forget_gate_may_begin_open() -> None:
    b = nn.LSTM.init(KEY, 4, 2, forget_bias=1.0).cells[0].b
    assert_trees_equal(b, np.array([0, 0, 1, 1, 0, 0, 0, 0], np.float32))
    assert nn.LSTM.init(KEY, 4, 2, forget_bias=0.5, bias_init=nn.initial.ones).cells[0].b.tolist() == [1, 1, 1.5, 1.5, 1, 1, 1, 1]
    assert nn.GRU.init(KEY, 4, 2, bias=False).cells[0].weights[2:] == (None, None)


def test_cells_are_saved_by_their_paths(tmp_path: Path) -> None:
    layer = made(nn.GRU, 4, 3, num_layers=2)
    fd.save(tmp_path / "gru.npz", layer)
    names = {f"cells/{i}/{name}" for i in (0, 1) for name in ("Wx", "Wh", "b", "bh")}
    assert set(fd.load(tmp_path / "gru.npz")) == names


def test_a_frozen_cell_gets_no_gradient() -> None:
    layer = made(nn.LSTM, 4, 3, num_layers=2)
    frozen = layer.replace(cells=(fd.Frozen(layer.cells[0]), layer.cells[1]))
    assert_trees_equal(frozen(X), layer(X), bits=True)
    assert_trees_equal(frozen.initial_state(2), layer.initial_state(2))
    gradient, whole = (fd.grad(lambda model: fnp.sum(model(X)[0] ** 2))(model) for model in (frozen, layer))
    assert gradient.cells[0] is None
    assert_trees_close(gradient.cells[1], whole.cells[1], 1e-14)


BAD: dict[str, tuple[Any, type[FdezeroError], str]] = {
    "no size": (lambda: nn.LSTM.init(KEY, 4, 0), RangeError, "LSTM: hidden_size must be an integer of at least 1, got int 0"),
    "no size of a cell": (lambda: nn.GRUCell.init(KEY, 0, 4), RangeError, "GRUCell: in_size must be an integer of at least 1"),
    "half a layer": (lambda: nn.RNN.init(KEY, 4, 2, num_layers=1.5), RangeError, "RNN: num_layers must be an integer of at least 1, got float 1.5"),
    "both ways and reverse": (lambda: nn.RNN.init(KEY, 4, 2, bidirectional=True, reverse=True), RangeError, "leave reverse=True out"),
    "a rate of 1": (lambda: nn.RNN.init(KEY, 4, 2, dropout=1.0), RangeError, "dropout between recurrent layers: the rate"),
    "a forget bias without a bias": (lambda: nn.LSTM.init(KEY, 4, 2, bias=False, forget_bias=1.0), RangeError, r"forget_bias=1\.0 needs bias=True"),
    "features that do not fit": (lambda: nn.Sequential([nn.Outputs(made(nn.LSTM, 3, 2))])(X), ShapeError, r"got x float64\[2,5,4\]\. \(at layers/0/layer\)"),
    "a layer without a state": (lambda: nn.Sequential([nn.Outputs(nn.Linear.init(KEY, 4, 2))])(X), StructureError, r"returns \(y, state\), got float64\[2,5,2\]\. \(at layers/0/layer\)"),
    "a Sequential without Outputs": (lambda: nn.Sequential([made(nn.GRU, 4, 2), F.tanh])(X), StructureError, r"GRU returns \(y, state\).* nn\.Outputs\(GRU\.init\(\.\.\.\), \"last\"\).*\(at layers/0\)"),
    "a name of an activation": (lambda: nn.RNN.init(KEY, 4, 2, activation="relu"), StructureError, r"a function such as fd\.functions\.relu, got 'relu'"),
    "another choice": (lambda: nn.Outputs(made(nn.LSTM, 4, 2), "first"), RangeError, 'which is "all" or "last", got \'first\''),
    "no key": (lambda: made(nn.LSTM, 4, 2, num_layers=2, dropout=0.5)(X, train=True), KeyMissingError, "lstm: dropout between layers with train=True needs a random key"),
    "a name of another library": (lambda: nn.LSTM.init(KEY, 4, 2, batch_first=True), TypeError, "batch_first"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_an_error_that_says_so(what: str) -> None:
    call, error, message = BAD[what]
    with pytest.raises(error, match=message):
        call()
