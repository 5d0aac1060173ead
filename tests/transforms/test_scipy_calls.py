"""A traced value that meets a function of SciPy: the message names the function that the user called, and what to write."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import fft, integrate, interpolate, linalg, ndimage, optimize, signal, sparse, special, stats

import fdezero as fd
from fdezero.core.scipy_calls import HINTS
from fdezero.errors import TraceError

x, A = np.array([0.5, 1.5, 2.0]), np.eye(3)
NUMBERS = [0.0, 1.0, 2.0, 3.0]

CASES: dict[str, Callable[[Any], Any]] = {
    "scipy.fft.fft": fft.fft,
    "scipy.integrate.quad": lambda x: integrate.quad(lambda t: t * x[0], 0.0, 1.0)[0],
    "scipy.integrate.solve_ivp": lambda x: integrate.solve_ivp(lambda t, y: -y, (0, 1), x).y,
    "scipy.integrate.trapezoid": integrate.trapezoid,
    "scipy.interpolate.interp1d": lambda x: interpolate.interp1d(NUMBERS[:3], x)(0.5),
    "a function of scipy.interpolate": interpolate.CubicSpline(NUMBERS, NUMBERS),  # its __call__ belongs to a private class
    "scipy.linalg.norm": linalg.norm,
    "scipy.linalg.solve": lambda x: linalg.solve(A, x),
    "scipy.ndimage.gaussian_filter": lambda x: ndimage.gaussian_filter(x, 1.0),
    "scipy.optimize.minimize": lambda x: optimize.minimize(lambda t: t @ t, x, jac=lambda t: 2 * t),
    "scipy.signal.lfilter": lambda x: signal.lfilter([1.0], [1.0, 0.5], x),
    "a function of scipy.sparse": lambda x: sparse.csr_array(A) @ x,
    "scipy.special.logsumexp": special.logsumexp,
    "scipy.stats.rv_continuous.logpdf": stats.norm.logpdf,
}


def message_of(function: Callable[[Any], Any], transform: Callable[..., Any]) -> str:
    with pytest.raises(TraceError) as raised:
        transform(lambda x: fd.numpy.sum(function(x)))(x)
    return str(raised.value)


@pytest.mark.parametrize("called", CASES)
def test_the_message_names_what_was_called(called: str) -> None:
    message = message_of(CASES[called], fd.grad)
    assert message.startswith(f"{called} cannot compute with a value float64[")
    assert message.endswith("tate the derivative yourself: fd.custom_vjp, fd.custom_jvp.")
    module = re.search(r"scipy\.\w+", called)
    assert module is not None
    assert HINTS.get(module[0], "State the derivative") in message


def test_a_wrapper_without_a_name_is_a_function_of_scipy() -> None:
    assert re.match(r"(a function of scipy|scipy\.linalg\.cho_factor) cannot", message_of(lambda x: linalg.cho_factor(A * x)[0], fd.grad))


@pytest.mark.parametrize("transform", [fd.compile, lambda f: lambda x: fd.vmap(f)(x[None])], ids=["compile", "vmap"])
def test_other_transforms_say_the_same(transform: Callable[..., Any]) -> None:
    assert message_of(lambda x: linalg.solve(A, x), transform).startswith("scipy.linalg.solve cannot compute with a value")
    assert message_of(lambda x: integrate.quad(lambda t: t * x[0], 0.0, 1.0)[0], transform).startswith("scipy.integrate.quad cannot")


def test_without_scipy_the_message_is_another() -> None:
    assert message_of(np.array, fd.grad).startswith("a plain array cannot hold")
    assert message_of(lambda x: float(x[0]), fd.grad).startswith("float() of a value")
    # A function of the user's own that SciPy calls is not SciPy.
    assert message_of(lambda x: optimize.brentq(lambda t: t - float(x[0]), 0.0, 5.0), fd.grad).startswith("float() of a value")


def test_the_hints_name_what_is_there() -> None:
    named = {name for hint in HINTS.values() for name in re.findall(r"fd\.[\w.]*\w", hint)}
    assert len(named) > 8
    for name in named:
        found: Any = fd
        for part in name.split(".")[1:]:
            found = getattr(found, part)
