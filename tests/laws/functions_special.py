"""Cases of `fdezero.special` and `fdezero.stats`, at points where the functions are smooth.

`REFERENCES` compares them with mpmath: (name, function, mpmath's function, points), each a function of one number.
"""

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import scipy.special
import scipy.stats

from fdezero import special, stats

from .cases import Case, cases_of

special_case, stats_case = cases_of("special", special, scipy.special), cases_of("stats", stats, scipy.stats)
RNG = np.random.default_rng(5)
REAL, POSITIVE, UNIT = RNG.standard_normal((2, 3)), RNG.uniform(0.5, 3, (2, 3)), RNG.uniform(0.1, 0.9, (2, 3))
ON = {
    "erf erfc erfcx i0 i1 i0e i1e j0 j1 rgamma expit log_expit ndtr log_ndtr softmax log_softmax logsumexp": REAL,
    "gamma gammaln digamma psi entr y0 y1": POSITIVE, "erfinv logit ndtri": UNIT, "erfcinv": 2 * UNIT,
}  # fmt: skip


def _special_cases() -> list[Case]:
    case, xs = special_case, POSITIVE[0, ::-1]
    made = [case(name, x, order=3) for names, x in ON.items() for name in names.split()]
    made += [case(name, POSITIVE, xs, d=(0, 1), order=3) for name in "beta betaln xlogy xlog1py rel_entr".split()]
    made += [case(name, 2, POSITIVE, d=1, order=3) for name in ("polygamma", "zeta", "yn")]
    made += [case(name, 2, POSITIVE, d=1, order=3, gpu=False) for name in ("jv", "jn", "yv", "iv", "ive", "kv", "kve")]
    made += [case(name, POSITIVE, xs, d=(0, 1)) for name in ("gammainc", "gammaincc")]
    made += [case(name, POSITIVE, UNIT[0], d=(0, 1)) for name in ("gammaincinv", "gammainccinv")]
    made += [case(name, POSITIVE, xs, UNIT[1], d=(0, 1, 2)) for name in ("betainc", "betaincc", "betaincinv", "betainccinv")]
    made += [case("multigammaln", POSITIVE + 1, 3), case("multigammaln", POSITIVE[0], 1)]
    return [
        *made, case("polygamma", np.array([[0], [3]]), POSITIVE, d=1), case("softmax", REAL, axis=-1), case("log_softmax", REAL, axis=0),
        case("logsumexp", REAL, axis=-1, keepdims=True), case("logsumexp", REAL, 0, POSITIVE, d=(0, 2)),
        case("logsumexp", REAL, 1, -POSITIVE, False, True, d=(0, 2)),
    ]  # fmt: skip


OF_CONTINUOUS = "pdf logpdf cdf sf logcdf logsf ppf isf".split()
OF_DISCRETE = "pmf logpmf cdf sf logcdf logsf ppf isf".split()


