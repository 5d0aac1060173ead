"""One sample or more of every primitive: the arguments and parameters on which the laws are checked.

`float64[...]`-like arrays stay clear of kinks. A primitive without a sample fails `test_every_primitive_has_a_sample`.
"""

from typing import Any, NamedTuple

import numpy as np

import fdezero.ops.roots
import fdezero.random
import fdezero.stats  # noqa: F401
from fdezero.core import REGISTRY, Primitive

from . import samples_networks
from .matrices import Matrices

RNG = np.random.default_rng(7)


class Sample(NamedTuple):
    name: str
    args: tuple[Any, ...]
    params: dict[str, Any]

    @property
    def primitive(self) -> Primitive:
        return REGISTRY[self.name]

    def batch(self, position: int, count: int) -> np.ndarray:
        """The argument at `position` stacked with others of its kind."""
        arg = self.args[position]
        if self.name in POSITIVE_DEFINITE:
            return np.stack([arg, 2 * arg[..., ::-1, ::-1], arg + np.eye(arg.shape[-1])][:count])
        return np.stack([arg, np.roll(arg, 1), arg[..., ::-1] if arg.ndim else arg][:count])

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, np.shape(arg))) or "0d" for arg in self.args)
        return f"{self.name}-{shapes}-{'-'.join(str(getattr(value, '__name__', value)) for value in self.params.values())}"  # no addresses, which differ between processes


def between(low: float, high: float, *shape: int) -> np.ndarray:
    """Distinct numbers in random order: no ties."""
    n = int(np.prod(shape))
    return (low + (high - low) * (RNG.permutation(n) + 0.5) / n).reshape(shape)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def integers(high: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, high, shape)


def apart(*shape: int) -> np.ndarray:
    """Numbers at least 0.2 away from every integer and half-integer kink."""
    return RNG.integers(-3, 3, shape) + RNG.choice([0.25, 0.3, 0.7, 0.75], shape)


UNARY: dict[str, tuple[float, float]] = {
    **dict.fromkeys((
        "negative positive square exp exp2 expm1 sin cos "
        "sinh cosh tanh one_minus_square arctan arcsinh deg2rad rad2deg sigmoid"
    ).split(), (-2, 2)),
    **dict.fromkeys("log log2 log10 log1p sqrt cbrt reciprocal root".split(), (0.4, 3)),
    **dict.fromkeys(["arcsin", "arccos", "arctanh"], (-0.8, 0.8)),
    "erf": (-2, 2), "ndtr_by_tanh": (-2, 2), "erfc": (-2, 2), "erfinv": (-0.8, 0.8), "erfcinv": (0.3, 1.7), "erfcx": (-1, 2), "entr": (0.2, 2),
    "gammaln": (0.6, 4), "digamma": (0.6, 4), "bessel_i0": (-2, 2), "bessel_i1": (-2, 2), "bessel_i0e": (0.2, 2), "bessel_i1e": (0.2, 2),
    "gamma": (0.6, 4), "rgamma": (-2.3, 2.4), "j0": (-3, 3), "j1": (-3, 3), "y0": (0.5, 4), "y1": (0.5, 4),
    "arccosh": (1.3, 3), "tan": (-1, 1), "absolute": (0.3, 2), "relu": (0.3, 2),
}  # fmt: skip
DISCRETE_UNARY = (
    "isnan isinf isfinite signbit sign floor ceil trunc rint spacing exponent logical_not stop_gradient".split()
)
DISCRETE_BINARY = (
    "equal not_equal less less_equal greater greater_equal "
    "logical_and logical_or logical_xor heaviside nextafter floor_divide"
).split()
INTEGER_BINARY = "bitwise_and bitwise_or bitwise_xor left_shift right_shift gcd lcm".split()
COMPLEX_UNARY = (
    "negative positive square reciprocal exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan arcsin arccos arctan sinh cosh tanh one_minus_square arcsinh "
    "arccosh arctanh sigmoid"
).split()
BINARY = "add subtract multiply divide quotient scaled share times_log arctan2 hypot maximum minimum fmax fmin logaddexp logaddexp2 copysign".split()
POSITIVE_DEFINITE = {"cholesky", "logm", "sqrtm"}  # or without negative eigenvalues
# Long loops over nodes, whose derivatives are integrals of the same kind, with other exponents
INTEGRALS = {"beta_integral", "gamma_integral", "random_beta_integral", "random_gamma_integral", "random_beta_by_shape", "random_gamma_by_shape"}
W = (None, None, None)


