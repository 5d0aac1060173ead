"""`DataLoader`: batches whose order is a function of key and epoch, so that a run can resume anywhere."""

import weakref
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from .. import random
from .. import tree as trees
from ..devices import CPU, backend_named, device_of, parse_device, to_device, to_numpy
from ..errors import DTypeError, KeyMissingError, RangeError, ShapeError, StructureError
from ..messages import describe
from ..values import shape_of

__all__ = ["DataLoader"]

STATIC = {"static": True}
COPIES: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # of data sets on a GPU, by their loaders


@attrs.frozen(eq=False)
class DataLoader:
    """The batches of a data set, any pytree of arrays with one common first axis.

    `loader.epoch(e)` iterates over the batches of epoch `e`. `loader.epoch(e, start=s)` begins at step s, with exactly
    the batches of an uninterrupted epoch. `len(loader)` is the number of steps. With `shuffle` the order is a permutation
    drawn from `fold_in(key, epoch)`. With `drop_last` examples that do not fill a batch are left out. With `device`, every
    batch is placed there. A data set that takes at most half of the free memory of a GPU is copied there once, when the first
    epoch begins, and batches are taken from that copy, which later changes of the arrays do not reach.

    Raises StructureError or ShapeError for arrays of different lengths, RangeError for a batch size below 1,
    KeyMissingError for `shuffle` without `key`, DeviceError for a device that this machine does not have.
    """

    dataset: Any = attrs.field(repr=lambda dataset: str(trees.map(describe, dataset)))
    batch_size: int = attrs.field(metadata=STATIC)
    key: Any = attrs.field(default=None, kw_only=True)
    shuffle: bool = attrs.field(default=True, kw_only=True, metadata=STATIC)
    drop_last: bool = attrs.field(default=False, kw_only=True, metadata=STATIC)
    device: str | None = attrs.field(default=None, kw_only=True, metadata=STATIC)
    size: int = attrs.field(init=False, repr=False, metadata=STATIC)

    @size.default
    def _common_length(self) -> int:
        found: dict[int, str] = {}
        for path, leaf in trees.flatten_with_path(self.dataset):
            name = path or "the data set"
            if not shape_of(leaf):
                raise StructureError(
                    f"DataLoader: {name} is {describe(leaf)}, not an array of examples along its first axis."
                )
            found.setdefault(leaf.shape[0], f"{name} has {leaf.shape[0]} examples ({describe(leaf)})")
        if len(found) > 1:
            raise ShapeError(f"DataLoader: {' but '.join(list(found.values())[:2])}.")
        if not found:
            raise StructureError("DataLoader: the data set holds no array.")
        return next(iter(found))

    def __attrs_post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int | np.integer):
            raise DTypeError(f"DataLoader: the batch size is a whole number, got {describe(self.batch_size)}.")
        if self.batch_size < 1:
            raise RangeError(f"DataLoader: the batch size is 1 or more, got {self.batch_size}.")
        if self.shuffle and self.key is None:
            raise KeyMissingError(
                "DataLoader with shuffle=True needs a random key: pass key=fd.random.key(0), or shuffle=False."
            )
        if self.device is not None:
            to_device((), self.device)

    def __len__(self) -> int:
        return self.size // self.batch_size if self.drop_last else -(-self.size // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """The order of the examples in an epoch: (size,) int64, on the CPU."""
        if not self.shuffle:
            return np.arange(self.size)
        order: np.ndarray = to_numpy(random.permutation(random.fold_in(self.key, epoch), self.size))
        return order

    def batch(self, epoch: int, step: int) -> Any:
        """Return one batch. Each call draws the order of the whole epoch; `epoch(...)` draws it once.

        Raises RangeError unless 0 <= step < len(loader).
        """
        if not 0 <= step < len(self):
            raise RangeError(f"there is no step {step}: an epoch has {len(self)} steps, counted from 0.")
        return next(self.epoch(epoch, step))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch, from step `start` on; there are none if `start` is len(loader).

        Raises RangeError unless 0 <= start <= len(loader).
        """
        if not 0 <= start <= len(self):
            raise RangeError(f"an epoch of {len(self)} steps cannot start at step {start}.")
        dataset = self._placed()
        place = device_of(dataset)
        order = to_device(self.order(epoch), place)
        return (self._gather(dataset, place, order, step) for step in range(start, len(self)))

    def _placed(self) -> Any:
        """The data set, or its one copy on the device if it fits there."""
        if self.device is None or (backend := backend_named(self.device)) is CPU or device_of(self.dataset) != CPU.name:
            return self.dataset
        if self not in COPIES:
            free = backend.free_bytes(parse_device(self.device) or 0)
            fits = 2 * sum(leaf.nbytes for leaf in trees.leaves(self.dataset)) <= free
            COPIES[self] = to_device(self.dataset, self.device) if fits else self.dataset
        return COPIES[self]

    def _gather(self, dataset: Any, place: str, order: Any, step: int) -> Any:
        index = order[step * self.batch_size : (step + 1) * self.batch_size]
        with backend_named(place).using(parse_device(place) or 0):
            batch = trees.map(lambda array: array[index], dataset)
        return batch if self.device is None else to_device(batch, self.device)

    def __iter__(self) -> Iterator[Any]:
        if self.shuffle:
            raise TypeError(
                "a shuffled DataLoader has a new order every epoch: iterate over loader.epoch(0), loader.epoch(1), ..."
            )
        return self.epoch(0)
