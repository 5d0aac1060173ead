"""CTC, the loss of a sequence of labels whose places in a longer sequence of outputs are unknown."""

import functools
import math
from typing import Any

from .. import numpy as fnp
from .. import special
from ..control.scan import scan
from ..devices import array_module
from ..errors import DTypeError, RangeError, ShapeError
from ..messages import describe
from ..ops import elementwise
from ..ops.checks import checked
from .reduction import first_wrong, in_dtype_of_first, mask_of, reduced

__all__ = ["ctc_loss"]

# log(0) for states that no alignment reaches: finite, so differences of two of them are, and derivatives of every order.
IMPOSSIBLE = -1e30


@in_dtype_of_first
def ctc_loss(
    logits: Any, labels: Any, input_lengths: Any = None, label_lengths: Any = None, *, blank: int = 0, zero_infinity: bool = False,
    mask: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """-log of the probability of the labels, summed over all alignments: logits (..., T, classes), labels (..., S) -> a scalar.

    Lengths (...) say how many of the T outputs and of the S labels count; the others may be anything. Logarithms of
    probabilities are logits as well. The mean is that of loss / max(label_length, 1) over the sequences, as in PyTorch. "none" gives
    the losses themselves (...). Labels that no alignment fits give infinity with gradient 0, or 0 with `zero_infinity`.

    Raises ShapeError for shapes that do not fit, DTypeError for labels or lengths that are not integers, and RangeError with the
    place for lengths beyond the sequence, labels outside the classes, and blanks among the labels (not on a GPU).
    Source: Graves et al., "Connectionist temporal classification", 2006, section 4.1.
    """
    logits, labels = fnp.asarray(logits), fnp.asarray(labels)
    batch, (steps, classes), count = _shapes(logits, labels)
    if not 0 <= blank < classes:
        raise RangeError(f"ctc_loss: blank is a class from 0 to {classes - 1}, got {blank!r}.")
    xp = array_module(logits)
    input_lengths = _lengths("input_lengths", input_lengths, batch, steps, xp)
    label_lengths = _lengths("label_lengths", label_lengths, batch, count, xp)
    if mask is not None:  # NaN of a sequence that does not take part must not reach a gradient
        mask = mask_of("ctc_loss", mask, batch)
        logits = fnp.where(fnp.expand_dims(mask, (-1, -2)), logits, 0)
    states, skips = _states(labels, label_lengths, blank, classes, xp)
    logs = special.log_softmax(_where_used(logits, input_lengths, xp), -1)
    emitted = fnp.take_along_axis(logs, fnp.expand_dims(states, -2), axis=-1)  # (..., T, 2 S + 1)
    last, base = _last(fnp.maximum(emitted, IMPOSSIBLE), skips, input_lengths, xp)
    ends = [
        fnp.take_along_axis(last, fnp.expand_dims(fnp.maximum(2 * label_lengths - k, 0), -1))[..., 0] for k in (0, 1)
    ]
    second = fnp.where(label_lengths > 0, ends[1], IMPOSSIBLE)
    likelihood = fnp.logaddexp(ends[0], second)
    impossible = likelihood < IMPOSSIBLE / 2
    losses = fnp.where(impossible, 0.0 if zero_infinity else math.inf, -(likelihood + base))
    if reduction == "mean":
        losses = losses / fnp.astype(fnp.maximum(label_lengths, 1), losses.dtype)
    return reduced("ctc_loss", losses, reduction, mask)


def _shapes(logits: Any, labels: Any) -> tuple[tuple[int, ...], tuple[int, int], int]:
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"ctc_loss takes integer labels, got {describe(labels)}. Use labels.astype(int).")
    if logits.ndim < 2 or not labels.ndim or logits.shape[:-2] != labels.shape[:-1]:
        raise ShapeError(
            f"ctc_loss takes logits (..., T, classes) and labels (..., S), got {describe(logits)} and {describe(labels)}."
        )
    return logits.shape[:-2], logits.shape[-2:], labels.shape[-1]


