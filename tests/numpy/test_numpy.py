"""`fdezero.numpy` gives the values of NumPy on arrays, inside grad and under vmap; derivatives agree with differences."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import ShapeError, TraceError
from fdezero.testing import arrays, assert_trees_close, broadcastable_shapes, check_grads

A = np.random.default_rng(0).standard_normal((2, 3, 4))
B = np.random.default_rng(1).standard_normal((4, 3))

# Expressions that also work in NumPy, with `np` the module and `x` an array of shape (2, 3, 4); functions: test_function_laws.py
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "power": lambda np, x: np.abs(x) ** 1.5 + x**2 + 2.0**x,
    "square roots": lambda np, x: np.sqrt(x * x + 1) / np.cbrt(x * x + 2),
    "index": lambda np, x: x[0, ..., 1],
    "slices": lambda np, x: x[:, ::-1, 1:4:2],
    "new axis": lambda np, x: x[None, :, 1, None],
    "index array": lambda np, x: x[:, [2, 0, 0]],
    "index arrays": lambda np, x: x[[0, 1, 1], :, [3, 0, 0]],
    "index mixed": lambda np, x: x[1, :, [0, 3]],
    "index adjacent": lambda np, x: x[:, [[0], [1]], [0, 3]],
    "mask": lambda np, x: x[A > 0.3],
    "mask of an axis": lambda np, x: x[:, [True, False, True]],
}


@pytest.mark.parametrize("name", CALLS)
def test_value_and_derivatives(name: str) -> None:
    call = CALLS[name]
    expected = call(np, A)
    assert_trees_close(call(fnp, A), expected, 1e-13, "the face on arrays")
    assert_trees_close(fd.jvp(lambda x: call(fnp, x), (A,), (A,))[0], expected, 1e-13, "the face on tracers")
    assert_trees_close(fd.jvp(lambda x: call(np, x), (A,), (A,))[0], expected, 1e-13, "NumPy's own function on tracers")
    check_grads(lambda x: call(np, x), (A,), order=2, tolerance=1e-5)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "mask"])
def test_vmap(name: str) -> None:
    call = CALLS[name]
    batch = np.stack([A, 2 * A, A - 1])
    assert_trees_close(fd.vmap(lambda x: call(np, x))(batch), np.stack([call(np, x) for x in batch]), 1e-12)


@given(st.data())
def test_any_basic_or_integer_index(data: Any) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    index = data.draw(st.one_of(hnp.basic_indices(shape, allow_newaxis=True), hnp.integer_array_indices(shape)))
    assert_trees_close(fnp.getitem(x, index), np.asarray(x[index]), 0)
    weights = np.cos(np.arange(np.size(x[index]), dtype=float)).reshape(np.shape(x[index]))
    expected = np.zeros(shape)
    np.add.at(expected, index, weights)
    assert_trees_close(fd.grad(lambda x: np.sum(x[index] * weights))(x), expected, 1e-14)


@given(st.data())
def test_broadcasting_is_undone(data: Any) -> None:
    shapes = data.draw(broadcastable_shapes(2))
    x, y = (data.draw(arrays(shape=st.just(shape))) for shape in shapes)
    gradients = fd.grad(lambda x, y: np.sum(x * y + x - 2 * y), argnums=(0, 1))(x, y)
    ones = np.ones(np.broadcast_shapes(*shapes))
    for gradient, factor, value in zip(gradients, (y + 1, x - 2), (x, y), strict=True):
        wide = ones * factor
        lead = tuple(range(wide.ndim - value.ndim))
        short = tuple(i for i, n in enumerate(value.shape, len(lead)) if n == 1)
        assert_trees_close(gradient, wide.sum(axis=(*lead, *short), keepdims=True).reshape(value.shape), 1e-12)


IN_PLACE: dict[str, Callable[[Any, Any, Any], Any]] = {
    "set": lambda x, i, y: x.__setitem__(i, y),
    "add": lambda x, i, y: np.add.at(x, i, y),
    "multiply": lambda x, i, y: np.multiply.at(x, i, y),
    "min": lambda x, i, y: np.minimum.at(x, i, y),
    "max": lambda x, i, y: np.maximum.at(x, i, y),
}


@pytest.mark.parametrize("method", IN_PLACE)
@pytest.mark.parametrize(
    "index", [slice(1, 3), 2, np.array([0, 2, 2, 0, 2]), (np.array([3, 1]), 1), np.array([True, False, True, False])], ids=str
)
def test_functional_update_is_the_update_in_place(method: str, index: Any) -> None:
    x = B.copy()
    y = np.linspace(-1, 1, np.size(x[index])).reshape(x[index].shape) + 0.013
    expected = x.copy()
    IN_PLACE[method](expected, index, y)

    def update(x: Any, y: Any) -> Any:
        return getattr(fd.at(x)[index], method)(y)

    assert_trees_close(update(x, y), expected, 1e-14)
    assert_trees_close(x, B, 0)
    check_grads(update, (x, y), order=2, step=1e-4, tolerance=1e-5)
    stacked = fd.vmap(update, (None, 0))(x, np.stack([y, -y]))
    assert_trees_close(stacked, np.stack([update(x, y), update(x, -y)]), 1e-14)


def test_functional_update_keeps_the_dtype_of_the_array() -> None:
    x = np.zeros(3, np.float32)
    assert fd.at(x)[0].set(np.float64(0.1)).dtype == np.float32
    assert fd.at(x)[np.array([1, 1])].add(0.5)[1] == 1.0
    with pytest.raises(ShapeError, match=r"at\(x\)\[index\] has shape \(2,\)"):
        fd.at(x)[:2].set(np.ones(3))


def test_batched_indices() -> None:
    x, i = np.arange(5.0), np.array([[0, 1], [4, 4]])
    assert_trees_close(fd.vmap(lambda i: fnp.take(x, i))(i), x[i], 0)
    assert_trees_close(fd.vmap(lambda x, i: x[i], (0, 0))(np.stack([x, x]), i), x[i], 0)
    updated = fd.vmap(lambda i: fd.at(x)[i].multiply(3.0))(i)
    assert_trees_close(updated, np.array([[0, 3, 2, 3, 4], [0, 1, 2, 3, 36]], float), 0)


def test_a_plain_array_indexed_by_a_traced_value_says_what_to_do() -> None:
    for index in (np.array([[0, 1]]), np.array([1])):
        with pytest.raises(TraceError, match=r"fd\.numpy\.getitem\(x, i\)"):
            fd.vmap(lambda i: np.arange(5.0)[i])(index)


def test_where_keeps_nan_of_the_other_branch_out_of_the_gradient() -> None:
    x = np.array([-1.0, 0.0, 4.0])
    with np.errstate(all="ignore"):
        gradient = fd.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), 0.0)))(x)
    assert_trees_close(gradient, np.array([0.0, 0.0, 0.25]), 0)


def test_ties_are_split_evenly() -> None:
    assert_trees_close(fd.grad(np.max)(np.array([1.0, 3.0, 3.0])), np.array([0.0, 0.5, 0.5]), 0)
    assert fd.grad(lambda x: np.maximum(x, 2.0))(2.0) == 0.5
    assert fd.grad(lambda x: np.clip(x, 0.0, 2.0))(2.0) == 1.0
    assert fd.grad(fd.functions.relu)(0.0) == 0.0
    assert fd.grad(np.abs)(0.0) == 0.0


def test_powers_at_zero() -> None:
    assert fd.grad(lambda x: x**2)(0.0) == 0.0
    assert fd.grad(lambda x: x**1)(0.0) == 1.0
    assert fd.grad(lambda x: x**0)(0.0) == 0.0
    assert fd.grad(fd.grad(lambda x: x**3))(0.0) == 0.0
    assert_trees_close(fd.grad(lambda x: np.sum(x ** np.array([0.0, 1.0, 2.0])))(np.zeros(3)), np.array([0.0, 1.0, 0.0]), 0)


def test_products_with_zeros() -> None:
    assert_trees_close(fd.grad(np.prod)(np.array([0.0, 2.0, 3.0])), np.array([6.0, 0.0, 0.0]), 0)


def test_mixing_with_plain_arrays_on_either_side() -> None:
    x = np.array([1.0, 2.0])
    assert_trees_close(fd.grad(lambda t: np.sum(x * t + t * x - x / t + (x @ t)))(x), 4 * x + x / x**2, 1e-14)


def test_python_numbers_stay_weak() -> None:
    x = np.ones(3, np.float32)

    def f(s: Any) -> Any:
        return np.sum((s * 2.0 + 1) * x)

    value, gradient = fd.value_and_grad(f)(0.5)
    assert value.dtype == np.float32
    assert gradient == 6.0


def test_booleans_and_integers_are_plain_under_grad() -> None:
    def f(x: Any) -> Any:
        assert isinstance(x > 0, np.ndarray)
        assert x.astype(int).dtype.kind == "i"
        assert np.argmax(x) == 1
        return x[np.argmax(x)]

    assert_trees_close(fd.grad(f)(np.array([1.0, 5.0])), np.array([0.0, 1.0]), 0)


def test_methods_and_properties() -> None:
    def f(x: Any) -> Any:
        assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 3), 2, 6, 2, np.float64)
        assert not hasattr(x, "level") or x.__array_namespace__() is fnp
        return (x.T @ x).trace() + x.reshape(3, 2).sum(axis=0).max() + x.mean() + sum(row.sum() for row in x)

    x = np.arange(6.0).reshape(2, 3)
    check_grads(f, (x,), order=2)


def test_a_traced_value_has_every_method_of_an_array_that_the_namespace_has_a_function_for() -> None:
    methods = {name for name, member in vars(np.ndarray).items() if inspect.ismethoddescriptor(member)} & set(fnp.__all__)
    assert len(methods) > 30
    assert methods - set(vars(fd.core.Tracer)) == {"resize"}  # NumPy's method writes into the array
    assert fd.grad(lambda x: (x.compress([True, False, True]) ** 2).sum())(np.array([1.0, 2.0, 3.0])).tolist() == [2.0, 0.0, 6.0]


def test_the_namespace_holds_functions_and_not_their_tools() -> None:
    assert not {"np", "Any", "ops", "discrete", "elementwise", "as_array", "math", "operator"} & {
        name for name, member in vars(fnp).items() if not inspect.ismodule(member) or member.__name__ in ("numpy", "math", "operator")
    }


def test_shape_functions_of_a_traced_value() -> None:
    assert fd.grad(lambda x: x.sum() * (np.ndim(x) + np.size(x) + np.shape(x)[0]))(np.ones(3)).tolist() == [7.0] * 3


def test_unknown_functions_are_named_with_their_neighbours() -> None:
    with pytest.raises(TraceError, match=r"cannot trace np\.histogram2d; similar: histogram"):
        fd.grad(lambda x: np.histogram2d(x, x))(np.ones(3))


def test_every_name_is_public_to_type_checkers_also() -> None:
    found = {name for name, member in vars(fnp).items() if not (name.startswith("_") or inspect.ismodule(member))}
    assert set(fnp.__all__) == found | {"fft", "linalg"}
