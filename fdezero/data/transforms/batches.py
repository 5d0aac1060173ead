"""What transforms do with a batch: checks, keys and draws for each example, arithmetic of uint8, blocks of examples."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import random
from ...devices import array_module
from ...errors import DTypeError, KeyMissingError, ShapeError, StructureError
from ...messages import describe
from ...numpy.arguments import as_array
from ...transforms import vmap
from ...values import is_floating

__all__: list[str] = []  # for the transforms

CHANNELS = (1, 3, 4)  # of pictures: grey, colours, colours and opacity
IN_CACHE = 1 << 16  # numbers of a block of examples: what lies between two steps of a chain then stays in the cache


def name_of(transform: Any) -> str:
    return type(transform).__name__


def with_part(batch: tuple[Any, ...], place: int, part: Any) -> tuple[Any, ...]:
    """The tuple, or named tuple, with another part at this place."""
    parts = (*batch[:place], part, *batch[place + 1 :])
    return type(batch)(*parts) if hasattr(batch, "_fields") else parts


def array_of(x: Any, of: Any) -> Any:
    """`x` as an array. Raises StructureError for a dict, whose part has to be chosen."""
    if isinstance(x, dict):
        raise StructureError(
            f"{name_of(of)} got a dict with {', '.join(map(repr, x))}: say which part it changes, "
            f"transforms.on({next(iter(x), 'x')!r}, ...)."
        )
    x = as_array(x)
    if not x.ndim or x.dtype == object:
        raise ShapeError(f"{name_of(of)} takes a batch with the examples along the first axis, got {describe(x)}.")
    return x


def size_of(batch: Any, of: Any) -> int:
    """The number of examples."""
    parts = list(batch.values()) if isinstance(batch, dict) else batch if isinstance(batch, tuple) else [batch]
    if not parts or (not getattr(parts[0], "shape", ()) and not isinstance(parts[0], list)):
        raise ShapeError(
            f"{name_of(of)} takes a batch with the examples along the first axis, got {describe(parts[0] if parts else batch)}."
        )
    return len(parts[0])


# Keys and draws


def keys_of(key: Any, n: int, of: Any) -> Any:
    """A key for each of n examples: (n, 2). Raises KeyMissingError, DTypeError or ShapeError, which name the transform."""
    if key is None:
        raise KeyMissingError(
            f"{name_of(of)} draws, so it needs a key: pass key=fd.random.key(0), or fd.random.fold_in(key, step) in a loop."
        )
    if getattr(key, "dtype", None) == np.uint64 and getattr(key, "ndim", 0) == 2:
        if tuple(key.shape) != (n, 2):
            raise ShapeError(f"{name_of(of)} needs one key, or a key for each of {n} examples, got {describe(key)}.")
        return key
    return random.fold_in(key, array_module(key).arange(n))


def folded(keys: Any, number: int) -> Any:
    """The keys of a part: `fold_in` of a number, example by example."""
    return vmap(random.fold_in, in_axes=(0, None))(keys, number)


def uniform(keys: Any, count: int) -> Any:
    """Numbers from 0 up to 1, `count` for each example: (N, count) float64, so that a product with a size stays below the size."""
    return fnp.astype(vmap(lambda key: random.uniform(key, (count,)))(keys), np.float64)


def between(u: Any, ends: tuple[float, float]) -> Any:
    """A number between both ends for each u in [0, 1)."""
    return ends[0] + u * (ends[1] - ends[0])


def below(u: Any, bound: Any) -> Any:
    """A whole number from 0 to bound - 1 for each u in [0, 1)."""
    return fnp.astype(fnp.floor(u * bound), np.int64)


# Arrays


def is_plain(*arrays: Any) -> bool:
    """Whether all are NumPy's arrays, whose examples may be copied one by one."""
    return all(type(array) is np.ndarray for array in arrays)


