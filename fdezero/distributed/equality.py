"""`check_equal`: whether all ranks hold the same bits, by a checksum of each leaf; and whether a world is one."""

import zlib
from typing import Any

import numpy as np
import optree

from .. import tree as trees
from ..devices import to_numpy
from ..errors import DisagreementError, StructureError
from ..messages import describe
from ..tree.structure import ALL
from ..tree.wholes import is_parted
from .agreement import listed
from .worlds import World

__all__ = ["check_equal"]


def check_equal(tree: Any, world: World, *, what: str = "check_equal") -> None:
    """Raise DisagreementError, which names the leaf and the ranks, unless every rank holds the same bits: `check_equal(model, world)`.

    Ranks drift apart if one line of a step forgets the others, such as `fd.grad` in place of `fd.distributed.value_and_grad`. Only
    checksums travel, 8 bytes for each leaf. Arrays that are cut over ranks are left out. `what` stands before the message.
    """
    check_world(what, world)
    trees.flatten(tree)  # which registers classes that are new
    whole = optree.tree_map(lambda node: None if is_parted(node) else node, tree, is_leaf=is_parted, namespace=ALL)
    leaves = trees.flatten_with_path(whole)
    if world.size == 1 or not leaves:
        return
    sums = world.all_gather(np.array([[_checksum(leaf) for _, leaf in leaves]], np.int64))
    for (path, _), column in zip(leaves, sums.T, strict=True):
        if (column != column[0]).any():
            first, others = np.flatnonzero(column == column[0]), np.flatnonzero(column != column[0])
            raise DisagreementError(
                f"{what}: the ranks do not hold the same bits. At {path or 'the root'}, {listed(others.tolist())} and "
                f"{listed(first.tolist())} differ."
            )


def _checksum(leaf: Any) -> int:
    array = np.asarray(to_numpy(leaf))
    form = zlib.crc32(f"{array.dtype}{array.shape}".encode())
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, form)


def check_world(name: str, world: Any) -> None:
    """Raise StructureError unless `world` is a world."""
    if not isinstance(world, World):
        hint = " Call it: fd.distributed.world()." if callable(world) else ""
        raise StructureError(f"{name}: a world is what fd.distributed.world() returns, got {describe(world)}.{hint}")
