"""Creation of arrays under NumPy's names, on the CPU or, with `device="gpu"`, on the GPU; grids of coordinates."""

from typing import Any

import numpy as np

from ..core import Tracer, unwrap
from ..devices import CPU, array_module, backend_named, backend_of, to_device
from ..errors import DeviceError, DTypeError, RangeError, ShapeError
from ..messages import describe
from ..ops import elementwise
from ..ops import shape as shapes
from ..ops.checks import checked
from .arguments import Array, as_array, beside
from .dtypes import result_type
from .elementwise import cast, nonzero
from .shape import broadcast_arrays, broadcast_to, expand_dims, moveaxis, ravel, reshape

__all__ = [
    "arange", "array", "asarray", "copy", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "geomspace",
    "identity", "indices", "ix_", "linspace", "logspace", "meshgrid", "ones", "ones_like", "tri", "zeros",
    "zeros_like",
]  # fmt: skip


DLPACKS_CUDA = (2, 13)  # kDLCUDA and kDLCUDAManaged in DLPack's table of devices


def placed(x: Array, device: str | None) -> Array:
    """Move `x` to `device`; None leaves it where it is."""
    return x if device is None else to_device(x, device)


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, device: str | None = None, copy: bool | None = None
) -> Array:
    """Convert `a` to an array, of `dtype` and on `device` if you give them.

    An array or a traced value that needs no change is returned as it is, unless `copy` is True. `order` is the memory
    layout of a plain array on the CPU: "C", "F", "A" or "K"; a traced value has none. Raises ValueError if `copy=False`
    asks for a conversion without a copy that does not exist.
    """
    new = not (isinstance(a, Tracer) or hasattr(a, "shape"))
    y = as_array(a) if dtype is None or not new else np.asarray(a, dtype)
    y = placed(y if dtype is None else cast(y, dtype), device)
    if order is not None and isinstance(y, np.ndarray):
        y = np.asarray(y, order=order)
    if copy is False and y is not a:
        raise ValueError(f"asarray(copy=False): {describe(a)} cannot be converted without a copy.")
    if not copy or y is not a:
        return y
    return y.copy(order or "K") if isinstance(y, np.ndarray) else shapes.copy(y)


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Array:
    """The array of another library (PyTorch, JAX, ...) as an array of NumPy, or of CuPy if `x` is on a CUDA device.

    Both show the same memory, so a write into one is seen in the other. The result of JAX's arrays is read-only. `copy=True` gives
    an array of its own, and `device` moves it; `copy=False` raises ValueError if that takes a copy. Raises DTypeError for an object
    without `__dlpack__`, and for a dtype that NumPy lacks; DeviceError for an array on a GPU without CuPy.
    """
    if isinstance(x, Tracer):
        return asarray(x, device=device, copy=copy)
    if not hasattr(x, "__dlpack__"):
        raise DTypeError(
            f"from_dlpack takes an array of another library, which has __dlpack__; got {describe(x)}. Write np.asarray(x)."
        )
    backend = backend_named("gpu") if x.__dlpack_device__()[0] in DLPACKS_CUDA else CPU
    if reason := backend.why_missing():
        raise DeviceError(f"from_dlpack: {describe(x)} is on a GPU: {reason}")
    try:
        shared = backend.module.from_dlpack(x)
    except (BufferError, RuntimeError) as error:  # the words of its library, or NumPy's
        raise DTypeError(
            f"from_dlpack: {describe(x)} does not become an array: {str(error).rstrip('.')}. Write x.detach() where x requires a "
            "gradient, and x.float() for bfloat16."
        ) from error
    return asarray(shared, device=device, copy=copy)


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: Any = "K",
    ndmin: int = 0,
    device: str | None = None,
) -> Array:
    """A new array with the values of `object`; a list may hold traced values.

    With `ndmin`, axes of length 1 are put in front until there are as many. `copy` and `order` are as for `asarray`.
    """
    y = asarray(object, dtype, order, device=device, copy=copy)
    return reshape(y, (1,) * (ndmin - y.ndim) + y.shape) if y.ndim < ndmin else y


def copy(a: Any, order: Any = "K") -> Array:
    """A copy of `a`; `order` is its memory layout, as for `asarray`."""
    return array(a, order=order)