def _stats_cases() -> list[Case]:
    loc, scale = np.array([0.1, 0.2, 0.3]), np.array([[1.5], [0.7]])
    made: list[Case] = []

    def case(family: str, x: Any, *args: Any, **kwargs: Any) -> None:
        differentiable = kwargs.pop("d", tuple(i for i, arg in enumerate((x, *args)) if np.asarray(arg).dtype.kind == "f"))
        member = getattr(stats, family)
        for method in OF_CONTINUOUS if hasattr(member, "pdf") else OF_DISCRETE:
            if not hasattr(member, method):
                made.append(stats_case(f"{family}.logpdf" if hasattr(member, "logpdf") else f"{family}.logpmf", x, *args, d=differentiable, **kwargs))
                break
            below_last = np.minimum(x, 0 if family == "bernoulli" else 4) if method == "logsf" and hasattr(member, "pmf") else x
            chosen = UNIT if method in ("ppf", "isf") else below_last
            d = () if method in ("ppf", "isf") and hasattr(member, "pmf") else differentiable if method not in ("ppf", "isf") else (0, *[i for i in differentiable if i])
            order = 1 if method in ("sf", "logsf", "isf") and family != "gamma" else 2  # mirrors of those that are tested to order 2
            made.append(stats_case(f"{family}.{method}", chosen, *args, d=d or None, order=order, **kwargs))
        if hasattr(member, "entropy"):
            made.append(stats_case(f"{family}.entropy", *args, d=tuple(i - 1 for i in differentiable if i) or None, **kwargs))

    for family in ("norm", "laplace", "cauchy", "logistic"):
        case(family, REAL, loc, scale)
    case("t", REAL, 3.5, loc, scale)
    case("uniform", UNIT, -0.5, 2.0)
    case("expon", POSITIVE, loc, scale)
    case("gamma", POSITIVE, 2.5, loc, scale)
    case("chi2", POSITIVE, 3.5, loc, scale)
    case("weibull_min", POSITIVE, 1.7, loc, scale)
    case("beta", UNIT, POSITIVE, 2.0, -0.2, 1.5)
    case("lognorm", POSITIVE, 0.8, loc=-0.1, scale=1.3)
    case("bernoulli", np.array([0, 1, 1]), UNIT)
    case("binom", np.array([0, 2, 5]), 5, UNIT)
    case("poisson", np.array([0, 2, 5]), POSITIVE)
    case("poisson", np.array([1, 2, 6]), POSITIVE, loc=1)
    case("categorical", np.array([2, 0]), POSITIVE, numpy=_log_probability)
    case("dirichlet", UNIT[0] / UNIT[0].sum(), POSITIVE[0] + 0.3, d=1)  # x must sum to 1; test_stats.py tests its derivative.
    case("multivariate_normal", REAL[0], REAL[0] * 0.5, np.eye(REAL.shape[-1]) + 0.3)
    made.append(stats_case("entropy", POSITIVE, axis=-1))
    made.append(stats_case("entropy", POSITIVE, UNIT, 2.0, d=(0, 1)))
    return made


def _log_probability(k: Any, p: Any) -> Any:
    return np.log(np.take_along_axis(p / p.sum(-1, keepdims=True), np.broadcast_to(k, p.shape[:-1])[..., None], -1)[..., 0])


CASES = _special_cases() + _stats_cases()

SMALL, WIDE = [-2.5, -0.7, 0.0, 1e-3, 0.4, 3.0], [-40.0, -12.5, -3.0, -1.0, -0.2, 0.0, 0.9, 5.0]
SHAPES = [0.03, 0.7, 1.0, 2.5, 40.0]


