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
    result_type,
    uint8,
    uint16,
    uint32,
    uint64,
)

from . import fft, linalg
from . import protocol as _protocol
from .creation import *
from .elementwise import *
from .indexing import at, getitem, take, take_along_axis
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

bool = bool_
_protocol.install(globals())