def zeros(shape: Any, dtype: Any = float, order: Any = "C", *, device: str | None = None) -> Array:
    """An array of zeros, float64 unless you give a dtype."""
    return placed(np.zeros(shape, dtype, order), device)


def ones(shape: Any, dtype: Any = float, order: Any = "C", *, device: str | None = None) -> Array:
    """An array of ones, float64 unless you give a dtype."""
    return placed(np.ones(shape, dtype, order), device)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", *, device: str | None = None) -> Array:
    """An array filled with `fill_value`, which may be traced."""
    if isinstance(fill_value, Tracer):
        return placed(broadcast_to(asarray(fill_value, dtype), shape), device)
    return placed(np.full(shape, fill_value, dtype, order), device)


def empty(shape: Any, dtype: Any = float, order: Any = "C", *, device: str | None = None) -> Array:
    """An array of zeros: immutable arrays have no use for uninitialised memory."""
    return zeros(shape, dtype, order, device=device)


def arange(
    start: Any = None, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: str | None = None
) -> Array:
    """Evenly spaced numbers from `start` to `stop` (exclusive); `arange(n)` starts at 0."""
    if stop is None:
        start, stop = None, start
    if stop is None:
        raise TypeError("arange needs at least one number, where to stop.")
    start = 0 if start is None else start
    return placed(np.arange(start, stop, step, dtype=dtype), device)


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: str | None = None,
) -> Any:
    """`num` evenly spaced numbers from `start` to `stop`, which may be traced: start, stop (...) -> (num, ...).

    With `retstep` you get (numbers, step). Integer dtypes round down.
    """
    if not isinstance(start, Tracer) and not isinstance(stop, Tracer) and backend_of(start, stop) is CPU:
        y, step = np.linspace(start, stop, num, endpoint=endpoint, retstep=True, dtype=dtype, axis=axis)
        y = placed(y, device)
        return (y, step) if retstep else y
    if num < 0:
        raise ValueError(f"linspace: num must be 0 or more, got {num}.")
    # Python numbers stay numbers, so that their dtype stays weak.
    whole = result_type(
        *[x if isinstance(x, int | float) or hasattr(x, "dtype") else as_array(x) for x in (start, stop)], 1.0
    )
    start, stop = (x if isinstance(x, int | float) else cast(beside(x, start, stop), whole) for x in (start, stop))
    parts = num - 1 if endpoint else num
    step = (stop - start) / max(parts, 1)
    index = array_module(start, stop).arange(num, dtype=step.dtype).reshape((-1,) + (1,) * step.ndim)
    y = start + index * step
    if endpoint and num > 1:
        y = elementwise.where(index == num - 1, stop, y)
    y = placed(moveaxis(y, 0, axis), device)
    if dtype is not None:
        y = cast(elementwise.floor(y) if np.dtype(dtype).kind in "iu" else y, dtype)
    return (y, step if parts > 0 else step * np.nan if parts == 0 else np.nan) if retstep else y


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Array:
    """`num` numbers from base ** start to base ** stop, evenly spaced on a logarithmic scale.

    `start`, `stop` and `base` broadcast: (...) -> (num, ...).
    """
    if np.ndim(base):
        start, stop, base = broadcast_arrays(*[beside(x, start, stop, base) for x in (start, stop, base)])
        base = expand_dims(base, axis)
    y = elementwise.power(base, linspace(start, stop, num, endpoint=endpoint, axis=axis))
    return y if dtype is None else cast(y, dtype)


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Array:
    """`num` numbers in geometric progression from `start` to `stop`, which must have the same sign."""
    for x in (start, stop):
        checked(
            as_array(x),
            test=lambda x: x != 0,
            error=lambda _: RangeError("geomspace: a geometric progression cannot include 0."),
        )
    start, stop = start + 0 * stop, stop + 0 * start  # so that both are complex if one is
    sign = np.sign(start)
    y = moveaxis(sign * np.exp(linspace(np.log(start / sign), np.log(stop / sign), num, endpoint=endpoint)), 0, axis)
    return y if dtype is None else y.astype(dtype)


