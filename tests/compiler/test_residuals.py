"""Residuals: what a derivative keeps from the way there. Cheap arithmetic and views are done again, but nothing is computed twice."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.compiler.graph import Graph
from fdezero.compiler.program import Program
from fdezero.compiler.recording.record import record
from fdezero.testing import assert_trees_equal

X, W = np.linspace(-1, 1, 12).reshape(3, 4), np.arange(16.0).reshape(4, 4) / 16


def parts(function: Callable[..., Any], *args: Any) -> tuple[Graph, Graph]:
    """The graphs of the way there and the way back, with respect to all arguments."""
    program = Program(record(lambda *leaves: (function(*leaves),), list(args), "f", tuple("xyz"[: len(args)])).graph)
    out, (back, *_) = program.reverse((True,) * len(args), list(args))
    return out.graph, back.graph


def names(graph: Graph) -> list[str]:
    return [step.name for step in graph.instructions]


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], list[str], list[str]]] = {
    # the function, its arguments, what the way there computes, and the residuals
    "a slope": (np.tanh, (X,), ["tanh"], ["saved0"]),
    "a slope of a view": (lambda x: np.tanh(x)[:, :2], (X,), ["tanh", "slice"], ["saved0"]),
    "transposed arguments": (lambda x, y: x @ y, (X, W), ["matmul"], ["y", "x"]),
    "a part of an argument": (lambda x: (lambda row: row * row)(x[0]), (X,), ["slice", "multiply"], ["x"]),
    "two parts of one array": (lambda x: (lambda y: y[:, :2] * y[:, 2:])(np.exp(x)), (X,), ["exp", "slice", "slice", "multiply"], ["saved0"]),
    "a row of a large array": (lambda x: np.tanh(x)[0] * x[0, 0], (X,), ["tanh", "slice", "slice", "multiply"], ["saved0", "saved1"]),
    "a product that the result needs": (lambda x: np.exp(x * x), (X,), ["multiply", "exp"], ["x", "saved0"]),
    "what is dear": (lambda x: np.sin(x * x), (X,), ["multiply", "sin", "cos"], ["x", "saved0"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_computed_and_kept(name: str) -> None:
    function, args, computed, kept = CASES[name]
    there, back = parts(function, *args)
    assert names(there) == computed
    assert sorted(back.names[:-1]) == sorted(kept)
    gradients = lambda *args: fd.vjp(function, *args)[1](np.cos(function(*args)))
    around = lambda *args: fd.vjp(fd.compile(function), *args)[1](np.cos(function(*args)))
    assert_trees_equal(around(*args), gradients(*args), bits=True)


def test_a_check_is_not_done_again() -> None:
    run = lambda x, weight, lengths: F.rnn(x, [(weight, weight)], lengths=lengths)[0]
    there, back = parts(run, np.ones((1, 3, 2)), np.ones((2, 2)), np.array([2]))
    assert "checked" in names(there)
    assert "checked" not in names(back)


def test_a_round_of_an_lstm_saves_gates_states_and_one_tangent() -> None:
    x, weights = np.ones((5, 2, 3)), (np.ones((3, 16)), np.ones((4, 16)), np.ones(16))
    f = fd.compile(fd.grad(lambda weights: fnp.sum(F.lstm(x, [weights])[0])))
    f(weights)
    forward, _ = (i for i in f.graph.instructions if i.name.startswith("scan"))
    columns = [y.shape for y in forward.outputs if y.shape[:2] == (2, 5)]
    # y; the gates i and f together, g, o; the last h and c; tanh(c)
    assert sorted(columns) == sorted([(2, 5, 4), (2, 5, 8), *[(2, 5, 4)] * 5])
