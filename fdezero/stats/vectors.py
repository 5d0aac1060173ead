"""Distributions of choices and of vectors: categorical, dirichlet, multivariate_normal."""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..errors import ShapeError
from ..messages import describe
from ..numpy.arguments import ArrayOrNumber, as_array
from ..numpy.precision import in_single
from ..special import gammaln, log_softmax, xlogy
from ..values import limits
from .families import LOG_ROOT_TAU, promoted, within

__all__ = ["categorical", "dirichlet", "multivariate_normal"]


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
        x, alpha = promoted(x, alpha)
        if not x.ndim or x.shape[-1:] != alpha.shape[-1:]:
            raise ShapeError(
                f"stats.dirichlet: x {describe(x)} and alpha {describe(alpha)} must have a last axis of the same length."
            )
        apart = abs(fnp.sum(x, -1) - 1) > math.sqrt(limits(x.dtype).eps)
        outside = fnp.any(x < 0, -1) | apart
        alpha = within(alpha > 0, alpha)
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
        x, mean, cov = promoted(x, mean, cov)
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
