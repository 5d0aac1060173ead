"""Checkpoints of a run on several ranks: the first one writes and reads, and all ranks wait for it and get its errors."""

import datetime
import pickle
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import optree

from ..devices import to_numpy
from ..errors import CheckpointError
from ..messages import describe
from ..tree import flatten, unflatten
from ..tree.structure import ALL
from ..tree.wholes import cut, gathered, is_parted, outlined
from .checkpoints import Checkpoints, whole_step
from .files import PathLike
from .index import Checkpoint
from .trees import Rename, like_leaf, placed_like

__all__: list[str] = []  # `Checkpoints(folder, world=world)` is one of these

Result = TypeVar("Result")
FIRST = 0


class CheckpointsOfRanks(Checkpoints):
    """What `Checkpoints(folder, world=world)` is on several ranks. All ranks call each method, in the same order."""

    def __init__(self, folder: PathLike, *, world: Any, **settings: Any) -> None:
        super().__init__(folder, world=world, **settings)
        self._writer = Checkpoints(folder, **settings) if world.rank == FIRST else None
        self._begun = False

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, world={self.world!r})"

    def due(self, step: Any) -> bool:
        """Whether `save` would write at this step. Seconds are those of the first rank."""
        if isinstance(self.every, datetime.timedelta):
            return self._by_first(lambda writer: writer.due(step))
        return super().due(step)

    def save(self, state: Any, step: Any, metrics: Mapping[str, Any] | None = None, *, force: bool = False) -> bool:
        """As `Checkpoints.save`. Parts of arrays are gathered, one after the other, and whole arrays are those of the first rank."""
        number = whole_step(step)
        if self._begun and not (force or self.due(number)):
            return False
        outline = outlined(state)
        self._by_first(lambda writer: writer.ready(outline, metrics)[1])
        self._begun = True
        if not (force or self.due(number)):
            return False
        whole = gathered(state, keep=self._writer is not None)
        self._by_first(lambda writer: writer.save(whole, number, metrics, force=True))
        self._last_step, self._last_time = number, time.monotonic()
        return True

    def all(self) -> list[Checkpoint]:
        """The checkpoints in the first rank's folder, the last one written last."""
        return self._by_first(lambda writer: writer.all())

    def latest(self) -> Checkpoint | None:
        """The checkpoint that was written last; None if there is none."""
        return self._by_first(lambda writer: writer.latest())

    def best(self) -> Checkpoint | None:
        """The checkpoint with the best metric; None if no checkpoint has the metric."""
        return self._by_first(lambda writer: writer.best())

    def restore(
        self, *, like: Any = None, step: int | str | None = None, strict: bool = True, rename: Rename = None
    ) -> Any:
        """As `Checkpoints.restore`. The first rank reads, and nobody else needs the folder. All get the values, and cut their parts."""
        outline = outlined(like)
        missing = {id(leaf) for leaf in flatten(outline)[0]}
        read: list[Any] = []

        def begin(writer: Checkpoints) -> Any:
            read.append(writer.restore(like=outline, step=step, strict=strict, rename=rename))
            kinds = [None if id(leaf) in missing else _kind(leaf) for leaf in flatten(read[0])[0]]
            return writer.last_step, list(read[0]) if like is None else None, kinds

        self._last_step, names, kinds = self._by_first(begin)
        self._last_time, self._restored = time.monotonic(), True
        if like is None:
            leaves = flatten(read[0])[0] if read else [None] * len(kinds)
            found = [self._sent(kind, leaf) for kind, leaf in zip(kinds, leaves, strict=True)]
            return dict(zip(sorted(names), found, strict=True))
        return self._received(like, outline, read[0] if read else outline, iter(kinds))

    def _received(self, like: Any, outline: Any, tree: Any, kinds: Any) -> Any:
        """The tree that the first rank has read, node by node, so that no other rank holds more than its part and one whole."""
        nodes, treedef = optree.tree_flatten(like, is_leaf=is_parted, namespace=ALL)
        stand_ins: list[Any] = treedef.flatten_up_to(outline)
        wholes: list[Any] = treedef.flatten_up_to(tree)
        for i, node in enumerate(nodes):
            leaves, structure = flatten(wholes[i])
            before = flatten(stand_ins[i])[0]
            rows = zip(leaves, before, [next(kinds) for _ in leaves], strict=True)
            found = [old if kind is None else like_leaf(self._sent(kind, leaf), old, True) for leaf, old, kind in rows]
            whole = unflatten(structure, found)
            nodes[i] = placed_like(cut(whole, node, stand_ins[i]), node) if is_parted(node) else whole
            wholes[i] = None
        return unflatten(treedef, nodes)

    def _sent(self, kind: tuple[tuple[int, ...], Any], leaf: Any) -> Any:
        """An array of the first rank, on every rank."""
        shape, dtype = kind
        return self.world.broadcast(np.asarray(to_numpy(leaf)) if self._writer else np.empty(shape, dtype), FIRST)

    def wait(self) -> None:
        """Wait until the first rank has written all snapshots. Raises CheckpointError on all ranks if one could not be written."""
        self._by_first(lambda writer: writer.wait())

    def close(self) -> None:
        """Wait for the last snapshot, and leave SIGTERM as it was."""
        self._by_first(lambda writer: writer.close())

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self.close()
        elif self._writer is not None:  # the other ranks may be elsewhere: nothing is said to them
            self._writer.__exit__(kind, error, trace)

    def _by_first(self, function: Callable[[Checkpoints], Result]) -> Result:
        """What the function returns or raises on the first rank, on all ranks."""
        failed: Exception | None = None
        message = b""
        if self._writer is not None:
            try:
                message = pickle.dumps((True, function(self._writer)))
            except Exception as error:
                failed, message = error, _told(error)
        length = int(self.world.broadcast(np.asarray(len(message)), FIRST))
        line = np.frombuffer(message, np.uint8) if message else np.empty(length, np.uint8)
        message = self.world.broadcast(line, FIRST).tobytes()
        if failed is not None:
            raise failed
        succeeded, result = pickle.loads(message)
        if not succeeded:
            result.add_note(f"Rank {FIRST} raised this error, which writes and reads the checkpoints of all ranks.")
            raise result
        found: Result = result
        return found


def kind_for(world: Any) -> type[Checkpoints]:
    """The class of checkpoints for a world. Raises TypeError for what is no world."""
    if not (hasattr(world, "broadcast") and hasattr(world, "size")):
        hint = " Call it: fd.distributed.world()." if callable(world) else ""
        raise TypeError(f"Checkpoints: world is what fd.distributed.world() returns, got {describe(world)}.{hint}")
    return CheckpointsOfRanks if world.size > 1 else Checkpoints


def _kind(leaf: Any) -> tuple[tuple[int, ...], Any]:
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return tuple(array.shape), array.dtype


def _told(error: Exception) -> bytes:
    """An error for the other ranks."""
    try:
        message = pickle.dumps((False, error))
        pickle.loads(message)
    except Exception:  # a class that does not pickle, or that is not made of its message alone
        return pickle.dumps((False, CheckpointError(f"{type(error).__name__}: {error}")))
    return message
