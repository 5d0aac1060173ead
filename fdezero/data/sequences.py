"""`SequenceLoader`: batches that follow one another in time, for backpropagation through pieces of a long sequence."""

from typing import Any

import attrs
import numpy as np

from ..errors import RangeError
from .loader import DataLoader
from .samplers import whole

__all__ = ["SequenceLoader"]


@attrs.frozen(eq=False)
class Tracks:
    """The order of a long sequence that is cut into as many tracks as a batch has rows."""

    size: int
    length: int | None
    draws = False

    def __len__(self) -> int:
        return self.size

    def __call__(self, key: Any, epoch: int) -> np.ndarray:
        return np.arange(self.size)

    def steps(self, batch_size: int, drop_last: bool) -> int:
        return len(self._starts(batch_size, drop_last))

    def batches(self, order: np.ndarray, batch_size: int, drop_last: bool) -> list[np.ndarray]:
        track = self.size // batch_size
        tracks = order[: track * batch_size].reshape(batch_size, track)
        if self.length is None:
            return list(np.ascontiguousarray(tracks.T))
        return [tracks[:, start : start + self.length] for start in self._starts(batch_size, drop_last)]

    def _starts(self, batch_size: int, drop_last: bool) -> range:
        track, length = self.size // batch_size, self.length or 1
        return range(0, track - length + 1 if drop_last else track, length)


def SequenceLoader(dataset: Any, batch_size: int, length: int | None = None, **options: Any) -> DataLoader:
    """The batches of a long sequence, such as a text, in order: row i of each batch goes on where row i of the last one ended.

    The sequence is cut into `batch_size` tracks of equal length, and what remains of it is left out. A batch holds the next
    `length` examples of each track, (batch_size, length, ...); or the next one, (batch_size, ...), without `length`, as DeZero's
    SeqDataLoader does. The last batch of an epoch may be shorter, unless `drop_last`. So the state of a recurrent layer goes from
    batch to batch, and starts anew with each epoch. `options` are those of DataLoader.

    Raises RangeError if there are fewer examples than rows.
    """
    whole(batch_size, "SequenceLoader: the batch size", 1)
    if length is not None:
        whole(length, "SequenceLoader: the length", 1)
    for name in ("sampler", "shuffle", "collate"):
        if name in options:
            raise TypeError(f"SequenceLoader has no {name}: its batches follow one another.")
    size = DataLoader(dataset, 1, shuffle=False).size
    if batch_size > size:
        raise RangeError(f"SequenceLoader: {size} examples are too few for {batch_size} tracks.")
    return DataLoader(dataset, batch_size, shuffle=False, sampler=Tracks(size, length), **options)
