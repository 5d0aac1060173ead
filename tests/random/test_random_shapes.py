"""Distributions with parameters: their distribution functions, ends of dtypes, independence of neighbours, and derivatives."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

import fdezero as fd
from fdezero import numpy as fnp
from fdezero import random
from fdezero.errors import DTypeError, KeyMissingError, KeyReuseError, MatrixError, RangeError, ShapeError
from fdezero.random import rejection

from .test_random_distributions import LIMIT, ks_distance

N = 100_000
KEY = random.key(40)
NEW = (
    "beta binomial categorical cauchy chisquare dirichlet exponential f gamma geometric gumbel laplace loggamma logistic lognormal "
    "multinomial multivariate_normal pareto poisson rademacher rayleigh t triangular truncated_normal weibull_min"
).split()
CONTINUOUS: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "exponential": (lambda k, d: random.exponential(k, N, d), stats.expon.cdf),
    "gumbel": (lambda k, d: random.gumbel(k, N, d), stats.gumbel_r.cdf),
    "laplace": (lambda k, d: random.laplace(k, N, d), stats.laplace.cdf),
    "logistic": (lambda k, d: random.logistic(k, N, d), stats.logistic.cdf),
    "cauchy": (lambda k, d: random.cauchy(k, N, d), stats.cauchy.cdf),
    "weibull_min": (lambda k, d: random.weibull_min(k, 2.0, 0.7, N, d), stats.weibull_min(0.7, scale=2).cdf),
    "pareto": (lambda k, d: random.pareto(k, 3.0, N, d), stats.pareto(3).cdf),
    "rayleigh": (lambda k, d: random.rayleigh(k, 2.0, N, d), stats.rayleigh(scale=2).cdf),
    "triangular": (lambda k, d: random.triangular(k, -1.0, 0.5, 3.0, N, d), stats.triang(1.5 / 4, loc=-1, scale=4).cdf),
    "lognormal": (lambda k, d: random.lognormal(k, 0.5, N, d), stats.lognorm(0.5).cdf),
    "t": (lambda k, d: random.t(k, 2.5, N, d), stats.t(2.5).cdf),
    "f": (lambda k, d: random.f(k, 3.0, 5.0, N, d), stats.f(3, 5).cdf),
    "chisquare": (lambda k, d: random.chisquare(k, 3.0, N, d), stats.chi2(3).cdf),
}
for a in (0.05, 0.5, 1.0, 1.5, 20.0, 3e4):
    CONTINUOUS[f"gamma of {a}"] = lambda k, d, a=a: random.gamma(k, a, N, d), stats.gamma(a).cdf
for a in (1e-3, 0.3, 1e6):
    CONTINUOUS[f"loggamma of {a}"] = lambda k, d, a=a: random.loggamma(k, a, N, d), lambda z, a=a: stats.loggamma(a).cdf(z)
for a, b in ((0.2, 0.4), (1.0, 1.0), (5.0, 2.0), (300.0, 900.0)):
    CONTINUOUS[f"beta of {a}, {b}"] = lambda k, d, a=a, b=b: random.beta(k, a, b, N, d), stats.beta(a, b).cdf
for a, b in ((-1.0, 2.0), (0.5, math.inf), (6.0, 7.0), (-math.inf, -3.0), (-40.0, -39.9), (-0.1, 8.0)):
    CONTINUOUS[f"truncated_normal from {a} to {b}"] = lambda k, d, a=a, b=b: random.truncated_normal(k, a, b, N, d), stats.truncnorm(a, b).cdf
EXTREME = {"loggamma of 1000000.0", "gamma of 30000.0", "truncated_normal from -40.0 to -39.9"}  # float32 has too few digits for them


def test_the_tests_cover_every_distribution() -> None:
    here = inspect.getsource(inspect.getmodule(ks_distance)) + inspect.getsource(inspect.getmodule(test_the_tests_cover_every_distribution))  # type: ignore[arg-type]
    assert [name for name in NEW if name not in random.__all__ or f"random.{name}(" not in here] == []


@pytest.mark.parametrize("name", CONTINUOUS)
def test_draws_have_their_distribution_function(name: str) -> None:
    draw, cdf = CONTINUOUS[name]
    drawn = draw(KEY, np.float64)
    assert (drawn.dtype, drawn.shape) == (np.float64, (N,))
    assert ks_distance(drawn, cdf) < LIMIT
    assert abs(np.corrcoef(stats.rankdata(drawn[:-1]), stats.rankdata(drawn[1:]))[0, 1]) < 5 / math.sqrt(N)
    if name not in EXTREME:
        single = draw(KEY, np.float32)
        assert single.dtype == np.float32
        assert ks_distance(single, cdf) < LIMIT
        rounded = np.clip(drawn, np.finfo(np.float32).min, np.finfo(np.float32).max).astype(np.float32)
        assert np.allclose(single, rounded, rtol=1e-6, atol=1e-44)  # the same numbers in each dtype


def chi_squared(drawn: Any, pmf: Any) -> float:
    """Pearson's statistic over the counts that are expected ten times or more, less its mean, over its deviation."""
    counts = np.bincount(np.asarray(drawn, np.int64))
    expected = len(drawn) * pmf(np.arange(len(counts)))
    keep = expected >= 10
    tail = len(drawn) - expected[keep].sum()
    seen, wanted = np.append(counts[keep], counts[~keep].sum()), np.append(expected[keep], tail)
    seen, wanted = seen[wanted > 0.5], wanted[wanted > 0.5]
    return float((((seen - wanted) ** 2 / wanted).sum() - (len(seen) - 1)) / math.sqrt(2 * max(len(seen) - 1, 1)))


