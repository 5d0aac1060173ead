"""What all rounds of a loop share leaves the loop: constants, products of xs, and sums over the rounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.compiler.graph import Graph, evaluate, validate
from fdezero.compiler.passes.lifting import lift
from fdezero.compiler.passes.order import optimise
from fdezero.control.scan import Scan
from fdezero.testing import assert_trees_close

from ..profiles import examples
from .program_checks import assert_same_bits
from .scans import Loop, loops

RNG = np.random.default_rng(0)
H, XS, W = RNG.uniform(-1, 1, (2, 40)), RNG.uniform(-1, 1, (5, 2, 40)), RNG.uniform(-1, 1, (40, 40))


def lifted(function: Callable[..., Any], *args: Any, free: bool = True) -> Graph:
    """The program of the function with its loops lifted, once its results are those of the function."""
    graph = fd.compile(function).trace(*args)
    made = optimise(validate(lift(graph, free)), validate)
    leaves = fd.tree.leaves(args)
    assert_trees_close(list(evaluate(made, leaves)), fd.tree.leaves(function(*args)), 1e-12)
    for step in made.instructions:
        if isinstance(step.operation, Scan):
            validate(step.operation.body.graph)
    return made


def names(graph: Graph) -> list[str]:
    return [step.name for step in graph.instructions if step.alias is None]


def bodies(graph: Graph) -> list[list[str]]:
    return [names(step.operation.body.graph) for step in graph.instructions if isinstance(step.operation, Scan)]


@given(loops(), st.booleans())
def test_a_lifted_loop_computes_the_same(loop: Loop, differentiated: bool) -> None:
    function = fd.grad(loop.loss, argnums=(0, 1, 2)) if differentiated else loop.run
    lifted(function, *loop.arguments(0))


def test_rows_that_are_numbers_have_no_views() -> None:
    """The pullback of a round is recorded with an array without axes, and runs on a number, a row of ys."""
    loop = Loop(("b",), 1, ("a number",), (), 3, (2,), False)
    lifted(fd.grad(loop.loss, argnums=(0, 1, 2)), *loop.arguments(0))


@settings(max_examples=examples(2))
@given(loops())
def test_loops_have_the_bits_of_eager_code(loop: Loop) -> None:
    compiled = fd.compile(loop.run)
    for seed in (0, 1, 0):
        args = loop.arguments(seed)
        assert_same_bits(compiled(*args), loop.run(*args), str(loop))
    gradient = fd.grad(loop.loss, argnums=(0, 1, 2))
    compiled = fd.compile(gradient)
    for seed in (0, 1):
        args = loop.arguments(seed)
        assert_trees_close(compiled(*args), gradient(*args), 1e-12)


def recurrence(w: Any, h: Any, xs: Any) -> Any:
    return fnp.sum(fd.scan(lambda h, x: (np.tanh(h @ w + x), None), h, xs)[0])


def test_the_gradient_of_a_weight_is_one_product() -> None:
    made = lifted(fd.grad(recurrence), W, H, XS)
    forward, backward = bodies(made)
    assert forward == ["matmul", "add", "tanh"]
    assert backward.count("matmul") == 1
    assert names(made).count("matmul") == 1
    assert "copy" in names(made)  # of the transposed weight
    plain = lifted(fd.grad(recurrence), W, H, XS, free=False)
    assert [body.count("matmul") for body in bodies(plain)] == [1, 2]
    assert names(plain).count("matmul") == 0


def test_a_product_that_is_smaller_than_its_factors_stays_in_the_loop() -> None:
    made = lifted(
        fd.grad(recurrence), np.tile(W, 1)[:2, :2], RNG.uniform(-1, 1, (90, 2)), RNG.uniform(-1, 1, (3, 90, 2))
    )
    assert bodies(made)[1].count("matmul") == 2


def test_products_of_rows_are_one_product() -> None:
    run = lambda w, h, xs: fd.scan(lambda h, x: (np.tanh(h + np.sin(x) @ w), None), h, xs)[0]
    made = lifted(run, W, H, XS)
    assert bodies(made) == [["add", "tanh"]]
    (product,) = [step for step in made.instructions if step.name == "matmul"]
    assert product.output.shape == (10, 40)
    assert bodies(lifted(run, W, H, XS, free=False)) == [["sin", "matmul", "add", "tanh"]]


@pytest.mark.parametrize("free", [True, False])
def test_operations_on_constants_and_columns_that_nobody_reads(free: bool) -> None:
    run = lambda w, h, xs: fd.scan(lambda h, x: (np.tanh(h @ np.exp(w) + x), (h, np.cos(x))), h, xs)[0]
    made = lifted(run, W, H, XS, free=free)
    assert bodies(made) == [["matmul", "add", "tanh"]]
    assert names(made)[0] == "exp"


def test_what_may_fail_stays_in_its_round() -> None:
    run = lambda i, h, xs: fd.scan(lambda h, x: (h + fnp.take(x, i, axis=-1).sum(), None), h, xs)[0]
    assert "gather" in bodies(lifted(run, np.array([1, 2]), H, XS))[0]


def test_a_sum_with_a_start_of_its_own_and_sums_that_the_rounds_read() -> None:
    add = lambda c, x: ((c[0] + x.T @ c[1], np.sin(c[1])), None)
    assert bodies(lifted(lambda t, h, xs: fd.scan(add, (t, h), xs)[0], W, H, XS)) == [["sin"]]
    read = lambda c, x: ((c[0] + x.T @ c[1], np.sin(c[1]) + c[0][:2]), None)
    assert "matmul" in bodies(lifted(lambda t, h, xs: fd.scan(read, (t, h), xs)[0], W, H, XS))[0]


def test_a_loop_in_a_loop() -> None:
    def run(w: Any, h: Any, xs: Any) -> Any:
        inner = lambda h, x: (fd.scan(lambda h, k: (np.tanh(h @ w.T + x) * k, None), h, np.arange(3.0))[0], None)
        return fd.scan(inner, h, xs)[0].sum()

    lifted(run, W, H, XS)
    lifted(fd.grad(run), W, H, XS)


def test_a_carry_that_no_round_reads() -> None:
    def run(w: Any, h: Any, xs: Any) -> Any:
        return fd.scan(lambda h, x: (x @ w + x, None), h, xs)[0]

    lifted(run, W, H, XS)
    lifted(fd.grad(lambda *args: fnp.sum(run(*args) ** 2), argnums=(0, 1, 2)), W, H, XS)


def test_a_counter_beside_a_product_of_rows() -> None:
    def run(w: Any, h: Any, xs: Any) -> Any:
        return fd.scan(lambda c, x: ((np.tanh(c[0] + x @ w), c[1] + 1), None), (h, 0), xs)[0][0]

    lifted(run, W, H, XS)
    lifted(fd.grad(lambda *args: fnp.sum(run(*args) ** 2), argnums=(0, 1, 2)), W, H, XS)
