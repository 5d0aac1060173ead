"""The order of the examples in an epoch, as a function of key and epoch: weighted, balanced, and by length.

A sampler is any function `order(key, epoch) -> indices`. Those of this file are values, which show, pickle and save themselves.
"""

import operator
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from .. import random
from ..devices import to_numpy
from ..errors import DTypeError, KeyMissingError, RangeError, ShapeError
from ..messages import describe

__all__ = ["Balanced", "Buckets", "Weighted"]

STATIC = {"static": True}
Array = np.ndarray


class Sampler:
    """The base of samplers that draw: a loader refuses them without a key, before the first step."""

    @property
    def examples(self) -> int | None:
        """How many examples the data set must have; None if the sampler does not say so."""
        return None

    def batches(self, order: Array, batch_size: int, drop_last: bool) -> list[Array]:
        """The order of an epoch, cut into batches."""
        return cut(order, batch_size, drop_last)


def cut(order: Array, batch_size: int, drop_last: bool) -> list[Array]:
    """An order in pieces of the batch size. The last one may be smaller, or is left out."""
    stop = len(order) // batch_size * batch_size if drop_last else len(order)
    return [order[start : start + batch_size] for start in range(0, stop, batch_size)]


def _column(values: Any, what: str) -> Array:
    array = np.asarray(to_numpy(values))
    if array.ndim != 1:
        raise ShapeError(f"{what} has one number for each example, so its shape is (n,), got {describe(array)}.")
    if not array.size:
        raise ShapeError(f"{what} is empty.")
    return array


