"""The bridge to `scipy.optimize.minimize`: every method finds the minimum of a tree, and mistakes are told."""

import sys
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, MissingExtraError, RangeError, ShapeError, StructureError
from fdezero.optim.methods import scipy_bridge
from fdezero.testing import assert_trees_equal

START = {"x": -1.2, "y": np.array(1.0), "rest": (None, np.array([True]), fd.Frozen(np.arange(3)))}


def rosenbrock(p: Any) -> Any:
    return (1 - p["x"]) ** 2 + 100 * (p["y"] - p["x"] ** 2) ** 2


@pytest.mark.parametrize("method", scipy_bridge.METHODS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning", "ignore::DeprecationWarning")  # of SciPy's own
def test_every_method_finds_the_minimum(method: str) -> None:
    if method == "COBYQA":
        pytest.importorskip("scipy", "1.14")
    quartic = lambda p: (p["x"] - 1) ** 2 + (p["y"] + 2) ** 2 + 0.1 * (p["x"] * p["y"]) ** 2
    found = optim.scipy_minimize(quartic, START, method.lower(), tol=1e-9, options={"maxiter": 500})
    best = optim.scipy_minimize(quartic, START, "BFGS", tol=1e-12).params
    np.testing.assert_allclose([found.params["x"], found.params["y"]], [best["x"], best["y"]], atol=2e-4)
    assert isinstance(found.params["x"], float)
    assert_trees_equal(found.params["rest"], START["rest"])
    np.testing.assert_allclose(found.value, quartic(found.params), rtol=1e-12)
    assert found.evaluations > 1
    assert (found.gradients > 0) == (method not in scipy_bridge.BY_VALUES)
    assert (found.products > 0) == (method in (*scipy_bridge.BY_HESSIAN_PRODUCTS, *scipy_bridge.BY_HESSIANS))
    assert isinstance(found.message, str)


def test_all_of_scipys_methods_are_known() -> None:
    _minimize = pytest.importorskip("scipy.optimize._minimize")
    assert set(_minimize.MINIMIZE_METHODS) <= {name.lower() for name in scipy_bridge.METHODS}


def test_a_model_is_fitted_and_the_loss_may_be_compiled() -> None:
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((40, 3), np.float32), np.arange(40) % 2
    model = nn.Linear.init(fd.random.key(0), 3, 2)
    loss = lambda model, x, t: F.softmax_cross_entropy(model(x), t) + 0.1 * fnp.sum(model.W**2)
    found = optim.scipy_minimize(loss, model, args=(x, t))
    assert found.success
    assert found.params.W.dtype == np.float32
    assert optim.global_norm(fd.grad(loss)(found.params, x, t)) < 1e-3
    compiled = optim.scipy_minimize(fd.compile(loss), model, args=(x, t))
    assert_trees_equal(compiled.params, found.params)


def test_bounds_are_numbers_or_trees_and_callbacks_see_params() -> None:
    seen: list[Any] = []
    lower = {"x": None, "y": -5.0, "rest": (None, None, None)}
    found = optim.scipy_minimize(rosenbrock, START, bounds=(lower, 0.5), callback=seen.append)
    np.testing.assert_allclose([found.params["x"], found.params["y"]], [0.5, 0.25], atol=1e-4)
    assert_trees_equal(seen[-1], found.params)

    def stop(params: Any) -> None:
        raise StopIteration

    assert optim.scipy_minimize(rosenbrock, START, callback=stop).iterations == 1
    each = optim.scipy_minimize(lambda x: fnp.sum((x - 3) ** 2), np.zeros(3), bounds=(None, np.array([1.0, 2.0, np.inf])))
    np.testing.assert_allclose(each.params, [1, 2, 3], atol=1e-5)


def test_complex_and_half_leaves_keep_their_dtypes() -> None:
    start = {"z": np.zeros((1, 2), complex), "half": np.ones(2, np.float16)}
    loss = lambda p: fnp.sum(fnp.absolute(p["z"] - (1 + 2j)) ** 2) + fnp.sum((p["half"].astype(np.float64) - 0.5) ** 2)
    for method in ("L-BFGS-B", "trust-ncg", "dogleg"):
        found = optim.scipy_minimize(loss, start, method)
        np.testing.assert_allclose(found.params["z"], np.full((1, 2), 1 + 2j), atol=1e-5)
        np.testing.assert_allclose(found.params["half"], 0.5, atol=1e-3)
        assert found.params["half"].dtype == np.float16


def test_params_come_back_to_their_device(gpu: Any) -> None:
    found = optim.scipy_minimize(lambda p: fnp.sum((p["w"] - 2) ** 2), {"w": fd.to_device(np.zeros(3), "gpu")}, "Newton-CG")
    assert fd.device_of(found.params) == "gpu:0"
    np.testing.assert_allclose(fd.to_numpy(found.params["w"]), 2, atol=1e-6)


MISTAKES: list[tuple[Any, Any, str]] = [
    (lambda: optim.scipy_minimize(rosenbrock, {"x": 1, "y": 2.0}), DTypeError, r"x is int 1, an integer, .* Make it a float"),
    (lambda: optim.scipy_minimize(rosenbrock, {"x": np.arange(2)}), DTypeError, r"x is int64\[2\], an integer"),
    (lambda: optim.scipy_minimize(rosenbrock, {"x": None}), DTypeError, "no floating leaf"),
    (lambda: optim.scipy_minimize(lambda p: p * 2, np.ones(3)), ShapeError, r"must return a scalar, got float64\[3\]. Reduce it"),
    (lambda: optim.scipy_minimize(lambda p: p * 2, np.ones(3), "Powell"), ShapeError, "must return a scalar"),
    (lambda: optim.scipy_minimize(lambda p: p * 1j, 1.0), DTypeError, "must return a real number"),
    (lambda: optim.scipy_minimize(lambda p: None, START), DTypeError, "must return a number, got NoneType"),
    (lambda: optim.scipy_minimize(rosenbrock, START, "newton"), RangeError, "knows no method 'newton'; there are CG, BFGS"),
    (lambda: optim.scipy_minimize(rosenbrock, START, "CG", bounds=(0, 1)), RangeError, "the method CG takes no bounds; these do: L-BFGS-B"),
    (lambda: optim.scipy_minimize(rosenbrock, START, bounds=[(0, 1)]), StructureError, r"bounds is \(lower, upper\)"),  # type: ignore[arg-type]  # the mistake
    (lambda: optim.scipy_minimize(rosenbrock, START, bounds=(2, 1)), RangeError, "a lower bound, 2.0, is above the upper one, 1.0"),
    (lambda: optim.scipy_minimize(rosenbrock, START, bounds=({"x": 0.0}, 1)), StructureError, "the structures of params and bounds differ"),
    (lambda: optim.scipy_minimize(lambda x: fnp.sum(x), np.ones(2), bounds=(np.ones(3), None)), ShapeError, "the bound of the parameter is"),
    (lambda: optim.scipy_minimize(lambda x: fnp.sum(abs(x)), np.ones(2, complex), bounds=(0, 1)), DTypeError, "complex numbers have no bounds"),
    (lambda: optim.scipy_minimize(3.0, START), TypeError, "takes a function"),  # type: ignore[arg-type]  # the mistake
]


@pytest.mark.parametrize(("call", "kind", "words"), MISTAKES)
def test_mistakes_are_told(call: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        call()


def test_without_scipy_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fdezero\[scipy\]'"):
        optim.scipy_minimize(rosenbrock, START)