def _special_samples(sample: Any) -> None:
    for name in ("xlogy", "xlog1py", "beta", "betaln"):
        sample(name, between(0.5, 3, 2, 3), between(0.5, 3, 3))
        sample(name, np.asarray(0.7), between(1.8, 3, 2, 2))
    sample("erfcx", between(11, 14, 5))  # across the switch of its derivative to a series
    for name in (
        "zeta",
        "jv",
        "yv",
        "yn",
        "iv",
        "ive",
        "kv",
        "kve",
    ):  # integers, because there is no derivative for the first argument
        sample(name, 3, between(0.6, 3, 2, 3))
        sample(name, (integers(3, 2, 1) + 2).astype(np.int8), between(0.6, 3, 3))
    _incomplete_samples(sample)


def _incomplete_samples(sample: Any) -> None:
    for name in ("gammainc", "gammaincc", "log_gammainc", "log_gammaincc", "log_gamma_density"):
        sample(name, between(0.6, 3, 2, 3), between(0.5, 4, 3))
        sample(name, np.asarray(11.0), between(8, 15, 2, 2))
    for name in ("betainc", "betaincc", "log_betainc", "log_betaincc", "log_beta_density"):
        sample(name, between(0.6, 3, 2, 3), between(0.5, 4, 3), between(0.2, 0.8, 3))
        sample(name, np.asarray(11.0), between(10, 15, 2, 2), between(0.3, 0.7, 2))
    for name in ("gammaincinv", "gammainccinv"):
        sample(name, between(0.8, 3, 2, 3), between(0.1, 0.9, 3))
        sample(name, np.asarray(1.7), between(0.1, 0.9, 2, 2))
    for name in ("betaincinv", "betainccinv"):
        sample(name, between(0.8, 3, 2, 3), between(0.8, 3, 3), between(0.1, 0.9, 3))
        sample(name, np.asarray(1.7), np.asarray(2.2), between(0.1, 0.9, 2, 2))
    sample("log_gammainc", between(90, 110, 3), between(0.01, 0.02, 2, 1))  # where gammainc underflows
    sample("log_betaincc", between(2, 3, 2), np.asarray(150.5), between(0.992, 0.996, 2, 1))
    sample("log_betaincc", np.asarray(150.5), between(2, 3, 2), between(0.001, 0.002, 2, 1))
    sample("log_beta", between(0.6, 3, 2, 3), between(0.5, 30, 3))
    for upper in ("", "_upper"):
        sample(f"poisson{upper}_quantile", between(0.1, 0.9, 2, 3), between(2, 30, 3))
        sample(f"binom{upper}_quantile", between(0.1, 0.9, 2, 3), integers(9, 3) + 1.0, np.array(0.4))
    for upper in (0, 1):
        for order in (0, 1):
            sample("gamma_integral", order, upper, between(0.6, 3, 2, 3), between(0.5, 4, 3))
        for orders in ((0, 0), (1, 0), (0, 1)):
            sample("beta_integral", *orders, upper, between(0.6, 3, 2, 3), between(0.5, 3, 3), between(0.2, 0.8, 3))


