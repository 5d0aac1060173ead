"""`Transform`, the base of all transforms: a frozen function of a whole batch, whose draws belong to examples."""

from typing import Any, ClassVar

import attrs

from ...errors import StructureError
from .batches import apart, array_of, in_blocks, is_plain, keys_of, name_of, size_of, with_part

__all__ = ["Transform"]

INPUTS, TARGETS = 0, 1


@attrs.frozen
class Transform:
    """A pure function of a batch, `t(batch, key=None)`, which never changes its input. Subclasses hold settings in their fields.

    A batch is an array (N, ...), or a tuple such as (x, t): most transforms change x, and those of labels change t. `key` is one
    key, or a key for each example, (N, 2). With one key, example i has the key `fd.random.fold_in(key, i)`. So an example
    never depends on the others around it.

    To write your own, define `apply(x, drawn)` in an `@attrs.frozen` subclass. With `draws = True`, `drawn` has the key of each
    example, (N, 2), or what `draw(keys)` makes of the keys. A plain function of a batch also serves as a part of `compose`.
    """

    draws: ClassVar[bool] = False  # whether it needs a key
    by_example: ClassVar[bool] = True  # whether an example depends on itself alone: batches may be cut into blocks
    mixes: ClassVar[bool] = False  # whether an example depends on the others of its batch
    changes: ClassVar[int | None] = INPUTS  # the place in a tuple; None for a transform of the whole tuple

    def __call__(self, batch: Any, key: Any = None) -> Any:
        drawn = self.draw(self.keys(batch, key)) if self.draws else None
        return apart(in_blocks(self.run, batch, drawn) if self.by_example else self.whole(batch, drawn), batch)

    def keys(self, batch: Any, key: Any) -> Any:
        """A key for each example. Raises KeyMissingError."""
        return keys_of(key, size_of(batch, self), self)

    def draw(self, keys: Any) -> Any:
        """What is drawn with the keys (N, 2): arrays with the examples along the first axis."""
        return keys

    def whole(self, batch: Any, drawn: Any) -> Any:
        """The transform of a batch that is not cut into blocks."""
        return self.run(batch, drawn)

    def run(self, batch: Any, drawn: Any) -> Any:
        """The transform of a batch, with what was drawn for it."""
        if self.changes is None:
            return self.apply(batch, drawn)
        if not isinstance(batch, tuple):
            return self._own(array_of(batch, self), drawn)
        if len(batch) <= self.changes:
            raise StructureError(
                f"{name_of(self)} changes part {self.changes} of a batch, but the batch has {len(batch)}: write (x, t)."
            )
        return with_part(batch, self.changes, self._own(array_of(batch[self.changes], self), drawn))

    def _own(self, x: Any, drawn: Any) -> Any:
        """What `apply` makes; a copy where it has nothing to do, so that nobody holds the same array twice."""
        y = self.apply(x, drawn)
        return y.copy() if y is x and is_plain(y) else y

    def apply(self, x: Any, drawn: Any) -> Any:
        """The new array."""
        raise NotImplementedError(f"{name_of(self)} needs a method apply(x, drawn).")