def images(x: Any, of: Any) -> Any:
    """`x`, which must be images (N, C, H, W) of uint8 or floating numbers. Raises ShapeError or DTypeError."""
    if x.ndim != 4:
        hint = (
            "x[None] for a single image" if x.ndim == 3 else "x.reshape(len(x), 1, 28, 28) for flat images of 28 x 28"
        )
        raise ShapeError(f"{name_of(of)} takes images (N, C, H, W), got {describe(x)}. Write {hint}.")
    if x.shape[3] in CHANNELS and min(x.shape[1:3]) > max(CHANNELS):
        raise ShapeError(
            f"{name_of(of)} takes images (N, C, H, W), got {describe(x)}, whose channels seem to be last. "
            "Write x.transpose(0, 3, 1, 2)."
        )
    return numbers(x, of)


def numbers(x: Any, of: Any) -> Any:
    """`x`, which must be uint8 or floating. Raises DTypeError."""
    if x.dtype != np.uint8 and not is_floating(x.dtype):
        raise DTypeError(
            f"{name_of(of)} takes uint8, from 0 to 255, or floating numbers, got {describe(x)}. Write x.astype(np.uint8)."
        )
    return x


def colours(x: Any, of: Any) -> Any:
    """Images with one or three channels."""
    x = images(x, of)
    if x.shape[1] not in (1, 3):
        raise ShapeError(f"{name_of(of)} takes images with 1 or 3 channels, (N, C, H, W), got {describe(x)}.")
    return x


def working(x: Any) -> Any:
    """`x` in the dtype of its arithmetic: float32 for uint8 and float16."""
    return fnp.astype(x, np.float32) if x.dtype.itemsize < 4 else x


def rounded(y: Any, dtype: Any) -> Any:
    """`y` in the dtype of the images; uint8 is rounded to the nearest number, and cut off at 0 and 255."""
    if y.dtype == dtype:
        return y
    return fnp.astype(fnp.clip(fnp.rint(y), 0, 255), dtype) if dtype == np.uint8 else fnp.astype(y, dtype)


def top(x: Any) -> int:
    """White: 255 for uint8, 1 for fractions."""
    return 255 if x.dtype == np.uint8 else 1


def column(values: Any, dtype: Any, ndim: int = 4) -> Any:
    """A number for each example, (N,) -> (N, 1, 1, 1), in a dtype."""
    return fnp.astype(values, dtype).reshape(-1, *[1] * (ndim - 1))


def apart(new: Any, old: Any) -> Any:
    """`new`, with a copy of each array that would show later changes of the same part of `old`; a part that is unchanged stays itself."""
    if isinstance(new, tuple) and isinstance(old, tuple):
        parts = [y if y is x else apart(y, x) for y, x in zip(new, old, strict=False)]
        return type(new)(*parts) if hasattr(new, "_fields") else (*parts, *new[len(parts) :])
    return new.copy() if is_plain(new, old) and np.may_share_memory(new, old) else new


def in_blocks(run: Callable[[Any, Any], Any], batch: Any, drawn: Any) -> Any:
    """run(batch, drawn); plain arrays in blocks of examples that fit the cache, with the same bits, as no example needs another."""
    parts = batch if isinstance(batch, tuple) else (batch,)
    if not all(type(part) is np.ndarray and part.ndim and len(part) for part in parts) or not _is_plain_tree(drawn):
        return run(batch, drawn)
    n = len(parts[0])
    step = max(1, IN_CACHE // max(1, *(part[0].size for part in parts)))
    if step >= n or any(len(part) != n for part in parts):
        return run(batch, drawn)
    found: list[Any] = []
    for start in range(0, n, step):
        cut = slice(start, start + step)
        done = run(_cut(batch, cut), _cut(drawn, cut))
        pieces = done if isinstance(done, tuple) else (done,)
        if not found:
            found = [np.empty((n, *piece.shape[1:]), piece.dtype) for piece in pieces]
        for whole, piece in zip(found, pieces, strict=True):
            whole[cut] = piece
    if not isinstance(done, tuple):
        return found[0]
    return type(done)(*found) if hasattr(done, "_fields") else tuple(found)


def _is_plain_tree(drawn: Any) -> bool:
    return all(map(_is_plain_tree, drawn)) if isinstance(drawn, tuple) else drawn is None or is_plain(drawn)


def _cut(tree: Any, cut: slice) -> Any:
    """These examples of all arrays in tuples."""
    if isinstance(tree, tuple):
        parts = [_cut(part, cut) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return None if tree is None else tree[cut]
