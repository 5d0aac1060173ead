"""What was once wrong, each as a test of its own, with the reason."""

import gc
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import TraceError


def assert_bits(got: Any, expected: Any) -> None:
    """Two trees of the same dtypes, shapes and bits."""
    got, expected = fd.tree.leaves(got), fd.tree.leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(map(np.asarray, got), map(np.asarray, expected), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def assert_compiled(function: Any, *args: Any) -> None:
    """Eager bits, in the first call and the later ones, whose results are held meanwhile."""
    expected, compiled = function(*args), fd.compile(function)
    for result in [compiled(*args) for _ in range(4)]:
        assert_bits(result, expected)


# Compiled code


def test_a_group_does_not_write_a_choice_over_its_own_condition() -> None:
    rng = np.random.default_rng(0)
    x, p, q = rng.normal(size=(3, 300, 300)), rng.random((300, 300)) > 0.5, rng.random((300, 300)) > 0.5

    def function(x: Any, p: Any, q: Any) -> Any:
        y = fnp.where(fnp.any(x > 1, axis=0), p, q)
        return y, fnp.logical_not(y)

    assert_compiled(function, x, p, q)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - (-0.0),
        lambda x: (-0.0) ** (x + 2),
        lambda x: x * (-1j),
        lambda x: x * complex(-0.0, 0.0),
        lambda x: x + complex(0.0, -0.0),
    ],
)
def test_the_signs_of_zeros_in_constants_are_kept(function: Any) -> None:
    assert_compiled(function, np.array([0.0, -0.0, 1.0]))


def test_a_rule_that_closes_over_a_recorded_value_is_not_passed_over_in_silence() -> None:
    def function(x: Any, c: Any) -> Any:
        rule = fd.custom_jvp(lambda x: x * c)
        rule.defjvp(lambda primals, tangents: (primals[0] * c, 100.0 * tangents[0]))
        return fnp.sum(rule(x))

    x, c, compiled = np.arange(3.0), np.array(2.0), fd.compile(function)
    assert_compiled(function, x, c)
    assert_bits(fd.vmap(compiled, (None, 0))(x, np.array([1.0, 2.0])), np.array([3.0, 6.0]))
    assert_bits(fd.compile(fd.grad(function))(x, c), np.full(3, 100.0))
    with pytest.raises(TraceError, match="closure"):
        fd.grad(compiled)(x, c)
    with pytest.raises(TraceError, match="closure"):
        fd.jvp(compiled, (x, c), (x, c))
    with pytest.raises(TraceError, match="closure"):
        fd.vmap(fd.grad(compiled), (None, 0))(x, np.array([1.0, 2.0]))


def test_the_solver_of_an_equation_that_closes_over_a_recorded_value_gives_no_zero_gradient() -> None:
    def function(a: Any, start: Any) -> Any:
        def solve(f: Any, guess: Any) -> Any:
            x = guess + start * 0
            for _ in range(30):
                x = x - f(x) / (2 * x)
            return x

        return fd.custom_root(lambda x: x * x - a, np.array(1.0), solve, lambda g, y: y / g(np.array(1.0)))

    np.testing.assert_allclose(fd.compile(fd.grad(function))(np.array(4.0), np.array(1.0)), 0.25)
    with pytest.raises(TraceError, match="closure"):
        fd.grad(fd.compile(function))(np.array(4.0), np.array(1.0))


def test_a_rule_of_ones_own_leaves_no_input_read_only() -> None:
    clipped = fd.custom_vjp(lambda x: x)
    clipped.defvjp(lambda x: (x, None), lambda residuals, t: (t,))
    doubled = fd.custom_jvp(lambda x: 2 * x)
    doubled.defjvp(lambda primals, tangents: (2 * primals[0], 2 * tangents[0]))
    gc.disable()
    try:
        for function in (clipped, doubled):
            x = np.ones(3)
            _, pullback = fd.vjp(function, x)
            pullback(np.ones(3))
            del pullback
            x[0] = 2.0
    finally:
        gc.enable()
