"""Cases of `fdezero.numpy` for parameters that change the result: modes, weights, where=, initial=, axes=, dtype=."""

from typing import Any

import numpy as np

from fdezero import numpy as fnp

from .cases import cases_of

RNG = np.random.default_rng(29)
A = RNG.permutation(24).reshape(2, 3, 4) / 8 - 1.47  # entries well apart from each other and from 0
M, V, B = A[0], A[0, 0], RNG.standard_normal((4, 3))
NAN = A.copy()
NAN[0, 1, 2] = NAN[1, 2, 0] = NAN[1, 0, 3] = np.nan
SOME = A > -0.9
FREQUENT, SHARES = np.array([1, 2, 1, 3]), np.array([0.5, 1.0, 2.0, 0.25])
FAR = np.array([[-7, -1, 0], [2, 3, 9]])
case = cases_of("numpy", fnp, np)


def nan_extreme(extreme: Any) -> Any:
    """The reference of nanmax and nanmin with where=, which NumPy 2.0 computes without a mask."""
    return lambda x, axis, where, initial: extreme(np.where(np.isnan(x) | ~where, initial, x), axis=axis)


CASES = [
    # Padding, constants and widths for each axis
    *[case("pad", x, 2, mode) for x in (V, A[:, :, :3]) for mode in ("edge", "linear_ramp", "maximum", "mean", "median", "minimum", "reflect", "symmetric", "wrap")],
    case("pad", A, 1, mode="empty", numpy=lambda x, width, mode: np.pad(x, width)), case("pad", M, ((1, 2), (0, 3)), constant_values=((1.5, -2.0), (0.5, 7.0))),
    case("pad", M, (2, 1), "linear_ramp", end_values=((1.5, -2.0), (0.5, 7.0))), case("pad", M, ((1, 0), (2, 2)), "maximum", stat_length=2),
    case("pad", M, 1, "mean", stat_length=((1, 2), (3, 1))), *[case("pad", x, 7, mode, reflect_type="odd") for x in (V, M) for mode in ("reflect", "symmetric")],
    case("pad", V[:1], 3, "reflect", reflect_type="odd"), case("pad", A + 1j * A[::-1], 1, "mean"), case("pad", M.astype(int), 1, "mean", d=None),
    # Indices outside the array
    *[case("take", M, FAR, axis=axis, mode=mode, d=0) for axis in (None, 0, -1) for mode in ("clip", "wrap")], case("take", V, np.uint8(250), mode="wrap", d=0),
    case("choose", FAR, [B[0], 0.5, np.ones(3)], mode="clip", d=1), case("choose", FAR, [B[0], 0.5, np.ones(3)], mode="wrap", d=1),
    # Degrees of freedom, a mean that is known, and what counts
    *[case(name, x, axis=1, ddof=2) for name in ("var", "std", "nanvar", "nanstd") for x in (A,)],
    *[case(name, A, axis=1, correction=1.5) for name in ("var", "std", "nanvar", "nanstd")],
    *[case(name, NAN, axis=-1, where=SOME) for name in ("nanmean", "nanvar", "nanstd", "nansum", "nanprod")],
    *[case(name, NAN, axis=-1, initial=0.7) for name in ("nansum", "nanprod", "nanmax", "nanmin")],
    case("nanmax", NAN, axis=0, where=SOME, initial=-0.8, numpy=nan_extreme(np.max)), case("nanmin", NAN, axis=0, where=SOME, initial=0.8, numpy=nan_extreme(np.min)),
    case("var", A, axis=1, mean=A.mean(axis=1, keepdims=True), keepdims=True), case("nanstd", NAN, axis=1, mean=np.nanmean(NAN, axis=1, keepdims=True)),
    case("cov", M, ddof=0, dtype="float64"), case("cov", M, fweights=FREQUENT, aweights=SHARES, ddof=2), case("corrcoef", M, dtype="float64"),
    *[case(name, x, axis=axis, keepdims=True, d=None) for name in ("argmax", "argmin") for x in (A, V[0]) for axis in (None,)],
    *[case(name, M.astype("int8"), axis=0, dtype=dtype, d=None) for name in ("cumsum", "cumprod", "nancumsum") for dtype in ("int8", "uint8", "float32")],
    case("mean", M, axis=0, dtype="int64", d=None), case("sum", M, initial=None, numpy=np.sum), case("prod", M, axis=1, initial=None, numpy=np.prod),
    # Weighted quantiles
    *[case("quantile", M, np.array([0.0, 0.13, 0.5, 0.87, 1.0]), axis=axis, weights=weights, method="inverted_cdf")
      for axis, weights in ((0, np.abs(M)), (1, SHARES), (-1, FREQUENT))], case("quantile", M, np.array([0.13, 0.5, 1.0]), weights=M > 0, method="inverted_cdf"),
    case("percentile", A, 40, axis=1, weights=np.abs(A), method="inverted_cdf", keepdims=True),
    case("nanquantile", NAN, np.array([0.2, 0.7]), axis=1, weights=np.abs(A), method="inverted_cdf"), case("nanpercentile", NAN, 35, axis=0, weights=np.abs(A), method="inverted_cdf"),
    # Axes of products
    case("matmul", A, B, axes=[(0, 2), (0, 1), (1, 0)], d=(0, 1)), case("matmul", V, B, axes=[0, (0, 1), 0], d=(0, 1)), case("matmul", V, V[::-1], axes=[0, 0, ()], d=(0, 1)),
    case("vecdot", A, B.T, axes=[1, 0], d=(0, 1), numpy=lambda x, y, axes: np.einsum("aib,ib->ab", x, y)), case("vecdot", A, V, keepdims=True, d=(0, 1)),
    case("matvec", M, B, axes=[(0, 1), 0, 1], d=(0, 1), numpy=lambda x, y, axes: (x @ y).T),
    case("vecmat", B, M.T, axes=[0, (0, 1), 1], d=(0, 1), numpy=lambda x, y, axes: x.T @ y),
    case("einsum", A, [0, 1, 2], B, [2, 1], [0], d=(0, 2)), case("einsum", A, [0, 1, 2], B, [2, 1], d=(0, 2)), case("einsum", A, [..., 3], B, [3, 0], [0, ...], d=(0, 2)),
    case("einsum", "ij->i", M, dtype="complex128", d=1), case("trace", A, axis1=1, axis2=2, dtype="complex128"), case("trace", M.astype("int8"), dtype="int16", d=None),
    # Several results, more dimensions
    case("polyfit", np.array([-1.0, -0.4, 0.1, 0.9]), V, 2, cov=True, d=(0, 1)), case("polyfit", np.array([-1.0, -0.4, 0.1, 0.9]), B, 1, w=SHARES, cov="unscaled", d=(0, 1)),
    case("linspace", V, B[:, 0], 5, retstep=True, d=(0, 1)), case("linspace", V, 3.0, 4, False, True, axis=1, d=0), case("linspace", 0.5, 7.3, 4, dtype="int64", d=None),
    case("logspace", np.array([0.1, 0.5]), 1.2, 4, base=np.array([2.0, 3.0]), d=(0, 1)), case("logspace", 0.1, np.array([0.7, 1.1]), 3, base=np.array([2.0, 3.0]), axis=-1, d=1),
    case("indices", (2, 3), sparse=True, d=None), case("array", M, ndmin=4), case("atleast_1d", V[0], M, d=(0, 1)), case("concatenate", [M, M[:1]], dtype="complex128"),
    case("stack", [M, M], axis=1, dtype="complex128"), case("vstack", [V, V], dtype="complex128"), case("hstack", [V, V], dtype="complex128"),
    case("roll", M, (1, 1), axis=0), case("roll", A, (1, 2, -1), axis=(0, -1, 0)), case("roll", A, 2, axis=(0, 2)), case("split", V, np.int64(2)), case("split", M, np.array([1]), axis=1),
    *[case("getitem", A, index, numpy=lambda x, index: x[index]) for index in (
        ((0, 1), (2, 0)), range(2), (..., range(1, 3)), (slice(None), (0, 2, 1), 1), True, (True, 1), (0, True, [0, 2]), False, ([0, 1], np.True_, slice(1, 3)),
    )],
    # Sets and zeros
    case("unique", np.array([np.nan, 1.0, np.nan]), equal_nan=False, d=None, shown=True), case("intersect1d", np.array([3, 1, 4, 1]), np.array([1, 5, 3]), return_indices=True, d=None, shown=True),
    case("trim_zeros", np.pad(M, 2), d=None, shown=True, numpy=lambda x: x[2:-2, 2:-2]), case("trim_zeros", np.pad(M, 1), "f", 1, d=None, shown=True, numpy=lambda x, trim, axis: x[:, 1:]),
]  # fmt: skip
