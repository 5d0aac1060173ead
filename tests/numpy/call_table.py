"""How to draw the arguments of the elementwise functions, reductions, sorts and new arrays of `fdezero.numpy`, by NumPy's names."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .drawing import (
    Call,
    Draw,
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
    mask,
    number,
    one_of,
)

REAL, EXACT = "biuf", "biu"
A = array()


def shape(d: Draw) -> Any:
    return d.pick(d.shape(), d.integer(0, 4), list(d.shape()), np.int64(3))


def probabilities(scale: float) -> Callable[[Draw], Any]:
    return lambda d: d.pick(0.0, 1.0 * scale, 0.5 * scale, 0.3 * scale, [0.25 * scale, 0.75 * scale], np.array([0.1, 0.9, 0.5]) * scale, 1.5 * scale, 0, 1)


UNLIMITED = one_of(array("biu", special=False), array("f"))  # NumPy's differences of the greatest and least integers overflow
METHODS = one_of(
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull", "linear", "median_unbiased",
    "normal_unbiased", "lower", "higher", "midpoint", "nearest", "bogus",
)  # fmt: skip


def searchsorted(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = line("iuf", ordered=True)(d)
    args = [x, d.array("iuf")]
    if d.chance(0.2):
        order = d.rng.permutation(len(x))
        args[0] = d.noted(np.ascontiguousarray(x[np.argsort(order)]))
        return args, {"sorter": order}
    return args, {"side": d.pick("left", "right", "l", "RIGHT", "bogus")} if d.chance(0.5) else {}


def average(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array("biufc", odd=False, special=d.chance(0.3))
    kwargs: dict[str, Any] = {}
    if d.chance(0.5):
        kwargs["axis"] = axes()(d)
    if d.chance(0.5):
        chosen = kwargs.get("axis")
        wanted = np.shape(x) if chosen is None or d.chance(0.4) else (np.shape(x)[chosen],) if isinstance(chosen, int) and -x.ndim <= chosen < x.ndim else np.shape(x)
        kwargs["weights"] = d.array("iuf", wanted, special=False)
    kwargs |= {name: d.chance(0.6) for name in ("returned", "keepdims") if d.chance(0.2)}
    return [x], kwargs


def bincount(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.rng.integers(0, 5, d.integer(0, 6)) - d.chance(0.05)
    kwargs = {"weights": d.array("iuf", (len(x),))} if d.chance(0.4) else {}
    return [d.pick(x, x.astype("int8"), x.astype("uint16"), x.tolist())], kwargs | ({"minlength": d.integer(0, 8)} if d.chance(0.4) else {})


def histogram(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array(REAL, special=d.chance(0.2))
    kwargs: dict[str, Any] = {"bins": d.pick(1, 3, [0, 1, 2.5], np.array([-1.0, 0.0, 4.0]), [2, 1], 0, 4)} if d.chance(0.8) else {}
    options = {"range": one_of((0, 3), (1, 1), (-1.5, 2.0)), "density": flag, "weights": like("iuf", special=False)}
    return [x], kwargs | {name: drawer(d) for name, drawer in options.items() if d.chance(0.25)}


def cov(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = d.array("iufcb", d.shape(1, 2), special=d.chance(0.2))
    kwargs: dict[str, Any] = {"y": d.array("iufc", np.shape(x))} if d.chance(0.3) else {}
    count = np.shape(x)[-1]
    options = {
        "rowvar": flag, "bias": flag, "ddof": integer(0, 3), "dtype": dtype("f"),
        "fweights": lambda d: d.rng.integers(0, 4, count), "aweights": lambda d: d.rng.random(count),
    }  # fmt: skip
    return [x], kwargs | {name: drawer(d) for name, drawer in options.items() if d.chance(0.25)}


def corrcoef(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = cov(d)
    return args, {name: kwargs[name] for name in kwargs if name in ("y", "rowvar", "dtype")}


def extract(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = A(d)
    return [like("bi")(d), x], {}


def compress(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    x = A(d)
    return [[d.chance(0.5) for _ in range(d.integer(0, 4))], x], {} if d.chance(0.5) else {"axis": axis(none=True)(d)}


def lexsort(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    shape = d.shape(1, 2)
    return [d.pick(tuple, list)([d.array("iuf", shape, odd=False) for _ in range(d.integer(1, 3))])], {"axis": axis()(d)} if d.chance(0.4) else {}


UNARY = "biufc"
ELEMENTWISE = {
    "abs absolute conj conjugate negative positive sign square real imag": call(array(UNARY)),
    "acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh cos cosh exp exp2 expm1 log log10 log1p log2 sin sinh sqrt tan tanh": call(array(UNARY)),
    "reciprocal isfinite isinf isnan logical_not isneginf isposinf": call(array(UNARY)),
    "cbrt ceil deg2rad degrees fabs fix floor frexp modf rad2deg radians rint signbit spacing trunc": call(array(REAL + "c")),
    "add subtract multiply divide true_divide equal not_equal greater greater_equal less less_equal logical_and logical_or logical_xor maximum minimum fmax fmin": call(array(UNARY), beside(UNARY)),
    "arctan2 atan2 copysign floor_divide fmod heaviside hypot logaddexp logaddexp2 mod nextafter remainder divmod": call(array(REAL), beside(REAL)),
    "pow power float_power": call(array("biufc"), one_of(beside("biufc"), 2, 2.0, 0, 3, 0.5, -1, 1j)),
    "bitwise_and bitwise_or bitwise_xor": call(array("biub"), beside("biu")),
    "bitwise_left_shift bitwise_right_shift left_shift right_shift": call(array("iu"), one_of(integer(0, 5), beside("iu", special=False))),
    "bitwise_invert bitwise_not invert": call(array(EXACT)),
    "gcd lcm": call(array("iu", special=False), beside("iu", special=False)),
    "ldexp": call(array("f"), beside("i", special=False)),
    "angle": call(array(UNARY), deg=flag),
    "around round": call(A, decimals=integer(-2, 3)),
    "astype": call(array(odd=False), dtype(), copy=flag),
    "clip": call(array(REAL), a_min=one_of(None, number, beside(REAL)), a_max=one_of(None, number, beside(REAL))),
    "nan_to_num": call(A, nan=number, posinf=number, neginf=number, copy=lambda d: True),
    "nonzero": call(A),
    "where": one_of(call(array(UNARY)), call(array(UNARY), beside(UNARY), beside(UNARY))),
}  # fmt: skip
REDUCTIONS = {
    "sum prod": call(A, axis=axes(), dtype=dtype(), keepdims=flag, initial=number, where=mask),
    "max min amax amin": call(A, axis=axes(), keepdims=flag, initial=number, where=mask),
    "any all": call(A, axis=axes(), keepdims=flag, where=mask),
    "mean": call(A, axis=axes(), dtype=dtype("fc"), keepdims=flag, where=mask),
    "var std": call(A, axis=axes(), dtype=dtype("f"), ddof=one_of(0, 1, 2, 7, 0.5), keepdims=flag, where=mask),
    "argmax argmin": call(A, axis=axis(none=True), keepdims=flag),
    "ptp": call(A, axis=axes(), keepdims=flag),
    "median": call(A, axis=axes(), keepdims=flag, overwrite_input=flag),
    "average": average,
    "cumsum cumprod": call(A, axis=axis(none=True), dtype=dtype()),
    "cummax cummin": lambda d: ([d.array("iuf", d.shape(1, 3))], {"axis": axis()(d)}),
    "cumulative_sum cumulative_prod": call(array(low=1), axis=axis(none=True), dtype=dtype(), include_initial=flag),
    "count_nonzero": call(A, axis=axes(), keepdims=flag),
    "percentile nanpercentile": call(UNLIMITED, probabilities(100), axis=axes(), method=METHODS, keepdims=flag),
    "quantile nanquantile": call(UNLIMITED, probabilities(1), axis=axes(), method=METHODS, keepdims=flag),
    "nanargmax nanargmin": call(A, axis=axis(none=True), keepdims=flag),
    "nancumsum nancumprod": call(A, axis=axis(none=True), dtype=dtype()),
    "nanmax nanmin": call(A, axis=axes(), keepdims=flag, initial=number, where=mask),
    "nansum nanprod": call(A, axis=axes(), dtype=dtype(), keepdims=flag, initial=number, where=mask),
    "nanmean": call(A, axis=axes(), dtype=dtype("fc"), keepdims=flag, where=mask),
    "nanmedian": call(A, axis=axes(), keepdims=flag),
    "nanvar nanstd": call(A, axis=axes(), dtype=dtype("f"), ddof=one_of(0, 1, 2, 7), keepdims=flag, where=mask),
    "logsumexp": call(array(REAL), axis=axes(), keepdims=flag),
    "cov": cov,
    "corrcoef": corrcoef,
}  # fmt: skip
SORTED = {
    "sort argsort": call(A, axis=axis(none=True), kind=one_of(None, "stable", "quicksort"), stable=one_of(True, None)),
    "partition argpartition": call(array("iuf", low=1), integer(-1, 1), axis=axis(none=True)),
    "sort_complex argwhere flatnonzero": call(A),
    "lexsort": lexsort,
    "searchsorted": searchsorted,
    "digitize": call(array("iuf"), line("iuf", ordered=True, special=False), right=flag),
    "bincount": bincount,
    "histogram": histogram,
    "trim_zeros": call(line("biufc"), trim=one_of("f", "b", "fb", "BF", "x")),
    "extract": extract,
    "compress": compress,
    "unique": call(A, return_index=flag, return_inverse=flag, return_counts=flag, axis=axis(none=True), equal_nan=flag),
    "unique_all unique_counts unique_inverse unique_values": call(A),
    "union1d": call(A, A),
    "intersect1d": call(A, A, assume_unique=lambda d: False, return_indices=flag),
    "setdiff1d setxor1d": call(A, A, assume_unique=lambda d: False),
    "isin": call(A, A, assume_unique=lambda d: False, invert=flag),
}


def linspace(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    scalars = d.chance(0.5)
    make = number if scalars else array("iuf", 0, 1, special=False)
    args = [make(d), number(d) if scalars else beside("iuf", special=False)(d)]
    options = {"num": integer(0, 5), "endpoint": flag, "dtype": dtype("iuf"), "axis": one_of(0, -1, 1), "retstep": flag}
    return args, {name: drawer(d) for name, drawer in options.items() if d.chance(0.3)}


def logspace(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = linspace(d)
    kwargs.pop("retstep", None)
    return args, kwargs | ({"base": d.pick(2, 10.0, 0.5)} if d.chance(0.3) else {})


def geomspace(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    args = [d.pick(1, 2.0, 0.5, -1, 1j, 0, np.array([1.0, 2.0])), d.pick(8, 3.5, 100, -4, 2 - 1j, np.array([4.0, 0.5]))]
    options = {"num": integer(0, 5), "endpoint": flag, "axis": one_of(0, -1)}
    return args, {name: drawer(d) for name, drawer in options.items() if d.chance(0.3)}


def arange(d: Draw) -> tuple[list[Any], dict[str, Any]]:
    args = [d.pick(3, 0, 2.5, -1, np.int8(4)) for _ in range(d.integer(1, 2))]
    if len(args) == 2 and d.chance(0.6):
        args.append(d.pick(1, 2, -1, 0.5, 0))
    return args, {"dtype": d.dtype("iuf")} if d.chance(0.3) else {}


CREATION = {
    "arange": arange,
    "linspace": linspace,
    "logspace": logspace,
    "geomspace": geomspace,
    "array": call(A, dtype=dtype(), copy=one_of(True, None), ndmin=integer(0, 3), order=one_of("C", "F", "K")),
    "asarray": call(A, dtype=dtype(), copy=one_of(True, None)),
    "copy": call(A),
    "zeros ones empty": call(shape, dtype=dtype()),
    "full": call(shape, number, dtype=dtype()),
    "zeros_like ones_like empty_like": call(A, dtype=dtype(), shape=shape),
    "full_like": call(A, number, dtype=dtype(), shape=shape),
    "eye": call(integer(0, 3), M=integer(0, 4), k=integer(-2, 2), dtype=dtype()),
    "tri": call(integer(0, 3), M=integer(0, 4), k=integer(-2, 2), dtype=dtype()),
    "identity": call(integer(0, 3), dtype=dtype()),
    "indices": call(lambda d: d.shape(), dtype=dtype("iu"), sparse=flag),
    "ix_": lambda d: ([d.pick([0, 2], [True, False], np.array([1, 0], "int8"), (), [0.5], [[1]]) for _ in range(d.integer(0, 3))], {}),
    "meshgrid": lambda d: ([d.array("iufc", d.shape(0, 1)) for _ in range(d.integer(0, 3))], {name: value for name, value in {"indexing": d.pick("xy", "ij", "x"), "sparse": d.chance(0.5), "copy": True}.items() if d.chance(0.4)}),
    "result_type": call(array(odd=False), array(odd=False)),
}  # fmt: skip

SMALL: dict[str, Call] = {name: drawer for group in (ELEMENTWISE, REDUCTIONS, SORTED, CREATION) for names, drawer in group.items() for name in names.split()}
