"""`Transform`, the base of all transforms: a frozen function of a whole batch, whose draws belong to examples."""

from typing import Any, ClassVar

import attrs

from ...errors import StructureError
from .batches import apart, array_of, in_blocks, keys_of, name_of, size_of, with_part

__all__ = ["Transform"]

INPUTS, TARGETS = 0, 1


@attrs.frozen
class Transform:
    """A pure function of a batch, `t(batch, key=None)`, which never changes its input. Subclasses hold settings in their fields.

    A batch is an array (N, ...), or a tuple such as (x, t): most transforms change x, and those of labels change t. `key` is one
    key, or a key for each example, (N, 2). With one key, example i has the key `fd.random.fold_in(key, i)`. So an example
    never depends on the others around it.

    To write your own, define `apply(x, keys)` in an `@attrs.frozen` subclass, where x is the array and keys is (N, 2), or None
    unless the class says `draws = True`. A plain function of a batch also serves as a part of `compose`.
    """

    draws: ClassVar[bool] = False  # whether it needs a key
    by_example: ClassVar[bool] = True  # whether an example depends on itself alone
    changes: ClassVar[int | None] = INPUTS  # the place in a tuple; None for a transform of the whole tuple

    def __call__(self, batch: Any, key: Any = None) -> Any:
        if self.by_example:
            return apart(in_blocks(self.run, batch, self.keys(batch, key)), batch)
        return apart(self.whole(batch, key), batch)

    def whole(self, batch: Any, key: Any) -> Any:
        """The transform of a batch that is not cut into blocks."""
        return self.run(batch, self.keys(batch, key))

    def keys(self, batch: Any, key: Any) -> Any:
        """A key for each example; None if nothing is drawn. Raises KeyMissingError."""
        return keys_of(key, size_of(batch, self), self) if self.draws else None

    def run(self, batch: Any, keys: Any) -> Any:
        """The transform of a batch with a key for each example."""
        if self.changes is None:
            return self.apply(batch, keys)
        if not isinstance(batch, tuple):
            return self.apply(array_of(batch, self), keys)
        if len(batch) <= self.changes:
            raise StructureError(
                f"{name_of(self)} changes part {self.changes} of a batch, but the batch has {len(batch)}: write (x, t)."
            )
        y = self.apply(array_of(batch[self.changes], self), keys)
        return with_part(batch, self.changes, y)

    def apply(self, x: Any, keys: Any) -> Any:
        """The new array."""
        raise NotImplementedError(f"{name_of(self)} needs a method apply(x, keys).")
