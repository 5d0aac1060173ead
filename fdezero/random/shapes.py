"""Draws with shape parameters: gamma, beta, Dirichlet, Student's t and their relatives, and normal vectors.

Gamma and beta draws have derivatives by their parameters through the distribution function, of every order: `implicit`.
"""

from typing import Any

import numpy as np

from .. import numpy as fnp
from ..errors import ShapeError
from ..messages import describe
from ..numpy.arguments import ArrayOrNumber
from ..ops.elementwise import sigmoid, stop_gradient
from .draws import normal
from .implicit import beta_by_shape, gamma_by_shape
from .keys import split
from .rejection import random_log_gamma
from .source import (
    FLOAT64,
    Key,
    Shape,
    as_parameter,
    check_dtype,
    check_key,
    check_parameters,
    check_shape,
    exponentiated,
    fitted,
    own_key,
)


def _logarithm(key: Key, a: Any, sizes: tuple[int, ...]) -> Any:
    """Logarithms of gamma draws without a derivative: key (2,), a (...) -> `sizes`, float64."""
    return random_log_gamma(own_key(key), stop_gradient(fnp.broadcast_to(a, sizes)), shape=sizes)


def _log_gamma(key: Key, a: Any, sizes: tuple[int, ...]) -> Any:
    return gamma_by_shape(_logarithm(key, a, sizes), a)


def loggamma(key: Key, a: Any, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """Logarithms of gamma numbers: `shape`, by default that of `a`; floating `dtype`.

    For a small `a`, most gamma numbers are below the least positive float, but their logarithms are exact.
    `a` below 0 gives NaN. Derivatives by `a` are those of `gamma`. Raises ShapeError if `a` does not broadcast to `shape`.
    """
    what = "fd.random.loggamma"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, a=a), check_dtype(dtype, "f", what)
    return fitted(_log_gamma(key, as_parameter(a, what, key), sizes), dtype)


def gamma(key: Key, a: Any, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """Gamma numbers of density x**(a - 1) exp(-x) / gamma(a), never 0: `shape`, by default that of `a`; floating `dtype`.

    Multiply them by the scale that you want. You can differentiate by `a`, to every order: dx/da = -(dF/da) / (dF/dx), with the
    distribution function F. Derivatives need SciPy. `a` below 0 gives NaN. Raises ShapeError if `a` does not broadcast to `shape`.
    Source: G. Marsaglia, W. Tsang, ACM Trans. Math. Softw. 26 (2000) 363, and `fdezero/random/implicit.py`.
    """
    what = "fd.random.gamma"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, a=a), check_dtype(dtype, "f", what)
    return fitted(exponentiated(_log_gamma(key, as_parameter(a, what, key), sizes)), dtype, positive=True)


def chisquare(key: Key, df: Any, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """Chi-square numbers with `df` degrees of freedom: `shape`, by default that of `df`; floating `dtype`. As twice `gamma`."""
    what = "fd.random.chisquare"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, df=df), check_dtype(dtype, "f", what)
    return fitted(2 * exponentiated(_log_gamma(key, as_parameter(df, what, key) / 2, sizes)), dtype, positive=True)


def beta(key: Key, a: Any, b: Any, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """Beta numbers of density proportional to x**(a - 1) (1 - x)**(b - 1): `shape`, by default that of a and b; floating `dtype`.

    You can differentiate by `a` and `b`, to every order: dx/da = -(dF/da) / (dF/dx), with the distribution function F.
    Derivatives need SciPy. Numbers too near to 1 for the dtype are 1. Raises ShapeError if a and b do not broadcast to `shape`.
    """
    what = "fd.random.beta"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, a=a, b=b), check_dtype(dtype, "f", what)
    a, b = as_parameter(a, what, key), as_parameter(b, what, key)
    first, second = split(key)
    odds = beta_by_shape(_logarithm(first, a, sizes) - _logarithm(second, b, sizes), a, b)
    return fitted(sigmoid(odds), dtype, positive=True)