COUNTS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "geometric": (lambda k: random.geometric(k, 0.2, N), stats.geom(0.2).pmf),
}
for rate in (0.0, 0.01, 1.0, 9.99, 10.0, 30.0, 1000.0):
    COUNTS[f"poisson of {rate}"] = lambda k, rate=rate: random.poisson(k, rate, N), stats.poisson(rate).pmf
for n, p in ((0, 0.5), (1, 0.3), (20, 0.5), (20, 0.51), (30, 0.99), (1000, 0.3), (100_000, 0.999), (50, 0.0), (50, 1.0)):
    COUNTS[f"binomial of {n}, {p}"] = lambda k, n=n, p=p: random.binomial(k, n, p, N), stats.binom(n, p).pmf


@pytest.mark.parametrize("name", COUNTS)
def test_counts_have_their_probabilities(name: str) -> None:
    draw, pmf = COUNTS[name]
    drawn = draw(KEY)
    assert (drawn.dtype, drawn.shape) == (np.int64, (N,))
    assert abs(chi_squared(drawn, pmf)) < 4.5


@pytest.mark.parametrize("rate", [1e6, 1e12, 2.0**52])
def test_large_counts_have_the_moments_and_the_skew_of_their_distribution(rate: float) -> None:
    for drawn, mean, deviation in (
        (random.poisson(KEY, rate, N, np.float64), rate, math.sqrt(rate)),
        (random.binomial(KEY, rate, 0.25, N, np.float64), rate / 4, math.sqrt(rate * 3 / 16)),
    ):
        z = (drawn - mean) / deviation
        assert np.array_equal(drawn, np.floor(drawn))
        assert ks_distance(z, stats.norm.cdf) < LIMIT + 100 / deviation
        assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / N)
        assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / N)


def test_parameters_without_a_distribution_give_nan_or_minus_one() -> None:
    odd = np.array([-1.0, np.nan, np.inf])
    assert random.poisson(KEY, odd).tolist() == [-1] * 3
    assert np.isnan(random.poisson(KEY, odd, dtype=np.float32)).all()
    assert random.binomial(KEY, [10, -1, 10, 10], [1.5, 0.5, -0.1, np.nan]).tolist() == [-1] * 4
    assert random.geometric(KEY, [0.0, 1.5, np.nan, 1.0]).tolist() == [-1, -1, -1, 1]
    assert np.isnan(random.gamma(KEY, [-1.0, np.nan])).all()
    assert np.isnan(random.beta(KEY, [-1.0, 1.0], [1.0, np.nan])).all()
    assert np.isnan(random.truncated_normal(KEY, [1.0, np.nan], [0.0, 1.0])).all()
    assert random.loggamma(KEY, [0.0, np.inf], dtype=np.float64).tolist() == [-np.inf, np.inf]


