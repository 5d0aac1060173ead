"""A traced Python number has the values and derivatives of a 0-d array, and keeps its weak dtype."""

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp

pytestmark = pytest.mark.filterwarnings("ignore:.*(divide by zero|invalid value|overflow):RuntimeWarning")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "/": operator.truediv, "//": operator.floordiv, "%": operator.mod, "**": operator.pow,
    "+": operator.add, "-": operator.sub, "*": operator.mul, "divmod": lambda a, b: divmod(a, b)[1] + divmod(a, b)[0],
}  # fmt: skip
NUMBERS = (0.0, -0.0, 1.0, -2.0, 2.5, -1e300, 400.0, 1e-300, np.inf, -np.inf, np.nan)
UNARY = {"abs": abs, "negative": operator.neg, "square": lambda v: v**2, "inverse": lambda v: v**-1, "root": lambda v: v**0.5, "reciprocal": lambda v: 1 / v}


def all_ways(f: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    """The value and the derivative of f, in every transform."""
    return {
        "reverse": fd.value_and_grad(f),
        "forward": lambda v: fd.jvp(f, (v,), (1.0,)),
        "compiled": fd.compile(fd.value_and_grad(f)),
        "of compiled": fd.value_and_grad(fd.compile(f)),
    }


def assert_alike(f: Callable[[Any], Any], v: float) -> None:
    for name, way in all_ways(f).items():
        expected = [np.asarray(y) for y in way(np.array(v))]
        for _ in range(2):  # also after the first call of compiled code
            value, slope = way(v)
            assert not isinstance(value, complex)
            np.testing.assert_allclose([value, slope], np.stack(expected), rtol=1e-14, err_msg=f"{name} at {v}")


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_of_a_traced_number_have_numpys_answers(name: str) -> None:
    operate = OPERATORS[name]
    for a, b in itertools.product(NUMBERS, NUMBERS[::2]):
        with np.errstate(all="ignore"):
            expected = operate(np.float64(a), np.float64(b))
        for f, v in ((lambda v, b=b: operate(v, b), a), (lambda v, a=a: operate(a, v), b)):
            value, slope = fd.value_and_grad(f)(v)
            np.testing.assert_allclose(value, expected, rtol=1e-14)
            np.testing.assert_allclose([value, slope], fd.value_and_grad(f)(np.array(v)), rtol=1e-14)
    for v in (0.0, -2.0):
        assert_alike(lambda v: operate(v, 0.0), v)
        assert_alike(lambda v: operate(-2.0, v + 2.5), v)


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_a_traced_number_have_numpys_answers(name: str) -> None:
    for v in (0.0, -2.0, 2.5, 1e300):
        assert_alike(UNARY[name], v)


def test_numbers_that_python_refuses() -> None:
    assert fd.value_and_grad(lambda v: 1 / v)(0.0) == (np.inf, -np.inf)
    assert np.isnan(fd.value_and_grad(lambda v: v**2.5)(-2.0)).all()
    assert fd.value_and_grad(lambda v: 10.0**v)(400.0) == (np.inf, np.inf)
    assert fd.value_and_grad(lambda v: v**400)(10.0) == (np.inf, np.inf)
    assert fd.compile(lambda v, n: v + n / 0)(1.0, 1) == np.inf
    assert fd.compile(lambda n: n**-1)(2) == 0.5
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        fd.jvp(lambda v: 1 / v, (0.0,), (1.0,))


@pytest.mark.parametrize("name", [*OPERATORS, *UNARY])
def test_the_dtype_of_a_traced_number_stays_weak(name: str) -> None:
    f = (lambda v: OPERATORS[name](v, 3.0) + OPERATORS[name](3.0, v)) if name in OPERATORS else UNARY[name]
    for dtype in (np.float32, np.float16):
        x = np.ones(3, dtype)
        product = lambda v: f(v) * x
        assert fd.jvp(product, (2.0,), (1.0,))[0].dtype == dtype
        assert fd.vjp(product, 2.0)[0].dtype == dtype
        assert fd.compile(product)(2.0).dtype == dtype
        assert fd.grad(lambda x: fnp.sum(f(2.0) * x))(x).dtype == dtype
        seen = []
        fd.grad(lambda v: seen.append(fd.stop_gradient(f(v))) or f(v))(2.0)
        assert type(seen[0]) is float
