"""Attention, and positions for it."""

import functools
import math
import operator
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import random, special
from ..devices import array_module
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import whole_number
from ..numpy.precision import in_single
from ..ops import attention as operation
from ..ops.checks import checked
from ..values import is_floating, kind_of, limits
from .dropout import checked_rate, missing_key

__all__ = ["attention", "length_mask", "rotary", "sinusoidal_positions"]

# Up to so many keys whole arrays are faster: compiled, with gradients, 1.7 times for 16 keys and 1.2 times for 32 (timeit). For 64
# they are faster compiled, but slower eagerly, for 128 slower in both. On a GPU the operation has fewer launches for any number.
FEW_KEYS = 32


@in_single
def attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    *,
    bias: Any = None,
    causal: bool = False,
    scale: Any = None,
    dropout: float = 0.0,
    key: Any = None,
    train: bool = False,
) -> Any:
    """softmax(scale q k^T + bias) v: queries q (..., T, D), keys k (..., S, D), values v (..., S, E) -> (..., T, E).

    `mask` is boolean, True where a query sees a key; `bias` is added to the scores; both broadcast to (..., T, S). With
    `causal` the last query sees all keys, and each query before it one key fewer. A query that sees no key gives 0. `scale`
    is 1 / sqrt(D) by default. `dropout` drops weights if train=True. q may have a multiple of the heads of k and v, in axis
    -3: then neighbours share a head (grouped queries). Memory is linear in T and S, but for a mask of dropout and for
    derivatives by `bias` or of second order. float16 is computed in float32.
    Raises ShapeError, DTypeError for a mask that is not boolean, KeyMissingError, RangeError for the rate of dropout.
    Sources: Vaswani et al., "Attention is all you need", 2017; Dao et al., "FlashAttention", 2022 (the way back).
    """
    q, k, v = _in_one_dtype(q, k, v)
    _check_shapes(q, k, v)
    T, S, E = q.shape[-2], k.shape[-2], v.shape[-1]
    if isinstance(scale, int | float | np.number | None):
        factor = 1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else float(scale)
    else:  # an array or a traced value
        q, factor = fnp.astype(q * scale, q.dtype), 1.0
    extras: dict[str, Any] = {}
    if mask is not None:
        extras["mask"] = _checked_mask(mask, T, S)
    if bias is not None:
        extras["bias"] = fnp.astype(_over_scores("bias", bias, T, S), q.dtype)
    groups = _groups(q, k, v)
    if groups:
        q = fnp.reshape(q, (*q.shape[:-3], groups, q.shape[-3] // groups, *q.shape[-2:]))
        k, v = fnp.expand_dims(k, -3), fnp.expand_dims(v, -3)
        extras = {name: _in_groups(x, groups) for name, x in extras.items()}
    loops = _loops(q, k, v, extras)
    kept = 1.0
    rate = checked_rate(dropout, of="attention")
    if train and rate:
        if key is None:
            raise missing_key("attention: dropout")
        extras["keep"], kept = random.keep_mask(key, 1 - rate, (*loops, T, S))
    if 0 < S <= FEW_KEYS and array_module(q) is np:
        y = _plain(q, k, v, extras, bool(causal), factor, float(kept))
    else:
        r = operation.attention(
            q, k, v, *extras.values(), extras=tuple(extras), causal=bool(causal), scale=factor, kept=float(kept)
        )
        y = fnp.reshape(r[..., : T * E], (*loops, T, E))
    return fnp.reshape(y, (*loops[:-2], loops[-2] * loops[-1], T, E)) if groups else y


def _plain(q: Any, k: Any, v: Any, extras: dict[str, Any], causal: bool, scale: float, kept: float) -> Any:
    """Whole arrays of scores, whose weights are kept for the way back."""
    s = fnp.matmul(q * scale, fnp.swapaxes(k, -1, -2))
    seen = [extras["mask"]] if "mask" in extras else []
    if "bias" in extras:
        s = s + extras["bias"]
        seen.append(extras["bias"] > -np.inf)
    T, S = s.shape[-2:]
    if causal:
        seen.append(array_module(q).asarray(np.tri(T, S, S - T, dtype=bool)))
    if not seen:
        p = special.softmax(s, -1)
    else:
        sees = functools.reduce(operator.and_, seen)
        p = special.softmax(fnp.where(sees, s, float(limits(s.dtype).min)), -1)
        p = p if len(seen) == causal and T <= S else fnp.where(sees, p, 0)  # a query may see no key
    if "keep" in extras:
        p = fnp.where(extras["keep"], p * (1 / kept), 0)
    return fnp.matmul(p, v)


def _in_one_dtype(*arrays: Any) -> tuple[Any, ...]:
    found = [fnp.asarray(x) for x in arrays]
    dtype = np.result_type(*[x.dtype for x in found], np.float32 if is_floating(found[0].dtype) else np.float64)
    if not is_floating(dtype):
        raise DTypeError(f"attention takes real numbers, got q, k, v {', '.join(map(describe, found))}.")
    return tuple([fnp.astype(x, dtype, copy=False) for x in found])


def _check_shapes(q: Any, k: Any, v: Any) -> None:
    got = f"got q {describe(q)}, k {describe(k)}, v {describe(v)}."
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ShapeError(f"attention expects q (..., T, D), k (..., S, D), v (..., S, E), {got}")
    if q.shape[-1] != k.shape[-1]:
        raise ShapeError(f"attention: queries and keys must have the same last axis, {got}")
    if k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"attention: there must be as many values as keys, {got}")


def _checked_mask(mask: Any, T: int, S: int) -> Any:
    mask = _over_scores("mask", mask, T, S)
    if mask.dtype.kind != "b":
        raise DTypeError(
            f"attention takes a boolean mask, True where a query sees a key, got {describe(mask)}. "
            "Numbers to add to the scores are bias=; for ones and zeros write mask.astype(bool)."
        )
    return mask


def _over_scores(name: str, x: Any, T: int, S: int) -> Any:
    """`x` with two axes or more, the last of which broadcast to (T, S)."""
    x = fnp.asarray(x)
    if x.ndim < 2:
        x = fnp.reshape(x, (1,) * (2 - x.ndim) + x.shape)
    if x.shape[-2] not in (1, T) or x.shape[-1] not in (1, S):
        raise ShapeError(
            f"attention: the {name} must broadcast to (..., {T}, {S}), queries and keys; got {describe(x)}. "
            f"From one {name} for each example, (N, {S}), make {name}[:, None, None, :]."
        )
    return x


def _groups(q: Any, k: Any, v: Any) -> int:
    """The heads of k and v if q has a multiple of them, else 0."""
    if min(q.ndim, k.ndim, v.ndim) < 3 or k.shape[-3] != v.shape[-3]:
        return 0
    heads, groups = q.shape[-3], k.shape[-3]
    return int(groups) if 1 < groups < heads and heads % groups == 0 else 0


def _in_groups(x: Any, groups: int) -> Any:
    if x.ndim < 3:
        return x
    heads = (1, 1) if x.shape[-3] == 1 else (groups, x.shape[-3] // groups)
    return fnp.reshape(x, (*x.shape[:-3], *heads, *x.shape[-2:]))


def _loops(q: Any, k: Any, v: Any, extras: dict[str, Any]) -> tuple[int, ...]:
    named = {"q": q, "k": k, "v": v, **extras}
    try:
        return np.broadcast_shapes(*[x.shape[:-2] for x in named.values()])
    except ValueError:
        shapes = ", ".join(f"{name} {describe(x)}" for name, x in named.items())
        raise ShapeError(
            f"attention: all axes but the last two must broadcast, or the heads of q be a multiple of those of k and v; got {shapes}."
        ) from None


def length_mask(lengths: Any, length: int) -> Any:
    """True for the first entries of each sequence: integers lengths (...) -> booleans (..., length).

    For attention over padded sequences: `mask = F.length_mask(lengths, S)[:, None, None, :]`. Raises DTypeError for lengths that
    are not integers, RangeError for lengths outside 0 to `length` (on a GPU they count as the nearest of these).
    """
    lengths, length = fnp.asarray(lengths), whole_number("length_mask", "length", length, 0)
    if lengths.dtype.kind not in "iu":
        raise DTypeError(f"length_mask: lengths are integers, got {describe(lengths)}. Use lengths.astype(int).")
    lengths = checked(
        lengths,
        test=lambda n: (n >= 0) & (n <= length),
        error=lambda n: RangeError(
            f"length_mask: lengths lie between {n.min()} and {n.max()}, but the sequences have {length} steps."
        ),
    )
    return array_module(lengths).arange(length) < fnp.expand_dims(lengths, -1)


@in_single
def rotary(x: Any, positions: Any = None, *, base: float = 10000.0, interleaved: bool = False) -> Any:
    """Turn pairs of entries by angles that grow with the position: x (..., T, D), positions (T,) or (..., T) -> (..., T, D).

    So the product of a query and a key depends on the distance of their positions, 0 to T - 1 by default. Pair i turns by
    position * base ** (-2 i / D). Entry i goes with entry i + D / 2 (as in LLaMA), or with `interleaved` 2 i with 2 i + 1 (as
    in the source). Raises ShapeError for an odd D.
    Source: Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021, section 3.
    """
    x = fnp.asarray(x)
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ShapeError(f"rotary turns pairs: it expects x (..., T, D) with an even D, got {describe(x)}.")
    half = x.shape[-1] // 2
    angles = _angles("rotary", x.shape[-2] if positions is None else positions, x, half, base)
    cos, sin = fnp.astype(fnp.cos(angles), x.dtype), fnp.astype(fnp.sin(angles), x.dtype)
    if interleaved:
        first, second = x[..., ::2], x[..., 1::2]
        pairs = fnp.stack([first * cos - second * sin, second * cos + first * sin], axis=-1)
        return fnp.reshape(pairs, (*pairs.shape[:-2], 2 * half))
    first, second = x[..., :half], x[..., half:]
    return fnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def sinusoidal_positions(positions: Any, size: int, *, base: float = 10000.0, dtype: Any = np.float32) -> Any:
    """Sines and cosines of positions: a count T or an array (...) -> (T, size) or (..., size), to be added to embeddings.

    Entry 2 i is sin(position * base ** (-2 i / size)), entry 2 i + 1 the cosine. Raises RangeError for a size below 1.
    Source: Vaswani et al., "Attention is all you need", 2017, section 3.5.
    """
    size = whole_number("sinusoidal_positions", "size", size)
    count = (size + 1) // 2
    angles = _angles("sinusoidal_positions", positions, positions, count, base, size=size)
    pairs = fnp.stack([fnp.sin(angles), fnp.cos(angles)], axis=-1)
    return fnp.astype(fnp.reshape(pairs, (*angles.shape[:-1], 2 * count))[..., :size], dtype)


def _angles(name: str, positions: Any, beside: Any, count: int, base: float, size: int | None = None) -> Any:
    """position * base ** (-2 i / size), in float64, which tells large positions apart: (..., count)."""
    xp: Any = array_module(beside) if hasattr(beside, "shape") else np
    if isinstance(positions, int | np.integer):
        if positions < 0:
            raise RangeError(f"{name}: a count of positions is not negative, got {positions}.")
        positions = xp.arange(int(positions))
    positions = fnp.asarray(positions)
    if kind_of(positions.dtype) not in "iuf":
        raise DTypeError(f"{name}: positions are real numbers, got {describe(positions)}.")
    rates = xp.asarray(float(base) ** (-2.0 * np.arange(count) / (size or 2 * count)))
    return fnp.expand_dims(fnp.astype(positions, np.float64), -1) * rates
