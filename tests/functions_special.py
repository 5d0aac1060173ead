"""The functions of fdezero.special and fdezero.stats, as (name, function, args, kwargs): function(*args, **kwargs), smooth there.

`REFERENCES` has what mpmath says of them: (name, function, mpmath's, points), each a function of one number.
"""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from fdezero import special, stats

Case = tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]
RNG = np.random.default_rng(5)
REAL, POSITIVE, UNIT = RNG.standard_normal((2, 3)), RNG.uniform(0.5, 3, (2, 3)), RNG.uniform(0.1, 0.9, (2, 3))
ON = {
    "erf erfc erfcx i0 i1 i0e i1e expit log_expit ndtr log_ndtr softmax log_softmax logsumexp": REAL,
    "gammaln digamma psi entr": POSITIVE, "erfinv logit ndtri": UNIT, "erfcinv": 2 * UNIT,
}  # fmt: skip
OF_REAL = "norm laplace cauchy".split()


def _special_cases() -> list[Case]:
    made = [(name, getattr(special, name), (x,), {}) for names, x in ON.items() for name in names.split()]
    made += [(name, getattr(special, name), (POSITIVE, POSITIVE[0, ::-1]), {}) for name in "beta betaln xlogy xlog1py rel_entr".split()]
    made += [(name, getattr(special, name), (2, POSITIVE), {}) for name in ("polygamma", "zeta", "gammainc", "gammaincc")]
    made += [
        ("polygamma", special.polygamma, (np.array([[0], [3]]), POSITIVE), {}),
        ("zeta", special.zeta, (3, POSITIVE), {}),
        ("softmax", special.softmax, (REAL,), {"axis": -1}),
        ("log_softmax", special.log_softmax, (REAL,), {"axis": 0}),
        ("logsumexp", special.logsumexp, (REAL,), {"axis": -1, "keepdims": True}),
        ("logsumexp", special.logsumexp, (REAL,), {"axis": 0, "b": POSITIVE}),
        ("logsumexp", lambda a, b: special.logsumexp(a, 1, -b, return_sign=True)[0], (REAL, POSITIVE), {}),
    ]
    return made


def _stats_cases() -> list[Case]:
    loc_scale = (np.array([0.1, 0.2, 0.3]), np.array([[1.5], [0.7]]))
    made: list[Case] = [(f"{name}.logpdf", getattr(stats, name).logpdf, (REAL, *loc_scale), {}) for name in OF_REAL]
    made += [
        ("t.logpdf", stats.t.logpdf, (REAL, 3.5, *loc_scale), {}),
        ("uniform.logpdf", stats.uniform.logpdf, (UNIT, -0.5, 2.0), {}),
        ("expon.logpdf", stats.expon.logpdf, (POSITIVE, *loc_scale), {}),
        ("gamma.logpdf", stats.gamma.logpdf, (POSITIVE, 2.5, *loc_scale), {}),
        ("beta.logpdf", stats.beta.logpdf, (UNIT, POSITIVE, 2.0, -0.2, 1.5), {}),
        ("lognorm.logpdf", stats.lognorm.logpdf, (POSITIVE, 0.8), {"loc": -0.1, "scale": 1.3}),
        ("norm.pdf", stats.norm.pdf, (REAL,), {}),
        ("bernoulli.logpmf", stats.bernoulli.logpmf, (np.array([0, 1, 1]), UNIT), {}),
        ("binom.logpmf", stats.binom.logpmf, (np.array([0, 2, 5]), 5, UNIT), {}),
        ("poisson.logpmf", stats.poisson.logpmf, (np.array([0, 2, 5]), POSITIVE), {}),
        ("poisson.pmf", stats.poisson.pmf, (np.array([1, 2, 6]), POSITIVE), {"loc": 1}),
        ("categorical.logpmf", stats.categorical.logpmf, (np.array([2, 0]), POSITIVE), {}),
        ("categorical.logpmf", lambda k, logits: stats.categorical.logpmf(k, logits=logits), (np.array(1), REAL), {}),
        (
            "dirichlet.logpdf",
            lambda x, alpha: stats.dirichlet.logpdf(x / x.sum(-1, keepdims=True), alpha),
            (POSITIVE, POSITIVE[0] + 0.3),
            {},
        ),
    ]
    return made


CASES = _special_cases() + _stats_cases()

