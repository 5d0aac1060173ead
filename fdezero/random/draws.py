"""Draws of independent entries: bits, uniform, normal, bernoulli, randint and the masks of dropout.

The words behind a draw are the same on every device, and so are all results of exact arithmetic on them. Only `normal`, and
`uniform` between bounds that you give, may differ in the last bits.
"""

import math
import operator
from typing import Any

import numpy as np

from ..core import discrete, unwrap
from ..devices import backend_of
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import ArrayOrNumber
from ..ops.checks import checked
from ..ops.elementwise import greater, less, maximum, rint
from ..values import broadcasts_to, shape_of
from .philox import multiply_high
from .source import DRAW, UINT64, Array, Key, Shape, check_dtype, check_key, check_shape, random_bits, refuse_dtypes


def bits(key: Key, shape: Shape = (), dtype: Any = np.uint64) -> ArrayOrNumber:
    """Uniform unsigned integers: `shape`, uint64, uint32, uint16 or uint8.

    As uint64 they are `numpy.random.Philox(counter=0, key=key).random_raw(n)`. Narrower integers are these words cut up, the
    low bits first. Entry i in C order is the same for every shape.
    """
    what = "fd.random.bits"
    check_key(key, what)
    return random_bits(key, 0, shape=check_shape(shape, what), dtype=check_dtype(dtype, "u", what), domain=DRAW)


_IN_CACHE = 1 << 14  # words at a time: their normal numbers take 128 KB
# The unsigned integers for each floating dtype, and the number of bits in its significand.
_LANES = {2: (np.uint16, 11), 4: (np.uint32, 24), 8: (np.uint64, 53)}


