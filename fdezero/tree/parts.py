"""Parts: nodes of a tree that hold one rank's part of an array or a layer, and how the whole is put together and cut again.

A world is any object with `rank`, `size` and `all_gather(tree, axis)`, as `fd.distributed.world()` returns it.
"""

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import optree

from ..errors import StructureError
from ..messages import describe
from .module import Module, static
from .structure import TRAINABLE, Tree, TreeDef, flatten_trainable

__all__: list[str] = []  # for optimisers, layers of several ranks, and files


class Parted(Module):
    """Base of nodes that hold the part of one rank of their `world`. The whole has the same place in the tree, and so in a file."""

    holds_part: ClassVar[bool] = True

    if TYPE_CHECKING:

        @property
        def world(self) -> Any: ...

    def gathered(self) -> Any:
        """The whole, on every rank. All ranks call it, in the same order."""
        raise NotImplementedError

    def outline(self) -> Any:
        """A stand-in for the whole, with its structure, shapes and dtypes, which takes no memory."""
        raise NotImplementedError

    def cut(self, whole: Any) -> Any:
        """A node like this one with this rank's part of another whole."""
        raise NotImplementedError


class Part(Parted):
    """One rank's entries of an array of `shape`: those of a stretch in an order that depends on the shape alone.

    Rank r of n has the entries from r * ceil(size / n) on, so the last ranks may have fewer, or none.
    """

    values: Any  # (entries of this rank,)
    shape: tuple[int, ...] = static()
    world: Any = static()
    share: tuple[int, int] = static()  # rank and size of the world that cut it

    def __repr__(self) -> str:
        rank, size = self.share
        return f"Part({describe(self.values)} of {list(self.shape)}, rank {rank} of {size})"

    @classmethod
    def of(cls, whole: Any, world: Any) -> "Part":
        """The part of this rank."""
        share = (world.rank, world.size)
        start, stop = stretch(math.prod(whole.shape), *share)
        return cls(_in_line(whole)[start:stop], tuple(whole.shape), world, share)

    @property
    def length(self) -> int:
        """The entries of the longest part."""
        return longest(math.prod(self.shape), self.share[1])

    def of_line(self, line: Any) -> Any:
        """The array of all entries in their order; what follows them is left out. Its memory has that order."""
        entries = math.prod(self.shape)
        line = line if line.shape == (entries,) else line[:entries]
        if len(self.shape) < 3:
            return line.reshape(self.shape)
        return line.reshape(_turned(self.shape)).transpose(_back(len(self.shape)))

    def gathered(self) -> Any:
        """The whole array."""
        return gathered_parts([self])[0]

    def outline(self) -> Any:
        """A stand-in for the whole array."""
        return np.broadcast_to(np.zeros((), self.values.dtype), self.shape)

    def cut(self, whole: Any) -> "Part":
        """The part of another array of this shape, by the world as it is now."""
        return Part.of(whole, self.world)


def longest(entries: int, size: int) -> int:
    """The entries of the longest of `size` parts."""
    return -(-entries // size)


def stretch(entries: int, rank: int, size: int) -> tuple[int, int]:
    """Where the part of a rank begins and ends."""
    length = longest(entries, size)
    return min(rank * length, entries), min((rank + 1) * length, entries)


def _axes(ndim: int) -> tuple[int, ...]:
    """The axes in the order of entries: channels last, as kernels lie in memory, so that their entries are no copy.

    The order must not depend on strides, which may differ from rank to rank.
    """
    return (0, *range(2, ndim), 1)


def _back(ndim: int) -> tuple[int, ...]:
    return (0, ndim - 1, *range(1, ndim - 1))


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([shape[axis] for axis in _axes(len(shape))])


def _in_line(whole: Any) -> Any:
    return (whole if whole.ndim < 3 else whole.transpose(_axes(whole.ndim))).reshape(-1)


def gathered_parts(parts: list[Part]) -> list[Any]:
    """The whole arrays of several parts of one world, in one exchange."""
    for part in parts:
        if part.share != (part.world.rank, part.world.size):
            rank, size = part.share
            raise StructureError(
                f"a part of an array {list(part.shape)} was cut for rank {rank} of {size}, but this is rank {part.world.rank} of "
                f"{part.world.size}. Save whole states, with fd.io.Checkpoints(folder, world=world), and restore them on other ranks."
            )
    if not parts:
        return []
    lines = parts[0].world.all_gather([_padded(part.values, part.length) for part in parts])
    return [part.of_line(line) for part, line in zip(parts, lines, strict=True)]


def _padded(values: Any, length: int) -> Any:
    missing = length - values.shape[0]
    return np.concatenate([values, np.zeros_like(values, shape=(missing,))]) if missing else values


def flatten_to_parts(tree: Tree) -> tuple[list[Any], TreeDef]:
    """`flatten_trainable` with each `Part` as a leaf."""
    flatten_trainable(tree)  # which registers classes that are new
    return optree.tree_flatten(
        tree, is_leaf=lambda node: isinstance(node, Part), none_is_leaf=True, namespace=TRAINABLE
    )