SMALL, WIDE = [-2.5, -0.7, 0.0, 1e-3, 0.4, 3.0], [-40.0, -12.5, -3.0, -1.0, -0.2, 0.0, 0.9, 5.0]
REFERENCES: list[tuple[str, Callable[..., Any], Callable[..., Any], list[float]]] = [
    ("erf", special.erf, mp.erf, SMALL),
    ("erfc", special.erfc, mp.erfc, [*SMALL, 9.0, 26.0, -9.0]),
    ("erfcx", special.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), [*SMALL, 9.0, 11.9, 12.1, 25.0]),
    ("erfinv", special.erfinv, mp.erfinv, [-0.99, -0.3, 1e-3, 0.5, 0.999]),
    ("erfcinv", special.erfcinv, lambda p: mp.erfinv(1 - mp.mpf(p)), [1e-4, 0.3, 1.0, 1.7]),
    ("gammaln", special.gammaln, lambda x: mp.log(abs(mp.gamma(x))), [1e-3, 0.3, 0.999, 1.001, 1.5, 1.9999, 2.0001, 7.0, 1e5, -0.5, -3.3]),
    ("digamma", special.digamma, mp.digamma, [1e-3, 0.7, 1.0, 1.46, 2.0, 9.0, 1e6, -0.5]),
    ("polygamma 1", lambda x: special.polygamma(1, x), lambda x: mp.polygamma(1, x), [0.1, 1.0, 30.0]),
    ("polygamma 4", lambda x: special.polygamma(4, x), lambda x: mp.polygamma(4, x), [0.1, 1.0, 30.0]),
    ("zeta", lambda q: special.zeta(2.5, q), lambda q: mp.zeta(2.5, q), [0.3, 1.0, 8.0]),
    ("beta", lambda a: special.beta(a, 1.5), lambda a: mp.beta(a, 1.5), [0.2, 1.0, 6.0]),
    ("betaln", lambda a: special.betaln(a, 2.5), lambda a: mp.log(mp.beta(a, 2.5)), [0.2, 1.0, 300.0]),
    ("i0", special.i0, lambda x: mp.besseli(0, x), [*SMALL, 0.49, 0.51, 30.0]),
    ("i1", special.i1, lambda x: mp.besseli(1, x), [*SMALL, 0.49, 0.51, 30.0]),
    ("i0e", special.i0e, lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), [-2.5, 1e-3, 0.4, 30.0, 800.0]),
    ("i1e", special.i1e, lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), [-2.5, 1e-3, 0.4, 30.0, 800.0]),
    ("expit", special.expit, lambda x: 1 / (1 + mp.exp(-x)), WIDE),
    ("log_expit", special.log_expit, lambda x: -mp.log(1 + mp.exp(-x)), [*WIDE, -800.0, 40.0]),
    ("logit", special.logit, lambda p: mp.log(p / (1 - p)), [1e-9, 0.2, 0.5, 0.75]),
    ("ndtr", special.ndtr, mp.ncdf, [*WIDE[1:], -37.0]),
    ("log_ndtr", special.log_ndtr, lambda x: mp.log(mp.ncdf(x)), [*WIDE, -0.99, -1.01]),
    ("ndtri", special.ndtri, lambda p: mp.sqrt(2) * mp.erfinv(2 * mp.mpf(p) - 1), [1e-6, 0.2, 0.5, 0.9]),
    ("gammainc", lambda x: special.gammainc(2.5, x), lambda x: mp.gammainc(2.5, 0, x, regularized=True), [0.1, 1.0, 8.0]),
    ("gammaincc", lambda x: special.gammaincc(0.5, x), lambda x: mp.gammainc(0.5, x, regularized=True), [0.1, 1.0, 8.0]),
    ("xlogy", lambda x: special.xlogy(x, 3.0), lambda x: x * mp.log(3), SMALL),
    ("xlogy y", lambda y: special.xlogy(2.0, y), lambda y: 2 * mp.log(y), [0.1, 2.0]),
    ("xlog1py", lambda y: special.xlog1py(2.0, y), lambda y: 2 * mp.log1p(y), [-0.5, 1e-9, 2.0]),
    ("entr", special.entr, lambda x: -x * mp.log(x), [1e-9, 0.3, 1.0, 4.0]),
    ("rel_entr", lambda x: special.rel_entr(x, 0.7), lambda x: x * mp.log(x / 0.7), [1e-9, 0.3, 0.7, 4.0]),
    ("norm", lambda x: stats.norm.logpdf(x, 0.5, 2.0), lambda x: mp.log(mp.npdf(x, 0.5, 2)), WIDE),
    ("t", lambda x: stats.t.logpdf(x, 3.0), lambda x: mp.log(2 / (mp.pi * mp.sqrt(3) * (1 + x * x / 3) ** 2)), WIDE),
]
