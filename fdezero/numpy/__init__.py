"""The NumPy-named face: the operations under the names and signatures people know, on arrays and traced values alike.

Constants and dtypes are NumPy's own, so that `fdezero.numpy` can stand where `numpy` stood.
"""

from types import ModuleType as _ModuleType

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
from .choosing import allclose, array_equal, array_equiv, choose, isclose, isneginf, isposinf, piecewise, select
from .creation import *
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
    resize,
    rollaxis,
    rot90,
    unstack,
    vsplit,
)
from .matrices import cross, diag, diagflat, fill_diagonal, i0, ix_, kron, matvec, meshgrid, tril, triu, vecdot, vecmat
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
from .products import diagonal, dot, einsum, inner, matmul, outer, tensordot, trace, vdot
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
from .running import (
    cummax,
    cummin,
    cumprod,
    cumulative_prod,
    cumulative_sum,
    diff,
    ediff1d,
    gradient,
    interp,
    trapezoid,
    unwrap,
)
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
    pad,
    permute_dims,
    ravel,
    repeat,
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

bool = bool_
_protocol.install(globals())

__all__ = [
    name for name, member in list(globals().items())
    if name in ("fft", "linalg") or not (name.startswith("_") or isinstance(member, _ModuleType))
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__
