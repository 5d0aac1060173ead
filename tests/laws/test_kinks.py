"""Derivatives at kinks and at removable points: those of the table, and none that is wrong in silence."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero import special
from fdezero.testing import assert_trees_close

from ..profiles import NIGHTLY
from .kinks import KINKS, Kink

pytestmark = pytest.mark.filterwarnings("ignore:.*(divide by zero|invalid value|overflow):RuntimeWarning")
Function = Callable[..., Any]


def reverse(f: Function) -> Function:
    return fd.grad(f)


def forward(f: Function) -> Function:
    return lambda x: fd.jvp(f, (x,), (np.ones_like(x),))[1]


MODES = {"reverse": reverse, "forward": forward, "compiled": lambda f: fd.compile(fd.grad(f))}


@pytest.mark.parametrize("kink", KINKS, ids=lambda kink: kink.name)
def test_derivatives_at_kinks_are_those_of_the_table(kink: Kink) -> None:
    at = np.array(kink.point)
    for name, mode in MODES.items():
        if math.isnan(kink.first) and name == "forward":
            continue
        assert_trees_close(np.asarray(mode(kink.function)(at)), np.asarray(kink.first), 1e-12, name)
    for names in itertools.product(["reverse", "forward"], repeat=2):
        inner, outer = (MODES[name] for name in names)
        second = float(outer(inner(kink.function))(at))
        if math.isnan(kink.second):
            assert not math.isfinite(second), names
        elif names != ("forward", "reverse") or math.isfinite(second):  # an infinite slope times a tangent of 0 is NaN there
            assert second == pytest.approx(kink.second, rel=1e-9, abs=1e-12), names


POINTS = (0.0, 1.0, -1.0, 2.0)
SCALAR = {
    **{name: getattr(fnp, name) for name in (
        "abs arccos arccosh arcsin arcsinh arctan arctanh cbrt cos cosh deg2rad exp exp2 expm1 fabs i0 log log10 log1p log2 negative "
        "rad2deg reciprocal sin sinc sinh sqrt square tan tanh"
    ).split()},
    **{f"special.{name}": getattr(special, name) for name in (
        "digamma entr erf erfc erfcinv erfcx erfinv expit gammaln i0 i0e i1 i1e log_expit log_ndtr logit ndtr ndtri"
    ).split()},
    **{f"functions.{name}": getattr(F, name) for name in "celu elu gelu hard_sigmoid hard_swish hard_tanh leaky_relu log_sigmoid mish relu relu6 selu sigmoid silu softplus softsign tanh".split()},
    **{f"x ** {p}": (lambda x, p=p: x**p) for p in (0, 1, 2, 3, -1, -2, 0.5, 1.5, 2.5)},
    **{f"{b} ** x": (lambda x, b=b: b**x) for b in (0.0, 1.0, 2.0, 0.5)},
    **{f"float_power {p}": (lambda x, p=p: fnp.float_power(x, p)) for p in (0, 1, 2)},
    **{f"norm {p}": (lambda x, p=p: fnp.linalg.norm(fnp.stack([x, 1 + 0 * x]), p)) for p in (1, 1.5, 2, 2.5, 3, 4, np.inf)},
    "logaddexp": lambda x: fnp.logaddexp(x, 1.0), "logaddexp2": lambda x: fnp.logaddexp2(x, x * x), "hypot": lambda x: fnp.hypot(x, 1.0),
    "hypot of multiples": lambda x: fnp.hypot(x, 2 * x), "arctan2": lambda x: fnp.arctan2(x, 1.0), "remainder": lambda x: x % 2.0,
    "fmod": lambda x: fnp.fmod(x, 2.0), "clip": lambda x: fnp.clip(x, 0.0, 1.0), "prod": lambda x: fnp.prod(fnp.stack([x, x, 2 + x])),
    "cumprod": lambda x: fnp.cumprod(fnp.stack([x, x, 2 + x])).sum(), "xlogy": lambda x: special.xlogy(x, 2.0),
    "rel_entr": lambda x: special.rel_entr(2.0, x), "abs of complex": lambda x: fnp.abs(x * (1 + 2j)) ** 2, "abs ** 3": lambda x: abs(x) ** 3,
    "log of abs": lambda x: fnp.log(abs(x)), "det": lambda x: fnp.linalg.det(x * (np.ones((3, 3)) + np.diag([0.0, 1.0, 2.0]))),
}  # fmt: skip


def _is_approached(value: float, sides: list[list[float]]) -> bool:
    """Whether the derivative at nearby points, on one side or in the mean of both, tends to `value`."""
    means = [[(a + b) / 2 for a, b in zip(*sides, strict=True)]]
    for near, nearer in [*sides, *means]:
        far, close = abs(near - value), abs(nearer - value)
        if close <= max(1e-4 * max(1, abs(value)), 0.2 * far):
            return True
    return False


@pytest.mark.parametrize("name", SCALAR)
def test_no_higher_derivative_at_a_special_point_is_wrong_in_silence(name: str) -> None:
    for order, mode in itertools.product((2, 3), (reverse, forward)):
        derivative = SCALAR[name]
        for _ in range(order):
            derivative = mode(derivative)
        for point in POINTS:
            value = float(derivative(np.array(point)))
            if math.isfinite(value):
                sides = [[float(derivative(np.array(point + side * h))) for h in (1e-2, 1e-4)] for side in (1, -1)]
                assert _is_approached(value, sides), (point, order, mode.__name__, value, sides)


BINARY: dict[str, tuple[Function, Function]] = {
    "power": (lambda a, b: a**b, lambda a, b: a**b),
    "multiply": (lambda a, b: a * b, lambda a, b: a * b),
    "divide": (lambda a, b: a / b, lambda a, b: a / b),
    "float_power": (fnp.float_power, lambda a, b: a**b),
    "hypot": (fnp.hypot, lambda a, b: mpmath.sqrt(a * a + b * b)),
    "logaddexp": (fnp.logaddexp, lambda a, b: mpmath.log(mpmath.exp(a) + mpmath.exp(b))),
    "logaddexp2": (fnp.logaddexp2, lambda a, b: mpmath.log(mpmath.mpf(2) ** a + mpmath.mpf(2) ** b) / mpmath.log(2)),
    "arctan2": (fnp.arctan2, lambda a, b: mpmath.atan2(a, b)),
    "xlogy": (special.xlogy, lambda a, b: a * mpmath.log(b)),
    "xlog1py": (special.xlog1py, lambda a, b: a * mpmath.log(1 + b)),
    "rel_entr": (special.rel_entr, lambda a, b: a * mpmath.log(a / b)),
    "norm": (lambda a, b: fnp.linalg.norm(fnp.stack([a, a + 1, 3 + 0 * a]), b), lambda a, b: (abs(a) ** b + abs(a + 1) ** b + mpmath.mpf(3) ** b) ** (1 / b)),
}  # fmt: skip
FIRST, SECOND = (23.0, 1.0, 2.0, 0.5) if NIGHTLY else (23.0, 1.0), (0.0, 1.0, -1.0, 2.0, 3.0, 0.5)
ORDERS = [orders for count in (1, 2, 3) for orders in itertools.product((0, 1), repeat=count)]


@pytest.mark.parametrize("name", BINARY)
def test_mixed_derivatives_at_special_values_are_those_of_the_function(name: str) -> None:
    """No rule decides by a value that an outer transform differentiates: x ** 0 is not a constant of its exponent."""
    function, reference = BINARY[name]
    for a, b in itertools.product(FIRST, SECOND):
        try:
            defined = all(mpmath.isfinite(z) and mpmath.im(z) == 0 for z in [reference(mpmath.mpf(a), mpmath.mpf(b) + h) for h in (-1e-9, 0, 1e-9)])
        except (ValueError, ZeroDivisionError):
            defined = False
        if not defined:
            continue
        for orders in ORDERS:
            ours = function
            for i in orders:
                ours = fd.grad(ours, i)
            with mpmath.workdps(40):
                expected = float(mpmath.diff(reference, (mpmath.mpf(a), mpmath.mpf(b)), (orders.count(0), orders.count(1)), h=mpmath.mpf(10) ** -8))
            for given in ((a, b), (np.array(a), np.array(b))):  # numbers and arrays
                assert float(ours(*given)) == pytest.approx(expected, rel=1e-7, abs=1e-7), (a, b, orders)


def test_a_vanishing_factor_at_an_infinite_slope_is_what_the_document_says() -> None:
    squared = lambda x: fnp.sqrt(x) ** 2
    assert fd.grad(squared)(np.array(0.0)) == 0
    assert np.isnan(forward(squared)(np.array(0.0)))
    assert not np.isfinite(fd.grad(fd.grad(squared))(np.array(0.0)))


def test_second_derivatives_at_kinks_of_two_arguments() -> None:
    for i, j in itertools.product((0, 1), repeat=2):
        assert not math.isfinite(fd.grad(fd.grad(fnp.hypot, i), j)(0.0, 0.0))
    for i, j in ((0, 1), (1, 0)):
        assert not math.isfinite(fd.grad(fd.grad(fnp.arctan2, i), j)(0.0, 0.0))
    # A tie that lasts, or one with a constant, keeps its share. A direction of 0 stays on the kink.
    assert fd.jvp(fd.grad(lambda x: fnp.maximum(x, x) ** 2), (3.0,), (1.0,))[1] == 2
    x = np.array([0.0, -2.0])
    assert_trees_close(fd.hessian(lambda x: fnp.sum(fnp.maximum(x, 0.0)))(x), np.zeros((2, 2)), 0)
    assert_trees_close(fd.hvp(lambda x: fnp.sum(abs(x)), (x,), (np.array([0.0, 1.0]),))[0], np.zeros(2), 0)


def test_a_rule_does_not_decide_by_a_traced_value_in_any_transform() -> None:
    power = lambda a, b: a**b
    slope = fd.grad(power, 0)
    for b in (0.0, np.array(0.0), np.zeros(3)):
        total = lambda b: fnp.sum(slope(23.0, b)) if np.ndim(b) == 0 else fnp.sum(fd.elementwise_grad(power, 0)(np.full(3, 23.0), b))
        assert_trees_close(fnp.sum(fd.grad(total)(b)), np.float64(np.size(b) / 23), 1e-15)
        assert_trees_close(fnp.sum(fd.grad(fd.compile(total))(b)), np.float64(np.size(b) / 23), 1e-15)
        assert_trees_close(fnp.sum(fd.compile(fd.grad(total))(b)), np.float64(np.size(b) / 23), 1e-15)
    assert_trees_close(fd.jvp(lambda b: slope(23.0, b), (0.0,), (1.0,))[1], np.float64(1 / 23), 1e-15)
    assert_trees_close(fd.vmap(fd.grad(slope, 1))(np.full(2, 23.0), np.zeros(2)), np.full(2, 1 / 23), 1e-15)
    assert fd.grad(fd.grad(fd.grad(power, 0), 0), 1)(2.0, 1.0) == pytest.approx(0.5)