def _lengths(name: str, lengths: Any, batch: tuple[int, ...], longest: int, xp: Any) -> Any:
    if lengths is None:
        return xp.full(batch, longest)
    lengths = fnp.asarray(lengths)
    if lengths.dtype.kind not in "iu":
        raise DTypeError(f"ctc_loss: {name} are integers, got {describe(lengths)}. Use {name}.astype(int).")
    if lengths.shape != batch:
        raise ShapeError(f"ctc_loss: {name} need the shape {batch} of the batch, got {describe(lengths)}.")
    test = functools.partial(_lies_between, low=0, high=longest)
    checked(
        lengths,
        test=test,
        error=lambda x: RangeError(f"ctc_loss: {name} lie between 0 and {longest}, got {first_wrong(x, test)}."),
    )
    return fnp.astype(lengths, int, copy=False)


def _lies_between(x: Any, low: int, high: int) -> Any:
    return (x >= low) & (x <= high)


def _states(labels: Any, lengths: Any, blank: int, classes: int, xp: Any) -> tuple[Any, Any]:
    """The classes of the states, with a blank around each label: (..., 2 S + 1); and where a state may follow the one two before."""
    used = xp.arange(labels.shape[-1]) < fnp.expand_dims(lengths, -1)
    safe = fnp.where(used, labels, 1 if blank == 0 else 0)  # any class but the blank
    is_class = functools.partial(_lies_between, low=0, high=classes - 1)
    said = f"ctc_loss: labels are classes from 0 to {classes - 1}, got "
    if classes > 1:
        checked(safe, test=is_class, error=lambda x: RangeError(f"{said}{first_wrong(x, is_class)}."))
    is_label = functools.partial(_is_other, blank=blank)
    hint = "which is the blank. Give blank= another class than the labels have."
    checked(safe, test=is_label, error=lambda x: RangeError(f"{said}{first_wrong(x, is_label)}, {hint}"))
    labels = fnp.where(used, labels, blank)
    ending = xp.full((*labels.shape[:-1], 1), blank, labels.dtype)
    every = fnp.concatenate([labels, ending], axis=-1)
    states = fnp.stack([fnp.full_like(every, blank), every], axis=-1).reshape(
        (*labels.shape[:-1], 2 * every.shape[-1])
    )[..., :-1]
    before = fnp.concatenate([ending, ending, states], axis=-1)[..., :-2]
    return states, (states != blank) & (states != before)


def _is_other(x: Any, blank: int) -> Any:
    return x != blank


def _where_used(logits: Any, lengths: Any, xp: Any) -> Any:
    """The logits, but 0 after the end of a sequence, so that NaN there does not reach a gradient."""
    used = xp.arange(logits.shape[-2]) < fnp.expand_dims(lengths, -1)
    return fnp.where(fnp.expand_dims(used, -1), logits, 0)


def _last(emitted: Any, skips: Any, lengths: Any, xp: Any) -> tuple[Any, Any]:
    """The forward variables after the last output, relative to a number: emitted (..., T, n) -> (..., n), (...)."""
    n = emitted.shape[-1]
    # Before the first output only the first state, a blank, has been reached; from there the next one is within a step.
    start = fnp.where(xp.arange(n) == 0, 0.0, IMPOSSIBLE).astype(emitted.dtype)
    start = fnp.broadcast_to(start, (*emitted.shape[:-2], n))
    closed = xp.full((*emitted.shape[:-2], 2), IMPOSSIBLE, emitted.dtype)

    def step(carry: Any, x: Any) -> tuple[Any, None]:
        (alpha, base), (emission, number) = carry, x
        padded = fnp.concatenate([closed, alpha], axis=-1)
        one, two = padded[..., 1:-1], fnp.where(skips, padded[..., :-2], IMPOSSIBLE)
        top = elementwise.stop_gradient(fnp.maximum(fnp.maximum(alpha, one), two))
        total = fnp.exp(alpha - top) + fnp.exp(one - top) + fnp.exp(two - top)
        after = top + fnp.log(total) + emission
        # Counted from the greatest, which is a constant: thousands would leave rounding errors of thousands.
        greatest = elementwise.stop_gradient(fnp.max(after, axis=-1))
        greatest = fnp.where((number < lengths) & (greatest > IMPOSSIBLE / 2), greatest, 0)
        after = after - fnp.expand_dims(greatest, -1)
        return (fnp.where(number < fnp.expand_dims(lengths, -1), after, alpha), base + greatest), None

    carry = (start, xp.zeros(emitted.shape[:-2], emitted.dtype))
    result: tuple[Any, Any] = scan(step, carry, (fnp.moveaxis(emitted, -2, 0), xp.arange(emitted.shape[-2])))[0]
    return result
