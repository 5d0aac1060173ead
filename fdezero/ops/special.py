"""Special functions of SciPy, or of CuPy. Their partial derivatives are special functions again, so all orders follow.

SciPy is imported when one of them is first computed on NumPy arrays; xlogy, xlog1py and entr only need NumPy, erf and erfc
Python. A function has a C expression if CUDA has the function, which is the one that CuPy calls.
"""

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..core import Elementwise, elementwise
from ..devices import CPU, Backend, backend_of
from ..errors import DerivativeError, DeviceError, MissingExtraError
from ..values import is_floating
from .elementwise import sigmoid
from .slopes import corner, quotient

NUMBER = np.dtype(float)  # of Python's numbers
SLOPE_OF_ERF = 2 / math.sqrt(math.pi)


def module_of(backend: Backend) -> Any:
    """The back end's module of special functions."""
    try:
        return importlib.import_module(backend.special_functions)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "scipy":
            raise
        raise MissingExtraError("this function of fdezero.special needs SciPy: pip install 'fdezero[scipy]'") from error


def missing_on(backend: Backend, function: str) -> NoReturn:
    """Raise DeviceError, because the back end's module does not have `function`."""
    raise DeviceError(
        f"fdezero.special.{function}: {backend.special_functions} does not have this function. "
        "Compute it on the CPU: fd.to_device(x, 'cpu')."
    )


PYTHONS = {"erf": math.erf, "erfc": math.erfc}  # without SciPy, because gelu needs one: slower, but as accurate
SUBSTITUTES: dict[str, Callable[..., Any]] = {  # on a back end without the function
    "betaincc": lambda module, a, b, x: module.betainc(b, a, 1 - x),
}


def function_of(backend: Backend, name: str) -> Any:
    """SciPy's function `name`, or the back end's. Raises DeviceError if the back end does not have it."""
    try:
        module = module_of(backend)
    except MissingExtraError:
        if name not in PYTHONS:
            raise
        return functools.partial(_one_by_one, PYTHONS[name])
    if name in SUBSTITUTES and not hasattr(module, name):
        return functools.partial(SUBSTITUTES[name], module)
    return getattr(module, name, None) or missing_on(backend, name)


def _one_by_one(function: Callable[[float], float], x: Any, out: Any = None) -> Any:
    """Python's function of every entry of x."""
    x = np.asarray(x)
    y = np.empty_like(x, dtype=x.dtype if is_floating(x.dtype) else NUMBER) if out is None else out
    y[...] = np.reshape([function(entry) for entry in x.ravel().tolist()], x.shape)
    return y if y.shape else y[()]


def _widened(x: Any) -> Any:
    """Integers and booleans as those of 64 bits, for which SciPy computes in float64, whatever its version does for short ones."""
    if isinstance(x, bool):
        return int(x)
    return x.astype(np.int64) if getattr(x, "dtype", NUMBER).kind in "biu" and x.dtype.itemsize < 4 else x


def special(name: str, *rules: Any, called: str = "", c: str = "", doc: str) -> Elementwise:
    """Declare an operation for SciPy's function `name`, in the dtype that NumPy's promotion gives its arguments."""

    def compute(*args: Any) -> Any:
        backend = backend_of(*args)
        dtype = backend.module.result_type(*args)
        if backend is CPU:
            y = function_of(CPU, name)(*map(_widened, args))
        else:  # CuPy takes integers in half precision for some functions
            numbers = [x.astype(np.float64) if getattr(x, "dtype", NUMBER).kind in "biu" else x for x in args]
            y = function_of(backend, name)(*numbers)
        return y.astype(dtype) if is_floating(dtype) and y.dtype != dtype else y

    def write(out: Any, *args: Any) -> None:
        function_of(CPU, name)(*map(_widened, args), out=out)

    loop = (lambda dtypes, y: (y,) * len(dtypes)) if c else None
    return elementwise(called or name, *rules, c=c, loop=loop, impl=compute, write=write, doc=doc)


def no_derivative(function: str, argument: str) -> NoReturn:
    raise DerivativeError(
        f"{function} has no derivative with respect to {argument} here. If it is a constant of your problem, pass "
        "fd.stop_gradient(...) of it; otherwise write a rule for the function with fd.custom_vjp."
    )


# The error function and related ones
erf = special(
    "erf",
    lambda x0: SLOPE_OF_ERF * np.exp(-x0 * x0),
    c="erf(x0)",
    doc="The error function, 2 / sqrt(pi) times the integral of exp(-t ** 2) from 0 to x0.",
)
erfc = special("erfc", lambda x0: -SLOPE_OF_ERF * np.exp(-x0 * x0), c="erfc(x0)", doc="1 - erf(x0), accurate for large x0.")
erfinv = special("erfinv", lambda y: np.exp(y * y) / SLOPE_OF_ERF, c="erfinv(x0)", doc="The inverse of erf.")
erfcinv = special("erfcinv", lambda y: -np.exp(y * y) / SLOPE_OF_ERF, c="erfcinv(x0)", doc="The inverse of erfc.")


def _slope_of_erfcx(y: Any, x: Any) -> Any:
    """2 x y - 2 / sqrt(pi). For large x its terms cancel, so the asymptotic series is used."""
    far = x > 12
    u = 1 / np.where(far, x, 12)
    u = u * u
    series: Any = 1.0
    for k in range(10, 0, -1):
        series = 1 - (k + 0.5) * u * series
    return np.where(far, -0.5 * SLOPE_OF_ERF * u * series, 2 * np.where(far, 0, x) * y - SLOPE_OF_ERF)


