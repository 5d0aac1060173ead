"""How to draw the arguments of the public functions of `fdezero.numpy.linalg`, `numpy.fft`, `special`, `stats` and `signal`."""

from typing import Any

import numpy as np

from .drawing import (
    Call,
    Draw,
    Drawer,
    array,
    axes,
    axis,
    beside,
    call,
    dtype,
    flag,
    integer,
    like,
    line,
    one_of,
    square,
)

NUMBERS, REAL = "iufc", "iuf"
PLAIN: dict[str, Any] = {"special": False}


def widened(drawer: Drawer) -> Drawer:
    """Without float16, which LAPACK does not compute in."""

    def draw(d: Draw) -> Any:
        x = drawer(d)
        if isinstance(x, np.ndarray | np.generic) and x.dtype == np.float16:
            d.arrays.pop()
            return d.noted(x.astype(np.float32))
        return x

    return draw


M = widened(square())
RECTANGLE = widened(array(NUMBERS, 2, 3, odd=False, **PLAIN))


def solve(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    a = M(d)
    n = np.shape(a)[-1]
    return [a, widened(lambda d: d.array(NUMBERS, d.pick((n,), (n, 2), (n, 1), (n + 1,)), odd=False, special=False))(d)], {}


def lstsq(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    m = d.integer(2, 4)
    a = d.noted(d.rng.standard_normal((m, d.integer(1, m))).astype(d.pick("float32", "float64")))
    return [a, d.noted(d.rng.standard_normal(d.pick((m,), (m, 2))).astype(a.dtype))], {"rcond": d.pick(None, 1e-3, -1)} if d.chance(0.3) else {}


def norm(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = widened(array(NUMBERS, 0, 3, special=d.chance(0.2)))(d)
    kwargs: dict[str, Any] = {"ord": d.pick(None, 1, 2, np.inf, -np.inf, 0, 3, -1, 0.5, "fro", "nuc", "bogus")} if d.chance(0.5) else {}
    if d.chance(0.5):
        kwargs["axis"] = axes()(d)
    return [x], kwargs | ({"keepdims": d.chance(0.5)} if d.chance(0.3) else {})


def matrix_norm(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    return [RECTANGLE(d)], {name: drawer(d) for name, drawer in {"ord": one_of(1, 2, -1, -2, np.inf, "fro", "nuc", 3), "keepdims": flag}.items() if d.chance(0.4)}


def tensorsolve(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    a = d.noted(np.eye(6).reshape(2, 3, 2, 3) * 3 + d.rng.standard_normal((2, 3, 2, 3)) / 9)
    return [a, d.noted(d.rng.standard_normal((2, 3)))], {}


def tensorinv(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    return [d.noted(np.eye(6).reshape(2, 3, 6) * 3 + d.rng.standard_normal((2, 3, 6)) / 9)], {"ind": 2} if d.chance(0.5) else {}


def multi_dot(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    sizes = [d.integer(1, 3) for _ in range(d.integer(3, 5))]
    return [[d.array(NUMBERS, sizes[i : i + 2], odd=False, special=False) for i in range(len(sizes) - 1)]], {}


def vectors(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    shape = (*d.shape(0, 1), 3)
    return [d.array(NUMBERS, shape, special=False), d.array(NUMBERS, shape, special=False)], {}


def triangular(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    n = d.integer(1, 4)
    a = d.noted((d.rng.standard_normal((n, n)) + 4 * np.eye(n)).astype(d.pick("float32", "float64", "complex128")))
    options: dict[str, Drawer] = {"trans": one_of(0, 1, 2, "T"), "lower": flag, "unit_diagonal": flag}
    return [a, d.noted(d.rng.standard_normal(d.pick((n,), (n, 2), (n + 1,))))], {name: drawer(d) for name, drawer in options.items() if d.chance(0.4)}


def sylvester(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    m, n = d.integer(1, 3), d.integer(1, 3)
    return [d.noted(d.rng.standard_normal((m, m)) + 4 * np.eye(m)), d.noted(d.rng.standard_normal((n, n)) + 3 * np.eye(n)), d.noted(d.rng.standard_normal((m, n)))], {}


def positive_matrix(d: Draw) -> Any:
    n = d.integer(1, 3)
    x = d.rng.standard_normal((n, n))
    return d.noted(x @ x.T + np.eye(n))


def cho_solve(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    a, lower = positive_matrix(d), d.chance(0.5)
    factor = d.noted(np.linalg.cholesky(a, upper=not lower))
    return [(factor, lower), d.noted(d.rng.standard_normal(d.pick(a.shape[:1], a.shape)))], {}


LINALG = {
    "solve_triangular": triangular,
    "solve_sylvester": sylvester,
    "sqrtm logm": call(positive_matrix),
    "cho_solve": cho_solve,
    "block_diag": lambda d: ([d.array(NUMBERS, d.shape(2, 2), odd=False) for _ in range(d.integer(1, 3))], {}),
    "cholesky": call(widened(square("fic", positive=True)), upper=flag),
    "det inv slogdet": call(M),
    "eigvalsh": call(widened(square("fc", positive=True)), UPLO=one_of("L", "U")),
    "svdvals": call(RECTANGLE),
    "cond": call(M, p=one_of(None, 1, 2, -1, -2, np.inf, "fro")),
    "matrix_norm": matrix_norm,
    "vector_norm": call(widened(array(NUMBERS, 0, 3, special=False)), ord=one_of(1, 2, np.inf, -np.inf, 0, 3, -1), axis=axes(), keepdims=flag),
    "norm": norm,
    "matrix_rank": call(RECTANGLE, tol=one_of(None, 1e-3, 0.5)),
    "matrix_power": call(M, integer(-2, 4)),
    "matrix_transpose diagonal": call(array(NUMBERS, 1, 3)),
    "trace": call(array(NUMBERS, 1, 3), offset=integer(-1, 2), dtype=dtype("fc")),
    "matmul tensordot": lambda d: ([d.array(NUMBERS, (2, 3), special=False), d.array(NUMBERS, d.pick((3, 2), (2, 3), (3,)), special=False)], {}),
    "multi_dot": multi_dot,
    "outer": call(line(NUMBERS, 0, 4, special=False), line(NUMBERS, 0, 4, special=False)),
    "vecdot cross": vectors,
    "pinv": call(RECTANGLE, rcond=one_of(None, 1e-3), hermitian=lambda d: False),
    "expm": call(widened(square("f"))),
    "solve": solve,
    "lstsq": lstsq,
    "tensorsolve": tensorsolve,
    "tensorinv": tensorinv,
}  # fmt: skip
NORM = one_of(None, "backward", "ortho", "forward", "bogus")
SIZE = integer(0, 6)


def sizes(d: Draw) -> Any:
    return tuple(d.integer(1, 5) for _ in range(d.integer(1, max(d.ndim, 1))))


FFT = {
    "fft ifft": call(array("biufc"), n=SIZE, axis=axis(), norm=NORM),
    "rfft ihfft": call(array("biuf"), n=SIZE, axis=axis(), norm=NORM),
    "irfft hfft": call(array("biufc"), n=SIZE, axis=axis(), norm=NORM),
    "fftn ifftn irfftn": call(array("biufc"), axes=axes(), norm=NORM),
    "rfftn": call(array("biuf"), axes=axes(), norm=NORM),
    "fft2 ifft2 irfft2": call(array("biufc"), norm=NORM),
    "rfft2": call(array("biuf"), norm=NORM),
    "fftshift ifftshift": call(array("biufc"), axes=axes()),
    "fftfreq rfftfreq": call(integer(0, 6), d=one_of(0.5, 2, 1)),
}
A, P, UNIT = array(REAL), array("iuf", **PLAIN), lambda d: abs(d.array("f", special=False)) / 7
SPECIAL = {
    "digamma psi erf erfc erfcinv erfcx erfinv expit gammaln i0 i0e i1 i1e log_expit log_ndtr logit ndtr ndtri entr": call(A),
    "gamma rgamma j0 j1 y0 y1": call(A),
    "jv jn yv iv ive kv kve": call(one_of(0, 1, 3, 0.5, 2.5), P),
    "yn": call(integer(0, 4), P),
    "gammaincinv gammainccinv": call(P, lambda d: np.float64(d.rng.uniform())),
    "betainc betaincc betaincinv betainccinv": call(P, one_of(0.5, 2, 3.5), lambda d: np.float64(d.rng.uniform())),
    "multigammaln": call(lambda d: d.noted(2 + abs(d.rng.standard_normal(d.shape()))), integer(1, 4)),
    "beta betaln": call(P, beside("iuf", **PLAIN)),
    "gammainc gammaincc": call(P, beside("iuf", **PLAIN)),
    "xlog1py xlogy rel_entr": call(A, beside(REAL)),
    "log_softmax softmax": call(array("f", 1, 3), axis=one_of(0, -1, None)),
    "logsumexp": call(array("f", 1, 3), axis=axes(), keepdims=flag, b=like("f", odd=False, special=False), return_sign=flag),
    "polygamma": call(integer(0, 3), P),
    "zeta": call(lambda d: d.noted(1 + abs(d.rng.standard_normal(d.shape()))), one_of(1, 0.5, 3.0)),
}  # fmt: skip
LOCATION: dict[str, Drawer] = {"loc": one_of(0.5, -1, 2), "scale": one_of(0.5, 2, 1.5, 0, -1)}
POSITIVE: Drawer = lambda d: d.pick(0.5, 2, 1.5, np.abs(d.array("f", np.shape(d.first), odd=False)), 0, -1.0, np.inf)
CHANCE: Drawer = one_of(0.3, 0.5, 0, 1, 1.5)
PARAMETERS: dict[str, tuple[Drawer, ...]] = {
    **dict.fromkeys(("norm", "laplace", "cauchy", "logistic", "uniform", "expon"), ()),
    **dict.fromkeys(("t", "gamma", "chi2", "weibull_min", "lognorm"), (POSITIVE,)), "beta": (POSITIVE, POSITIVE),
    "bernoulli": (CHANCE,), "poisson": (one_of(0.5, 2, 0, -1.0, np.inf),), "binom": (one_of(3, 5, 0, 2.5), CHANCE),
}  # fmt: skip
SCATTERED: dict[str, Drawer] = {"loc": one_of(1, -1)}


def probability(d: Draw) -> Any:
    """Numbers in [0, 1], often its ends; sometimes others, or NaN."""
    shape = d.shape()
    q = np.where(d.rng.random(shape) < 0.4, d.rng.choice((0.0, 1.0, 0.5, 1e-5), shape), d.rng.random(shape))
    if d.chance(0.2):
        q = np.where(d.rng.random(shape) < 0.4, d.rng.choice((-0.1, 1.1, np.nan, np.inf), shape), q)
    return d.noted(d.laid_out(np.asarray(q, d.dtype("f"))))


def methods(name: str) -> dict[str, Call]:
    """The methods of a distribution."""
    density, options = ("pmf", SCATTERED) if name in ("bernoulli", "poisson", "binom") else ("pdf", LOCATION)
    given = PARAMETERS[name]
    return {
        **{f"{name}.{method}": call(A, *given, **options) for method in (density, f"log{density}", "cdf", "sf", "logcdf", "logsf")},
        **{f"{name}.{method}": call(probability, *given, **options) for method in ("ppf", "isf")},
        f"{name}.entropy": call(*given, **options),
    }


STATS = {name: drawer for distribution in PARAMETERS for name, drawer in methods(distribution).items()}


def pair(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    ndim = d.integer(0, 3)
    first, second = ([d.integer(1, 4) for _ in range(ndim + (d.chance(0.05) and i))] for i in range(2))
    kinds = d.pick("f", "c", "i")
    x = d.array(kinds, first, odd=False, special=False)
    y = d.array(kinds, second, odd=False, special=False).astype(x.dtype)
    return [x, d.noted(y)], {"mode": d.pick("full", "same", "valid", "bogus")} if d.chance(0.7) else {}


def by_method(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = pair(d)
    return args, kwargs | ({"method": d.pick("auto", "direct", "fft", "bogus")} if d.chance(0.5) else {})


SIGNAL = {"convolve correlate": by_method, "fftconvolve": pair}
TABLES: dict[str, dict[str, Call]] = {
    module: {name: drawer for names, drawer in group.items() for name in names.split()}
    for module, group in {"linalg": LINALG, "fft": FFT, "special": SPECIAL, "stats": STATS, "signal": SIGNAL}.items()
}