def _fourier_samples(sample: Any) -> None:
    z = normal(2, 5, 4) + 1j * normal(2, 5, 4)
    sample("fourier", z, axis=-1, sign=-1, norm="backward")
    sample("fourier", z, axis=-2, sign=1, norm="backward")
    sample("fourier", normal(2, 5), axis=-1, sign=-1, norm="forward")
    sample("from_half", normal(2, 3), axis=-1, sign=1, norm="backward", size=5)
    sample("fourier", z[0, 0, :1], axis=-1, sign=1, norm="ortho")
    for n in (1, 4, 5):
        sample("to_half", normal(2, n), axis=-1, sign=-1, norm="backward")
        sample("to_half", normal(n, 2), axis=-2, sign=1, norm="backward")
        half = normal(2, n // 2 + 1) + 1j * normal(2, n // 2 + 1)
        sample("from_half", half, axis=-1, sign=-1, norm="ortho", size=n)
        sample("from_half", half.T, axis=-2, sign=1, norm="forward", size=n)


def _samples() -> list[Sample]:
    made: list[Sample] = []

    def sample(name: str, *args: Any, **params: Any) -> None:
        made.append(Sample(name, args, params))

    for name, (low, high) in UNARY.items():
        sample(name, between(low, high, 2, 3))
        sample(name, np.asarray(between(low, high, 1)[0]))
    sample("absolute", between(-2, -0.3, 3))
    sample("modulus", between(-2, -0.3, 3) + 1j * between(-1, 1, 2, 3))
    sample("modulus", np.array(0.3 - 2j))
    sample("relu", between(-2, -0.3, 3))
    sample("slope_of_absolute", apart(2, 3))
    for name in ("flat", "flatter", "corner", "settled", "nan_where"):
        sample(name, np.array([False, False]), normal(3, 1))
    sample("tie", apart(2, 3), apart(3) + 0.1)
    for name in BINARY:
        both = between(0.5, 3, 12)
        sample(name, both[::2].reshape(2, 3), both[1::2].reshape(2, 3))
        sample(name, between(0.5, 1.4, 3), between(1.8, 3, 2, 1))
        sample(name, np.asarray(0.7), between(1.8, 3, 2, 2))
    sample("root_of_mean", between(0.3, 2, 2, 3), normal(2, 3), 0.9, 0.1)
    sample("root_of_mean", between(0.3, 2, 3), normal(3), np.array(0.9), np.array(0.1))
    sample("power", between(0.5, 2, 2, 3), normal(3))
    sample("power", between(0.5, 2, 3), 3)
    sample("power", between(0.5, 2, 3), np.array([0.0, 1.0, 2.0]))
    for name in ("logaddexp", "logaddexp2"):  # equal arguments: a tie, but no kink
        sample(name, np.array([1.0, 2.0]), np.array([1.0, 0.5]))
    sample("remainder", apart(2, 3) + 5, np.full(3, 4.0) + between(0, 0.1, 3))
    sample("fmod", apart(2, 3) + 5, np.full(3, 4.0) + between(0, 0.1, 3))
    sample("where", integers(2, 2, 3).astype(bool), normal(2, 3), normal(3))
    sample("where", integers(2, 3).astype(bool), normal(2, 1), np.asarray(0.5))
    sample("clip", apart(2, 3), np.asarray(-1.5), np.asarray(1.5))
    sample("clip", apart(2, 3), np.full(3, -1.5), np.full((2, 1), 1.5))
    for name in DISCRETE_UNARY:
        sample(name, apart(2, 3))
    for name in DISCRETE_BINARY:
        sample(name, apart(2, 3), apart(3))
    for name in INTEGER_BINARY:
        sample(name, integers(5, 2, 3), integers(5, 3))
    sample("invert", integers(5, 2, 3))
    sample("round", apart(2, 3), decimals=1)
    sample("ldexp", normal(2, 3), integers(4, 3))
    sample("astype", normal(2, 3), dtype=np.dtype("float64"))
    sample("astype_discrete", apart(2, 3), dtype=np.dtype("int64"))
    sample("as_array", np.asarray(0.7))
    sample("checked", np.array([0.2, 0.7]), test=lambda x: x == x, error=ValueError)
    sample("copy", normal(2, 3))
    sample("fence", normal(2, 3), normal(2), ndim=2, after=1)
    sample("reshape", normal(2, 6), ndim=1, shape=(3, 2))
    sample("reshape", normal(2, 3), ndim=2, shape=(6,))
    sample("reshape", normal(3), ndim=0, shape=(1, 1))
    sample("permute", normal(2, 3, 4), perm=(-1, -3, -2))
    sample("permute", normal(2, 3, 4), perm=(-1, -2))
    sample("broadcast", normal(2, 1), shape=(4,))
    sample("broadcast", normal(1, 3), shape=(2, 3))
    sample("concatenate", normal(2, 3), normal(2, 2), normal(2, 1), axis=-1)
    sample("concatenate", normal(2, 3), normal(1, 3), axis=-2)
    sample("slice", normal(4, 5), index=((1, None, 2), None, 3))
    sample("slice", normal(4, 5), index=((None, None, -2),))
    sample("unslice", normal(2, 2), index=((1, 5, 3),), shape=(6,))
    sample("unslice", normal(2, 1, 3), index=(0, None, (1, 4, None)), shape=(2, 5))
    halves = (((0, 2, 1),), ((2, None, 1),))
    sample("unslice_all", normal(3, 2), normal(3, 3), indices=halves, shape=(5,), whole=True)
    sample(
        "unslice_all",
        normal(3),
        normal(1, 3),
        indices=((1, (None, None, 1)), ((0, 1, 1), (None, None, 1))),
        shape=(3, 3),
        whole=False,
    )
    slice_axes, permute, reshape = REGISTRY["slice"], REGISTRY["permute"], REGISTRY["reshape"]
    row = (slice_axes, (("index", (1, (None, None, None))),))
    turned, flat = (permute, (("perm", (-1, -2)),)), (reshape, (("ndim", 2), ("shape", (6,))))
    paths = (((*row, (2, 3)),), ((*turned, (2, 3)), (slice_axes, (("index", ((0, 2, 1), 1)),), (3, 2))))
    sample("sum_pieces", normal(3), normal(2), paths=paths, shape=(2, 3))
    odd = (slice_axes, (("index", ((None, None, 2),)),), (6,))
    sample("sum_pieces", normal(2, 3), normal(3), paths=((), ((*flat, (2, 3)), odd)), shape=(2, 3))
    for shape, count in (((5, 3), 1), ((4, 2, 3), 2), ((5, 2, 3), 1)):
        sample("sum_in_front", normal(*shape), count=count, ndim=len(shape) - count)
    for name in ("sum", "max", "min", "prod", "logsumexp", "length"):
        x = between(0.3, 3, 2, 3, 4)
        sample(name, x, axes=(-1,), keepdims=False)
        sample(name, x, axes=(-3, -1), keepdims=True)
        sample(name, x, axes=(-3, -2, -1), keepdims=False)
    sample("prod", np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 1.0]]), axes=(-1,), keepdims=False)
    sample("cumsum", normal(2, 3), axis=-1)
    sample("cumsum", normal(2, 3), axis=-2)
    for name in ("any", "all"):
        sample(name, integers(2, 2, 3).astype(bool), axes=(-1,), keepdims=False)
    for name in ("argmax", "argmin"):
        sample(name, normal(2, 3), axis=-1, keepdims=True)
        sample(name, normal(2, 3), axis=-2, keepdims=False)
    sample("argsort", normal(2, 3), axis=-1)
    sample("argpartition", normal(2, 5), kth=(1, 3), axis=-1)
    sample("searchsorted", np.array([-1.0, 0.0, 0.0, 1.0]), np.array([[0.0, 0.5], [-2.0, 2.0]]), points=2, side="left")
    sample("searchsorted", np.sort(normal(2, 4)), normal(2, 3), points=1, side="right")
    sample("correlate", normal(5), normal(3), around=((0, 0),))
    sample("correlate", normal(2, 4), normal(2, 4), around=((0, 0),))
    sample("correlate", normal(3), normal(2, 4), around=((2, 3),))
    sample("correlate", normal(2, 3, 4), normal(2, 3), around=((1, 0), (0, 2)))
    sample("matmul", normal(2, 3), normal(3, 4))
    sample("matmul", normal(5, 1, 2, 3), normal(2, 3, 4))
    sample("einsum", normal(2, 3), normal(3, 4), inputs=("ij", "jk"), output="ki")
    sample("einsum", normal(2, 3), normal(3), normal(2), inputs=("ij", "j", "i"), output="")
    sample("einsum", normal(2, 3), inputs=("ij",), output="ji")
    sample("gather", normal(4, 3), integers(4, 5), points=1, rest=1)
    sample("gather", normal(2, 4, 3), integers(4, 2, 5), integers(3, 2, 5), points=2, rest=0)
    sample("gather", normal(2, 4), integers(4, 2, 6), points=1, rest=0)
    sample("scatter_add", normal(5, 3), integers(4, 5), points=1, rest=1, shape=(4,))
    sample("scatter_add", normal(2, 6), integers(4, 2, 6), points=1, rest=0, shape=(4,))
    sample("put", normal(2, 5), normal(2, 3), np.array([4, 0, 2]))
    sample("put", normal(5), normal(4), np.array([1, 3, 1, 1]))
    sample("labels", integers(3, 2, 4), classes=3, of="loss")
    sample("ids", integers(3, 2, 4), count=3, of="embedding", holder="W has 3 rows")
    sample("winners", np.array([1, 3, 1, 1]), size=5)
    sample("winners", integers(3, 2, 4), size=3)
    samples_networks.add_attention(sample, normal)
    _complex_samples(sample)
    _linalg_samples(sample)
    key, words = np.array([3, 5], np.uint64), np.arange(1, 7, dtype=np.uint64) * 0x0123456789ABCDEF
    sample("random_bits", key, np.array(9, np.uint64), shape=(2, 3), dtype=np.dtype("uint16"), domain=1)
    sample("random_bits", key, 0, shape=(), dtype=np.dtype("uint64"), domain=0)
    sample("random_fraction", words, dtype=np.dtype("float64"))
    sample("random_normal", words, shape=(5,), dtype=np.dtype("float64"))
    sample("random_integer", words, low=-3, span=7, dtype=np.dtype("int8"))
    sample("random_weighted_index", between(0, 1, 5), between(0, 2, 4))
    sample("random_weighted_order", between(0, 1, 4), between(0, 2, 4))
    _random_samples(sample)
    _special_samples(sample)
    _fourier_samples(sample)
    samples_networks.add_windows(sample, normal)
    samples_networks.add_pooling_and_norms(sample, between, normal)
    return made


