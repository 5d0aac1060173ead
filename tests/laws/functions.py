"""Cases of `fdezero.numpy`: sorting, statistics, running sums, polynomials, matrices, joining, choices, sets. They stay clear of kinks."""

from typing import Any

import numpy as np

from fdezero import numpy as fnp

from .cases import cases_of

RNG = np.random.default_rng(11)


def apart(*shape: int) -> np.ndarray:
    """Distinct numbers around 0 in random order, well apart from each other and from 0."""
    n = int(np.prod(shape))
    return (0.1 * (RNG.permutation(n) - n / 2 + 0.4)).reshape(shape)


def holes(*shape: int) -> np.ndarray:
    """Distinct numbers with some NaNs, at most one in each row and column."""
    x = apart(*shape)
    x[..., 1, 2] = np.nan
    return x


A, V, M = apart(2, 3, 4), apart(5), apart(3, 4)
POSITIVE = np.abs(apart(5)) + 0.3
UP = np.array([-1.0, -0.4, 0.1, 0.9, 1.3])
INT = np.array([3, 1, 0, 1, 3, 2])
MASK = A > 0.25
BELOW = np.array([[2, 1], [1, 1], [2, 0]])
NAN = holes(3, 4)


def diagonal_filled(x: np.ndarray, *args: Any, inplace: bool) -> np.ndarray:
    """The copy after NumPy's function has written into it."""
    y = x.copy()
    np.fill_diagonal(y, *args)
    return y


def closest_observations(x: np.ndarray, q: np.ndarray, *, axis: int, method: str) -> np.ndarray:
    """The entry number n q of a sorted line, rounded to the nearest, halves to the even one. NumPy 2.0.0 errs for some."""
    numbers = np.clip(np.rint(x.shape[axis] * q), 1, x.shape[axis]).astype(np.int64)
    return np.moveaxis(np.take(np.sort(x, axis=axis), numbers - 1, axis=axis), axis, 0)


case = cases_of("numpy", fnp, np)

