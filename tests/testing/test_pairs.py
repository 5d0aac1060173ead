"""`check_gradient`: right pairs of function and derivative pass, wrong ones are named by tree path, and the message says what they look like."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import DTypeError, KinkError, RangeError
from fdezero.testing import check_gradient

X = np.array([1.3, 0.7, 0.8])
Z = np.array([1 + 2j, 0.5 - 1j])
A, B = np.arange(6.0).reshape(2, 3), np.arange(9.0).reshape(3, 3)
P = {"W": np.arange(6.0).reshape(2, 3) / 5, "b": np.ones(2), "n": 3}


def cubes(x: Any) -> Any:
    return np.sum(x**3)


def slope(x: Any) -> Any:
    return 3 * x**2


def layer(p: Any) -> Any:
    return np.sum(np.sum(np.tanh(p["W"]), -1) * p["b"])


def layer_slope(p: Any) -> Any:
    return {"W": (1 - np.tanh(p["W"]) ** 2) * p["b"][:, None], "b": np.tanh(p["W"]).sum(-1)}


def hessian(x: Any) -> Any:
    return np.diag(6 * x)


RIGHT: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "gradient": (cubes, slope, X, {"hess": hessian, "hessp": lambda x, p: 6 * x * p}),
    "list": (cubes, slope, [1.3, 0.7], {}), "integers": (cubes, slope, np.array([1, 2]), {}), "number": (cubes, slope, 2.0, {}),
    "float32": (cubes, slope, X.astype(np.float32), {}), "with arguments": (lambda x, a: a * cubes(x), lambda x, a: a * slope(x), X, {"args": (2.0,)}),
    "both": (lambda x: (cubes(x), slope(x)), True, X, {}), "tree": (layer, layer_slope, P, {}),
    "tree, hessian": (layer, layer_slope, P, {"hess": lambda p: fd.tree.map(lambda t: t, fd.hessian(layer)(p))}),
    "tree, product": (layer, layer_slope, P, {"hessp": lambda p, v: fd.hvp(layer, (p,), (v,))}),
    "tree, jacobian": (lambda p: {"y": p["W"] @ X, "z": p["b"] ** 2}, lambda p: fd.jacobian(lambda p: {"y": p["W"] @ X, "z": p["b"] ** 2})(p), P, {}),
    "jacobian": (lambda x: A @ x**2, lambda x: A * 2 * x, X, {}), "one row": (lambda x: np.sum(x**2, keepdims=True), lambda x: 2 * x[None], X, {}),
    "complex": (lambda z: np.sum(np.abs(z) ** 2), lambda z: 2 * z, Z, {}), "holomorphic": (lambda z: z**2, lambda z: np.diag(2 * z), Z, {}),
    "directions": (lambda x: np.sum(np.sin(x)), np.cos, np.linspace(0, 1, 2000), {}), "empty": (lambda p: np.sum(p["x"]) + p["y"], lambda p: {"x": np.ones((0, 3)), "y": 1.0}, {"x": np.ones((0, 3)), "y": 2.0}, {}),
    "one argument": (lambda x, a: np.sum(a * x**3), lambda x, a: a * slope(x), X, {"args": np.ones(3)}),
    "rows": (lambda x: [x[0] * x[1], x[2]], lambda x: [[x[1], x[0], 0], [0, 0, 1]], X, {}), "both in a list": (lambda x: [cubes(x), slope(x)], True, X, {}),
    "list of a list": (cubes, lambda x: slope(x).tolist(), X, {"hess": lambda x: hessian(x).tolist(), "hessp": lambda x, p: list(6 * x * p)}),
    "lists of two lengths": (lambda x: (x, x[:2]), lambda x: (np.eye(3), np.eye(3)[:2]), X, {}),
    "next to a large value": (lambda x: np.sum(x**2), lambda x: 2 * x, np.array([1e8, 1e-8, 1.0]), {}), "differences of large values": (lambda x: float(np.sum(x**2)), lambda x: 2 * x, np.array([1e5, 0.5]), {}),
    "no complex numbers": (lambda x: np.hypot(x, 1.0).sum(), lambda x: x / np.hypot(x, 1.0), X, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_derivatives_pass(name: str) -> None:
    f, df, x, options = RIGHT[name]
    report = check_gradient(f, df, x, **options)
    assert report.rows
    assert report.worst < (1e-3 if "large values" in name else 1e-7)
    assert repr(report).startswith("right")


def without(x: Any) -> Any:
    wrong = np.cos(x)
    wrong[777] += 1e-3
    return wrong


WRONG: dict[str, tuple[Any, Any, Any, dict[str, Any], str]] = {
    "factor": (cubes, lambda x: 2 * slope(x), X, {}, r"the gradient is wrong. .*x\[0\], which is 1.3: given 10.14, complex step 5.07 \(3 of 3 entries wrong\)\n  Every entry is 2 times"),
    "sign": (cubes, lambda x: -slope(x), X, {}, "The sign is wrong"), "zeros": (cubes, np.zeros_like, X, {}, "Every given entry is 0"),
    "one entry": (cubes, lambda x: slope(x) + np.array([0, 1e-6, 0]), X, {}, r"x\[1\], which is 0.7.*\(1 of 3 entries wrong\)$"),
    "NaN": (cubes, lambda x: slope(x) * np.array([1, np.nan, 1]), X, {}, r"x\[1\].*given nan"),
    "leaf": (layer, lambda p: {**layer_slope(p), "b": 2 * layer_slope(p)["b"]}, P, {}, r"\n  b\[1\], which is 1: given 3.925361, complex step 1.96268 \(2 of 2"),
    "missing": (layer, lambda p: {"W": layer_slope(p)["W"]}, P, {}, "the gradient has nothing at b: expected a tree with W, b, got dict"),
    "additional": (layer, lambda p: {**layer_slope(p), "c": 1.0}, P, {}, "has a leaf at c, but x does not"),
    "shape": (cubes, lambda x: slope(x)[:, None], X, {}, r"the gradient has shape \(3, 1\), but must have shape \(3,\), like x"),
    "turned": (lambda x: A @ x, lambda x: A.T, X, {}, r"shape \(3, 2\), but must have shape \(2, 3\).*looks transposed"),
    "transpose": (lambda x: B @ x, lambda x: B.T, X, {}, r"derivative of the output\[2\].*\n.*the transpose of the right one"),
    "hessian": (cubes, slope, X, {"hess": lambda x: hessian(x) + np.eye(3)[0]}, r"the Hessian is wrong.*x\[0\].*output\[0\]: given 8.8, complex step 7.8 \(1 of 3"),
    "product": (cubes, slope, X, {"hessp": lambda x, p: 2 * x * p}, "the Hessian product is wrong.*0.333333 times"),
    "product of another shape": (cubes, slope, X, {"hessp": lambda x, p: (6 * x * p)[:2]}, r"the Hessian product has shape \(2,\), but must have shape \(3,\)"),
    "conjugate": (lambda z: np.sum(np.abs(z) ** 2), lambda z: 2 * np.conj(z), Z, {}, "complex conjugate"),
    "half": (lambda z: np.sum(np.abs(z) ** 2), lambda z: z, Z, {}, "0.5 times the right one"),
    "bisected": (lambda x: np.sum(np.sin(x)), without, np.linspace(0, 1, 2000), {}, r"along a random direction \(seed 0\).*bisection:\n  x\[777\]"),
    "bisected leaf": (layer, lambda p: {**layer_slope(p), "b": 2 * layer_slope(p)["b"]}, P, {"directions": 2}, r"bisection:\n  b\["),
    "writes": (lambda x: np.multiply(x, 2, out=x).sum(), np.ones_like, X.copy(), {}, "the function wrote into x"),
    "None": (cubes, lambda x: None, X, {}, "the gradient is None"), "wrong next to a large value": (lambda x: np.sum(x**2), lambda x: 2 * x + np.array([0, 0, 1e-4]), np.array([1e8, 1e-8, 1.0]), {}, r"x\[2\].*complex step 2 "),
    "text": (cubes, lambda x: np.array(["a", "b", "c"]), X, {}, "must hold numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_derivatives_are_named(name: str) -> None:
    f, df, x, options, words = WRONG[name]
    with pytest.raises(AssertionError) as caught:
        check_gradient(f, df, x, **options)
    assert re.search(words, str(caught.value), re.DOTALL), str(caught.value)


def test_other_values_on_a_second_call_are_found() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="the derivative gave other values on a second call"):
        check_gradient(cubes, lambda x: slope(x) * rng.random(), X)


def test_kinks_are_raised_skipped_or_declared() -> None:
    f: Callable[..., Any] = lambda x: np.sum(np.abs(x))
    x = np.array([0.0, 1.0, -1.0])
    with pytest.raises(KinkError, match=r"a kink at x, along x\[0\], which is 0: its slopes on the two sides are -1 and 1"):
        check_gradient(f, np.sign, x)
    report = check_gradient(f, np.sign, x, at_kinks="skip")
    assert report.rows[0].count == 2
    assert "slopes on the two sides" in report.kinks[0]
    assert repr(check_gradient(f, np.sign, x, kinks=[0.0])) == "nothing checked: skipped a kink: declared by kinks: x has an entry 0.0"
    assert not check_gradient(f, np.sign, x, kinks=lambda x: x == 0).rows


def test_sparse_matrices_and_linear_operators_are_welcome() -> None:
    sparse, linalg = pytest.importorskip("scipy.sparse"), pytest.importorskip("scipy.sparse.linalg")
    f: Callable[..., Any] = lambda x: A @ x**2
    assert check_gradient(f, lambda x: sparse.csr_array(A * 2 * x), X).rows[0].count == 3
    check_gradient(f, lambda x: linalg.aslinearoperator(A * 2 * x), X)
    check_gradient(cubes, slope, X, hess=lambda x: sparse.diags_array(6 * x))
    with pytest.raises(AssertionError, match="rmatvec is not the adjoint of matvec"):
        check_gradient(f, lambda x: linalg.LinearOperator((2, 3), matvec=lambda v: A @ (2 * x * v), rmatvec=lambda t: A.T @ t, dtype=float), X)
    with pytest.raises(AssertionError, match="the Jacobian is wrong"):
        check_gradient(f, lambda x: linalg.LinearOperator((2, 3), matvec=lambda v: A @ v, dtype=float), X)


def test_misuse_is_told() -> None:
    with pytest.raises(TypeError, match="Pass True if the function returns"):
        check_gradient(cubes, X, X)  # type: ignore[arg-type]  # the mistake of the test
    with pytest.raises(TypeError, match=r"must return \(value, derivative\), got float64"):
        check_gradient(cubes, True, X)
    with pytest.raises(DTypeError, match="nothing in x can be differentiated, got str"):
        check_gradient(cubes, slope, "x")
    with pytest.raises(DTypeError, match="must return floating numbers"):
        check_gradient(lambda x: "y", slope, X)
    with pytest.raises(RangeError, match="x has no entries"):
        check_gradient(cubes, slope, np.zeros(0))
    with pytest.raises(RangeError, match=r"check_gradient: x\[1\] is nan. Pass an x"):
        check_gradient(cubes, slope, [1.0, np.nan])
    with pytest.raises(RangeError, match="step must be a number above 0, got 0"):
        check_gradient(cubes, slope, X, step=0)
    with pytest.raises(RangeError, match=r"cannot measure the derivative at x, along x\[1\], which is 1: next to a value of 1e\+16"):
        check_gradient(lambda x: float(np.sum(x**2)), lambda x: 2 * x, np.array([1e8, 1.0]))
    with pytest.raises(KinkError, match="the function is not finite at x: it gives inf"):
        check_gradient(lambda x: np.sum(x) * np.inf, slope, X)
    assert not check_gradient(lambda x: np.sum(x) * np.inf, slope, X, at_kinks="skip").rows
    with pytest.raises(RangeError, match="directions must be 1 or more"):
        check_gradient(cubes, slope, X, directions=0)
    with pytest.raises(RangeError, match="method must be 'auto', 'central', 'complex'"):
        check_gradient(cubes, slope, X, method="forward")
    with pytest.raises(RangeError, match="hess and hessp belong to a function that returns a number"):
        check_gradient(lambda x: x, lambda x: np.eye(3), X, hess=hessian)