erfcx = special("erfcx", lambda y, x0: _slope_of_erfcx(y, x0), c="erfcx(x0)", doc="exp(x0 ** 2) * erfc(x0), without underflow.")

# The gamma function and related ones
zeta: Elementwise = special(
    "zeta",
    lambda x0: no_derivative("zeta", "its exponent"),
    lambda t, x0, x1: -t * x0 * zeta(x0 + 1, x1),
    doc="The Hurwitz zeta function, the sum of (k + x1) ** -x0 over k >= 0.",
)
digamma = special("digamma", lambda x0: zeta(2, x0), doc="The derivative of gammaln.")
gammaln = special("gammaln", lambda x0: digamma(x0), c="lgamma(x0)", doc="The logarithm of |gamma(x0)|.")
gamma: Elementwise = special("gamma", lambda y, x0: y * digamma(x0), c="tgamma(x0)", doc="The gamma function, the factorial of x0 - 1.")


def _slope_of_rgamma(x: Any) -> Any:
    """The derivative of gamma(1 - x) sin(pi x) / pi for small x, because digamma has poles there, and 1 / gamma does not."""
    low = x < 0.5
    z, u = np.where(low, 0.5, x), np.where(low, x, 0.25)
    turns = np.rint(u)
    angle, sign = math.pi * (u - turns), 1 - 2 * np.remainder(turns, 2)
    reflected = gamma(1 - u) * sign * (np.cos(angle) - digamma(1 - u) * np.sin(angle) / math.pi)
    return np.where(low, reflected, -digamma(z) * rgamma(z))


rgamma: Elementwise = special("rgamma", lambda x0: _slope_of_rgamma(x0), doc="1 / gamma(x0), which is 0 at the poles of gamma.")
betaln = special(
    "betaln",
    lambda x0, x1: digamma(x0) - digamma(x0 + x1),
    lambda x0, x1: digamma(x1) - digamma(x0 + x1),
    doc="The logarithm of |beta(x0, x1)|.",
)
beta = special(
    "beta",
    lambda y, x0, x1: y * (digamma(x0) - digamma(x0 + x1)),
    lambda y, x0, x1: y * (digamma(x1) - digamma(x0 + x1)),
    doc="gamma(x0) * gamma(x1) / gamma(x0 + x1).",
)


# Products with a logarithm that are 0 where the factor is 0; they do not need SciPy
def _floating(x: Any) -> Any:
    """Integers as floating numbers: a negative number beside an unsigned array would become a large one."""
    dtype = getattr(x, "dtype", None)
    return x if dtype is None or dtype.kind not in "biu" else x.astype(np.result_type(dtype, np.float16))


def _xlogy(x: Any, y: Any) -> Any:
    x = _floating(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return x * np.log(np.where((x == 0) & ~np.isnan(y), x + 1, y))


def _xlog1py(x: Any, y: Any) -> Any:
    x = _floating(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return x * np.log1p(np.where((x == 0) & ~np.isnan(y), x, y))


def _log_factor(x: Any, y: Any, log: Any, one: int) -> Any:
    """log(y), and 0 where x is 0 and the logarithm is not finite; the slope there is NaN."""
    at = (x == 0) & (y <= one - 1)
    return np.where(at, corner(at, y), log(np.where(at, one, y)))


xlogy = elementwise(
    "xlogy",
    lambda t, x0, x1: t * _log_factor(x0, x1, np.log, 1),
    lambda t, x0, x1: quotient(t * x0, x1),
    c="x0 == 0 && x1 == x1 ? 0 : x0 * log(x1)",
    impl=_xlogy,
    expand=True,
    doc="x0 * log(x1), and 0 where x0 is 0.",
)
xlog1py = elementwise(
    "xlog1py",
    lambda t, x0, x1: t * _log_factor(x0, x1, np.log1p, 0),
    lambda t, x0, x1: quotient(t * x0, 1 + x1),
    c="x0 == 0 && x1 == x1 ? 0 : x0 * log1p(x1)",
    impl=_xlog1py,
    expand=True,
    doc="x0 * log(1 + x1), and 0 where x0 is 0.",
)
entr = elementwise(
    "entr",
    lambda t, x0: np.where(x0 < 0, 0, -t * (1 + np.log(np.where(x0 < 0, 1, x0)))),
    c="x0 < 0 ? -1.0 / 0.0 : x0 == 0 ? 0 : -x0 * log(x0)",
    impl=lambda x: np.where(x < 0, -math.inf, -_xlogy(x, x)),
    expand=True,
    doc="-x0 * log(x0), a term of the entropy; 0 for x0 = 0, -inf for x0 < 0.",
)
# (1 + tanh(w)) / 2 is sigmoid(2 w), which keeps its digits where the sum would cancel. As one operation it keeps x0 and y for its
# derivative; a composition would keep five arrays.
STEEPNESS, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715
ndtr_by_tanh: Elementwise = elementwise(
    "ndtr_by_tanh",
    lambda y, x0: y * (1 - y) * (STEEPNESS + (3 * STEEPNESS * CUBIC) * (x0 * x0)),
    c=f"1 / (1 + exp(-({STEEPNESS!r} * (x0 + {CUBIC} * (x0 * x0 * x0)))))",
    impl=lambda x: sigmoid(STEEPNESS * (x + CUBIC * (x * x * x))),
    expand=True,
    doc="An approximation of the normal distribution function at x0 by tanh.",
)
