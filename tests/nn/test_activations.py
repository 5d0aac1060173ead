"""Activations at both ends: mpmath in float64 and float32, infinities in every mode and order, corners, errors, PyTorch."""

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.errors import RangeError, ShapeError
from fdezero.functions import activations
from fdezero.testing import assert_trees_close, assert_trees_equal


def _logistic(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _elu(x: Any, alpha: Any) -> Any:
    return x if x > 0 else alpha * mp.expm1(x)


# The formula in exact arithmetic; what the value and the slope lose by the formula, as a multiple of eps at x
EXACT: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "celu": (F.celu, lambda x: _elu(x, 1)),
    "elu": (lambda x: F.elu(x, 0.5), lambda x: _elu(x, mp.mpf(0.5))),
    "gelu": (F.gelu, lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2),
    "gelu by tanh": (lambda x: F.gelu(x, "tanh"), lambda x: x * _logistic(2 * mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))),
    "hard_sigmoid": (F.hard_sigmoid, lambda x: min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6),
    "hard_swish": (F.hard_swish, lambda x: x * min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6),
    "log_sigmoid": (F.log_sigmoid, lambda x: -mp.log1p(mp.exp(-x))),
    "mish": (F.mish, lambda x: x * mp.tanh(mp.log1p(mp.exp(x)))),
    "selu": (F.selu, lambda x: mp.mpf("1.0507009873554804934193349852946") * _elu(x, mp.mpf("1.6732632423543772848170429916717"))),
    "sigmoid": (F.sigmoid, _logistic),
    "silu": (F.silu, lambda x: x * _logistic(x)),
    "softplus": (F.softplus, lambda x: mp.log1p(mp.exp(x))),
    "softsign": (F.softsign, lambda x: x / (1 + abs(x))),
    "tanh": (F.tanh, mp.tanh),
}
POINTS = [-1e30, -3e3, -88.0, -40.0, -13.0, -8.0, -5.0, -2.5, -0.75, -1e-3, -1e-20, 1e-20, 1e-3, 0.75, 2.5, 5.5, 10.0, 19.0, 40.0, 88.0, 3e3, 1e30]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", EXACT)
def test_values_and_slopes_are_those_of_mpmath_from_end_to_end(name: str, dtype: Any) -> None:
    function, exact = EXACT[name]
    x = np.array(POINTS, dtype)
    with mp.workdps(150):
        values = np.array([float(exact(mp.mpf(float(at)))) for at in x])
        slopes = np.array([float(mp.diff(exact, mp.mpf(float(at)))) for at in x])
    value, pullback = fd.vjp(function, x)
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    # An exponential of a rounded x or x ** 3 has a relative error of that exponent times eps, and what underflows is 0.
    exponent = abs(x.astype(float)) ** (3 if "tanh" in name and "gelu" in name else 2 if name == "gelu" else 1)
    relative = eps * (8 + 2 * np.minimum(exponent, 1e3))
    assert (abs(value.astype(float) - values) <= relative * abs(values) + 1e3 * tiny).all(), (value, values)
    slope = pullback(np.ones_like(x))[0].astype(float)
    # Slopes of gates change their sign, and those of tanh and the sigmoid are 1 - y ** 2 and y (1 - y), which cancel: to eps of 1.
    absolute = 8 * eps if name in ("mish", "silu", "gelu", "gelu by tanh", "tanh", "sigmoid", "hard_swish") else 1e3 * tiny
    assert (abs(slope - slopes) <= relative * abs(slopes) + absolute).all(), (slope, slopes)


