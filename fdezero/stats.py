"""Log-densities of the usual distributions, under SciPy's names and signatures: `stats.norm.logpdf(x, loc, scale)`.

Outside the support a log-density is -inf, with derivatives 0. If a parameter is outside its range, the log-density is NaN.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import numpy as fnp
from .core import unwrap
from .errors import ShapeError
from .messages import describe
from .numpy.arguments import ArrayOrNumber, as_array
from .numpy.elementwise import cast
from .numpy.precision import in_single
from .ops.elementwise import stop_gradient
from .special import betaln, gammaln, log_softmax, xlog1py, xlogy

Rule = Callable[..., Any]
LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)


def _parameters(
    name: str, shapes: tuple[str, ...], others: dict[str, Any], args: tuple[Any, ...], named: dict[str, Any]
) -> list[Any]:
    """The values of a distribution's parameters, by position or by name; `others` have defaults."""
    order = (*shapes, *others)
    given = others | dict(zip(order, args, strict=False)) | named
    if len(args) > len(order) or set(given) != set(order) or set(order[: len(args)]) & set(named):
        got = f"{len(args)} by position and {', '.join(named) or 'none'} by name"
        raise TypeError(f"stats.{name} takes x and the parameters {', '.join(order)}, got {got}.")
    return [given[key] for key in order]


