"""Recurrent functions against DeZero's layers and PyTorch's, over several steps, with gradients; their state, and their messages."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero.errors import DTypeError, FdezeroError, KeyMissingError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..laws.functions_recurrent import FORMULAS
from .dezero_reference import dezero

RNG = np.random.default_rng(7)
N, T, IN, HIDDEN = 3, 5, 4, 2
KINDS = {"rnn": (1, 1, F.rnn), "gru": (3, 1, F.gru), "lstm": (4, 2, F.lstm)}  # gates, arrays in the state
X = RNG.standard_normal((N, T, IN))


def weights_of(kind: str, layers: int = 1, directions: int = 1, inputs: int = IN, rng: Any = RNG) -> list[tuple[np.ndarray, ...]]:
    gates = KINDS[kind][0]
    found = []
    for i in range(layers * directions):
        rows = inputs if i < directions else directions * HIDDEN
        shapes = [(rows, gates * HIDDEN), (HIDDEN, gates * HIDDEN), (gates * HIDDEN,), *[(HIDDEN,)] * (kind == "gru")]
        found.append(tuple(rng.standard_normal(shape) for shape in shapes))
    return found


def state_of(kind: str, count: int = 1, size: int = N) -> Any:
    parts = tuple(RNG.standard_normal((count, size, HIDDEN)) for _ in range(KINDS[kind][1]))
    return parts if len(parts) > 1 else parts[0]


def dezeros_rnn(weights: tuple[np.ndarray, ...]) -> tuple[Any, Any]:
    Wx, Wh, b = weights
    layer = dezero.layers.RNN(HIDDEN, in_size=IN)
    layer.x2h.W.data, layer.h2h.W.data, layer.x2h.b.data = Wx, Wh, b
    return layer, lambda: (layer.x2h.W.grad.data, layer.h2h.W.grad.data, layer.x2h.b.grad.data)


def dezeros_lstm(weights: tuple[np.ndarray, ...]) -> tuple[Any, Any]:
    """DeZero's layer has a Linear for each gate. Here they stand side by side: i, f, u (our g), o."""
    layer = dezero.layers.LSTM(HIDDEN, in_size=IN)
    ours = [np.split(w, 4, -1) for w in weights]
    for gate, Wx, Wh, b in zip("ifuo", *ours, strict=True):
        getattr(layer, f"x2{gate}").W.data = Wx
        getattr(layer, f"x2{gate}").b.data = b
        getattr(layer, f"h2{gate}").W.data = Wh

    def gradients() -> tuple[Any, ...]:
        linear = [[getattr(layer, f"{side}2{gate}") for gate in "ifuo"] for side in "xh"]
        return (
            np.hstack([part.W.grad.data for part in linear[0]]),
            np.hstack([part.W.grad.data for part in linear[1]]),
            np.hstack([part.b.grad.data for part in linear[0]]),
        )

    return layer, gradients


@pytest.mark.parametrize(("kind", "make"), [("rnn", dezeros_rnn), ("lstm", dezeros_lstm)])
def test_values_and_gradients_are_dezeros(kind: str, make: Any) -> None:
    weights = weights_of(kind)
    layer, gradients_of = make(weights[0])
    outputs = [layer(X[:, t]) for t in range(T)]
    total = sum((dezero.functions.sum(y * y * float(t + 1)) for t, y in enumerate(outputs)), start=0.0)
    total.backward()

    def loss(weights: Any) -> Any:
        y, _ = KINDS[kind][2](X, weights)
        return (y**2 * np.arange(1, T + 1)[:, None]).sum(), y

    (value, y), gradients = fd.value_and_grad(loss, has_aux=True)(weights)
    assert_trees_close(y, np.stack([out.data for out in outputs], 1), 1e-12)
    assert_trees_close(value, total.data, 1e-12)
    assert_trees_close(gradients[0], gradients_of(), 1e-11)


@pytest.mark.parametrize(("kind", "make"), [("rnn", dezeros_rnn), ("lstm", dezeros_lstm)])
def test_a_cell_with_its_state_as_a_value_is_dezeros_layer_that_keeps_it(kind: str, make: Any) -> None:
    (weights,) = weights_of(kind)
    layer, _ = make(weights)
    cell, state = getattr(F, f"{kind}_cell"), None
    for t in range(T):
        if t == 3:
            layer.reset_state()
            state = None
        state = cell(X[:, t], state, *weights)
        assert_trees_close(state if kind == "rnn" else state[0], layer(X[:, t]).data, 1e-12)
        assert kind == "rnn" or np.allclose(state[1], layer.c.data, 1e-12)


