"""`gathered`: the whole arrays of a tree in which each rank holds a part."""

from typing import Any

from ..tree import wholes

__all__ = ["gathered"]


def gathered(tree: Any) -> Any:
    """The tree with whole arrays in place of the parts that `optim.sharded` and layers of several ranks hold, on every rank.

    All ranks call it, in the same order. `fd.save` takes the result, and so does the optimiser without `sharded`. Files that
    `fd.io.Checkpoints(folder, world=world)` or `fd.save` wrote are cut again by `fd.load(path, like=tree)`, on any number of ranks.
    """
    return wholes.gathered(tree)