class Continuous:
    """A family of distributions with a density. Its log-density for loc = 0 and scale = 1 is a function of z and the shapes.

    Shapes are positive. `outside` says which z are outside the support; 0.5 must be inside.
    """

    def __init__(self, name: str, log_density: Rule, shapes: tuple[str, ...] = (), outside: Rule = np.isinf) -> None:
        self.name, self.shapes = name, shapes
        self.__doc__ = (
            f"The distribution {name} of SciPy: `logpdf` and `pdf` of x, {', '.join((*shapes, 'loc=0', 'scale=1'))}."
        )
        self._log_density, self._outside = log_density, outside

    def __repr__(self) -> str:
        return f"stats.{self.name}"

    @in_single
    def logpdf(self, x: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The logarithm of the density: x (...), then the shapes, loc and scale, which broadcast -> (...)."""
        x, *shapes, loc, scale = _promoted(x, *_parameters(self.name, self.shapes, {"loc": 0, "scale": 1}, args, named))
        shapes, scale = [_within(a > 0, a) for a in shapes], _within(scale > 0, scale)
        z = (x - loc) / scale
        outside = self._outside(z) | np.isinf(z)
        inside = self._log_density(fnp.where(outside, 0.5, z), *shapes) - fnp.log(scale)
        return fnp.where(outside & ~np.isnan(inside), -math.inf, inside)

    @in_single
    def pdf(self, x: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The density: x (...), then the shapes, loc and scale, which broadcast -> (...)."""
        return fnp.exp(self.logpdf(x, *args, **named))


class Discrete:
    """A family of distributions over the integers from 0 to `last`, all shifted by loc.

    `valid` and `last` are functions of the parameters: whether they are in range, and the greatest integer.
    """

    def __init__(self, name: str, log_probability: Rule, shapes: tuple[str, ...], valid: Rule, last: Rule) -> None:
        self.name, self.shapes = name, shapes
        self.__doc__ = f"The distribution {name} of SciPy: `logpmf` and `pmf` of k, {', '.join((*shapes, 'loc=0'))}."
        self._log_probability, self._valid, self._last = log_probability, valid, last

    def __repr__(self) -> str:
        return f"stats.{self.name}"

    @in_single
    def logpmf(self, k: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The log-probability of k: k (...), then the parameters and loc, which broadcast -> (...). The derivative for k is 0."""
        k, *shapes, loc = _promoted(k, *_parameters(self.name, self.shapes, {"loc": 0}, args, named))
        k = stop_gradient(k - loc)
        outside = (k < 0) | (k > self._last(*shapes)) | np.isinf(k) | ((k != np.floor(k)) & (k == k))
        inside = _within(self._valid(*shapes), self._log_probability(fnp.where(outside, 0, k), *shapes))
        return fnp.where(outside & ~np.isnan(inside), -math.inf, inside)

    @in_single
    def pmf(self, k: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The probability of k: k (...), then the parameters and loc, which broadcast -> (...)."""
        return fnp.exp(self.logpmf(k, *args, **named))


def _promoted(x: Any, *parameters: Any) -> list[Any]:
    """Arrays in one floating dtype. Integers get the dtype of the floating arguments, so counts do not widen a float32."""
    values = [as_array(x), *parameters]
    floats = [v.dtype for v in values if hasattr(unwrap(v), "dtype") and v.dtype.kind == "f"]
    dtype = np.result_type(*floats) if floats else np.dtype(float)
    return [dtype.type(v) if isinstance(v, int | float) else cast(v, dtype) for v in values]


def _within(valid: Any, x: Any) -> Any:
    """`x`, but NaN where `valid` is false."""
    if isinstance(valid, np.bool_):
        return x if valid else x.dtype.type(math.nan)
    return fnp.where(valid, x, math.nan)


norm = Continuous("norm", lambda z: -0.5 * z * z - LOG_ROOT_TAU)
laplace = Continuous("laplace", lambda z: -abs(z) - math.log(2))
cauchy = Continuous("cauchy", lambda z: -np.log1p(z * z) - math.log(math.pi))
t = Continuous(
    "t",
    lambda z, df: -(df + 1) / 2 * np.log1p(z * z / df) - betaln(df / 2, 0.5) - 0.5 * np.log(df),
    shapes=("df",),
)
uniform = Continuous("uniform", lambda z: 0 * z, outside=lambda z: (z < 0) | (z > 1))
expon = Continuous("expon", lambda z: -z, outside=lambda z: z < 0)
gamma = Continuous("gamma", lambda z, a: xlogy(a - 1, z) - z - gammaln(a), ("a",), outside=lambda z: z < 0)
beta = Continuous(
    "beta",
    lambda z, a, b: xlogy(a - 1, z) + xlog1py(b - 1, -z) - betaln(a, b),
    shapes=("a", "b"),
    outside=lambda z: (z < 0) | (z > 1),
)
lognorm = Continuous(
    "lognorm",
    lambda z, s: -0.5 * (np.log(z) / s) ** 2 - np.log(s * z) - LOG_ROOT_TAU,
    shapes=("s",),
    outside=lambda z: z <= 0,
)

bernoulli = Discrete(
    "bernoulli",
    lambda k, p: xlogy(k, p) + xlog1py(1 - k, -p),
    ("p",),
    valid=lambda p: (p >= 0) & (p <= 1),
    last=lambda p: 1,
)
binom = Discrete(
    "binom",
    lambda k, n, p: xlogy(k, p) + xlog1py(n - k, -p) - betaln(n - k + 1, k + 1) - np.log1p(n),
    shapes=("n", "p"),
    valid=lambda n, p: (n >= 0) & (np.floor(n) == n) & (p >= 0) & (p <= 1),
    last=lambda n, p: n,
)
poisson = Discrete(
    "poisson",
    lambda k, mu: xlogy(k, mu) - mu - gammaln(k + 1),
    ("mu",),
    valid=lambda mu: mu >= 0,
    last=lambda mu: math.inf,
)


class Categorical:
    """Choices among n classes, given by probabilities or logits."""

    @staticmethod
    @in_single
    def logpmf(k: Any, p: Any = None, *, logits: Any = None) -> ArrayOrNumber:
        """The logarithm of the probability of k: integers k (...), p or logits (..., n) -> (...).

        p need not sum to 1. Raises ShapeError unless you pass exactly one of p and logits.
        """
        if (p is None) == (logits is None):
            raise ShapeError(
                "stats.categorical takes either probabilities p or logits, with shape (..., n). Pass exactly one of them."
            )
        with np.errstate(divide="ignore"):
            rows = log_softmax(logits, -1) if p is None else fnp.log(p) - fnp.log(fnp.sum(p, -1, keepdims=True))
        k = as_array(k)
        n = rows.shape[-1]
        outside = (k < 0) | (k >= n)
        loops = np.broadcast_shapes(k.shape, rows.shape[:-1])
        place = fnp.broadcast_to(fnp.where(outside, 0, k), loops)
        picked = fnp.take_along_axis(fnp.broadcast_to(rows, (*loops, n)), fnp.expand_dims(place, -1), -1)
        return fnp.where(outside, -math.inf, fnp.squeeze(picked, -1))


class Dirichlet:
    """Distributions over the probabilities of n choices."""

    @staticmethod
    @in_single
    def logpdf(x: Any, alpha: Any) -> ArrayOrNumber:
        """The logarithm of the density: x (..., n) that sums to 1, alpha (..., n) positive -> (...)."""
        x, alpha = _promoted(x, alpha)
        if not x.ndim or x.shape[-1:] != alpha.shape[-1:]:
            raise ShapeError(
                f"stats.dirichlet: x {describe(x)} and alpha {describe(alpha)} must have a last axis of the same length."
            )
        apart = abs(fnp.sum(x, -1) - 1) > math.sqrt(np.finfo(x.dtype).eps)
        outside = fnp.any(x < 0, -1) | apart
        alpha = _within(alpha > 0, alpha)
        safe = fnp.where(fnp.expand_dims(outside, -1), 1 / x.shape[-1], x)
        inside = fnp.sum(xlogy(alpha - 1, safe) - gammaln(alpha), -1) + gammaln(fnp.sum(alpha, -1))
        return fnp.where(outside & ~np.isnan(inside), -math.inf, inside)


class MultivariateNormal:
    """Normal distributions of vectors."""

    @staticmethod
    @in_single
    def logpdf(x: Any, mean: Any, cov: Any) -> ArrayOrNumber:
        """The logarithm of the density: x (..., n), mean (..., n), cov (..., n, n) positive definite -> (...).

        It uses the Cholesky factor of cov. float16 is computed in float32, the narrowest dtype of LAPACK. Raises ShapeError if the
        axes do not fit, MatrixError if cov is not positive definite.
        """
        x, mean, cov = _promoted(x, mean, cov)
        n = x.shape[-1:]
        if not n or mean.shape[-1:] not in (n, ()) or cov.shape[-2:] != n + n:
            raise ShapeError(
                f"stats.multivariate_normal: x {describe(x)} has vectors of n entries; mean {describe(mean)} must have shape (..., n) "
                f"and cov {describe(cov)} shape (..., n, n)."
            )
        factor = fnp.linalg.cholesky(cov)
        z = fnp.squeeze(fnp.linalg.solve(factor, fnp.expand_dims(x - mean, -1)), -1)
        spread = fnp.sum(fnp.log(fnp.diagonal(factor, 0, -2, -1)), -1)
        return -0.5 * fnp.sum(z * z, -1) - spread - n[0] * LOG_ROOT_TAU


categorical, dirichlet, multivariate_normal = Categorical(), Dirichlet(), MultivariateNormal()

__all__ = [
    "bernoulli", "beta", "binom", "categorical", "cauchy", "dirichlet", "expon", "gamma", "laplace", "lognorm", "multivariate_normal",
    "norm", "poisson", "t", "uniform",
]  # fmt: skip