def torchs(torch: Any, kind: str, weights: Any, layers: int, directions: int, **options: Any) -> Any:
    """PyTorch's module with these weights. Its second bias is 0, but for the candidate of a GRU."""
    module = getattr(torch.nn, kind.upper())(IN, HIDDEN, layers, batch_first=True, bidirectional=directions == 2, dtype=torch.float64, **options)
    state = {}
    for i, (Wx, Wh, b, *bh) in enumerate(weights):
        suffix = f"_l{i // directions}" + "_reverse" * (i % directions)
        second = np.zeros_like(b)
        if bh:
            second[2 * HIDDEN :] = bh[0]
        names = {"weight_ih": Wx.T, "weight_hh": Wh.T, "bias_ih": b, "bias_hh": second}
        state |= {name + suffix: torch.tensor(np.ascontiguousarray(value)) for name, value in names.items()}
    module.load_state_dict(state)
    return module


@pytest.mark.parametrize("lengths", [None, [5, 1, 3]])
@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_pytorchs(kind: str, layers: int, directions: int, lengths: Any) -> None:
    torch = pytest.importorskip("torch")
    weights, state = weights_of(kind, layers, directions), state_of(kind, layers * directions)
    module = torchs(torch, kind, weights, layers, directions)
    x = torch.tensor(X, requires_grad=True)
    start = fd.tree.map(lambda s: torch.tensor(s, requires_grad=True), state)
    given = x
    if lengths:
        given = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    y, last = module(given, start)
    if lengths:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=T)
    results = [y, *fd.tree.leaves(last)]
    sum((r.cos() * r).sum() for r in results).backward()

    def run(x: Any, weights: Any, state: Any) -> Any:
        bidirectional = directions == 2
        return KINDS[kind][2](x, weights, state, lengths=None if lengths is None else np.array(lengths), bidirectional=bidirectional)

    ours, pullback = fd.vjp(run, X, weights, state)
    assert_trees_close(fd.tree.leaves(ours), [r.detach().numpy() for r in results], 1e-12)
    gx, gw, gs = pullback(fd.tree.map(lambda r: np.cos(r) - r * np.sin(r), ours))
    assert_trees_close(gx, x.grad.numpy(), 1e-11)
    assert_trees_close(fd.tree.leaves(gs), [s.grad.numpy() for s in fd.tree.leaves(start)], 1e-11)
    for i, (Wx, Wh, b, *bh) in enumerate(gw):
        suffix = f"_l{i // directions}" + "_reverse" * (i % directions)
        theirs = {name: getattr(module, name + suffix).grad.numpy() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        assert_trees_close((Wx, Wh, b), (theirs["weight_ih"].T, theirs["weight_hh"].T, theirs["bias_ih"]), 1e-11)
        assert not bh or np.allclose(bh[0], theirs["bias_hh"][2 * HIDDEN :], 1e-11)


@st.composite
def calls(draw: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """A kind, and the arguments and options of a call, with normal numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind, options = draw(st.sampled_from(list(KINDS))), draw(st.sampled_from([{}, {"reverse": True}, {"bidirectional": True}]))
    loops, steps = draw(st.sampled_from([(), (1,), (3,), (2, 2)])), draw(st.integers(1, 4))
    weights = weights_of(kind, draw(st.integers(1, 3)), 1 + ("bidirectional" in options), inputs := draw(st.integers(1, 3)), rng)
    weights = [item[: draw(st.integers(2, len(item)))] for item in weights]
    parts = tuple(rng.standard_normal((len(weights), *loops, HIDDEN)) for _ in range(KINDS[kind][1]))
    state = draw(st.sampled_from([None, parts if len(parts) > 1 else parts[0]]))
    if draw(st.booleans()):
        options = options | {"lengths": np.array(rng.integers(0, steps + 1, loops))}
    return kind, (rng.standard_normal((*loops, steps, inputs)), weights, state), options


@given(calls())
def test_any_call_is_a_loop_over_sequences_and_steps(call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    kind, args, options = call
    found = KINDS[kind][2](*args, **options)
    assert_trees_close(found, getattr(FORMULAS, kind)(*args, **options), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_two_pieces_is_the_whole(kind: str) -> None:
    run, weights = KINDS[kind][2], weights_of(kind, 2)
    whole, end = run(X, weights)
    first, state = run(X[:, :2], weights)
    second, last = run(X[:, 2:], weights, state)
    assert_trees_close(np.concatenate([first, second], 1), whole, 1e-14)
    assert_trees_close(last, end, 1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"bidirectional": True}], ids=str)
def test_what_lies_after_the_end_does_not_matter(kind: str, options: Any) -> None:
    run, weights, lengths = KINDS[kind][2], weights_of(kind, 2, 1 + ("bidirectional" in options)), np.array([2, 0, 5])
    padded = X.copy()
    padded[0, 2:] = padded[1] = np.nan
    state = state_of(kind, len(weights))

    def outputs(x: Any, weights: Any, state: Any) -> Any:
        return run(x, weights, state, lengths=lengths, **options)

    (y, last), pullback = fd.vjp(outputs, padded, weights, state)
    assert not y[0, 2:].any()
    assert not y[1].any()
    for part, start in zip(fd.tree.leaves(last), fd.tree.leaves(state), strict=True):
        assert_trees_equal(part[:, 1], start[:, 1])
    assert_trees_close((y[0, :2], y[2]), (run(X[:1, :2], weights, fd.tree.map(lambda s: s[:, :1], state), **options)[0][0],
                                          run(X[2:], weights, fd.tree.map(lambda s: s[:, 2:], state), **options)[0][0]), 1e-14)  # fmt: skip
    gradients = pullback(fd.tree.map(np.cos, (y, last)))
    assert all(np.isfinite(g).all() for g in fd.tree.leaves(gradients))
    assert not gradients[0][0, 2:].any()
    assert_trees_close((y, last), outputs(X, weights, state), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_maps_sequences_of_their_own_lengths(kind: str) -> None:
    weights, lengths = weights_of(kind), np.array([2, 0, 5])
    run = lambda x, n: KINDS[kind][2](x, weights, lengths=n)
    y, last = fd.vmap(run)(X, lengths)
    expected, ends = run(X, lengths)
    assert_trees_close(y, expected, 1e-14)
    assert_trees_close(last, fd.tree.map(lambda s: np.moveaxis(s, 1, 0), ends), 1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_float16_is_computed_in_float32_and_rounded_once(kind: str) -> None:
    half = lambda tree: fd.tree.map(lambda leaf: leaf.astype(np.float16), tree)
    single = lambda tree: fd.tree.map(lambda leaf: leaf.astype(np.float32), tree)
    x, weights, state = half(X), half(weights_of(kind, 2)), half(state_of(kind, 2))
    found = KINDS[kind][2](x, weights, state)
    assert_trees_equal(found, half(KINDS[kind][2](*single((x, weights, state)))), bits=True)
    (first,), start = weights_of(kind), fd.tree.map(lambda s: s[0], state_of(kind))
    cell = getattr(F, f"{kind}_cell")
    assert_trees_equal(cell(x[:, 0], half(start), *half(first)), half(cell(*single((x[:, 0], half(start), *half(first))))), bits=True)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_stands_between_layers_alone(kind: str) -> None:
    run, weights, key = KINDS[kind][2], weights_of(kind, 3), fd.random.key(3)
    first, second = fd.random.split(key, 2)
    y, ends = X, []
    for i, layer in enumerate(weights):
        y, end = run(y, [layer])
        ends.append(end)
        if i < 2:
            y = np.moveaxis(F.dropout(np.moveaxis(y, 1, 0), 0.5, key=(first, second)[i], train=True), 0, 1)
    found = run(X, weights, dropout=0.5, key=key, train=True)
    assert_trees_close(found, (y, fd.tree.map(lambda *parts: np.concatenate(parts), *ends)), 1e-14)
    assert_trees_equal(run(X, weights, dropout=0.5), run(X, weights))
    assert_trees_equal(run(X, weights[:1], dropout=0.5, train=True), run(X, weights[:1]))


@pytest.mark.parametrize("kind", KINDS)
def test_states_of_another_dtype_are_promoted(kind: str) -> None:
    single = fd.tree.map(lambda leaf: leaf.astype(np.float32), (X, weights_of(kind)))
    assert {leaf.dtype for leaf in fd.tree.leaves(KINDS[kind][2](*single))} == {np.dtype(np.float32)}
    assert {leaf.dtype for leaf in fd.tree.leaves(KINDS[kind][2](*single, state_of(kind)))} == {np.dtype(np.float64)}


def test_no_rows_and_no_sequences() -> None:
    y, (h, c) = F.lstm(X[:, :0], weights_of("lstm"))
    assert (y.shape, h.shape) == ((N, 0, HIDDEN), (1, N, HIDDEN))
    assert not h.any()
    assert not c.any()
    assert F.lstm(X[:0], weights_of("lstm"), lengths=np.zeros(0, int))[0].shape == (0, T, HIDDEN)


WX, WH, B = weights_of("lstm")[0]
BAD: dict[str, tuple[Any, type[FdezeroError], str]] = {
    "a length above the steps": (lambda: F.lstm(X, [(WX, WH, B)], lengths=np.array([5, 6, 1])), RangeError, "between 1 and 6, but x has 5 steps"),
    "a negative length": (lambda: F.lstm(X, [(WX, WH, B)], lengths=np.array([5, -1, 1])), RangeError, "between -1 and 5"),
    "lengths that are not integers": (lambda: F.lstm(X, [(WX, WH, B)], lengths=np.ones(3)), DTypeError, r"lengths.astype\(int\)"),
    "too few lengths": (lambda: F.lstm(X, [(WX, WH, B)], lengths=np.array([5, 5])), ShapeError, r"lengths of shape \(3,\), got int64\[2\]"),
    "one step": (lambda: F.lstm(X[0, 0], [(WX, WH, B)]), ShapeError, r"x \(..., T, features\), got float64\[4\]"),
    "features that do not fit": (lambda: F.lstm(X[..., :3], [(WX, WH, B)]), ShapeError, r"last axis of 4 for Wx float64\[4,8\], got x float64\[3,5,3\]"),
    "a second layer that does not fit": (lambda: F.lstm(X, [(WX, WH, B)] * 2), ShapeError, r"weights\[1\] expects .* got 2 outputs of the layer below"),
    "weights without their list": (lambda: F.lstm(X, (WX, WH, B)), StructureError, r"such as \[\(Wx, Wh, b\)\]; got arrays"),
    "no weights": (lambda: F.lstm(X, []), StructureError, "a list with the weights of each layer"),
    "too many weights": (lambda: F.lstm(X, [(WX, WH, B, B)]), StructureError, r"the weights of a layer are \(Wx, Wh, b\)"),
    "one direction missing": (lambda: F.lstm(X, [(WX, WH, B)], bidirectional=True), StructureError, "two weights a layer"),
    "both ways and reverse": (lambda: F.lstm(X, [(WX, WH, B)] * 2, bidirectional=True, reverse=True), RangeError, "leave reverse=True out"),
    "weights of another kind": (lambda: F.gru(X, [(WX, WH)]), ShapeError, r"Wx \(features, 3 \* hidden\) .* got Wx float64\[4,8\]"),
    "a bias of another size": (lambda: F.lstm(X, [(WX, WH, B[:3])]), ShapeError, r"b has the shape \(8,\) for Wh float64\[2,8\], got float64\[3\]"),
    "a matrix that is none": (lambda: F.lstm(X, [(WX, None, B)]), StructureError, "Wh is a matrix, got NoneType"),
    "layers of different sizes": (lambda: F.rnn(X, [(np.ones((4, 2)), np.ones((2, 2))), (np.ones((2, 3)), np.ones((3, 3)))]), ShapeError, "another hidden size"),
    "a state of another size": (lambda: F.rnn(X, [(np.ones((4, 2)), np.ones((2, 2)))], np.ones((3, 2))), ShapeError, r"= \(1, 3, 2\), got float64\[3,2\]"),
    "half a state": (lambda: F.lstm(X, [(WX, WH, B)], np.ones((1, 3, 2))), StructureError, r"a pair \(h, c\), got float64\[1,3,2\]"),
    "half a state of a cell": (lambda: F.lstm_cell(X[:, 0], np.ones((3, 2)), WX, WH, B), StructureError, r"a pair \(h, c\), got float64\[3,2\]"),
    "a state of a cell": (lambda: F.rnn_cell(X[:, 0], np.ones((3, 3)), np.ones((4, 2)), np.ones((2, 2))), ShapeError, r"last axis of 2 .* got float64\[3,3\]"),
    "a number to a cell": (lambda: F.rnn_cell(1.0, None, np.ones((4, 2)), np.ones((2, 2))), ShapeError, r"rnn_cell takes x \(..., features\)"),
    "a name of an activation": (lambda: F.rnn(X, [(np.ones((4, 2)), np.ones((2, 2)))], activation="relu"), StructureError, "a function such as fd.functions.relu"),
    "no key": (lambda: F.lstm(X, [(WX, WH, B), (np.ones((2, 8)), WH, B)], dropout=0.5, train=True), KeyMissingError, "key=fd.random.fold_in"),
    "a rate of 1": (lambda: F.lstm(X, [(WX, WH, B)], dropout=1.0), RangeError, "lstm: the rate is the probability to drop"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_an_error_that_says_so(what: str) -> None:
    call, error, message = BAD[what]
    with pytest.raises(error, match=message):
        call()


def test_compiled_code_also_refuses_lengths_beyond_the_steps() -> None:
    run = fd.compile(lambda lengths: F.lstm(X, [(WX, WH, B)], lengths=lengths)[0])
    run(np.array([5, 0, 1]))
    with pytest.raises(RangeError, match="between 1 and 9, but x has 5 steps"):
        run(np.array([5, 9, 1]))