def dirichlet(key: Key, alpha: Any, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """Probabilities that sum to 1: alpha (..., n) -> (*shape, n), floating `dtype`; `shape` is by default alpha's without n.

    They are gamma draws, divided by their sum, and are differentiable in `alpha` as these are. Raises ShapeError unless alpha
    has an axis and broadcasts to `shape`.
    """
    what = "fd.random.dirichlet"
    check_key(key, what)
    dtype, alpha = check_dtype(dtype, "f", what), as_parameter(alpha, what, key)
    if not alpha.ndim:
        raise ShapeError(f"{what} needs one parameter for each probability on the last axis, got {describe(alpha)}.")
    sizes = alpha.shape[:-1] if shape is None else check_shape(shape, what)
    check_parameters((*sizes, alpha.shape[-1]), what, alpha=alpha)
    z = _log_gamma(key, alpha, (*sizes, alpha.shape[-1]))
    share = fnp.exp(z - fnp.max(stop_gradient(z), axis=-1, keepdims=True))
    return fitted(share / fnp.sum(share, axis=-1, keepdims=True), dtype, positive=True)


def t(key: Key, df: Any, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """Student's t numbers with `df` degrees of freedom: `shape`, by default that of `df`; floating `dtype`.

    They are normal numbers over the root of chi-square numbers, and are differentiable in `df` as these are.
    """
    what = "fd.random.t"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, df=df), check_dtype(dtype, "f", what)
    first, second = split(key)
    half = as_parameter(df, what, key) / 2
    z = _log_gamma(second, half, sizes)
    return fitted(normal(first, sizes, FLOAT64) * exponentiated(0.5 * (fnp.log(half) - z)), dtype)


def f(key: Key, dfnum: Any, dfden: Any, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """F numbers, ratios of chi-square numbers over their degrees of freedom: `shape`, by default that of the degrees; floating."""
    what = "fd.random.f"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, dfnum=dfnum, dfden=dfden), check_dtype(dtype, "f", what)
    first, second = split(key)
    top, bottom = as_parameter(dfnum, what, key) / 2, as_parameter(dfden, what, key) / 2
    z = _log_gamma(first, top, sizes) - _log_gamma(second, bottom, sizes)
    return fitted(exponentiated(z - fnp.log(top) + fnp.log(bottom)), dtype, positive=True)


def multivariate_normal(
    key: Key, mean: Any, cov: Any, shape: Shape | None = None, dtype: Any = np.float32
) -> ArrayOrNumber:
    """Normal vectors: mean (..., n), cov (..., n, n) -> (*shape, n), floating `dtype`; `shape` is by default that before n.

    They are mean + L z with the Cholesky factor L of cov, and differentiable in both. Raises ShapeError for shapes that do not go
    together, MatrixError unless cov is positive definite.
    """
    what = "fd.random.multivariate_normal"
    check_key(key, what)
    dtype, mean, cov = check_dtype(dtype, "f", what), as_parameter(mean, what, key), as_parameter(cov, what, key)
    n = mean.shape[-1] if mean.ndim else 0
    if not mean.ndim or cov.ndim < 2 or cov.shape[-2:] != (n, n):
        raise ShapeError(f"{what} needs mean (..., n) and cov (..., n, n), got {describe(mean)} and {describe(cov)}.")
    loops = np.broadcast_shapes(mean.shape[:-1], cov.shape[:-2])
    sizes = loops if shape is None else check_shape(shape, what)
    check_parameters((*sizes, n), what, mean=mean)
    check_parameters((*sizes, n, n), what, cov=cov)
    z = normal(key, (*sizes, n), FLOAT64)
    moved = fnp.matmul(fnp.linalg.cholesky(cov), z[..., None])[..., 0]
    return fitted(mean + moved, dtype)