CASES = [
    # Sorting and searching
    *[case("sort", x, axis=axis) for x in (A, M) for axis in (0, -1, None)],
    case("sort", M[::-1, ::-2]), case("sort", np.asfortranarray(A), axis=1),
    case("sort", M, descending=True, numpy=lambda x, descending: np.sort(x)[..., ::-1]),
    case("lexsort", (INT, V[[0, 1, 0, 2, 1, 0]]), d=None), case("lexsort", np.array([INT[::-1], INT]), d=None), case("lexsort", (BELOW, BELOW[::-1]), axis=0, d=None),
    case("sort_complex", V + 1j * V[::-1]), case("sort_complex", V), case("argsort", A, axis=1, d=None), case("argsort", M, axis=None, d=None),
    case("argsort", INT, descending=True, d=None, numpy=lambda x, descending: np.argsort(-x, kind="stable")),
    case("partition", M, 1), case("partition", M, (0, 2), axis=0), case("argpartition", M, 1, d=None),
    case("searchsorted", UP, apart(2, 3), d=None), case("searchsorted", UP, UP, side="right", d=None),
    case("searchsorted", UP[::-1], V, sorter=np.arange(5)[::-1], d=None),
    case("digitize", V, UP, d=None), case("digitize", UP, UP[::-1], right=True, d=None),
    case("bincount", INT, d=None, shown=True), case("bincount", INT, apart(6), minlength=6, d=1, shown=True),
    case("bincount", INT, apart(6), length=5, d=1, numpy=lambda x, w, length: np.bincount(x, w, length)),
    case("count_nonzero", INT, d=None), case("count_nonzero", A > 0, axis=(0, 2), keepdims=True, d=None),
    case("argwhere", MASK, d=None, shown=True), case("flatnonzero", MASK, d=None, shown=True), case("nonzero", INT, d=None, shown=True),
    case("compress", np.array([True, False, True]), A, axis=1, d=1, shown=True), case("extract", MASK, A, d=1, shown=True),
    case("trim_zeros", np.array([0.0, 1.5, 0.0, 2.5, 0.0]), d=None, shown=True), case("histogram", V, UP, d=None),
    case("histogram", V, bins=3, d=None, shown=True), case("histogram", V, UP, density=True, d=None),
    # Statistics
    *[case(name, x, axis=axis) for name in ("median", "ptp", "average") for x in (A, M) for axis in (None, 0, -1)],
    case("median", A, axis=(0, 2), keepdims=True), case("average", A, axis=1, weights=np.array([1.0, 2.0, 0.5])),
    case("average", A, (0, 2), np.abs(apart(2, 4)) + 1, d=(0, 2)), case("ptp", A, axis=(0, 1), keepdims=True),
    *[case("quantile", M, np.array([0.13, 0.5, 0.87]), axis=0, method=method) for method in (
        "linear", "lower", "higher", "nearest", "midpoint", "hazen", "weibull", "median_unbiased", "normal_unbiased",
        "inverted_cdf", "averaged_inverted_cdf", "interpolated_inverted_cdf",
    )],
    case("quantile", M, np.array([0.13, 0.5, 0.87]), axis=0, method="closest_observation", numpy=closest_observations),
    case("quantile", A, 0.3, axis=(0, 2), keepdims=True), case("quantile", V, np.array([[0.0, 1.0], [0.21, 0.5]])),
    case("quantile", V, np.array([0.3, 0.6]), d=(0, 1)), case("percentile", A, [20, 70], axis=1),
    case("cov", M), case("cov", V, POSITIVE, d=(0, 1)), case("cov", M, rowvar=False, ddof=0),
    case("cov", apart(2, 5), fweights=np.array([1, 2, 1, 1, 3]), aweights=POSITIVE), case("corrcoef", M), case("corrcoef", V, UP, d=(0, 1)),
    # NaN ignored
    *[case(name, x, axis=axis) for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian")
      for x in (NAN, M) for axis in (None, 0, -1)],
    case("nanvar", NAN, axis=1, ddof=1, keepdims=True), case("nancumsum", NAN, axis=1), case("nancumprod", NAN, axis=0),
    case("nanargmax", NAN, axis=1, d=None), case("nanargmin", NAN, d=None),
    case("nanquantile", NAN, np.array([0.2, 0.7]), axis=1), case("nanpercentile", NAN, 35, axis=0, keepdims=True),
    # Running, differences, grids
    *[case(name, x, axis=axis) for name in ("cumsum", "cumprod") for x in (A, M) for axis in (0, -1, None)],
    case("cumprod", np.array([2.0, 0.0, 3.0, 0.0, 1.5])), case("cumprod", INT, d=None),
    *[case(name, x, axis=axis, numpy=getattr(np, ufunc).accumulate) for name, ufunc in (("cummax", "maximum"), ("cummin", "minimum"))
      for x in (A, M) for axis in (0, -1)],
    case("cummax", np.array([1.0, np.nan, 3.0]), axis=0, numpy=np.maximum.accumulate, d=None),
    case("cumulative_sum", A, axis=1), case("cumulative_sum", V, include_initial=True), case("cumulative_prod", A, axis=0, include_initial=True),
    case("diff", A), case("diff", A, n=2, axis=1), case("diff", V, prepend=0.5, append=UP), case("diff", MASK, d=None),
    case("ediff1d", M), case("ediff1d", V, 9.0, [1.0, 2.0]), case("gradient", V), case("gradient", A, axis=1), case("gradient", M, 0.5, 2.0),
    case("gradient", V, UP, edge_order=2, d=(0, 1)), case("gradient", M, UP[:3], axis=0), case("gradient", V, 0.3, edge_order=2),
    case("trapezoid", A), case("trapezoid", V, UP, d=(0, 1)), case("trapezoid", A, dx=0.5, axis=1), case("trapezoid", A, np.sort(A, axis=1), axis=1, d=(0, 1)),
    case("unwrap", 7 * apart(6)), case("unwrap", 4 * M, axis=0, period=1.5),
    case("interp", apart(2, 3), UP, V, d=(0, 1, 2)), case("interp", V * 8, UP, V, left=-1.0, right=2.0, d=(0, 2)),
    case("interp", V * 8, UP, V, period=3.0, d=(0, 2)), case("interp", V, UP[:1], V[:1], d=2),
    # Polynomials and convolution
    *[case(name, x, y, mode, d=(0, 1)) for name in ("convolve", "correlate") for x, y in ((apart(6), apart(3)), (apart(3), apart(4)), (apart(4), apart(2)))
      for mode in ("full", "same", "valid")],
    case("polyval", V, M, d=(0, 1)), case("polyval", apart(3), 0.7, d=0), case("polyadd", V, apart(3), d=(0, 1)), case("polysub", apart(2), V, d=(0, 1)),
    case("polymul", V, apart(3), d=(0, 1)), case("polyder", V), case("polyder", V, 2), case("polyint", V), case("polyint", V, 2, [1.0, 2.0]),
    *[case("polydiv", x, y, d=(0, 1)) for x, y in ((V, apart(3)), (apart(2), V), (V, apart(1)), (V + 1j * V[::-1], apart(3)))],
    case("roots", V, numpy=lambda p: np.roots(p).astype(complex)), case("roots", V + 1j * V[::-1]), case("roots", V[:1], numpy=lambda p: np.zeros(0, complex)),
    case("polyfit", UP, V, 2, d=(0, 1)), case("polyfit", UP, V, 1, w=POSITIVE, d=(0, 1)), case("polyfit", UP, apart(5, 2), 3, d=(0, 1)),
    case("poly", V), case("vander", V), case("vander", V, 3, increasing=True),
    # Matrices
    case("tril", A), case("triu", A, 1), case("tril", M, -1), case("triu", M > 0, d=None), case("diag", M), case("diag", V), case("diag", V, 2), case("diag", V, -1), case("diag", M, 1),
    case("diagflat", M, -1), case("kron", M, apart(2, 2), d=(0, 1)), case("kron", V, M, d=(0, 1)), case("kron", A, apart(2, 2), d=(0, 1)),
    case("cross", apart(2, 3), apart(3), d=(0, 1)), case("cross", apart(3, 2), apart(3, 2), axis=0, d=(0, 1)),
    case("vecdot", A, apart(4), d=(0, 1)), case("vecdot", apart(3, 2), apart(3, 2), axis=0, d=(0, 1)),
    case("matvec", A, apart(4), d=(0, 1), numpy=lambda x, y: x @ y), case("vecmat", apart(3), A, d=(0, 1), numpy=lambda x, y: x @ y),
    case("meshgrid", V, apart(2), d=(0, 1)), case("meshgrid", V, apart(2), UP, indexing="ij", d=(0, 1)), case("meshgrid", V, apart(2), sparse=True, d=(0, 1)),
    case("ix_", np.array([0, 2]), np.array([1, 1, 0]), d=None), case("i0", V), case("i0", np.array([-20.0, 3.7, 0.0])),
    case("vdot", M, apart(3, 4), d=(0, 1)), case("inner", A, M, d=(0, 1)), case("outer", V, M, d=(0, 1)), case("trace", A, 1), case("diagonal", A, -1, 0, 2),
    *[case("unravel_index", INT, shape, order, d=None) for shape in ((2, 3), (1, 2, 2), 4) for order in "CF"], case("unravel_index", np.int64(5), (2, 3), d=None),
    *[case("fill_diagonal", x, v, d=(0, 1), inplace=False, numpy=diagonal_filled) for x, v in ((M, V[0]), (M.T, V), (apart(3, 3, 3), V[:2]))],
    case("fill_diagonal", apart(7, 2), 0.5, True, d=(0, 1), inplace=False, numpy=diagonal_filled),
    # Joining, cutting, turning
    case("insert", M, 1, V, d=(0, 2)), case("insert", M, 2, apart(4), axis=0, d=(0, 2)), case("insert", A, [1, 3], apart(2, 3, 2), axis=2, d=(0, 2)),
    case("insert", A, slice(0, 2), 0.5, axis=-2, d=(0, 2)), case("insert", V, [0, -1, 0], V[:3], d=(0, 2)), case("insert", M, -1, apart(3, 2).T, axis=1, d=(0, 2)),
    case("delete", A, [0, -1], axis=1), case("delete", V, 2), case("delete", M, slice(1, None, 2), axis=-1), case("delete", M, [], axis=0),
    case("append", M, V, d=(0, 1)), case("append", A, A, axis=1, d=(0, 1)), case("atleast_1d", V[0]), case("atleast_2d", V), case("atleast_3d", V), case("atleast_3d", M),
    case("array_split", V, 3), case("array_split", A, [1, 2], axis=2), case("vsplit", A, 2), case("hsplit", V, [2]), case("hsplit", A, 3), case("dsplit", A, 2),
    case("unstack", A, axis=1), case("rollaxis", A, 2), case("rollaxis", A, 0, 3), case("fliplr", A), case("flipud", A),
    *[case("rot90", A, k, axes) for k in (0, 1, 2, 3, -1) for axes in ((0, 1), (2, 0))], case("resize", M, (2, 9)), case("resize", V, 3),
    case("apply_over_axes", fnp.sum, A, [0, 2], d=1, numpy=lambda f, x, axes: np.apply_over_axes(np.sum, x, axes)),
    # Choices and comparisons
    case("piecewise", V, [V < -0.1, V > 0.1], [lambda x: x * x, np.exp, 0.5]), case("choose", INT, [apart(6), V[0], apart(6), 0.0], d=None),
    case("choose", np.array([4, -1, 0]), np.arange(6.0).reshape(2, 3), mode="wrap", d=1), case("choose", np.array([4, -1, 0]), np.arange(6.0).reshape(2, 3), mode="clip", d=1),
    case("isclose", V, V + 1e-9, d=None), case("isclose", NAN, NAN, equal_nan=True, d=None), case("allclose", V, V + 1e-9, d=None), case("array_equal", V, UP, d=None),
    case("array_equal", NAN, NAN, equal_nan=True, d=None), case("array_equiv", V, np.stack([V, V]), d=None), case("isposinf", np.array([np.inf, 1, -np.inf]), d=None),
    case("isneginf", np.array([np.inf, 1, -np.inf]), d=None), case("where", INT, apart(6), 0.5, d=1), case("where", INT, apart(6), 0, d=1),
    # Sets
    *[case(name, INT, d=None, shown=True) for name in ("unique", "unique_values", "unique_counts", "unique_inverse", "unique_all")],
    *[case(name, INT, np.array([1, 5]), d=None, shown=True) for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d")],
    case("isin", INT, np.array([1, 3]), d=None), case("isin", A, V, invert=True, d=None), case("isin", INT, np.zeros(0, int), d=None),
    # Elementwise
    case("hypot", V, UP, d=(0, 1)), case("copysign", V, UP), case("ldexp", V, np.array([-2, 0, 3, 1, 2])), case("frexp", V, d=None), case("fmod", V, POSITIVE, d=(0, 1)),
    case("remainder", V, POSITIVE, d=(0, 1)), case("floor_divide", V, POSITIVE, d=None), case("divmod", V, POSITIVE, d=None), case("heaviside", V, 0.5, d=None),
    case("logaddexp2", V, UP, d=(0, 1)), case("sinc", V), case("modf", V, d=None), case("clip", A, -0.13, 0.22), case("fix", V, d=None, numpy=np.trunc), case("nan_to_num", NAN, d=None),
    *[case(name, x, d=None) for name in ("isreal", "iscomplex", "isrealobj", "iscomplexobj") for x in (V, V + 1j * np.array([0, 1, 0, -1, 0]))],
    *[case("real_if_close", x, shown=True) for x in (V, V + 1j * UP)], case("real_if_close", V + 0j, d=None, shown=True), case("real_if_close", V + 1e-9j, 1e-8, d=None, shown=True),
    case("row_stack", (V, UP), numpy=np.vstack), case("row_stack", (M, M[:1]), numpy=np.vstack),
    # Creation from traced values
    case("linspace", V, UP, 7, d=(0, 1)), case("linspace", 0.5, V, 4, endpoint=False, axis=1, d=1), case("logspace", np.array([0.1, 0.5]), 1.2, 4),
    case("geomspace", POSITIVE, 7.0, 4), case("copy", A),
]  # fmt: skip
