"""What the distributions have in common: parameters, supports, and the methods of continuous and discrete families.

Outside the support a log-density is -inf, with derivatives 0; a distribution function is 0 or 1 there, whatever the parameters are
within their range: infinite ones also. If a parameter is outside its range, results are NaN. `logcdf` and `logsf` have all digits in
both tails.
"""

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import attrs
import numpy as np

from .. import numpy as fnp
from ..core import unwrap
from ..numpy.arguments import ArrayOrNumber, as_array
from ..numpy.elementwise import cast
from ..numpy.precision import in_single
from ..ops.elementwise import stop_gradient
from ..values import is_floating

Rule = Callable[..., Any]
LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)

__all__ = ["LOG_ROOT_TAU", "Continuous", "Discrete", "Rule", "in_one_dtype", "promoted", "within"]


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


def promoted(x: Any, *parameters: Any) -> list[Any]:
    """Arrays in one floating dtype. Integers get the dtype of the floating arguments, so counts do not widen a float32."""
    return in_one_dtype([as_array(x), *parameters])


def in_one_dtype(values: Sequence[Any]) -> list[Any]:
    """Arrays in the dtype of the floating arrays among `values`, float64 if there are none."""
    floats = [v.dtype for v in values if hasattr(unwrap(v), "dtype") and is_floating(v.dtype)]
    dtype = np.result_type(*floats) if floats else np.dtype(float)
    return [dtype.type(v) if isinstance(v, int | float) else cast(v, dtype) for v in values]


def within(valid: Any, x: Any) -> Any:
    """`x`, but NaN where `valid` is false; in their common shape."""
    if isinstance(valid, np.bool_) and (valid or not x.shape):
        return x if valid else x.dtype.type(math.nan)
    return fnp.where(valid, x, math.nan)


def _known(shapes: list[Any]) -> Any:
    """Whether no shape is NaN: functions may hide it (1 ** NaN is 1), and may give NaN for a shape that is infinite."""
    known: Any = np.True_
    for a in shapes:
        known = known & (a == a)
    return known


def _family(name: str) -> Any:
    """A distribution of this package by its name: what pickle calls."""
    return getattr(import_module(__package__), name)


