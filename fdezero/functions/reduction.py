"""How the losses of entries become one number: masks, weighted means, and the checks that all losses share."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .. import numpy as fnp
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..numpy.precision import narrowed, widened
from ..ops.checks import checked
from ..values import WIDE, is_floating, is_half

__all__: list[str] = []  # helpers of the losses
Function = TypeVar("Function", bound=Callable[..., Any])


def in_dtype_of_first(function: Function) -> Function:
    """`function`, computed in float32 if its first argument is float16 or bfloat16, and rounded once; dtypes of weights do not count."""
    first = function.__code__.co_varnames[0]

    def call(*args: Any, **kwargs: Any) -> Any:
        dtype = getattr(args[0] if args else kwargs.get(first), "dtype", None)
        if dtype in WIDE or not is_half(dtype):
            return function(*args, **kwargs)
        return narrowed(function(*map(widened, args), **{name: widened(x) for name, x in kwargs.items()}), dtype)

    return functools.update_wrapper(call, function, updated=())  # type: ignore[return-value]  # it has the same signature


def paired(name: str, x: Any, targets: Any, mask: Any = None, filler: float = 0.0) -> tuple[Any, Any, Any]:
    """Predictions, targets in their dtype, and the mask; both arrays are `filler` where the mask is false.

    So NaN in an entry that does not take part reaches neither the loss nor a gradient. Raises ShapeError and DTypeError.
    """
    x, targets = fnp.asarray(x), fnp.asarray(targets)
    if x.shape != targets.shape:
        raise ShapeError(f"{name}: predictions {describe(x)} and targets {describe(targets)} must have the same shape.")
    targets = fnp.astype(targets, x.dtype, copy=False) if is_floating(x.dtype) else targets
    if mask is None:
        return x, targets, None
    mask = mask_of(name, mask, x.shape)
    return fnp.where(mask, x, filler), fnp.where(mask, targets, filler), mask


def mask_of(name: str, mask: Any, shape: tuple[int, ...], of: str = "losses") -> Any:
    """`mask` as an array. Raises DTypeError unless it is boolean, ShapeError unless it broadcasts to `shape`, that of the losses."""
    mask = fnp.asarray(mask)
    if mask.dtype != bool:
        raise DTypeError(
            f"{name}: a mask is boolean, true where an entry takes part; got {describe(mask)}. Use mask != 0."
        )
    fits = mask.ndim <= len(shape)
    if not fits or any(m not in (1, n) for m, n in zip(mask.shape[::-1], shape[::-1], strict=False)):
        missing = len(shape) - mask.ndim
        hint = (
            f" Use mask[..., {', '.join(['None'] * missing)}]."
            if missing > 0 and mask.shape == shape[: mask.ndim]
            else ""
        )
        raise ShapeError(
            f"{name}: the mask {describe(mask)} must have the shape of the {of}, {shape}, or broadcast to it.{hint}"
        )
    return mask


def broadcast_factor(name: str, what: str, factor: Any, x: Any) -> Any:
    """A factor of entries in the dtype of x. Raises ShapeError unless it broadcasts to the shape of x."""
    factor = fnp.asarray(factor)
    fits = factor.ndim <= x.ndim
    if not fits or any(m not in (1, n) for m, n in zip(factor.shape[::-1], x.shape[::-1], strict=False)):
        raise ShapeError(f"{name}: {what} {describe(factor)} must broadcast to the shape of the losses, {x.shape}.")
    return fnp.astype(factor, x.dtype, copy=False) if is_floating(x.dtype) else factor


def reduced(name: str, losses: Any, reduction: str, mask: Any = None, weights: Any = None) -> Any:
    """The mean or the sum of `losses`, or `losses` themselves; those outside the mask are 0.

    The mean divides by the sum of `weights` if there are any (the caller has multiplied by them), otherwise by the number of losses that
    take part. The mean of nothing is 0. Raises RangeError for another reduction.
    """
    if mask is not None:
        losses = fnp.where(mask, losses, 0)
    if reduction == "mean":
        if weights is not None:
            total = fnp.sum(weights if mask is None else fnp.where(mask, weights, 0))
            return fnp.sum(losses) / fnp.where(total == 0, 1, total)
        if mask is not None:
            repeated = losses.size // mask.size if mask.size else 0  # the mask may broadcast
            count = fnp.astype(fnp.maximum(fnp.sum(mask) * repeated, 1), losses.dtype)
            return fnp.sum(losses) / count
        return fnp.mean(losses) if losses.size else fnp.sum(losses)
    if reduction == "sum":
        return fnp.sum(losses)
    if reduction != "none":
        raise RangeError(f'{name}: reduction is "mean", "sum" or "none", got {reduction!r}.')
    return losses


def signs(name: str, targets: Any, mask: Any = None) -> Any:
    """`targets`, checked to be -1 or 1 where the mask is true. Raises RangeError with the position."""
    given = targets if mask is None else fnp.where(mask, targets, 1)
    checked(given, test=_is_sign, error=lambda t: _not_a_sign(name, t))
    return targets


def _is_sign(t: Any) -> Any:
    return abs(t) == 1


def _not_a_sign(name: str, t: Any) -> RangeError:
    return RangeError(f"{name}: targets are -1 or 1, got {first_wrong(t, _is_sign)}. For 0 and 1 use 2 * targets - 1.")


def first_wrong(x: Any, test: Callable[[Any], Any]) -> str:
    """The first entry that fails the test, and its place, in words."""
    x = np.asarray(x)
    place = tuple(map(int, np.argwhere(~np.broadcast_to(test(x), x.shape))[0]))
    return f"{x[place]} at index {place}" if place else f"{x[()]}"