def whole(number: Any, what: str, least: int) -> int:
    """A whole number. Raises DTypeError or RangeError that say `what` it is."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise DTypeError(f"{what} is a whole number, got {describe(number)}.")
    if number < least:
        raise RangeError(f"{what} is {least} or more, got {number}.")
    return int(number)


@attrs.frozen(eq=False)
class Weighted(Sampler):
    """Draw examples with probabilities in proportion to `weights` (n,), `size` of them in an epoch: n by default.

    With `replace=True` an example may be drawn several times in an epoch; without, at most once. An example of weight 0 is
    never drawn. Raises RangeError for a weight that is negative or not finite, or for fewer positive weights than draws
    without replacement.
    """

    weights: Any = attrs.field(repr=describe)
    size: int | None = attrs.field(default=None, metadata=STATIC)
    replace: bool = attrs.field(default=True, kw_only=True, metadata=STATIC)

    def __attrs_post_init__(self) -> None:
        weights = _column(self.weights, "data.Weighted: weights")
        if weights.dtype.kind not in "biuf":
            raise DTypeError(f"data.Weighted: weights are numbers, got {describe(weights)}.")
        wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if wrong.size:
            raise RangeError(
                f"data.Weighted: weight {wrong[0]} is {weights[wrong[0]]}. Weights are finite and not negative."
            )
        if self.size is not None:
            whole(self.size, "data.Weighted: the size", 1)
        positive = int(np.count_nonzero(weights))
        if not positive or (not self.replace and positive < len(self)):
            raise RangeError(
                f"data.Weighted: {len(self)} examples are drawn {'with' if self.replace else 'without'} replacement, "
                f"but {positive} weights are positive."
            )

    @property
    def examples(self) -> int:
        """One for each weight."""
        return len(self.weights)

    def __len__(self) -> int:
        return len(self.weights) if self.size is None else self.size

    def __call__(self, key: Any, epoch: int) -> Array:
        weights = np.asarray(to_numpy(self.weights), float)
        key = to_numpy(random.fold_in(key, epoch))
        return np.asarray(random.choice(key, len(weights), (len(self),), self.replace, weights))


@attrs.frozen(eq=False)
class Balanced(Sampler):
    """Draw every class equally often: `labels` (n,) says the class of each example. An epoch has `size` examples: n by default.

    Each class gives the same number of examples in an epoch, up to one. The examples of a class come in turn, in random order: all of
    them once before any of them twice.
    """

    labels: Any = attrs.field(repr=describe)
    size: int | None = attrs.field(default=None, metadata=STATIC)

    def __attrs_post_init__(self) -> None:
        labels = _column(self.labels, "data.Balanced: labels")
        if labels.dtype.kind == "f":
            raise DTypeError(f"data.Balanced: labels are classes, not fractions, got {describe(labels)}.")
        if self.size is not None:
            whole(self.size, "data.Balanced: the size", 1)

    @property
    def examples(self) -> int:
        """One for each label."""
        return len(self.labels)

    def __len__(self) -> int:
        return len(self.labels) if self.size is None else self.size

    def __call__(self, key: Any, epoch: int) -> Array:
        key = to_numpy(random.fold_in(key, epoch))
        classes, of_class = np.unique(np.asarray(to_numpy(self.labels)), return_inverse=True)
        turns, rest = divmod(len(self), len(classes))
        keys = random.split(key, len(classes) + 2)
        favoured = set(np.asarray(random.permutation(keys[0], len(classes)))[:rest].tolist())
        drawn = []
        for number in range(len(classes)):
            members = np.flatnonzero(of_class == number)
            wanted = turns + (number in favoured)
            rounds = -(-wanted // len(members))
            own = random.split(keys[2 + number], max(rounds, 1))
            again = [members[np.asarray(random.permutation(own[i], len(members)))] for i in range(rounds)]
            drawn.append(np.concatenate(again)[:wanted] if again else members[:0])
        order = np.concatenate(drawn)
        return np.asarray(order[np.asarray(random.permutation(keys[1], len(order)))])


@attrs.frozen(eq=False)
class Buckets(Sampler):
    """Put examples of similar length into one batch: `lengths` (n,) says the length of each, `bounds` the greatest of each bucket.

    A batch holds examples of one bucket, in random order, and batches come in random order. So with
    `collate=partial(data.pad, length=bounds)` there are as many shapes as bounds, and `fd.compile` records as often. Without `bounds`
    there are eight buckets of about equal numbers. Each bucket may end with a smaller batch, which `drop_last` leaves out.

    Raises RangeError for an example that is longer than the greatest bound.
    """

    lengths: Any = attrs.field(repr=describe)
    bounds: Sequence[int] | None = attrs.field(default=None, metadata=STATIC)

    def __attrs_post_init__(self) -> None:
        lengths = _column(self.lengths, "data.Buckets: lengths")
        if lengths.dtype.kind not in "iu":
            raise DTypeError(f"data.Buckets: lengths are whole numbers, got {describe(lengths)}.")
        if self.bounds is not None:
            bounds = tuple(map(operator.index, self.bounds))
            if not bounds or list(bounds) != sorted(set(bounds)):
                raise RangeError(f"data.Buckets: bounds increase, such as (16, 32, 64), got {self.bounds}.")
        else:
            found = np.quantile(lengths, np.linspace(0, 1, 9)[1:], method="higher")
            bounds = tuple(np.unique(found).tolist())
        object.__setattr__(self, "bounds", bounds)
        long = np.flatnonzero(lengths > bounds[-1])
        if long.size:
            raise RangeError(
                f"data.Buckets: example {long[0]} has length {lengths[long[0]]}, more than the greatest bound {bounds[-1]}."
            )

    @property
    def examples(self) -> int:
        """One for each length."""
        return len(self.lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def __call__(self, key: Any, epoch: int) -> Array:
        return np.asarray(to_numpy(random.permutation(random.fold_in(key, epoch), len(self))))

    def steps(self, batch_size: int, drop_last: bool) -> int:
        """The number of batches in every epoch."""
        counts = np.bincount(self._buckets(), minlength=len(self._bounds))
        return int(sum(counts // batch_size if drop_last else -(-counts // batch_size)))

    def batches(self, order: Array, batch_size: int, drop_last: bool) -> list[Array]:
        """A batch stands where its middle example stands in the order, which is random, so that no further key is needed."""
        bucket = self._buckets()[order]
        found = []
        for number in range(len(self._bounds)):
            places = np.flatnonzero(bucket == number)
            found += cut(places, batch_size, drop_last)
        return [order[places] for places in sorted(found, key=lambda places: int(places[len(places) // 2]))]

    @property
    def _bounds(self) -> Sequence[int]:
        """The bounds, those that were found where none were given."""
        return self.bounds or ()

    def _buckets(self) -> Array:
        return np.searchsorted(np.asarray(self._bounds), np.asarray(to_numpy(self.lengths)))


def checked_order(order: Any, count: int, size: int, epoch: int) -> Array:
    """What a sampler returned. Raises DTypeError, ShapeError or RangeError unless it is `count` numbers of examples."""
    array = np.asarray(to_numpy(order))
    if array.dtype.kind not in "iu":
        raise DTypeError(
            f"DataLoader: the sampler returned {describe(array)} for epoch {epoch}, not the numbers of examples."
        )
    if array.shape != (count,):
        raise ShapeError(
            f"DataLoader: the sampler returned {describe(array)} for epoch {epoch}, but an epoch has {count} examples. A sampler with "
            "another number than the data set has a length: def __len__(self)."
        )
    wrong = np.flatnonzero((array < 0) | (array >= size))
    if wrong.size:
        raise RangeError(
            f"DataLoader: the sampler returned example {array[wrong[0]]} in place {wrong[0]} of epoch {epoch}, "
            f"but there are {size} examples."
        )
    return array


def needs_key(sampler: Any, shuffle: bool) -> str:
    """What asks for a key, in words; empty if nothing does."""
    if isinstance(sampler, Sampler):
        return f"sampler={type(sampler).__name__}(...)"
    return "shuffle=True" if sampler is None and shuffle else ""


def missing_key(what: str, instead: str = "") -> KeyMissingError:
    return KeyMissingError(f"DataLoader with {what} needs a random key: pass key=fd.random.key(0){instead}.")
