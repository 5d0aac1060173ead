"""Activations, losses and dropout: float16, huge numbers, lists, kinks, errors; laws/functions_networks.py has their formulas."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero.errors import DTypeError, FdezeroError, KeyMissingError, RangeError, ShapeError
from fdezero.functions import activations
from fdezero.testing import arrays, assert_trees_close, assert_trees_equal, check_grads, keys

from ..laws.cases import Case
from ..laws.functions_activations import CASES as SMOOTH_ACTIVATIONS
from ..laws.functions_losses import CASES as OPTIONS_OF_LOSSES
from ..laws.functions_networks import ACTIVATIONS, LOSSES

X = np.random.default_rng(0).standard_normal((4, 3)) + 0.05
LABELS = np.array([2, 0, 1, 2])
TARGETS = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]])
SMOOTH = [case for case in ACTIVATIONS + SMOOTH_ACTIVATIONS + LOSSES + OPTIONS_OF_LOSSES if case.argnums]


@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_float16_is_kept_by_values_and_gradients(case: Case) -> None:
    half = case._replace(args=fd.tree.map(lambda a: a.astype(np.float16) if np.asarray(a).dtype == np.float64 and np.ndim(a) else a, case.args))
    values, pullback = fd.vjp(half.of_inputs(), *half.inputs)
    assert {y.dtype for y in (*values, *pullback(values))} == {np.dtype(np.float16)}
    assert_trees_close([y.astype(float) for y in values], case.of_inputs()(*case.inputs), 5e-3)


HUGE: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(F, name) for name in activations.__all__ if name not in ("glu", "threshold")},
    "glu": lambda x: F.glu(x, axis=0), "threshold": lambda x: F.threshold(x, 0.5, 2.0), "gelu by tanh": lambda x: F.gelu(x, "tanh"),
    "softmax axis 0": lambda x: F.softmax(x, axis=0),
    "log_softmax axis 0": lambda x: F.log_softmax(x, axis=0),
    "softmax_cross_entropy": lambda x: F.softmax_cross_entropy(x, LABELS),
    "sigmoid_cross_entropy": lambda x: F.sigmoid_cross_entropy(x, TARGETS),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(F.sigmoid(x), TARGETS),
    "mean_squared_error": lambda x: F.mean_squared_error(x, TARGETS),
}


@pytest.mark.parametrize("name", HUGE)
def test_finite_without_warnings_at_huge_logits(name: str) -> None:
    function = HUGE[name]
    x = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [0, 1e4, -100]], np.float32)
    value, gradient = fd.value_and_grad(lambda x: fd.numpy.sum(function(x)))(x)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    curvature = fd.grad(lambda x: fd.numpy.sum(fd.grad(lambda x: fd.numpy.sum(function(x)))(x) * x))(x)
    assert np.isfinite(curvature).all()


def test_losses_at_huge_logits_are_the_margin() -> None:
    x = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    assert F.softmax_cross_entropy(x, np.array([0, 1])) == 1e4
    assert F.sigmoid_cross_entropy(x, np.array([[1, 0], [0, 1]])) == 5e3
    gradient = fd.grad(F.softmax_cross_entropy)(x, np.array([0, 1]))
    np.testing.assert_array_equal(gradient, np.array([[0, 0], [0.5, -0.5]], np.float32))


def test_binary_cross_entropy_is_finite_at_0_and_1() -> None:
    p = np.array([0, 1, 0, 1], np.float32)
    value, gradient = fd.value_and_grad(F.binary_cross_entropy)(p, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(value, -np.log(np.finfo(np.float32).tiny) / 2, rtol=1e-6)
    assert np.isfinite(gradient).all()


@given(arrays(np.float64, (3, 4), min_value=-50, max_value=50))
def test_softmax_is_a_distribution_and_ignores_shifts(x: np.ndarray) -> None:
    y = F.softmax(x)
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-12)
    np.testing.assert_allclose(F.softmax(x + 1e3), y, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(F.log_softmax(x), np.log(y), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", activations.__all__)
def test_lists_are_taken_for_arrays(name: str) -> None:
    function = (lambda x: F.threshold(x, 0.0, -2.0)) if name == "threshold" else getattr(F, name)
    assert_trees_equal(function([0.5, -1.0]), function(np.array([0.5, -1.0])))


def test_kinks() -> None:
    assert fd.grad(F.relu)(0.0) == 0
    assert fd.grad(F.leaky_relu)(0.0) == 0.2
    assert F.gelu(0.0) == 0


def test_accuracy() -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], np.float32)
    assert F.accuracy(logits, np.array([1, 0, 0, 1])) == 0.5
    assert F.accuracy(logits, np.array([1, 0, 1, 0], np.uint8)) == 1
    assert F.accuracy(logits.reshape(2, 2, 2), np.array([[1, 0], [0, 1]])) == 0.5
    np.testing.assert_array_equal(fd.grad(F.accuracy)(logits, np.array([1, 0, 0, 1])), np.zeros((4, 2), np.float32))


@pytest.mark.parametrize("loss", [F.softmax_cross_entropy, F.accuracy])
@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        (np.array([0.0, 1.0]), DTypeError, r"takes integer labels, got float64\[2\]. Use labels.astype\(int\)"),
        (np.eye(2, 3), DTypeError, r"Use labels.argmax\(axis=-1\)"),
        (np.array([True, False]), DTypeError, r"got bool\[2\]"),
        (np.array([0, 1, 2]), ShapeError, r"logits float32\[2,3\] need labels of shape \(2,\), got int64\[3\]"),
        (np.array([[0], [1]]), ShapeError, r"got int64\[2,1\]\.$"),
        (np.eye(2, 3, dtype=int), ShapeError, r"For one-hot labels, use labels.argmax\(axis=-1\)"),
        (np.array([0, 3]), RangeError, "between 0 and 3, but there are 3 classes"),
        (np.array([-1, 0]), RangeError, "between -1 and 0"),
    ],
)
def test_errors_of_labels(loss: Callable[..., Any], labels: np.ndarray, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        loss(np.zeros((2, 3), np.float32), labels)
    with pytest.raises(error, match=text):
        fd.grad(lambda x: loss(x, labels))(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("loss", [F.mean_squared_error, F.sigmoid_cross_entropy, F.binary_cross_entropy])
def test_shapes_do_not_broadcast_silently(loss: Callable[..., Any]) -> None:
    with pytest.raises(ShapeError, match=rf"{loss.__name__}: predictions float64\[3,1\] and targets float64\[3\]"):
        loss(np.full((3, 1), 0.5), np.ones(3))


@pytest.mark.parametrize("loss", [F.mean_squared_error, F.sigmoid_cross_entropy, F.binary_cross_entropy])
def test_the_loss_has_the_dtype_of_the_predictions(loss: Callable[..., Any]) -> None:
    p = F.sigmoid(X).astype(np.float32)
    assert loss(p, TARGETS.astype(np.float64)).dtype == np.float32
    assert fd.grad(loss)(p, TARGETS.astype(np.float64)).dtype == np.float32


def test_errors_of_linear() -> None:
    with pytest.raises(ShapeError, match=r"a last axis of 784, got x float64\[2,28,28\] .*x\.reshape\(2, 784\)"):
        F.linear(np.ones((2, 28, 28)), np.ones((784, 10)))
    with pytest.raises(ShapeError, match=r"a last axis of 5, got x float64\[2,7\] for W float64\[5,10\]\.$"):
        F.linear(np.ones((2, 7)), np.ones((5, 10)))
    for b in (np.ones(3), np.ones((2, 10)), np.ones(1)):
        with pytest.raises(ShapeError, match=r"a bias of shape \(10,\), got float64\["):
            F.linear(np.ones((2, 5)), np.ones((5, 10)), b)
    with pytest.raises(ShapeError, match="a last axis of 5"):
        F.linear(3.0, np.ones((5, 10)))


# Dropout
KEY = fd.random.key(0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, np.float32(0.25), np.asarray(0.7)])
def test_dropout_keeps_the_expectation(rate: Any, dtype: str) -> None:
    n = 200_000
    y = F.dropout(np.ones(n, dtype), rate, key=KEY, train=True)
    assert y.dtype == dtype
    kept = (y != 0).mean()
    deviation = math.sqrt(float(rate) * (1 - float(rate)) / n)
    assert abs(kept - (1 - float(rate))) < 4 * deviation + 2**-16
    assert len(np.unique(y)) == 2
    np.testing.assert_allclose(y.max(), 1 / (1 - float(rate)), rtol=1e-3)


@given(keys(), st.floats(0.01, 0.99))
def test_dropout_masks_depend_on_the_key_alone(key: np.ndarray, rate: float) -> None:
    ones = np.ones((8, 16), np.float32)
    y = F.dropout(ones, rate, key=key, train=True)
    assert_trees_equal(F.dropout(ones, rate, key=key, train=True), y)
    assert_trees_close(F.dropout(3 * ones, rate, key=key, train=True), 3 * y)


def test_dropout_with_other_keys_drops_others() -> None:
    first, second = (F.dropout(np.ones(100), 0.5, key=key, train=True) for key in fd.random.split(KEY))
    assert (first != second).any()


def test_a_greater_rate_drops_a_superset() -> None:
    few, many = (F.dropout(np.ones(1000), rate, key=KEY, train=True) for rate in (0.2, 0.6))
    assert set(np.flatnonzero(many)) < set(np.flatnonzero(few))


def test_dropout_outside_training_returns_its_very_input() -> None:
    x = np.ones(3)
    assert F.dropout(x, 0.5) is x
    assert F.dropout(x, 0.5, key=KEY, train=False) is x
    assert F.dropout(x, 0.0, train=True) is x


def test_gradient_of_dropout_is_its_mask() -> None:
    x = np.arange(1.0, 21.0)
    y, gradient = F.dropout(x, 0.4, key=KEY, train=True), fd.grad(lambda x: fd.numpy.sum(F.dropout(x, 0.4, key=KEY, train=True)))(x)
    np.testing.assert_allclose(gradient, y / x)
    check_grads(lambda x: F.dropout(x, 0.4, key=KEY, train=True) ** 2, (x,))


def test_dropped_infinities_are_zero() -> None:
    y = F.dropout(np.full(100, np.inf, np.float32), 0.5, key=KEY, train=True)
    assert set(y) == {np.float32(0), np.float32(np.inf)}


def test_dropout_maps_over_keys() -> None:
    both = fd.vmap(lambda key: F.dropout(np.ones(50), 0.5, key=key, train=True))(fd.random.split(KEY))
    for row, key in zip(both, fd.random.split(KEY), strict=True):
        assert_trees_equal(row, F.dropout(np.ones(50), 0.5, key=key, train=True))


def test_errors_of_dropout() -> None:
    with pytest.raises(KeyMissingError, match="needs a random key"):
        F.dropout(np.ones(3), 0.5, train=True)
    with pytest.raises(KeyMissingError, match=r"int 3 is a seed\. Pass fd.random.key\(3\)"):
        F.dropout(np.ones(3), 0.5, key=3, train=True)
    for rate in (1.0, -0.1, math.nan, np.float32(1), np.asarray(1.5)):
        with pytest.raises(ValueError, match="from 0 up to but not including 1") as caught:
            F.dropout(np.ones(3), rate, key=KEY, train=True)
        assert isinstance(caught.value, FdezeroError)
