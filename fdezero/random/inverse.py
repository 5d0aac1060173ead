"""Draws from distribution functions that have a simple inverse: one uniform number in (0, 1) for each entry, in float64.

They are differentiable in their parameters: the derivative holds the uniform number fixed.
"""

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..core import discrete, elementwise
from ..numpy.arguments import ArrayOrNumber
from ..ops.elementwise import floor
from ..ops.special import erfc, erfcinv, erfcx
from ..values import is_floating
from .draws import normal
from .source import (
    DRAW,
    FLOAT64,
    UINT64,
    Array,
    Key,
    Shape,
    as_parameter,
    check_dtype,
    check_key,
    check_parameters,
    check_shape,
    exponentiated,
    fitted,
    random_bits,
)


def _open_fraction(words: Array) -> Any:
    return ((words >> 12).astype(np.float64) + 0.5) * 2.0**-52


open_fraction = discrete("random_open_fraction", _open_fraction)


def _inside(key: Key, sizes: tuple[int, ...]) -> Any:
    """Uniform numbers between 0 and 1, never on a bound: odd multiples of 2**-53, float64."""
    return open_fraction(random_bits(key, 0, shape=sizes, dtype=UINT64, domain=DRAW))


def _plain(name: str, key: Key, shape: Shape, dtype: Any) -> tuple[Any, np.dtype[Any]]:
    what = f"fd.random.{name}"
    check_key(key, what)
    return _inside(key, check_shape(shape, what)), check_dtype(dtype, "f", what)


def exponential(key: Key, shape: Shape = (), dtype: Any = np.float32) -> ArrayOrNumber:
    """Exponential numbers of mean 1, never 0: `shape`, floating `dtype`. Multiply them by the mean that you want."""
    u, dtype = _plain("exponential", key, shape, dtype)
    return fitted(-fnp.log(u), dtype, positive=True)


def gumbel(key: Key, shape: Shape = (), dtype: Any = np.float32) -> ArrayOrNumber:
    """Numbers of the standard Gumbel distribution of the maximum, exp(-exp(-x)): `shape`, floating `dtype`."""
    u, dtype = _plain("gumbel", key, shape, dtype)
    return fitted(-fnp.log(-fnp.log(u)), dtype)


def laplace(key: Key, shape: Shape = (), dtype: Any = np.float32) -> ArrayOrNumber:
    """Numbers of density exp(-|x|) / 2: `shape`, floating `dtype`."""
    u, dtype = _plain("laplace", key, shape, dtype)
    return fitted(fnp.where(u < 0.5, fnp.log(2 * u), -fnp.log(2 * (1 - u))), dtype)


def logistic(key: Key, shape: Shape = (), dtype: Any = np.float32) -> ArrayOrNumber:
    """Numbers of the standard logistic distribution, 1 / (1 + exp(-x)): `shape`, floating `dtype`."""
    u, dtype = _plain("logistic", key, shape, dtype)
    return fitted(fnp.log(u) - fnp.log(1 - u), dtype)


def cauchy(key: Key, shape: Shape = (), dtype: Any = np.float32) -> ArrayOrNumber:
    """Numbers of density 1 / (pi (1 + x**2)): `shape`, floating `dtype`. Some are very large."""
    u, dtype = _plain("cauchy", key, shape, dtype)
    tail = 1 / fnp.tan(math.pi * fnp.minimum(u, 1 - u))  # both tails have small arguments, which are exact
    return fitted(fnp.where(u < 0.5, -tail, tail), dtype)


def rademacher(key: Key, shape: Shape = (), dtype: Any = np.int64) -> ArrayOrNumber:
    """-1 or 1, equally likely: `shape`, integer or floating `dtype`."""
    what = "fd.random.rademacher"
    check_key(key, what)
    sizes, dtype = check_shape(shape, what), check_dtype(dtype, "if", what)
    lanes = random_bits(key, 0, shape=sizes, dtype=np.dtype(np.uint8), domain=DRAW)
    return fnp.astype(fnp.where(lanes < 128, -1, 1), dtype)