def _random_samples(sample: Any) -> None:
    key, words = np.array([3, 5], np.uint64), np.arange(1, 7, dtype=np.uint64) * 0x0123456789ABCDEF
    sample("random_open_fraction", words)
    sample("random_log_gamma", key, between(0.2, 9, 2, 3), shape=(2, 3))
    sample("random_log_gamma", key, between(0.2, 9, 2, 3), shape=(3,))
    sample("random_poisson", key, between(0.2, 90, 6), shape=(6,))
    sample("random_binomial", key, integers(300, 6), between(0.1, 0.9, 6), shape=(6,))
    sample("random_truncated_normal", between(0.1, 0.9, 4), between(-3, 1, 4), between(1.5, 4, 4))
    sample("random_truncated_normal", between(0.1, 0.9, 3), between(5, 6, 3), between(6.5, 8, 3))
    sample("random_truncated_normal", between(0.1, 0.9, 3), between(-8, -7, 3), between(-6, -5, 3))
    sample("random_gamma_by_shape", between(-1, 1, 2, 3), between(0.5, 4, 3))
    sample("random_beta_by_shape", between(-1, 1, 3), between(0.5, 4, 3), between(0.5, 4, 2, 1))
    for side in (-1.0, 1.0):
        sample(
            "random_gamma_integral", between(2.1, 3, 4), between(0.5, 2, 4) if side < 0 else between(2, 4, 4), 0.0, side
        )
        sample("random_gamma_integral", np.array([2.5]), np.array([1.5 - side]), 2.0, side)
        sample("random_beta_integral", between(1, 3, 3), between(1, 3, 3), between(0, 1, 3) * side, 1.0, 1.0, side)
    sample("random_beta_integral", np.array([1.5]), np.array([2.5]), np.array([0.5]), 0.0, 0.0, 1.0)