def _inverse(function: Any, p: Any, start: Any = 1.0) -> Any:
    """The x at which a distribution function is p; the bounds grow until they hold it."""
    low, high = mp.mpf(0), mp.mpf(1 if start < 1 else 1000)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < p else (low, middle)
    return (low + high) / 2


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
    ("gammainc a", lambda a: special.gammainc(a, 1.5), lambda a: mp.gammainc(a, 0, 1.5, regularized=True), SHAPES),
    ("gammainc small x", lambda a: special.gammainc(a, 1e-9), lambda a: mp.gammainc(a, 0, mp.mpf(1e-9), regularized=True), SHAPES[:-1]),
    ("gammaincc a", lambda a: special.gammaincc(a, 30.0), lambda a: mp.gammainc(a, 30, regularized=True), SHAPES),
    ("gammaincc of a large shape", lambda x: special.gammaincc(1e5, x), lambda x: mp.gammainc(1e5, x, regularized=True), [99500.0, 1e5, 100800.0]),
    ("gammaincinv", lambda p: special.gammaincinv(2.5, p), lambda p: _inverse(lambda x: mp.gammainc(2.5, 0, x, regularized=True), p), [1e-6, 0.3, 0.9]),
    ("gammaincinv a", lambda a: special.gammaincinv(a, 0.3), lambda a: _inverse(lambda x: mp.gammainc(a, 0, x, regularized=True), 0.3), [0.7, 2.0, 30.0]),
    ("gammainccinv", lambda q: special.gammainccinv(2.5, q), lambda q: _inverse(lambda x: mp.gammainc(2.5, 0, x, regularized=True), 1 - q), [1e-6, 0.3, 0.9]),
    ("betainc a", lambda a: special.betainc(a, 1.5, 0.3), lambda a: mp.betainc(a, 1.5, 0, 0.3, regularized=True), SHAPES),
    ("betainc b", lambda b: special.betainc(2.5, b, 0.01), lambda b: mp.betainc(2.5, b, 0, 0.01, regularized=True), SHAPES),
    ("betaincc a", lambda a: special.betaincc(a, 0.5, 0.999), lambda a: mp.betainc(a, 0.5, 0.999, 1, regularized=True), SHAPES),
    ("betainc x", lambda x: special.betainc(2.5, 0.4, x), lambda x: mp.betainc(2.5, 0.4, 0, x, regularized=True), [1e-9, 0.2, 0.9]),
    ("betaincc x", lambda x: special.betaincc(120.0, 80.0, x), lambda x: mp.betainc(120, 80, x, 1, regularized=True), [0.5, 0.6, 0.8]),
    ("betaincinv", lambda p: special.betaincinv(2.5, 0.8, p), lambda p: _inverse(lambda x: mp.betainc(2.5, 0.8, 0, x, regularized=True), p, 0.6), [0.1, 0.5]),
    ("gamma", special.gamma, mp.gamma, [-3.3, -0.5, 1e-3, 0.7, 5.0, 100.5]),
    ("rgamma", special.rgamma, mp.rgamma, [-5.0, -4.2, -1.0, 0.0, 0.3, 0.6, 1.0, 8.0]),
    ("multigammaln", lambda a: special.multigammaln(a, 3), lambda a: sum(mp.loggamma(a - mp.mpf(i) / 2) for i in range(3)) + 1.5 * mp.log(mp.pi), [1.1, 4.0, 50.0]),
    ("j0", special.j0, lambda x: mp.besselj(0, x), [-9.5, *SMALL, 30.0]),
    ("j1", special.j1, lambda x: mp.besselj(1, x), [-9.5, *SMALL, 0.49, 0.51, 30.0]),
    ("y0", special.y0, lambda x: mp.bessely(0, x), [1e-3, 0.4, 3.0, 30.0]),
    ("y1", special.y1, lambda x: mp.bessely(1, x), [1e-3, 0.4, 3.0, 30.0]),
    ("jv", lambda x: special.jv(2.5, x), lambda x: mp.besselj(2.5, x), [0.1, 1.0, 12.0]),
    ("yv", lambda x: special.yv(2.5, x), lambda x: mp.bessely(2.5, x), [0.1, 1.0, 12.0]),
    ("yn", lambda x: special.yn(3, x), lambda x: mp.bessely(3, x), [0.1, 1.0, 12.0]),
    ("iv", lambda x: special.iv(1.5, x), lambda x: mp.besseli(1.5, x), [0.1, 1.0, 12.0]),
    ("ive", lambda x: special.ive(1.5, x), lambda x: mp.besseli(1.5, x) * mp.exp(-x), [0.1, 1.0, 800.0]),
    ("kv", lambda x: special.kv(1.5, x), lambda x: mp.besselk(1.5, x), [0.1, 1.0, 12.0]),
    ("kve", lambda x: special.kve(1.5, x), lambda x: mp.besselk(1.5, x) * mp.exp(x), [0.1, 1.0, 800.0]),
    ("xlogy", lambda x: special.xlogy(x, 3.0), lambda x: x * mp.log(3), SMALL),
    ("xlogy y", lambda y: special.xlogy(2.0, y), lambda y: 2 * mp.log(y), [0.1, 2.0]),
    ("xlog1py", lambda y: special.xlog1py(2.0, y), lambda y: 2 * mp.log1p(y), [-0.5, 1e-9, 2.0]),
    ("entr", special.entr, lambda x: -x * mp.log(x), [1e-9, 0.3, 1.0, 4.0]),
    ("rel_entr", lambda x: special.rel_entr(x, 0.7), lambda x: x * mp.log(x / 0.7), [1e-9, 0.3, 0.7, 4.0]),
    ("norm", lambda x: stats.norm.logpdf(x, 0.5, 2.0), lambda x: mp.log(mp.npdf(x, 0.5, 2)), WIDE),
    ("t", lambda x: stats.t.logpdf(x, 3.0), lambda x: mp.log(2 / (mp.pi * mp.sqrt(3) * (1 + x * x / 3) ** 2)), WIDE),
]