def _with_parameters(
    name: str, key: Key, shape: Shape | None, dtype: Any, kinds: str = "f", **parameters: Any
) -> tuple[Any, np.dtype[Any], list[Any]]:
    what = f"fd.random.{name}"
    check_key(key, what)
    sizes = check_parameters(shape, what, **parameters)
    return (
        _inside(key, sizes),
        check_dtype(dtype, kinds, what),
        [as_parameter(p, what, key) for p in parameters.values()],
    )


def weibull_min(
    key: Key, scale: Any, concentration: Any, shape: Shape | None = None, dtype: Any = np.float32
) -> ArrayOrNumber:
    """Weibull numbers, 1 - exp(-(x / scale)**concentration): `shape`, by default that of the parameters; floating `dtype`."""
    u, dtype, (scale, power) = _with_parameters(
        "weibull_min", key, shape, dtype, scale=scale, concentration=concentration
    )
    return fitted(scale * exponentiated(fnp.log(-fnp.log(u)) / power), dtype)


def pareto(key: Key, b: Any, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """Pareto numbers from 1 up, 1 - x**-b: `shape`, by default that of `b`; floating `dtype`."""
    u, dtype, (b,) = _with_parameters("pareto", key, shape, dtype, b=b)
    return fitted(exponentiated(-fnp.log(u) / b), dtype)


def rayleigh(key: Key, scale: Any = 1.0, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """Rayleigh numbers, 1 - exp(-(x / scale)**2 / 2): `shape`, by default that of `scale`; floating `dtype`."""
    u, dtype, (scale,) = _with_parameters("rayleigh", key, shape, dtype, scale=scale)
    return fitted(scale * fnp.sqrt(-2 * fnp.log(u)), dtype)


def triangular(
    key: Key, left: Any, mode: Any, right: Any, shape: Shape | None = None, dtype: Any = np.float32
) -> ArrayOrNumber:
    """Numbers from `left` to `right` whose density is a triangle with its top at `mode`: `shape`, floating `dtype`."""
    u, dtype, (left, mode, right) = _with_parameters("triangular", key, shape, dtype, left=left, mode=mode, right=right)
    width = right - left
    low = u * width < mode - left
    rising = fnp.sqrt(fnp.where(low, u * width * (mode - left), 1.0))
    falling = fnp.sqrt(fnp.where(low, 1.0, (1 - u) * width * (right - mode)))
    return fitted(fnp.where(low, left + rising, right - falling), dtype)


def lognormal(key: Key, sigma: Any = 1.0, shape: Shape | None = None, dtype: Any = np.float32) -> ArrayOrNumber:
    """exp(sigma z) for normal numbers z: `shape`, by default that of `sigma`; floating `dtype`."""
    what = "fd.random.lognormal"
    check_key(key, what)
    sizes, dtype = check_parameters(shape, what, sigma=sigma), check_dtype(dtype, "f", what)
    return fitted(exponentiated(as_parameter(sigma, what, key) * normal(key, sizes, FLOAT64)), dtype, positive=True)


def geometric(key: Key, p: Any, shape: Shape | None = None, dtype: Any = np.int64) -> ArrayOrNumber:
    """Trials until the first success, from 1 up: `shape`, by default that of `p`; integer or floating `dtype`. No derivative.

    A probability outside 0 < p <= 1 gives -1, or NaN for a floating dtype.
    """
    u, dtype, (p,) = _with_parameters("geometric", key, shape, dtype, "iuf", p=p)
    fits = (p > 0) & (p <= 1)
    with np.errstate(divide="ignore"):  # log(0) at p = 1, whose draw is 1
        trials = floor(fnp.log(u) / fnp.log1p(-fnp.where(fits, p, 0.5))) + 1
    return counted(fnp.where(fits, trials, math.nan), dtype)


def counted(draw: Any, dtype: np.dtype[Any]) -> ArrayOrNumber:
    """A draw of whole numbers in float64 as `dtype`; NaN becomes -1 in an integer dtype, and numbers stay in its range."""
    if is_floating(dtype):
        return fnp.astype(draw, dtype)
    most = float(np.iinfo(dtype).max)
    most = most if most < 2.0**53 else np.nextafter(most, 0)
    whole = fnp.astype(fnp.minimum(fnp.where(fnp.isnan(draw), 0.0, draw), most), dtype)
    return fnp.where(fnp.isnan(draw), dtype.type(-1 if dtype.kind == "i" else np.iinfo(dtype).max), whole)


# --- truncated normal ------------------------------------------------------------------------------------------------

ROOT2 = math.sqrt(2)


def _truncated(u: Any, low: Any, high: Any) -> Any:
    """The u-quantile of a normal distribution between two bounds, in float64."""
    flip = low + high < 0  # the half that holds the bound nearer to the middle becomes the upper one
    u, low, high = np.where(flip, u, 1 - u), np.where(flip, -high, low), np.where(flip, -low, high)
    # Now the share u of the mass lies above the result. Ratios of tails do not vanish where the tails do.
    far = low > 4
    a, b = np.where(far, 0.0, low), np.where(far, 1.0, high)
    share = u * erfc.impl(a / ROOT2) / 2 + (1 - u) * erfc.impl(b / ROOT2) / 2
    x = ROOT2 * erfcinv.impl(2 * share)
    if far.any():
        a, b = np.where(far, low, 5.0), np.where(far, high, 6.0)
        with np.errstate(invalid="ignore", over="ignore"):  # an infinite bound
            gap = np.where(b < math.inf, (b - a) * (a + b) / 2, math.inf)
            ratio = np.exp(-gap) * erfcx.impl(b / ROOT2) / erfcx.impl(a / ROOT2)
        tail = np.log(
            u + (1 - u) * np.where(gap < math.inf, ratio, 0.0)
        )  # of the ratio to the mass above the lower bound
        z = np.sqrt(a * a - 2 * tail)
        for _ in range(6):  # Newton's method on the logarithm of the mass above z
            mass = erfcx.impl(z / ROOT2)
            error = np.log(mass / erfcx.impl(a / ROOT2)) - (z - a) * (z + a) / 2 - tail
            z = z + error * mass * math.sqrt(math.pi / 2)
        x = np.where(far, z, x)
    x = np.where(low <= high, np.clip(x, low, high), math.nan)
    return np.where(flip, -x, x)


def _write_truncated(out: Any, *args: Any) -> None:
    out[...] = _truncated(*args)


# u in (0, 1), bounds -> the quantile. Its slopes are the densities at the bounds, relative to the density at the result.
truncated_quantile = elementwise(
    "random_truncated_normal",
    None,
    lambda y, x0, x1: (1 - x0) * np.exp(0.5 * (y - x1) * (y + x1)),
    lambda y, x0, x2: x0 * np.exp(0.5 * (y - x2) * (y + x2)),
    c="",
    impl=_truncated,
    write=_write_truncated,
)


def truncated_normal(
    key: Key, lower: Any, upper: Any, shape: Shape | None = None, dtype: Any = np.float32
) -> ArrayOrNumber:
    """Normal numbers between `lower` and `upper`: `shape`, by default that of the bounds; floating `dtype`.

    Bounds may be infinite, and may both lie far out in a tail; a lower one above the upper one gives NaN.
    Derivatives by the bounds are those of the quantile. Needs SciPy.
    Raises ShapeError if a bound does not broadcast to `shape`.
    """
    u, dtype, (low, high) = _with_parameters("truncated_normal", key, shape, dtype, lower=lower, upper=upper)
    return fitted(truncated_quantile(u, low, high), dtype)
