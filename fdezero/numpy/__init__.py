"""The NumPy-named face: the operations under the names and signatures people know, on arrays and traced values alike.

Constants and dtypes are NumPy's own, so that `fdezero.numpy` can stand where `numpy` stood.
"""

from numpy import (
    bool_,
    complex64,
    complex128,
    e,
    finfo,
    float16,
    float32,
    float64,
    iinfo,
    inf,
    int8,
    int16,
    int32,
    int64,
    nan,
    newaxis,
    pi,
    uint8,
    uint16,
    uint32,
    uint64,
)

from . import fft, linalg
from . import protocol as _protocol
from .choosing import choose, piecewise, select
from .creation import *
from .creation import ix_, meshgrid
from .differences import diff, ediff1d, gradient, interp, trapezoid, unwrap
from .dtypes import (
    __array_api_version__,
    __array_namespace_info__,
    broadcast_shapes,
    can_cast,
    from_dlpack,
    isdtype,
    issubdtype,
    promote_types,
    result_type,
)
from .elementwise import *
from .indexing import at, getitem, take, take_along_axis, unravel_index
from .joining import (
    append,
    apply_along_axis,
    apply_over_axes,
    array_split,
    atleast_2d,
    atleast_3d,
    block,
    column_stack,
    delete,
    dsplit,
    dstack,
    fliplr,
    flipud,
    hsplit,
    insert,
    pad,
    repeat,
    resize,
    rollaxis,
    rot90,
    unstack,
    vsplit,
)
from .logic import allclose, array_equal, array_equiv, isclose, isneginf, isposinf
from .nans import (
    nanargmax,
    nanargmin,
    nancumprod,
    nancumsum,
    nanmax,
    nanmean,
    nanmedian,
    nanmin,
    nanpercentile,
    nanprod,
    nanquantile,
    nanstd,
    nansum,
    nanvar,
)
from .polynomials import convolve, correlate, poly, polyadd, polyder, polydiv, polyfit, polyint, polymul, polysub, polyval, roots, vander
from .products import cross, diagonal, dot, einsum, inner, kron, matmul, matvec, outer, tensordot, trace, vdot, vecdot, vecmat
from .reductions import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    argsort,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    prod,
    std,
    sum,
    var,
)
from .running import cummax, cummin, cumprod, cumulative_prod, cumulative_sum
from .sets import (
    intersect1d,
    isin,
    setdiff1d,
    setxor1d,
    union1d,
    unique,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from .shape import (
    atleast_1d,
    broadcast_arrays,
    broadcast_to,
    concat,
    concatenate,
    expand_dims,
    flip,
    hstack,
    matrix_transpose,
    moveaxis,
    permute_dims,
    ravel,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    tile,
    transpose,
    vstack,
)
from .sorting import (
    argpartition,
    argwhere,
    bincount,
    compress,
    count_nonzero,
    digitize,
    extract,
    flatnonzero,
    histogram,
    lexsort,
    partition,
    searchsorted,
    sort,
    sort_complex,
    trim_zeros,
)
from .statistics import average, corrcoef, cov, median, percentile, ptp, quantile
from .triangles import diag, diagflat, fill_diagonal, i0, tril, triu

bool = bool_
_protocol.install(globals())

# Written out for type checkers, to which an imported name is private that does not stand here.
__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "all", "allclose", "amax", "amin", "angle", "any", "append", "apply_along_axis",
    "apply_over_axes", "arange", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argmax", "argmin",
    "argpartition", "argsort", "argwhere", "around", "array", "array_equal", "array_equiv", "array_split", "asarray", "asin", "asinh",
    "astype", "at", "atan", "atan2", "atanh", "atleast_1d", "atleast_2d", "atleast_3d", "average", "bincount", "bitwise_and",
    "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "block", "bool", "bool_",
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "can_cast", "cbrt", "ceil", "choose", "clip", "column_stack", "complex64",
    "complex128", "compress", "concat", "concatenate", "conj", "conjugate", "convolve", "copy", "copysign", "corrcoef", "correlate",
    "cos", "cosh", "count_nonzero", "cov", "cross", "cummax", "cummin", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum",
    "deg2rad", "degrees", "delete", "diag", "diagflat", "diagonal", "diff", "digitize", "divide", "divmod", "dot", "dsplit", "dstack",
    "e", "ediff1d", "einsum", "empty", "empty_like", "equal", "exp", "exp2", "expand_dims", "expm1", "extract", "eye", "fabs", "fft",
    "fill_diagonal", "finfo", "fix", "flatnonzero", "flip", "fliplr", "flipud", "float16", "float32", "float64", "float_power", "floor",
    "floor_divide", "fmax", "fmin", "fmod", "frexp", "from_dlpack", "full", "full_like", "gcd", "geomspace", "getitem", "gradient",
    "greater", "greater_equal", "heaviside", "histogram", "hsplit", "hstack", "hypot", "i0", "identity", "iinfo", "imag", "indices",
    "inf", "inner", "insert", "int8", "int16", "int32", "int64", "interp", "intersect1d", "invert", "isclose", "isdtype", "isfinite",
    "isin", "isinf", "isnan", "isneginf", "isposinf", "issubdtype", "ix_", "kron", "lcm", "ldexp", "left_shift", "less", "less_equal",
    "lexsort", "linalg", "linspace", "log", "log1p", "log2", "log10", "logaddexp", "logaddexp2", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logspace", "logsumexp", "matmul", "matrix_transpose", "matvec", "max", "maximum", "mean", "median",
    "meshgrid", "min", "minimum", "mod", "modf", "moveaxis", "multiply", "nan", "nan_to_num", "nanargmax", "nanargmin", "nancumprod",
    "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar",
    "negative", "newaxis", "nextafter", "nonzero", "not_equal", "ones", "ones_like", "outer", "pad", "partition", "percentile",
    "permute_dims", "pi", "piecewise", "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval",
    "positive", "pow", "power", "prod", "promote_types", "ptp", "quantile", "rad2deg", "radians", "ravel", "real", "reciprocal",
    "remainder", "repeat", "reshape", "resize", "result_type", "right_shift", "rint", "roll", "rollaxis", "roots", "rot90", "round",
    "searchsorted", "select", "setdiff1d", "setxor1d", "sign", "signbit", "sin", "sinc", "sinh", "sort", "sort_complex", "spacing",
    "split", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "take", "take_along_axis", "tan", "tanh",
    "tensordot", "tile", "trace", "transpose", "trapezoid", "tri", "tril", "trim_zeros", "triu", "true_divide", "trunc", "uint8",
    "uint16", "uint32", "uint64", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
    "unravel_index", "unstack", "unwrap", "vander", "var", "vdot", "vecdot", "vecmat", "vsplit", "vstack", "where", "zeros",
    "zeros_like",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
