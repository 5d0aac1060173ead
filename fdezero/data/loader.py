"""`DataLoader`: batches in an order that is a function of the key and the epoch, and so can be resumed anywhere."""

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from .. import random
from .. import tree as trees
from ..devices import to_device, to_numpy
from ..errors import KeyMissingError, ShapeError, StructureError, describe


@attrs.frozen(init=False, eq=False, repr=False)
class DataLoader:
    """The batches of a data set, any pytree of arrays with one common first axis.

    `loader.epoch(e)` iterates over the batches of epoch `e`; `loader.epoch(e, start=s)` from step s on, exactly the
    batches an uninterrupted epoch would have had; `len(loader)` is the number of steps. With `shuffle` the order is a
    permutation drawn from `fold_in(key, epoch)`. With `device`, every batch is placed there.

    Raises StructureError or ShapeError for arrays of different lengths, KeyMissingError for `shuffle` without `key`.
    """

    dataset: Any
    batch_size: int
    key: Any
    shuffle: bool
    drop_last: bool
    device: str | None
    size: int

    def __init__(
        self, dataset: Any, batch_size: int, *, key: Any = None, shuffle: bool = True, drop_last: bool = False, device: str | None = None
    ) -> None:
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ValueError(f"DataLoader: the batch size is a whole number from 1 on, got {describe(batch_size)}.")
        if shuffle and key is None:
            raise KeyMissingError("DataLoader with shuffle=True needs a random key: pass key=fd.random.key(0), or shuffle=False.")
        self.__attrs_init__(dataset, batch_size, key, shuffle, drop_last, device, _common_length(dataset))  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return self.size // self.batch_size if self.drop_last else -(-self.size // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """The order of the examples in an epoch: (size,) int64."""
        if not self.shuffle:
            return np.arange(self.size)
        order: np.ndarray = to_numpy(random.permutation(random.fold_in(self.key, epoch), self.size))
        return order

    def batch(self, epoch: int, step: int) -> Any:
        """One batch. An iteration over `epoch(...)` draws the order once; this draws it for the one batch."""
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of an epoch of {len(self)} steps.")
        return self._gather(self.order(epoch), step)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch, from step `start` on."""
        if not 0 <= start <= len(self):
            raise IndexError(f"an epoch of {len(self)} steps cannot start at step {start}.")
        order = self.order(epoch)
        return (self._gather(order, step) for step in range(start, len(self)))

    def _gather(self, order: np.ndarray, step: int) -> Any:
        index = order[step * self.batch_size : (step + 1) * self.batch_size]
        batch = trees.map(lambda array: array[index], self.dataset)
        return batch if self.device is None else to_device(batch, self.device)

    def __iter__(self) -> Iterator[Any]:
        if self.shuffle:
            raise StructureError("a shuffled DataLoader has another order every epoch: iterate over loader.epoch(0), loader.epoch(1), ...")
        return self.epoch(0)


def _common_length(dataset: Any) -> int:
    found: dict[int, str] = {}
    for path, leaf in trees.flatten_with_path(dataset):
        if not getattr(leaf, "shape", ()):
            raise StructureError(f"DataLoader: {path or 'the dataset'} is {describe(leaf)}, not an array of examples along a first axis.")
        found.setdefault(leaf.shape[0], f"{path or 'the dataset'} has {leaf.shape[0]} examples ({describe(leaf)})")
    if len(found) > 1:
        raise ShapeError(f"DataLoader: {' but '.join(list(found.values())[:2])}.")
    if not found:
        raise StructureError("DataLoader: the dataset holds no array.")
    return next(iter(found))