def _linalg_samples(sample: Any) -> None:
    draw = Matrices(3)
    for name in ("inv", "det", "cofactor", "slogdet"):
        sample(name, draw.regular(3, 3))
        sample(name, draw.regular(2, 2, 2))
    for name in ("det", "cofactor"):  # singular values repeated, and 0
        sample(name, np.eye(3))
    for rank in (1, 2):
        sample("det", draw.normal(3, rank) @ draw.normal(rank, 3))
    sample("cofactor", draw.normal(3, 2) @ draw.normal(2, 3))
    sample("solve", draw.regular(3, 3), draw.normal(3, 2))
    sample("solve", draw.regular(2, 1, 2, 2), draw.normal(3, 2, 1))
    sample("pinv", draw.normal(4, 3), 1e-15)
    sample("pinv", draw.normal(2, 2, 3), np.array([1e-15, 0.1]))
    sample("cholesky", draw.positive_definite(3, 3))
    sample("cholesky", draw.positive_definite(2, 2, 2))
    sample("cholesky", draw.positive_definite(3, 3) + 0.5j * (np.tri(3) - np.tri(3).T))
    sample("eigh", draw.positive_definite(3, 3))
    sample("eigh", draw.positive_definite(2, 2, 2))
    for full in (False, True):
        for shape in ((4, 3), (3, 4), (2, 3, 3)):
            sample("svd", draw.spread(*shape), full=full)
            sample("qr", draw.spread(*shape), full=full)
    sample("eig", draw.spread(3, 3))  # The eigenvalues and vectors are real, so the phase is not free.
    sample("inv_eigenvectors", draw.regular(3, 3))
    for lower in (False, True):
        sample("solve_triangular", draw.regular(2, 3, 3), draw.normal(3, 2), lower=lower, unit=lower)
        sample("solve_triangular", draw.unit(3, 3) + 3 * np.eye(3), draw.unit(3, 1), lower=lower, unit=not lower)
    sample("sylvester", draw.regular(3, 3), draw.regular(2, 2, 2), draw.normal(3, 2))
    sample("sylvester", draw.unit(2, 2) + 3 * np.eye(2), draw.unit(3, 3) + 3 * np.eye(3), draw.unit(2, 3))
    for name in ("sqrtm", "logm"):
        sample(name, draw.regular(2, 3, 3))
        sample(name, draw.unit(3, 3) + 4 * np.eye(3))
    sample("schur_vectors", draw.regular(2, 3, 3))
    complex_ones = draw.unit(2, 3, 3)
    for name in ("inv", "det", "cofactor", "slogdet", "expm", "inv_eigenvectors"):
        sample(name, complex_ones)
    sample("solve", complex_ones, draw.unit(3, 2))
    sample("pinv", draw.unit(4, 3), 1e-15)
    # Complex qr, svd, eigh and eig have free phases; tests/numpy/test_linalg_complex.py tests them.
    sample("expm", draw.normal(3, 3))
    sample("expm", draw.normal(2, 2, 2) * np.array([0.1, 5.0])[:, None, None])