# --- several numbers at once -----------------------------------------------------------------------------------------


def test_dirichlet_draws_sum_to_one_and_have_beta_margins() -> None:
    alpha = np.array([0.3, 2.0, 5.0])
    drawn = random.dirichlet(KEY, alpha, N, np.float64)
    assert drawn.shape == (N, 3)
    assert abs(drawn.sum(-1) - 1).max() < 1e-14
    for i in range(3):
        assert ks_distance(drawn[:, i], stats.beta(alpha[i], alpha.sum() - alpha[i]).cdf) < LIMIT
    tiny = random.dirichlet(KEY, np.full(4, 1e-3), 1000)
    assert np.isfinite(tiny).all()
    assert abs(tiny.sum(-1) - 1).max() < 1e-6
    assert random.dirichlet(KEY, np.ones((2, 3)), (5, 2)).shape == (5, 2, 3)
    assert random.dirichlet(KEY, np.ones((2, 1))).tolist() == [[1.0], [1.0]]


def test_categories_have_the_probabilities_of_their_softmax() -> None:
    logits = np.array([0.3, -1.0, -np.inf, 2.0, 0.0])
    drawn = random.categorical(KEY, logits, shape=(N,))
    assert drawn.dtype == np.int64
    p = special.softmax(logits)
    counts = np.bincount(drawn, minlength=5)
    assert counts[2] == 0
    assert ((counts - N * p) ** 2 / (N * np.where(p > 0, p, 1))).sum() < 25
    rows = np.eye(3) * 1000
    assert random.categorical(KEY, rows).tolist() == [0, 1, 2]
    assert random.categorical(KEY, rows, axis=0).tolist() == [0, 1, 2]
    assert random.categorical(KEY, rows[:, :2], 0, (7, 2)).tolist() == [[0, 1]] * 7
    with pytest.raises(RangeError, match="there is no class along axis -1"):
        random.categorical(KEY, np.zeros((3, 0)))
    with pytest.raises(ShapeError, match="with an axis of classes"):
        random.categorical(KEY, 1.0)
    with pytest.raises(ShapeError, match="does not broadcast"):
        random.categorical(KEY, np.zeros((3, 4)), shape=(2,))


def test_multinomial_counts_sum_to_n_and_have_binomial_margins() -> None:
    p = np.array([0.5, 0.0, 0.2, 0.3])
    drawn = random.multinomial(KEY, 20, p * 7, N)
    assert (drawn.dtype, drawn.shape) == (np.int64, (N, 4))
    assert (drawn.sum(-1) == 20).all()
    for i in range(4):
        assert abs(chi_squared(drawn[:, i], stats.binom(20, p[i]).pmf)) < 4.5
    assert random.multinomial(KEY, np.array([3, 4]), [1.0]).tolist() == [[3], [4]]
    assert random.multinomial(KEY, np.array([[3], [4]]), np.ones((2, 5))).shape == (2, 2, 5)


def test_normal_vectors_have_their_mean_and_covariance() -> None:
    mean, cov = np.array([1.0, -2.0]), np.array([[2.0, 0.6], [0.6, 0.5]])
    drawn = random.multivariate_normal(KEY, mean, cov, N, np.float64)
    assert abs(drawn.mean(0) - mean).max() < 5 * math.sqrt(2 / N)
    assert abs(np.cov(drawn.T) - cov).max() < 5 * math.sqrt(8 / N)
    assert random.multivariate_normal(KEY, np.zeros((3, 1, 2)), np.stack([cov] * 4)).shape == (3, 4, 2)
    total = fd.grad(lambda m, c: random.multivariate_normal(KEY, m, c, 3, float).sum(), argnums=(0, 1))
    assert total(mean, cov)[0].tolist() == [3.0, 3.0]
    assert np.isfinite(total(mean, cov)[1]).all()
    with pytest.raises(MatrixError):
        random.multivariate_normal(KEY, mean, -cov)
    with pytest.raises(ShapeError, match=r"mean \(..., n\) and cov \(..., n, n\)"):
        random.multivariate_normal(KEY, mean, np.eye(3))


