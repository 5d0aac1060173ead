"""Snapshots: the leaves of a tree as they are now, for a thread that writes them while training goes on.

No operation of fdezero writes into an array that somebody holds, and a compiled program writes its outputs again only when no view
of them is left. So most of a snapshot is references. What you could write into yourself is copied or, if it is large and nothing but
your tree refers to it, read-only until it is written.
"""

from typing import Any

import numpy as np

from ..core.owners import LARGE, Guard, is_sealed
from ..devices import backend_of
from ..tree import flatten_to_dict
from .leaves import Pending


class Snapshot:
    """The leaves of a tree by their paths, in `leaves`. Arrays of a GPU are copied on their device, and come to the CPU one by one."""

    def __init__(self, tree: Any) -> None:
        self.guard = Guard()
        flat = flatten_to_dict(tree)
        names, leaves = list(flat), list(flat.values())
        del flat  # the guard counts references, so only the tree and one list may hold the leaves
        for i in range(len(leaves)):
            if leaves[i].__class__ is np.ndarray and leaves[i].nbytes > LARGE:
                self.guard.lock(leaves, i, (leaves,))
        copies: dict[int, Any] = {}  # an array at two places is copied once
        for i in range(len(leaves)):
            number = id(leaves[i])
            if number not in copies:
                copies[number] = _kept(self.guard, leaves[i])
        self.leaves: dict[str, Any] = {name: copies[id(leaf)] for name, leaf in zip(names, leaves, strict=True)}

    def release(self) -> None:
        """Forget the leaves; what was locked can be written again."""
        self.leaves = {}
        self.guard.release()


def _kept(guard: Guard, leaf: Any) -> Any:
    """A leaf where nobody can write into it."""
    if isinstance(leaf, np.ndarray):
        if id(leaf) in guard.views:
            return guard.views[id(leaf)][1]
        return leaf if is_sealed(leaf) else np.array(leaf, order="K")
    backend = backend_of(leaf)
    return leaf if backend.reads_at_once else Pending(leaf.shape, leaf.dtype, backend.copied_for_later(leaf))