def _complex_samples(sample: Any) -> None:
    z, w = normal(2, 3) + 1j * normal(2, 3), 1.5 + normal(3) + 1j * (2 + normal(3))
    for name in ("real", "imag", "conjugate"):
        sample(name, z)
        sample(name, np.asarray(z[0, 0]))
    for name in COMPLEX_UNARY:
        sample(name, 0.5 + between(0.3, 1.2, 2, 3) + 1j * between(-0.9, 0.9, 2, 3))
    for name in ("add", "subtract", "multiply", "divide", "quotient", "scaled"):
        sample(name, z, w)
        sample(name, z, between(1, 2, 3))
        sample(name, between(1, 2, 3), z)
    for base, exponent in [(w, z), (w, between(0.5, 2, 3)), (between(0.5, 2, 3), z), (w, 3), (w, 0.5)]:
        sample("power", base, exponent)
    sample("where", integers(2, 2, 3).astype(bool), z, normal(3))
    sample("astype", normal(3), dtype=np.dtype("complex128"))
    sample("sum", z, axes=(-1,), keepdims=False)
    sample("prod", z, axes=(-1,), keepdims=True)
    sample("cumsum", z, axis=-1)
    sample("matmul", z, normal(3, 2) + 1j * normal(3, 2))
    sample("matmul", normal(4, 2), z)
    sample("einsum", z, normal(3), inputs=("ij", "j"), output="i")
    sample("reshape", z, ndim=2, shape=(6,))
    sample("permute", z, perm=(-1, -2))
    sample("concatenate", z, normal(2, 2) + 0j, axis=-1)
    sample("gather", z, integers(2, 5), points=1, rest=1)
    sample("scatter_add", z, integers(4, 2), points=1, rest=1, shape=(4,))
    sample("put", z, w[:2], np.array([2, 0]))


SAMPLES = _samples()
DIFFERENTIABLE = [s for s in SAMPLES if s.primitive.mask]
