"""Operations on pieces of arrays: gates that are slices of one array, and parts that are put side by side, in one native loop."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero import numpy as fnp
from fdezero.compiler.graph import Graph, evaluate, validate
from fdezero.compiler.passes.order import optimise
from fdezero.compiler.passes.pieces import in_pieces
from fdezero.compiler.writing.loops import is_expressible
from fdezero.control.scan import Scan
from fdezero.testing import assert_trees_close

from ..native.compilers import needs_compiler
from ..profiles import examples
from .scans import Loop, loops

RNG = np.random.default_rng(0)


def cut(function: Any, *args: Any) -> Graph:
    """The function's program in pieces, once its results are those of the function."""
    graph = optimise(fd.compile(function).trace(*args))
    made = validate(in_pieces(graph, is_expressible))
    found, expected = evaluate(made, fd.tree.leaves(args)), fd.tree.leaves(function(*args))
    for y, x in zip(found, expected, strict=True):
        np.testing.assert_array_equal(y, x)  # the sign of a zero is not compared
    return made


def names(graph: Graph) -> list[str]:
    return [step.name for step in graph.instructions]


@st.composite
def cells(draw: Any) -> Any:
    """A function of an array and of a matrix: slices of sums and products, equal or not, along one axis, put together again."""
    axis, count, size = draw(st.sampled_from([-1, -2])), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    choices = st.lists(st.integers(0, 5), min_size=2, max_size=5)
    kinds, whole, joins, product = (
        draw(choices),
        draw(st.booleans()),
        draw(st.sampled_from(["concatenate", "at", "no"])),
        draw(st.booleans()),
    )
    length = count * size

    def part(x: Any, start: int, stop: int) -> Any:
        return x[..., start:stop] if axis == -1 else x[..., start:stop, :]

    def run(x: Any, w: Any) -> Any:
        y = np.sin(x) + w if not product else np.sin(x @ w) + 1
        parts = []
        for i, kind in enumerate(kinds):
            first = i % count * size
            piece = part(y, first, first + size)
            if kind == 0:
                piece = part(y, 0, max(1, length // 2))
            if kind == 1:
                piece = piece * part(x, first, first + size)
            if kind == 2:
                piece = np.exp(part(np.cos(y), first, first + size))
            if kind == 3 and size > 1:
                piece = part(piece, 0, size - 1)
            if kind == 4:
                piece = 2 - piece
            parts.append(piece)
        results = [piece * piece for piece in parts]
        if joins == "concatenate":
            joined = fnp.concatenate(parts, axis=axis)
            results = [np.tanh(joined) * 2, joined]
        if joins == "at":
            results.append(
                fd.vjp(lambda y: [part(y, i * size, (i + 1) * size) * 1.5 for i in range(count)], y)[1](
                    [part(y, i * size, (i + 1) * size) + 1 for i in range(count)]
                )[0]
                * y
            )
        return (*results, y) if whole else results

    shape = (2, length, length)
    return run, (RNG.standard_normal(shape), RNG.standard_normal((length, length)))


@settings(max_examples=examples(1))
@given(cells())
def test_pieces_compute_the_same(cell: Any) -> None:
    run, args = cell
    cut(run, *args)


@given(loops())
def test_rounds_in_pieces(loop: Loop) -> None:
    args = loop.arguments(0)
    cut(lambda weights, h, xs: loop.run(weights, h, xs[:1]), *args)
    graph = fd.compile(fd.grad(loop.loss, argnums=(0, 1))).trace(*args)
    for step in graph.instructions:
        if isinstance(step.operation, Scan):
            body = step.operation.body.graph
            ones = [RNG.uniform(0.1, 1, v.shape) if v.kind == "array" else v.dtype.type(1) for v in body.inputs]
            made = in_pieces(optimise(body), is_expressible)
            for y, x in zip(evaluate(made, ones), evaluate(body, ones), strict=True):
                np.testing.assert_array_equal(y, x)


def gates(z: Any, c: Any) -> Any:
    i, f, o, g = [z[:, k * 3 : (k + 1) * 3] for k in range(4)]
    c = F.sigmoid(f) * c + F.sigmoid(i) * np.tanh(g)
    return F.sigmoid(o) * np.tanh(c), c


Z, C = RNG.standard_normal((2, 12)), RNG.standard_normal((2, 3))


def test_gates_have_the_shape_of_the_state() -> None:
    made = cut(lambda z, b, c: gates(z + b, c), Z, Z[0], C)
    assert {step.output.shape for step in made.instructions if step.elementwise} == {(2, 3)}
    back = cut(lambda z, c: np.sin(fd.grad(lambda z: fnp.sum(gates(z * 2, c)[0]))(z)), Z, C)
    assert {step.output.shape for step in back.instructions if step.elementwise} <= {(2, 3), (2, 12)}


def test_what_is_not_cut() -> None:
    """Pieces of several lengths, and slices that overlap in pieces of several lengths."""
    for run in (
        lambda z: np.sin(z)[:, :3] * np.sin(z)[:, 3:6] + np.cos(np.sin(z)[:, 6:]).sum(),
        lambda z: (np.sin(z)[:, 1:] - np.sin(z)[:, :-1]) ** 2,
        lambda z: np.sin(z)[:, ::2] + np.sin(z)[:, 1::2],
        lambda z: np.sin(z)[0] + np.sin(z)[1],
    ):
        graph = optimise(fd.compile(run).trace(Z))
        assert names(in_pieces(graph, is_expressible)) == names(graph)


@needs_compiler
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_round_of_a_recurrent_network_is_one_loop(kind: str) -> None:
    layer = getattr(nn, kind).init(fd.random.key(0), 3, 4)
    x = RNG.standard_normal((2, 5, 3), dtype=np.float32)
    loss = lambda layer, x: fnp.sum(layer(x)[0] ** 2)
    step = fd.compile(fd.value_and_grad(loss), native=True)
    for _ in range(3):
        assert_trees_close(step(layer, x), fd.value_and_grad(loss)(layer, x), 1e-5)
    bodies = [
        i.operation.body for i in step._last_recording().program.executable.graph.instructions if i.name == "scan"
    ]
    assert len(bodies) == 2
    for body in bodies:
        calls = [line.strip() for line in body.rows.source.partition("    def ")[2].splitlines()]
        assert sum(line.startswith("fused") for line in calls) == 1, body.rows.source
        assert not any("unslice" in line or "[..." in line for line in calls), body.rows.source


@needs_compiler
@settings(max_examples=max(3, examples(15)))
@given(loops(), st.booleans())
def test_native_loops_over_pieces(loop: Loop, differentiated: bool) -> None:
    function = fd.grad(loop.loss, argnums=(0, 1, 2)) if differentiated else loop.run
    compiled = fd.compile(function, native=True)
    for seed in (0, 1):
        args = loop.arguments(seed)
        expected = function(*args)
        compiled(*args)
        assert_trees_close(compiled(*args), expected, 1e-11)
