"""Past bugs, each with its own test and the reason."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.core import unwrap
from fdezero.errors import KinkError, RangeError, ShapeError, TraceError
from fdezero.testing import assert_trees_close, check_grads


def assert_bits(got: Any, expected: Any) -> None:
    """Two trees of the same dtypes, shapes and bits."""
    got, expected = fd.tree.leaves(got), fd.tree.leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(map(np.asarray, got), map(np.asarray, expected), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def assert_compiled(function: Any, *args: Any) -> None:
    """Check for eager bits in the first call and in later ones, while earlier results are held."""
    expected, compiled = function(*args), fd.compile(function)
    for result in [compiled(*args) for _ in range(4)]:
        assert_bits(result, expected)


# Memory


def test_the_walk_back_frees_arrays_that_it_has_used() -> None:
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    @fd.custom_vjp
    def first(x: Any) -> Any:
        return x

    def count(residuals: None, t: Any) -> tuple[Any]:
        alive.append(sum(reference() is not None for reference in made))
        return (t,)

    first.defvjp(lambda x: (x, None), count)

    def function(x: Any) -> Any:
        y = first(x)
        for _ in range(10):
            y = fnp.sin(y)
            made.append(weakref.ref(unwrap(y)))
        return fnp.sum(y)

    fd.grad(function)(np.ones(3))
    assert len(made) == 10
    assert alive == [0]


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


def test_a_custom_rule_leaves_its_inputs_writeable() -> None:
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


# Functions and their derivatives


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_power_of_pythons_zero_has_an_infinite_derivative_and_no_error() -> None:
    root = lambda x: x**0.5
    compiled = fd.grad(fd.compile(root))
    assert compiled(1.0) == 0.5
    assert fd.grad(root)(0.0) == compiled(0.0) == fd.jvp(root, (0.0,), (1.0,))[1] == np.inf
    assert fd.grad(fd.grad(lambda x: x**1.5))(0.0) == np.inf
    assert fd.grad(fd.grad(lambda x: x**2.0))(0.0) == 2.0


def test_clip_at_one_bound_has_the_derivative_of_clip_at_two() -> None:
    x = np.array([0.0, 0.5, 1.0, 2.0])
    assert_bits(fd.elementwise_grad(lambda x: fnp.clip(x, 0, 1))(x), np.array([1.0, 1.0, 1.0, 0.0]))
    assert_bits(fd.elementwise_grad(lambda x: fnp.clip(x, None, 1))(x), np.array([1.0, 1.0, 1.0, 0.0]))
    assert_bits(fd.elementwise_grad(lambda x: fnp.clip(x, 1, None))(x), np.array([0.0, 0.0, 1.0, 1.0]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64])
def test_a_gradient_over_a_grid_keeps_its_dtype(dtype: Any) -> None:
    x = np.arange(6).reshape(2, 3).astype(dtype) ** 2
    for args in [(), (2.0,), (np.float64(2.0), np.array([0.0, 1.0, 3.0]))]:
        for got, expected in zip(fnp.gradient(x, *args), np.gradient(x, *args), strict=True):
            assert got.dtype == expected.dtype == dtype
            np.testing.assert_allclose(got, expected, rtol=1e-3 if dtype == np.float16 else 1e-6)


def test_means_of_large_integers_do_not_wrap_around() -> None:
    for x in [np.array([2**63, 2**63], np.uint64), np.array([2**63 - 1, 2**63 - 1, 0])]:
        for ours, numpys in [(fnp.mean, np.mean), (fnp.var, np.var), (fnp.nanmean, np.nanmean), (fnp.nanstd, np.nanstd)]:
            np.testing.assert_allclose(ours(x), numpys(x))


def test_variances_of_float16_are_summed_in_float32_and_of_complex_numbers_are_real() -> None:
    x = np.linspace(0, 100, 3000).astype(np.float16)
    np.testing.assert_allclose(fnp.var(x), np.var(x.astype(np.float64)), rtol=1e-3)
    z = np.array([1 + 2j, 3 - 1j, np.nan], np.complex64)
    assert fnp.nanvar(z).dtype == np.float32
    np.testing.assert_allclose(fnp.nanstd(z), np.nanstd(z), rtol=1e-6)


def test_nan_to_num_keeps_integers_and_replaces_parts_of_complex_numbers() -> None:
    for x in [np.arange(3), np.array([True, False]), np.array([complex(np.nan, 1), complex(2, np.inf)], np.complex64)]:
        assert_bits(fnp.nan_to_num(x), np.nan_to_num(x))


def test_booleans_are_close_when_they_are_equal() -> None:
    assert_bits(fnp.isclose(np.array([True, False]), np.array([True, True])), np.array([True, False]))


# Transformations


def test_a_tangent_of_another_shape_is_named_by_its_path() -> None:
    primals = ({"a": None, "b": [np.zeros(2), fd.Frozen(np.ones(3)), np.zeros(2)]},)
    tangents = ({"a": None, "b": [np.zeros(2), fd.Frozen(np.ones(3)), np.zeros(3)]},)
    with pytest.raises(ShapeError, match="0/b/2"):
        fd.jvp(lambda tree: tree["b"][0], primals, tangents)


def test_labels_out_of_range_are_an_error_in_compiled_code_too() -> None:
    def loss(logits: Any, labels: Any) -> Any:
        return fd.functions.softmax_cross_entropy(logits, labels % 8 - 2)  # computed within

    logits, good = np.zeros((2, 3)), np.array([2, 4])
    assert_compiled(loss, logits, good)
    batched = fd.vmap(fd.compile(loss), (None, 0))
    for function in (fd.compile(loss), fd.compile(fd.grad(loss)), fd.grad(fd.compile(loss)), lambda x, t: batched(x, t[None])):
        for bad in (np.array([1, 2]), np.array([2, 5])):
            function(logits, good)
            with pytest.raises(RangeError, match="there are 3 classes"):
                function(logits, bad)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_the_length_of_complex_numbers_has_the_bits_of_numpys(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(300, 301)) + 1j * rng.normal(size=(300, 301))).astype(dtype)
    for x in (z, z[::2, ::3], z.T):
        assert_compiled(abs, x)
        assert_compiled(lambda x: abs(x * 2) + 1, x)
        assert_bits(fnp.abs(x), np.abs(x))
    assert not fd.grad(lambda x: fnp.sum(abs(x)))(np.zeros(2, dtype)).any()
    assert np.isnan(fnp.real(fd.grad(lambda x: fd.grad(abs)(x).real)(dtype(0)))).all()  # the second derivative is infinite
    check_grads(lambda x: abs(x * x), [1.5 - 0.5j])


def test_reductions_take_numpys_initial_and_where() -> None:
    x, where = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]]), np.array([[True, False, True], [False, True, True]])
    calls = [
        lambda x, f: f.sum(x, axis=0, initial=2.0, where=where),
        lambda x, f: f.prod(x, axis=1, keepdims=True, initial=3.0, where=where),
        lambda x, f: f.max(x, axis=1, initial=0.5, where=where),
        lambda x, f: f.min(x, axis=0, initial=9.0, where=where),
        lambda x, f: f.max(x[:0], axis=0, initial=1.0),
        lambda x, f: f.mean(x, axis=1, where=where),
        lambda x, f: f.mean(x.astype(np.float32), axis=1, where=where[0]),
        lambda x, f: f.any(x > 2, axis=0, where=where),
        lambda x, f: f.all(x > 2, axis=1, where=where[:1]),
    ]
    for call in calls:
        assert_bits(call(x, fnp), call(x, np))
        assert_compiled(lambda x, call=call: call(x, fnp), x)
    for call in calls[:4]:  # NumPy's own function on a traced value
        check_grads(lambda x, call=call: call(x, np), [x])
    with pytest.raises(ValueError, match="initial="):
        fnp.max(x, where=where)


def test_a_ufunc_of_a_traced_value_names_the_keyword_that_it_does_not_take() -> None:
    with pytest.raises(TraceError, match=r"np.add of a traced value takes no dtype=, where="):
        fd.grad(lambda x: np.add(x, 1, where=np.array(False), dtype=np.float32))(1.0)
    with pytest.raises(TraceError, match=r"np.power of a traced value takes no dtype="):
        fd.grad(lambda x: np.power(x, 2, dtype=np.float32))(1.0)
    assert fd.grad(lambda x: np.sin(x, where=True, casting="same_kind", dtype=None))(0.0) == 1.0


def test_a_number_asked_of_a_batch_is_refused_in_terms_of_batches() -> None:
    for ask in (bool, float, int):
        with pytest.raises(TraceError, match=r"traced by vmap\(.*stands for a whole batch.*where"):
            fd.vmap(lambda x, ask=ask: ask(x))(np.arange(3.0))


# Testing gradients


def test_a_point_too_near_the_edge_of_a_domain_is_no_wrong_gradient() -> None:
    for x in (1.1e-6, 2e-6, 3.9e-6):  # The smallest step stays inside, the next one does not.
        with pytest.raises(KinkError, match="one side only"):
            check_grads(np.sqrt, [np.array([x])])


NOT_TAKEN: dict[str, Callable[[Any], Any]] = {
    "sqrt": lambda x: np.where(x > 0, np.sqrt(x), 0),
    "log": lambda x: np.where(x > 0, np.log(x), 0),
    "log1p": lambda x: np.where(x > 0, np.log1p(-1 / np.where(x > 0, 2, 1) + x * 0), 0),
    "reciprocal": lambda x: np.where(x != 0, 1 / x, 0),
    "quotient": lambda x: np.where(x != 0, np.sin(x) / x, 1),
    "power": lambda x: np.where(x > 0, x**0.5, 0),
    "power of an array": lambda x: np.where(x > 0, x ** np.full(np.shape(x), 0.3), 0),
    "arcsin": lambda x: np.where(abs(x) < 1, np.arcsin(x / 0.5), 0),
    "arctan2": lambda x: np.where(x != 0, np.arctan2(x, x * 2), 0),
    "slope of a power": lambda x: np.where(x > 0, fd.elementwise_grad(lambda x: x * x**0.5)(x), 0),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("function", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_no_nan_comes_from_a_branch_that_is_not_taken(function: Callable[[Any], Any]) -> None:
    x = np.array([-1.0, 0.0, 0.3])

    def total(x: Any) -> Any:
        return np.sum(function(x))

    first = fd.grad(total)
    assert np.isfinite(first(x)).all()
    assert np.isfinite(fd.jvp(function, (x,), (np.ones(3),))[1]).all()
    for same in (fd.compile(first), fd.grad(fd.compile(total))):
        assert all(same(x).tobytes() == first(x).tobytes() for _ in range(3))
    assert_trees_close(fd.vmap(fd.grad(function))(x), first(x), 1e-12)


def test_a_slope_of_nothing_keeps_the_second_derivative() -> None:
    assert fd.grad(fd.grad(lambda x: 0.5 * np.log(x) ** 2))(1.0) == 1.0
    assert fd.grad(fd.grad(lambda x: (np.sqrt(x) - 1) ** 2))(1.0) == pytest.approx(0.5)
    with np.errstate(all="ignore"):
        assert fd.grad(np.sqrt)(0.0) == np.inf
        assert fd.grad(np.log)(0.0) == np.inf
        assert np.isnan(fd.grad(np.log)(np.nan))


def test_a_value_that_is_an_array_of_the_closure_is_handed_out_as_a_copy() -> None:
    constant = np.array(1.0)
    value, _ = fd.value_and_grad(lambda x: constant)(2.0)
    value[...] = 3.0
    assert constant == 1.0