def _forward(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fd.jvp(function, (x,), (fnp.ones_like(x),))[1]


def _reverse(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return fd.grad(lambda x: fnp.sum(function(x)))


LIMITS = {  # the value at -inf and at inf
    "celu": (-1, np.inf), "elu": (-1, np.inf), "gelu": (0, np.inf), "hard_sigmoid": (0, 1), "hard_swish": (0, np.inf), "hard_tanh": (-1, 1),
    "leaky_relu": (-np.inf, np.inf), "log_sigmoid": (-np.inf, 0), "mish": (0, np.inf), "relu": (0, np.inf), "relu6": (0, 6),
    "selu": (-1.7580993408473766, np.inf), "sigmoid": (0, 1), "silu": (0, np.inf), "softplus": (0, np.inf), "softsign": (-1, 1), "swish": (0, np.inf),
    "tanh": (-1, 1), "threshold": (-20, np.inf), "gelu by tanh": (0, np.inf), "prelu": (-np.inf, np.inf),
}  # fmt: skip
OF_SEVERAL = {"glu", "softmax", "log_softmax"}
RIGHT = {"celu": 1, "elu": 1, "selu": 1.0507009873554805, "log_sigmoid": 0, "leaky_relu": 1, "prelu": 1}  # slopes where the limit does not tell them
LEFT = {"log_sigmoid": 1, "leaky_relu": 0.2, "prelu": 0.25}


def _named(name: str) -> Callable[[Any], Any]:
    special: dict[str, Callable[[Any], Any]] = {"threshold": lambda x: F.threshold(x, 0.5, -20.0), "gelu by tanh": lambda x: F.gelu(x, "tanh"), "prelu": lambda x: F.prelu(x, 0.25)}
    return special[name] if name in special else getattr(F, name)  # type: ignore[no-any-return]  # a function of the module


def test_every_activation_has_its_limits() -> None:
    assert set(LIMITS) - {"gelu by tanh"} | OF_SEVERAL == {*activations.__all__, "prelu"}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_infinities_have_the_limit_and_its_slopes_in_every_mode_and_order(name: str, dtype: Any) -> None:
    function, (low, high) = _named(name), LIMITS[name]
    largest = float(np.finfo(dtype).max)
    x = np.array([-np.inf, -largest, largest, np.inf], dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # NumPy warns of logaddexp of NaN
        assert_trees_close(function(x)[[0, 3]], np.array([low, high], dtype), 1e-6 if dtype == np.float32 else 1e-3 if dtype == np.float16 else 1e-15)
        right = RIGHT.get(name, 1 if high == np.inf else 0)
        expected = np.array([LEFT.get(name, 0)] * 2 + [right] * 2)
        for first in (_forward, _reverse):
            np.testing.assert_allclose(first(function)(x).astype(float), expected, rtol=1e-3 if dtype == np.float16 else 1e-6, atol=1e-7)
            for second in (_forward, _reverse):
                np.testing.assert_allclose(second(first(function))(x).astype(float), 0, atol=1e-6)
        assert np.isnan(function(np.array([np.nan], dtype))).all()


def test_corners_are_those_of_pytorch() -> None:
    slope = lambda function, *points: [float(fd.grad(function)(point)) for point in points]
    assert slope(F.relu6, 0.0, 6.0, 3.0) == [0, 0, 1]
    assert slope(F.hard_tanh, -1.0, 1.0, 0.0) == [0, 0, 1]
    assert slope(F.hard_sigmoid, -3.0, 3.0, 0.0) == [0, 0, 1 / 6]
    assert slope(F.hard_swish, -3.0, 3.0, 0.0) == [0, 1, 0.5]
    assert slope(lambda x: F.threshold(x, 0.5, 2.0), 0.5, 0.75) == [0, 1]
    assert slope(lambda x: F.elu(x, 2.0), 0.0) == slope(lambda x: F.leaky_relu(x, 2.0), 0.0) == [2]
    assert slope(F.celu, 0.0) == slope(F.softsign, 0.0) == [1]


def test_swish_is_silu_and_gelu_has_two_forms() -> None:
    assert F.swish is F.silu
    x = np.linspace(-6, 6, 1001)
    exact, approximate = F.gelu(x), F.gelu(x, approximate="tanh")
    assert_trees_equal(F.gelu(x, approximate="none"), exact)
    assert 1e-4 < abs(exact - approximate).max() < 5e-4
    with pytest.raises(RangeError, match=r'gelu: approximate is "none" or "tanh", got \'exact\''):
        F.gelu(x, approximate="exact")


def test_selu_keeps_mean_and_variance() -> None:
    y = F.selu(np.random.default_rng(0).standard_normal(100_000))
    np.testing.assert_allclose([y.mean(), y.var()], [0, 1], atol=0.02)


def test_dtypes_of_numbers_and_integers() -> None:
    for name in activations.__all__:
        if name in OF_SEVERAL:
            continue
        function = _named(name)
        for dtype in (np.float32, np.float16):
            assert function(np.ones(3, dtype)).dtype == dtype
            assert fd.grad(lambda x, f=function: fnp.sum(f(x)))(np.ones(3, dtype)).dtype == dtype
        assert np.asarray(function(0.7)).shape == ()
        np.testing.assert_allclose(function(np.array([2, -2])), function(np.array([2.0, -2.0])), rtol=1e-15)


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"glu halves axis -1, whose length must be even; got float64\[2,3\]"):
        F.glu(np.ones((2, 3)))
    with pytest.raises(ShapeError, match="glu halves axis 0"):
        F.glu(np.ones((3, 2)), axis=0)
    with pytest.raises(ShapeError, match=r"got float64\[\]"):
        F.glu(1.0)
    with pytest.raises(RangeError, match="celu divides by alpha, which must not be 0. For alpha = 0 use relu"):
        F.celu(np.ones(3), 0)
    with pytest.raises(RangeError, match=r"hard_tanh: min_value 2.0 is above max_value 1.0"):
        F.hard_tanh(np.ones(3), min_value=2.0)
    assert math.isfinite(F.celu(-1.0, alpha=1e-3))


TORCHS: dict[str, Callable[[Any, Any], Any]] = {
    "celu": lambda t, x: t.celu(x), "elu": lambda t, x: t.elu(x), "gelu": lambda t, x: t.gelu(x), "gelu by tanh": lambda t, x: t.gelu(x, approximate="tanh"),
    "glu": lambda t, x: t.glu(x), "hard_sigmoid": lambda t, x: t.hardsigmoid(x), "hard_swish": lambda t, x: t.hardswish(x),
    "hard_tanh": lambda t, x: t.hardtanh(x), "log_sigmoid": lambda t, x: t.logsigmoid(x), "log_softmax": lambda t, x: t.log_softmax(x, -1),
    "mish": lambda t, x: t.mish(x), "relu": lambda t, x: t.relu(x), "relu6": lambda t, x: t.relu6(x), "selu": lambda t, x: t.selu(x),
    "sigmoid": lambda t, x: t.sigmoid(x), "silu": lambda t, x: t.silu(x), "softmax": lambda t, x: t.softmax(x, -1), "softplus": lambda t, x: t.softplus(x),
    "softsign": lambda t, x: t.softsign(x), "tanh": lambda t, x: t.tanh(x), "threshold": lambda t, x: t.threshold(x, 0.5, -20.0),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHS)
def test_values_and_gradients_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).standard_normal((5, 8)) * 4
    x[0, :6] = [-3, 3, -1, 1, 6, 0]  # corners
    theirs = torch.tensor(x, requires_grad=True)
    y = TORCHS[name](torch.nn.functional, theirs)
    weights = np.cos(np.arange(y.numel())).reshape(y.shape)
    (y * torch.tensor(weights)).sum().backward()
    value, pullback = fd.vjp(_named(name), x)
    np.testing.assert_allclose(value, y.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(pullback(weights)[0], theirs.grad.numpy(), rtol=1e-7, atol=1e-9)  # their softplus is x beyond 20, their 1 / 6 is float32