def identity(n: int, dtype: Any = float, *, device: str | None = None) -> Array:
    """The identity matrix (n, n)."""
    return eye(n, dtype=dtype, device=device)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = float, *, device: str | None = None) -> Array:
    """Ones on and below the k-th diagonal, zeros above: (N, M)."""
    return placed(np.tri(N, M, k, dtype), device)


def indices(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    """The indices of the entries of an array of shape `dimensions`: (ndim, *dimensions).

    With `sparse` you get a tuple of one array for each axis, of length 1 along all other axes.
    """
    return np.indices(dimensions, dtype, bool(sparse))  # type: ignore[call-overload]  # it knows True and False, not bool


def eye(
    N: int, M: int | None = None, k: int = 0, dtype: Any = float, order: Any = "C", *, device: str | None = None
) -> Array:
    """Ones on the k-th diagonal, zeros elsewhere: (N, M), float64 unless you give a dtype; M is N when None."""
    return placed(np.eye(N, M, k, dtype, order), device)


def _like(name: str, x: Any, *args: Any, dtype: Any, order: Any, subok: bool, shape: Any, device: str | None) -> Array:
    x = as_array(x)
    plain, shape = unwrap(x), x.shape if shape is None else shape
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    options = {} if subok else {"subok": False}  # CuPy has subok=None only
    # For shape=() CuPy takes the shape of the given array, which has more axes if x is a batch.
    y = getattr(np, name)(plain, *args, dtype=dtype, order=order, shape=shape or (1,), **options)
    return placed(y if shape else y.reshape(()), device)


def zeros_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *, device: str | None = None
) -> Array:
    """Zeros with the shape, dtype and device of `a`, and its memory layout, unless `order` gives another.

    If `a` is of a subclass of ndarray, so is the result, unless `subok` is False.
    """
    return _like("zeros_like", a, dtype=dtype, order=order, subok=subok, shape=shape, device=device)


def ones_like(
    a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *, device: str | None = None
) -> Array:
    """Ones with the shape, dtype and device of `a`; parameters as for `zeros_like`."""
    return _like("ones_like", a, dtype=dtype, order=order, subok=subok, shape=shape, device=device)


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: str | None = None,
) -> Array:
    """An array filled with `fill_value`, with the shape, dtype and device of `a`; parameters as for `zeros_like`."""
    if isinstance(fill_value, Tracer):
        a = as_array(a)
        return placed(broadcast_to(asarray(fill_value, dtype or a.dtype), a.shape if shape is None else shape), device)
    return _like("full_like", a, fill_value, dtype=dtype, order=order, subok=subok, shape=shape, device=device)


def empty_like(
    prototype: Any,
    dtype: Any = None,
    order: Any = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: str | None = None,
) -> Array:
    """Zeros with the shape, dtype and device of `prototype`, as for `empty`."""
    return zeros_like(prototype, dtype, order, subok, shape, device=device)


def meshgrid(*arrays: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Array, ...]:
    """Coordinate arrays of a grid: k arrays (n,), (m,), ... -> k arrays (m, n, ...), or (n, m, ...) with indexing="ij".

    With `sparse`, each result has length 1 along all axes but its own. With `copy=False` results may share memory.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}.")
    values = [ravel(x) for x in arrays]
    places = list(range(len(values)))
    if indexing == "xy" and len(values) > 1:
        places[:2] = 1, 0
    grids = [
        reshape(x, tuple(x.size if i == place else 1 for i in range(len(values))))
        for x, place in zip(values, places, strict=True)
    ]
    if not sparse:
        shape = np.broadcast_shapes(*[x.shape for x in grids])
        grids = [broadcast_to(x, shape) for x in grids]
    return tuple(x.copy() if copy and not isinstance(x, Tracer) else x for x in grids)


def ix_(*arrays: Any) -> tuple[Array, ...]:
    """Index arrays that select the grid of the given indices, one array for each axis; masks become indices."""
    values = [nonzero(x)[0] if x.dtype == bool else x if x.size else cast(x, np.intp) for x in map(as_array, arrays)]
    if any(x.ndim != 1 for x in values):
        raise ShapeError(f"ix_ expects indices along one axis each, got {', '.join(map(describe, values))}.")
    return meshgrid(*values, copy=False, sparse=True, indexing="ij")