def _fraction(lanes: Array, *, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "V":  # bfloat16, which has 8 bits, and which a Python number would widen
        return (lanes >> 8).astype(dtype) * dtype.type(2.0**-8)
    kept = _LANES[dtype.itemsize][1]
    return (lanes >> 8 * dtype.itemsize - kept).astype(dtype) * 2.0**-kept


fraction = discrete("random_fraction", _fraction)


def uniform(key: Key, shape: Shape = (), low: Any = 0.0, high: Any = 1.0, dtype: Any = np.float32) -> ArrayOrNumber:
    """Uniform numbers from `low` up to `high`: `shape`, floating `dtype`; differentiable in the bounds.

    Between 0 and 1 they are multiples of 2**-53 (float64, as NumPy's own), 2**-24 (float32), 2**-11 (float16) or
    2**-8 (bfloat16), never 1.
    Raises ShapeError if a bound does not broadcast to `shape`.
    """
    what = "fd.random.uniform"
    check_key(key, what)
    sizes, dtype = check_shape(shape, what), check_dtype(dtype, "f", what)
    _check_fits(sizes, what, low=low, high=high)
    drawn = fraction(
        random_bits(key, 0, shape=sizes, dtype=np.dtype(_LANES[dtype.itemsize][0]), domain=DRAW), dtype=dtype
    )
    if isinstance(low, int | float) and isinstance(high, int | float) and (low, high) == (0, 1):
        return drawn
    scaled = low + drawn * (high - low)
    return scaled if scaled.dtype == dtype else scaled.astype(dtype)


def _check_fits(shape: tuple[int, ...], what: str, **given: Any) -> None:
    refuse_dtypes(what, given)
    for name, array in given.items():
        if not broadcasts_to(shape_of(array), shape):
            raise ShapeError(f"{what}: {name} {describe(array)} does not broadcast to the shape {shape} of the result.")


def _box_muller(words: Array, *, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    count = math.prod(shape)
    step = count + count % 2 if backend_of(words).fuses_into_kernels else _IN_CACHE
    if step >= count:
        flat = _normal_pairs(words)[..., :count].astype(dtype)
    else:  # large arrays in float64 in between would take eight times the memory of the result, and page faults
        flat = np.empty_like(words, dtype=dtype, shape=(*words.shape[:-1], count))
        for start in range(0, count, step):
            part = flat[..., start : start + step]
            part[...] = _normal_pairs(words[..., start : start + step])[..., : part.shape[-1]]
    return flat.reshape(words.shape[:-1] + shape)


def _normal_pairs(words: Array) -> Array:
    """Two normal numbers from each two words: (..., 2 n) -> (..., 2 n), float64."""
    pairs = words.reshape(*words.shape[:-1], words.shape[-1] // 2, 2)
    radius = np.sqrt(-2 * np.log(((pairs[..., 0] >> 11) + 1).astype(np.float64) * 2.0**-53))  # the + 1 avoids log(0)
    angle = (pairs[..., 1] >> 11).astype(np.float64) * (math.tau * 2.0**-53)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(words.shape)


# words (..., 2 n) -> (..., *shape)
box_muller = discrete("random_normal", _box_muller, core=1)


def normal(key: Key, shape: Shape = (), dtype: Any = np.float32) -> ArrayOrNumber:
    """Normal numbers of mean 0 and standard deviation 1: `shape`, floating `dtype`.

    Two entries come from two words; they are computed in float64 and rounded. CPU and GPU agree to a few units in the last place
    of a float64, so in float32 they nearly always agree exactly. Source: Box and Muller, Ann. Math. Statist. 29 (1958) 610.
    """
    what = "fd.random.normal"
    check_key(key, what)
    sizes, dtype = check_shape(shape, what), check_dtype(dtype, "f", what)
    count = math.prod(sizes)
    words = random_bits(key, 0, shape=(count + count % 2,), dtype=UINT64, domain=DRAW)
    return box_muller(words, shape=sizes, dtype=dtype)


def bernoulli(key: Key, p: Any = 0.5, shape: Shape | None = None) -> ArrayOrNumber:
    """True with probability `p`, which broadcasts to `shape` (by default p's own): bool. Exact to 2**-53, also at 0 and 1.

    `p` may be traced, but the draw has no derivative. Raises RangeError for a number outside 0 to 1, ShapeError if the
    shapes do not go together.
    """
    what = "fd.random.bernoulli"
    check_key(key, what)
    refuse_dtypes(what, {"p": p})
    sizes = check_shape(shape_of(p) if shape is None else shape, what)
    _check_fits(sizes, what, p=p)
    _check_probability(p, what)
    return less(fraction(random_bits(key, 0, shape=sizes, dtype=UINT64, domain=DRAW), dtype=np.dtype(np.float64)), p)


def keep_mask(key: Key, keep: Any, shape: Shape) -> tuple[Array, Any]:
    """A mask and its probability, `(mask, kept)`: bool `shape`, a number.

    An entry is True with probability `kept`, which is `keep` rounded to a multiple of 1/65536 (never to 0 unless `keep` is 0).

    Sixteen bits for each entry suffice for dropout: the expectation of `where(mask, x, 0) / kept` is exactly x. `keep` is
    a number or an array without axes, and so is `kept`. Raises RangeError for a number outside 0 to 1.
    """
    what = "fd.random.keep_mask"
    check_key(key, what)
    sizes = check_shape(shape, what)
    _check_probability(keep, what)
    _check_fits((), what, keep=keep)
    lanes = random_bits(key, 0, shape=sizes, dtype=np.dtype(np.uint16), domain=DRAW)
    if isinstance(keep, int | float):
        parts = max(round(keep * 65536), int(keep > 0))
        return less(lanes, np.uint32(parts)), parts / 65536
    threshold = maximum(rint(keep * 65536.0), greater(keep, 0))
    return less(lanes, threshold), threshold / 65536


def _check_probability(p: Any, what: str) -> None:
    if not hasattr(unwrap(p), "shape"):
        checked(
            p, test=_is_probability, error=lambda p: RangeError(f"{what}: a probability lies between 0 and 1, got {p}.")
        )


def _is_probability(p: Any) -> bool:
    return bool(0 <= p <= 1)


def _scale(words: Array, *, low: int, span: int, dtype: np.dtype[Any]) -> Array:
    offset = words if span == 2**64 else multiply_high(words, span)
    with np.errstate(over="ignore"):  # sums and the cast wrap at 2**64, so the result is in range
        return (offset + np.uint64(low % 2**64)).astype(dtype)


scale_words = discrete("random_integer", _scale)


def randint(key: Key, shape: Shape, low: int, high: int, dtype: Any = np.int64) -> ArrayOrNumber:
    """Integers from `low` to `high` - 1: `shape`, integer `dtype`. All are equally likely, to 2**-64.

    Raises DTypeError if a bound is not an integer, RangeError if there is no integer between the bounds or the dtype is too small.
    Source: the product with the high word of D. Lemire, ACM Trans. Model. Comput. Simul. 29 (2019) 3.
    """
    what = "fd.random.randint"
    check_key(key, what)
    sizes, dtype = check_shape(shape, what), check_dtype(dtype, "iu", what)
    try:
        low, high = operator.index(low), operator.index(high)
    except TypeError:
        raise DTypeError(f"{what} needs integers as bounds, got {describe(low)} and {describe(high)}.") from None
    if low >= high:
        raise RangeError(f"{what}: there is no integer from {low} to {high} (exclusive).")
    if low < np.iinfo(dtype).min or high - 1 > np.iinfo(dtype).max:
        raise RangeError(
            f"{what}: {dtype} holds {np.iinfo(dtype).min} to {np.iinfo(dtype).max}, but not {low} to {high - 1}."
        )
    words = random_bits(key, 0, shape=sizes, dtype=UINT64, domain=DRAW)
    return scale_words(words, low=low, span=high - low, dtype=dtype)
