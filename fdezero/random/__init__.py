"""Random numbers as pure functions of a key: the same key and shape always give the same array, on every device.

A key is a uint64 array of shape (2,), the key of NumPy's Philox4x64-10. Use each key once, because two draws with one key give
the same numbers. `split` and `fold_in` derive new keys.
"""

import typing as _typing

from ..elsewhere import RANDOM_ELSEWHERE as _ELSEWHERE
from ..elsewhere import unknown_name as _unknown_name
from .counts import binomial, categorical, multinomial, poisson
from .draws import bernoulli, bits, keep_mask, normal, randint, uniform
from .inverse import (
    cauchy,
    exponential,
    geometric,
    gumbel,
    laplace,
    logistic,
    lognormal,
    pareto,
    rademacher,
    rayleigh,
    triangular,
    truncated_normal,
    weibull_min,
)
from .keys import fold_in, key, split
from .order import choice, permutation
from .shapes import beta, chisquare, dirichlet, f, gamma, loggamma, multivariate_normal, t

__all__ = [
    "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy", "chisquare", "choice", "dirichlet", "exponential", "f",
    "fold_in", "gamma", "geometric", "gumbel", "keep_mask", "key", "laplace", "loggamma", "logistic", "lognormal", "multinomial",
    "multivariate_normal", "normal", "pareto", "permutation", "poisson", "rademacher", "randint", "rayleigh", "split", "t",
    "triangular", "truncated_normal", "uniform", "weibull_min"
]  # fmt: skip


if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        raise AttributeError(_unknown_name(__name__, name, _ELSEWHERE))


def __dir__() -> list[str]:
    return __all__