@attrs.frozen(repr=False)
class Continuous:
    """A family of distributions with a density: functions of z and the shapes for loc = 0 and scale = 1.

    Shapes are positive. The support goes from `low` to `high`. With `symmetric`, sf(z) = cdf(-z).
    """

    name: str
    log_density: Rule
    cdf_of: Rule
    log_cdf_of: Rule
    quantile: Rule
    entropy_of: Rule
    sf_of: Rule | None = None
    log_sf_of: Rule | None = None
    upper_quantile: Rule | None = None
    shapes: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    open_below: bool = False

    @property
    def __doc__(self) -> str:  # type: ignore[override]  # computed when `help` asks
        order = ", ".join((*self.shapes, "loc=0", "scale=1"))
        return f"The distribution {self.name} of SciPy, with the parameters {order}: pdf, cdf, sf, their logarithms, ppf, isf, entropy."

    def __repr__(self) -> str:
        return f"stats.{self.name}"

    def __reduce__(self) -> Any:
        return _family, (self.name,)

    def _standard(self, x: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, list[Any], Any, Any]:
        """x, the shapes, loc and scale; NaN for shapes and scales that are out of range."""
        x, *shapes, loc, scale = promoted(x, *_parameters(self.name, self.shapes, {"loc": 0, "scale": 1}, args, named))
        return x, [within(a > 0, a) for a in shapes], loc, within(scale > 0, scale)

    def _at(
        self, x: Any, args: tuple[Any, ...], named: dict[str, Any], below: float, above: float, function: Rule
    ) -> Any:
        x, shapes, loc, scale = self._standard(x, args, named)
        z = (x - loc) / scale
        under, over = (z < self.low) | (z == -math.inf), (z > self.high) | (z == math.inf)
        if self.open_below:
            under = under | (z == self.low)
        y = function(fnp.where(under | over, 0.5, z), *shapes)
        if self.shapes and self.high < math.inf:  # shapes that are both infinite say nothing, but the ends stay
            lost = y != y
            under, over = under | (lost & (z == self.low)), over | (lost & (z == self.high))
        return within(_known(shapes), fnp.where(under, below, fnp.where(over, above, y)))

    @in_single
    def logpdf(self, x: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The logarithm of the density: x (...), then the shapes, loc and scale, which broadcast -> (...)."""
        x, shapes, loc, scale = self._standard(x, args, named)
        z = (x - loc) / scale
        outside = (z < self.low) | (z > self.high) | np.isinf(z)
        if self.open_below:
            outside = outside | (z == self.low)
        inside = self.log_density(fnp.where(outside, 0.5, z), *shapes) - fnp.log(scale)
        beyond = within(_known(shapes), x.dtype.type(-math.inf)) if shapes else -math.inf
        return fnp.where(outside, beyond, inside)

    @in_single
    def pdf(self, x: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The density: x (...), then the shapes, loc and scale, which broadcast -> (...)."""
        return fnp.exp(self.logpdf(x, *args, **named))

    @in_single
    def cdf(self, x: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The probability of at most x: x (...), then the shapes, loc and scale, which broadcast -> (...)."""
        return self._at(x, args, named, 0, 1, self.cdf_of)

    @in_single
    def sf(self, x: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The probability of more than x, which is 1 - cdf without its cancellation; arguments as for `cdf`."""
        return self._at(x, args, named, 1, 0, self.sf_of or (lambda z, *shapes: self.cdf_of(-z, *shapes)))

    @in_single
    def logcdf(self, x: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """log(cdf), without underflow; arguments as for `cdf`."""
        return self._at(x, args, named, -math.inf, 0, self.log_cdf_of)

    @in_single
    def logsf(self, x: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """log(sf), without underflow; arguments as for `cdf`."""
        return self._at(
            x, args, named, 0, -math.inf, self.log_sf_of or (lambda z, *shapes: self.log_cdf_of(-z, *shapes))
        )

    def _quantile(self, q: Any, args: tuple[Any, ...], named: dict[str, Any], function: Rule) -> Any:
        q, shapes, loc, scale = self._standard(q, args, named)
        inside = (q >= 0) & (q <= 1)
        z = function(fnp.where(inside, q, 0.5), *shapes)
        return within(inside, z) * scale + loc

    @in_single
    def ppf(self, q: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The x with cdf(x) = q: q (...) in [0, 1], then the shapes, loc and scale, which broadcast -> (...)."""
        return self._quantile(q, args, named, self.quantile)

    @in_single
    def isf(self, q: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The x with sf(x) = q, also for tiny q; arguments as for `ppf`."""
        mirrored: Rule = lambda q, *shapes: -self.quantile(q, *shapes)
        return self._quantile(q, args, named, self.upper_quantile or mirrored)

    @in_single
    def entropy(self, *args: Any, **named: Any) -> ArrayOrNumber:
        """The differential entropy, in nats: the shapes, loc and scale, which broadcast -> (...)."""
        *shapes, loc, scale = in_one_dtype(_parameters(self.name, self.shapes, {"loc": 0, "scale": 1}, args, named))
        shapes = [within(a > 0, a) for a in shapes]
        return within(loc == loc, self.entropy_of(*shapes) + fnp.log(within(scale > 0, scale)))


@attrs.frozen(repr=False)
class Discrete:
    """A family of distributions over the integers from 0 to `last`, all shifted by loc.

    `valid` and `last` are functions of the parameters: whether they are in range, and the greatest integer. Functions of k have
    no derivative by k.
    """

    name: str
    log_probability: Rule
    cdf_of: Rule
    sf_of: Rule
    log_cdf_of: Rule
    log_sf_of: Rule
    quantile: Rule
    upper_quantile: Rule
    entropy_of: Rule
    shapes: tuple[str, ...]
    valid: Rule
    last: Rule

    @property
    def __doc__(self) -> str:  # type: ignore[override]  # computed when `help` asks
        order = ", ".join((*self.shapes, "loc=0"))
        return f"The distribution {self.name} of SciPy, with the parameters {order}: pmf, cdf, sf, their logarithms, ppf, isf, entropy."

    def __repr__(self) -> str:
        return f"stats.{self.name}"

    def __reduce__(self) -> Any:
        return _family, (self.name,)

    def _standard(self, k: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, list[Any], Any]:
        k, *shapes, loc = promoted(k, *_parameters(self.name, self.shapes, {"loc": 0}, args, named))
        return k, shapes, loc

    @in_single
    def logpmf(self, k: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The log-probability of k: k (...), then the parameters and loc, which broadcast -> (...). The derivative for k is 0."""
        k, shapes, loc = self._standard(k, args, named)
        k = stop_gradient(k - loc)
        outside = (k < 0) | (k > self.last(*shapes)) | np.isinf(k) | ((k != np.floor(k)) & (k == k))
        inside = self.log_probability(fnp.where(outside, 0, k), *shapes)
        return within(self.valid(*shapes), fnp.where(outside, -math.inf, inside))

    @in_single
    def pmf(self, k: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The probability of k: k (...), then the parameters and loc, which broadcast -> (...)."""
        return fnp.exp(self.logpmf(k, *args, **named))

    def _at(
        self, k: Any, args: tuple[Any, ...], named: dict[str, Any], below: float, above: float, function: Rule
    ) -> Any:
        k, shapes, loc = self._standard(k, args, named)
        k = np.floor(stop_gradient(k - loc))
        under, over = k < 0, (k >= self.last(*shapes)) | (k == math.inf)
        y = function(fnp.where(under | over, 0, k), *shapes)
        return within(self.valid(*shapes) & (k == k), fnp.where(under, below, fnp.where(over, above, y)))

    @in_single
    def cdf(self, k: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The probability of at most k: k (...), then the parameters and loc, which broadcast -> (...)."""
        return self._at(k, args, named, 0, 1, self.cdf_of)

    @in_single
    def sf(self, k: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The probability of more than k; arguments as for `cdf`."""
        return self._at(k, args, named, 1, 0, self.sf_of)

    @in_single
    def logcdf(self, k: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """log(cdf), without underflow; arguments as for `cdf`."""
        return self._at(k, args, named, -math.inf, 0, self.log_cdf_of)

    @in_single
    def logsf(self, k: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """log(sf), without underflow; arguments as for `cdf`."""
        return self._at(k, args, named, 0, -math.inf, self.log_sf_of)

    def _quantile(self, q: Any, args: tuple[Any, ...], named: dict[str, Any], function: Rule) -> Any:
        q, shapes, loc = self._standard(q, args, named)
        valid = (q >= 0) & (q <= 1) & self.valid(*shapes)
        shapes = [stop_gradient(a) for a in shapes]
        return within(valid, function(stop_gradient(q), *shapes)) + loc

    @in_single
    def ppf(self, q: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The least k with cdf(k) >= q, and -1 for q = 0: q (...) in [0, 1], the parameters and loc, which broadcast -> (...).

        The derivative for q and the parameters is 0.
        """
        return self._quantile(q, args, named, self.quantile)

    @in_single
    def isf(self, q: Any, *args: Any, **named: Any) -> ArrayOrNumber:
        """The least k with sf(k) <= q, and -1 for q = 1, also for tiny q; arguments and derivatives as for `ppf`."""
        return self._quantile(q, args, named, self.upper_quantile)

    @in_single
    def entropy(self, *args: Any, **named: Any) -> ArrayOrNumber:
        """The entropy, in nats: the parameters and loc, which broadcast -> (...)."""
        *shapes, loc = in_one_dtype(_parameters(self.name, self.shapes, {"loc": 0}, args, named))
        return within(self.valid(*shapes) & (loc == loc), self.entropy_of(*shapes))
