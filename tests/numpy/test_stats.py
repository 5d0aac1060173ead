"""Log-densities: SciPy's values, -inf outside the support without NaN in gradients, NaN for bad parameters, errors."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats

import fdezero as fd
from fdezero import stats
from fdezero.errors import ShapeError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

X = np.array([-np.inf, -2.5, -1.0, -0.0, 0.3, 0.9, 1.0, 2.0, 7.0, np.inf, np.nan])
LOC_SCALE = ((), (0.3,), (0.3, 2), (0, -1.0), (0.1, np.array([[1.0], [-1.0]])))
ONE_SHAPE = ((1,), (2.5,), (0.5, 0.3, 2), (-1.0,), (np.array([[1.0], [-1.0], [2.0]]), 0.2))
PARAMETERS: dict[str, Sequence[tuple[Any, ...]]] = {
    **dict.fromkeys(["norm", "laplace", "cauchy", "uniform", "expon"], LOC_SCALE),
    **dict.fromkeys(["t", "gamma", "lognorm"], ONE_SHAPE),
    "beta": [(1, 1), (2.5, 0.5), (0.5, 3, -2, 4), (-1.0, 2)],
    "bernoulli": [(0.0,), (0.3,), (1.0,), (1.2,), (0.3, 1), (np.array([[0.2], [-0.1]]),)],
    "binom": [(3, 0.0), (3, 0.3), (7, 1.0), (2.5, 0.3), (3, 1.2), (3, 0.3, -1)],
    "poisson": [(0,), (0.3,), (4.0,), (-1.0,), (2.0, 1)],
}
ROWS = [(name, parameters) for name, rows in PARAMETERS.items() for parameters in rows]


def method(module: Any, name: str, log: bool = True) -> Any:
    kind = "pmf" if name in ("bernoulli", "binom", "poisson") else "pdf"
    return getattr(getattr(module, name), "log" * log + kind)


@pytest.mark.parametrize(("name", "parameters"), ROWS, ids=str)
def test_values_are_those_of_scipy(name: str, parameters: tuple[Any, ...]) -> None:
    for log in (True, False):
        with np.errstate(all="ignore"):
            got, expected = method(stats, name, log)(X, *parameters), method(scipy.stats, name, log)(X, *parameters)
        if name in ("gamma", "poisson"):  # SciPy gives NaN.
            expected = np.where(np.isposinf(X) & ~np.isnan(got), -np.inf if log else 0, expected)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", PARAMETERS)
def test_outside_of_the_support_gradients_are_zero_and_those_inside_are_not_disturbed(name: str) -> None:
    shapes = {"beta": (2.0, 3.0), "bernoulli": (0.3,), "binom": (3, 0.3), "poisson": (2.0,), "norm": (), "laplace": (), "cauchy": ()}
    parameters = shapes.get(name, () if name in ("uniform", "expon") else (2.0,))
    outside = np.array([-np.inf, np.inf]) if name in ("norm", "laplace", "cauchy", "t") else np.array([-np.inf, -3.0, -0.5, np.inf])
    inside = np.array([1.0]) if name in ("bernoulli", "binom", "poisson") else np.array([0.5])

    def total(x: Any, parameters: Any) -> Any:
        logs = method(stats, name)(x, *parameters)
        return np.sum(np.where(np.isfinite(logs), logs, 0)), np.sum(logs[-1])

    gradients = fd.grad(lambda *args: total(*args)[0], argnums=(0, 1))(np.concatenate([outside, inside]), parameters)
    alone = fd.grad(lambda *args: total(*args)[1], argnums=(0, 1))(inside, parameters)
    assert_trees_equal(gradients[0][:-1], np.zeros(len(outside)))
    assert_trees_close((gradients[0][-1:], gradients[1]), alone, 1e-14)
    assert_trees_equal(fd.vjp(lambda x: method(stats, name)(x, *parameters), outside)[1](np.ones(len(outside)))[0], np.zeros(len(outside)))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_dtype_is_that_of_the_floats(name: str, dtype: str) -> None:
    parameters = {"beta": (2.0, 3), "bernoulli": (0.3,), "binom": (3, 0.3), "poisson": (2,), "t": (2,), "gamma": (2.5,), "lognorm": (1.0,)}
    given = parameters.get(name, (0.1, 2.0))
    assert method(stats, name)(np.ones(3, dtype), *given).dtype == dtype
    narrow = tuple(np.asarray(p, dtype) for p in given)
    assert method(stats, name)(np.array([0, 1]), *narrow).dtype == dtype
    x = np.array(1) if name in ("bernoulli", "binom", "poisson") else np.array(0.5, dtype)
    assert all(g.dtype == dtype for g in fd.grad(lambda p: method(stats, name)(x, *p))(narrow))


def test_categorical() -> None:
    p = np.array([[0.2, 0.3, 0.5], [4.0, 1.0, 0.0]])
    assert_trees_close(stats.categorical.logpmf(np.array([2, 0]), p), np.log([0.5, 0.8]), 1e-15)
    assert_trees_equal(stats.categorical.logpmf(np.array([-1, 3]), p[0]), np.array([-np.inf, -np.inf]))
    logits = np.log(p[0])
    assert_trees_close(stats.categorical.logpmf(1, logits=logits + 5), np.log(0.3), 1e-14)
    gradient = fd.grad(lambda logits: stats.categorical.logpmf(1, logits=logits))(logits)
    assert_trees_close(gradient, np.array([-0.2, 0.7, -0.5]), 1e-14)
    with pytest.raises(ShapeError, match="either"):
        stats.categorical.logpmf(1)


def test_dirichlet() -> None:
    x, alpha = np.array([0.2, 0.3, 0.5]), np.array([1.5, 1.0, 4.0])
    assert_trees_close(stats.dirichlet.logpdf(x, alpha), scipy.stats.dirichlet.logpdf(x, alpha), 1e-14)
    assert_trees_close(stats.dirichlet.logpdf(np.stack([x, x]), alpha), np.full(2, scipy.stats.dirichlet.logpdf(x, alpha)), 1e-14)
    assert_trees_equal(stats.dirichlet.logpdf(np.array([[0.5, 0.7, -0.2], [0.5, 0.5, 0.5]]), alpha), np.array([-np.inf, -np.inf]))
    assert_trees_equal(fd.grad(lambda x: stats.dirichlet.logpdf(x, alpha))(np.array([0.5, 0.7, -0.2])), np.zeros(3))
    assert np.isnan(stats.dirichlet.logpdf(x, -alpha))
    assert stats.dirichlet.logpdf(x.astype(np.float32), alpha.astype(np.float32)).dtype == np.float32
    with pytest.raises(ShapeError, match="dirichlet"):
        stats.dirichlet.logpdf(x, alpha[:2])


def test_parameters_by_name_and_their_errors() -> None:
    assert stats.gamma.logpdf(1.0, a=2.0, scale=3.0) == stats.gamma.logpdf(1.0, 2.0, 0, 3.0)
    assert repr(stats.gamma) == "stats.gamma"
    for call in (
        lambda: stats.gamma.logpdf(1.0),
        lambda: stats.gamma.logpdf(1.0, 2.0, a=3.0),
        lambda: stats.norm.logpdf(1.0, 0, 1, 2),
        lambda: stats.poisson.logpmf(1, 1.0, scale=2.0),
    ):
        with pytest.raises(TypeError, match="takes x and the parameters"):
            call()


def test_a_fit_by_descent_finds_the_parameters() -> None:
    x = scipy.stats.norm.rvs(2.0, 0.5, size=400, random_state=np.random.default_rng(0))

    def loss(parameters: Any) -> Any:
        return -np.mean(stats.norm.logpdf(x, parameters["mean"], np.exp(parameters["log_scale"])))

    parameters = {"mean": np.float64(0.0), "log_scale": np.float64(0.0)}
    for _ in range(300):
        parameters = fd.tree.map(lambda p, g: p - 0.05 * g, parameters, fd.grad(loss)(parameters))
    assert parameters["mean"] == pytest.approx(x.mean(), abs=1e-3)
    assert parameters["log_scale"] == pytest.approx(math.log(x.std()), abs=1e-3)


def test_on_the_gpu(gpu: Any) -> None:
    x = np.array([-1.0, 0.25, 0.75, 1.0], np.float32)
    for name in PARAMETERS:
        parameters = {"beta": (2, 3.0), "bernoulli": (0.3,), "binom": (3, 0.3), "poisson": (2,), "t": (2,), "gamma": (2.5,), "lognorm": (1.0,)}
        given = parameters.get(name, (0.1, 2))
        there = method(stats, name)(gpu.asarray(x), *given)
        assert fd.device_of(there) == "gpu:0"
        assert_trees_close(fd.to_numpy(there), method(stats, name)(x, *given), 1e-5)
        gradient = fd.grad(lambda x, p, name=name: fd.numpy.sum(method(stats, name)(x, *p)), argnums=1)
        p = tuple(np.float32(value) for value in given)
        assert_trees_close(gradient(gpu.asarray(x[1:3]), p), gradient(x[1:3], p), 1e-4)
    p, labels = np.array([[0.2, 0.8], [0.5, 0.5]], np.float32), np.array([1, 0])
    there = stats.categorical.logpmf(gpu.asarray(labels), gpu.asarray(p))
    assert_trees_close(fd.to_numpy(there), stats.categorical.logpmf(labels, p), 1e-6)
    there = stats.dirichlet.logpdf(gpu.asarray(p), gpu.asarray(p + 1))
    assert_trees_close(fd.to_numpy(there), stats.dirichlet.logpdf(p, p + 1), 1e-5)


def test_multivariate_normal() -> None:
    mean, cov = np.array([0.3, -1.0]), np.array([[2.0, 0.4], [0.4, 0.5]])
    x = np.array([[0.1, 0.2], [1.0, -1.0], [0.3, -1.0]])
    assert_trees_close(stats.multivariate_normal.logpdf(x, mean, cov), scipy.stats.multivariate_normal.logpdf(x, mean, cov), 1e-13)
    each = stats.multivariate_normal.logpdf(x, np.zeros(2), np.stack([cov, 2 * cov, 3 * cov]))
    assert_trees_close(each[1], scipy.stats.multivariate_normal.logpdf(x[1], np.zeros(2), 2 * cov), 1e-13)
    check_grads(stats.multivariate_normal.logpdf, (x, mean, cov), order=2)
    with pytest.raises(ShapeError, match=r"multivariate_normal: x float64\[3,2\].*cov float64\[3,3\]"):
        stats.multivariate_normal.logpdf(x, mean, np.eye(3))