def test_signs_are_equally_likely() -> None:
    for dtype in (np.int64, np.float32):
        drawn = random.rademacher(KEY, N, dtype)
        assert drawn.dtype == dtype
        assert set(drawn.tolist()) == {-1, 1}
        assert abs(drawn.mean()) < 5 / math.sqrt(N)


# --- dtypes ----------------------------------------------------------------------------------------------------------

POSITIVE = {
    "exponential": lambda d: random.exponential(KEY, N, d), "gamma": lambda d: random.gamma(KEY, 1e-3, N, d),
    "large gamma": lambda d: random.gamma(KEY, 1e6, N, d), "chisquare": lambda d: random.chisquare(KEY, 0.01, N, d),
    "beta": lambda d: random.beta(KEY, 1e-3, 0.5, N, d), "dirichlet": lambda d: random.dirichlet(KEY, np.full(3, 1e-3), N, d),
    "f": lambda d: random.f(KEY, 0.01, 0.01, N, d), "lognormal": lambda d: random.lognormal(KEY, 50.0, N, d),
    "pareto": lambda d: random.pareto(KEY, 0.01, N, d), "rayleigh": lambda d: random.rayleigh(KEY, 1.0, N, d),
}  # fmt: skip
FINITE = POSITIVE | {
    "cauchy": lambda d: random.cauchy(KEY, N, d), "t": lambda d: random.t(KEY, 0.01, N, d), "gumbel": lambda d: random.gumbel(KEY, N, d),
    "laplace": lambda d: random.laplace(KEY, N, d), "logistic": lambda d: random.logistic(KEY, N, d),
    "loggamma": lambda d: random.loggamma(KEY, 1e-3, N, d), "truncated_normal": lambda d: random.truncated_normal(KEY, -50.0, -40.0, N, d),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", FINITE)
def test_draws_are_finite_and_positive_ones_are_not_zero(name: str, dtype: Any) -> None:
    drawn = FINITE[name](dtype)
    assert drawn.dtype == dtype
    assert np.isfinite(drawn).all()
    if name in POSITIVE:
        assert (drawn > 0).all()


def test_the_extremes_of_the_bits_give_finite_draws() -> None:
    from fdezero.random.inverse import open_fraction

    ends = open_fraction(np.array([0, 2**64 - 1, 2**63 - 1, 2**63], np.uint64))
    assert 0 < ends[0] < ends[2] < 0.5 < ends[3] < ends[1] < 1
    assert 1 - ends[1] == ends[0]


# --- keys and neighbours ---------------------------------------------------------------------------------------------

SHAPED = {
    "gamma": lambda k, a, n: random.gamma(k, a, n), "loggamma": lambda k, a, n: random.loggamma(k, a / 9, n),
    "beta": lambda k, a, n: random.beta(k, a, a[::-1] if np.ndim(a) else a, n), "t": lambda k, a, n: random.t(k, a, n),
    "poisson": lambda k, a, n: random.poisson(k, 5 * a, n), "binomial": lambda k, a, n: random.binomial(k, 90, a / 10, n),
    "truncated_normal": lambda k, a, n: random.truncated_normal(k, a - 2, a, n),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPED)
def test_an_entry_does_not_depend_on_its_neighbours_its_shape_or_the_batch(name: str) -> None:
    draw, a = SHAPED[name], np.linspace(0.2, 9, 500)
    whole = draw(KEY, a, 500)
    assert whole.tolist() == draw(KEY, a, 500).tolist()
    if name != "beta":
        assert draw(KEY, a[:37], 37).tolist() == whole[:37].tolist()
        assert draw(KEY, a.reshape(20, 25), (20, 25)).ravel().tolist() == whole.tolist()
        changed = a.copy()
        changed[::2] = 0.3
        assert draw(KEY, changed, 500)[1::2].tolist() == whole[1::2].tolist()
    keys = random.split(KEY, 40)
    one = draw(KEY, 2.5, 30)
    assert draw(KEY, np.full(30, 2.5), 30).tolist() == one.tolist()
    for count in (3, 40):
        assert fd.vmap(lambda k: draw(k, 2.5, 30))(keys[:count]).tolist() == [draw(k, 2.5, 30).tolist() for k in keys[:count]]
    assert fd.vmap(lambda b: draw(KEY, b, 30))(a[:3]).tolist() == [draw(KEY, b, 30).tolist() for b in a[:3]]
    both = fd.vmap(fd.vmap(lambda k, b: draw(k, b, 5), (None, 0)), (0, None))(keys[:2], a[:3])
    assert both.tolist() == [[draw(k, b, 5).tolist() for b in a[:3]] for k in keys[:2]]
    compiled = fd.compile(lambda k, b: draw(k, b, 500))
    assert all(compiled(KEY, a).tolist() == whole.tolist() for _ in range(3))


def test_rejected_entries_draw_again_until_they_are_accepted() -> None:
    rounds = []

    def stubborn(u: Any, limit: Any) -> tuple[Any, Any]:
        rounds.append(len(u))
        return u[:, 1].copy(), u[:, 0] < limit

    found = rejection._draw(stubborn, random.split(KEY, 3), np.array([0.02, 0.9, 1.0, 0.3]), shape=(4,))
    assert found.shape == (3, 4)
    assert rounds[0] == 12
    assert len(rounds) > 20
    assert sorted(rounds, reverse=True) == rounds
    alone = rejection._draw(stubborn, random.split(KEY, 3)[1], np.array([0.02, 0.9, 1.0, 0.3]), shape=(4,))
    assert alone.tolist() == found[1].tolist()


@pytest.mark.parametrize("name", NEW)
def test_every_draw_needs_a_key_names_itself_and_is_seen_by_debug(name: str) -> None:
    function = getattr(random, name)
    given = {
        "a": 2.0, "b": 3.0, "alpha": np.ones(3), "n": 5, "p": np.array([0.2, 0.8]) if name == "multinomial" else 0.3, "lam": 2.0, "df": 3.0,
        "dfnum": 2.0, "dfden": 3.0, "mean": np.zeros(2), "cov": np.eye(2), "left": 0.0, "mode": 0.5, "right": 1.0, "lower": -1.0,
        "upper": 1.0, "scale": 1.0, "concentration": 2.0, "logits": np.zeros(3), "sigma": 1.0,
    }  # fmt: skip
    needed = {key: given[key] for key in inspect.signature(function).parameters if key in given}
    with pytest.raises(KeyMissingError, match=f"fd.random.{name} needs a key"):
        function(0, **needed)
    with pytest.raises((ShapeError, DTypeError), match=f"fd.random.{name}"):
        function(KEY, **needed, shape="x")
    if name != "categorical":
        with pytest.raises(DTypeError, match=f"fd.random.{name}"):
            function(KEY, **needed, dtype="complex64")
    with pytest.raises(KeyReuseError):
        fd.debug(lambda k: fnp.sum(function(k, **needed)) + fnp.sum(function(k, **needed)), keys=True)(KEY)
    for parameter in needed:
        if parameter not in ("cov", "n"):
            with pytest.raises(DTypeError, match="needs real parameters"):
                function(KEY, **(needed | {parameter: np.asarray(needed[parameter]) * 1j}))
    assert function.__doc__


def test_parameters_must_broadcast_to_the_shape() -> None:
    with pytest.raises(ShapeError, match=r"fd.random.gamma: a float64\[3\] does not broadcast to the shape \(2,\) of the result"):
        random.gamma(KEY, np.ones(3), 2)
    with pytest.raises(ShapeError, match=r"fd.random.beta: these do not broadcast with each other: a float64\[3\], b float64\[2\]"):
        random.beta(KEY, np.ones(3), np.ones(2))
    assert random.beta(KEY, np.ones((3, 1)), [1, 2]).shape == (3, 2)
    with pytest.raises(ShapeError, match="one parameter for each probability"):
        random.dirichlet(KEY, 1.0)
