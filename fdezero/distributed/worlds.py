"""`world`: the processes that run this script together, as a value; a world of one where no launcher started them."""

import contextlib
import functools
import threading
from collections.abc import Sequence
from typing import Any

import attrs

from ..devices import parse_device
from ..errors import DeviceError, RangeError, StructureError
from . import operations
from .engines.alone import Absent, Alone
from .engines.engine import Engine
from .engines.placed import Placed
from .failing import starting
from .joining import choose_gpu, joined
from .launchers import Launch, is_child_of_rank, launch_of, why_apart
from .messages import Messages
from .notes import LIMIT

__all__ = ["World", "world"]

STATIC = {"static": True}  # no child, where the world is in a tree
BACKENDS = ("none", "mpi", "nccl")
MOST_COLOURS = 1 << 31
_LOCK = threading.RLock()
_wholes: list["World"] = []  # the whole worlds of this process, the one that was made last at the end
# The sub-worlds of this process, for pickled worlds that are loaded here.
_parts: dict[tuple[str, tuple[int, ...]], "World"] = {}


@attrs.frozen(repr=False)
class World:
    """The processes that run a script together, and this one's place among them. `world()` and `split` make worlds.

    `rank` counts from 0 to `size - 1`, `local_rank` and `local_size` count on this machine. `members` are these
    processes' ranks in the whole world, which has `total` of them. In a tree, a world has no leaves.
    """

    rank: int = attrs.field(metadata=STATIC)
    size: int = attrs.field(metadata=STATIC)
    local_rank: int = attrs.field(metadata=STATIC)
    local_size: int = attrs.field(metadata=STATIC)
    device: str = attrs.field(metadata=STATIC)
    backend: str = attrs.field(metadata=STATIC)
    members: tuple[int, ...] = attrs.field(metadata=STATIC)
    total: int = attrs.field(metadata=STATIC)
    messages: Messages = attrs.field(eq=False, metadata=STATIC)

    @property
    def engine(self) -> Engine:
        """What carries the messages."""
        return self.messages.engine

    @property
    def share(self) -> tuple[int, int]:
        """`(rank, size)`, as `DataLoader(shard=world.share)` takes it."""
        return self.rank, self.size

    def __repr__(self) -> str:
        place = f", local rank {self.local_rank} of {self.local_size}" if self.size > 1 else ""
        part = f", ranks {list(self.members)} of the whole" if self.size < self.total else ""
        remark = f" ({self.engine.remark})" if self.engine.remark else ""
        return f"<world: rank {self.rank} of {self.size}{place} on {self.device}, backend {self.backend}{remark}{part}>"

    def __reduce__(self) -> Any:
        return _loaded, (None if self.size == self.total else self.members, self.backend)

    def all_reduce(self, tree: Any, op: str = "sum") -> Any:
        """See `fd.distributed.all_reduce`."""
        return operations.all_reduce(tree, self, op)

    def all_gather(self, tree: Any, axis: int = 0) -> Any:
        """See `fd.distributed.all_gather`."""
        return operations.all_gather(tree, self, axis)

    def reduce_scatter(self, tree: Any, axis: int = 0) -> Any:
        """See `fd.distributed.reduce_scatter`."""
        return operations.reduce_scatter(tree, self, axis)

    def broadcast(self, tree: Any, root: int = 0) -> Any:
        """See `fd.distributed.broadcast`."""
        return operations.broadcast(tree, self, root)

    def permute(self, tree: Any, to: int | Sequence[int]) -> Any:
        """See `fd.distributed.permute`."""
        return operations.permute(tree, self, to)

    def barrier(self) -> None:
        """See `fd.distributed.barrier`."""
        operations.barrier(self)

    def split(self, colour: int) -> "World":
        """The world of those ranks that call this with the same colour, in their order. All ranks of this world must call it.

        So a mesh of data x tensor is two splits: `world.split(world.rank // 2)` and `world.split(world.rank % 2)`.
        """
        if isinstance(colour, bool) or not hasattr(colour, "__index__") or int(colour) < 0:
            raise RangeError(f"world.split takes a whole number from 0 on as colour; got {colour!r}.")
        if self.size == 1:
            return self
        if not int(colour) < MOST_COLOURS:
            raise RangeError(f"world.split takes a colour below {MOST_COLOURS}, as MPI does; got {colour!r}.")
        watch = self.engine.watch
        if watch is not None:
            watch.enter("world.split")
        try:
            engines = self.messages.parts
            own, engine = engines.find(self.engine, int(colour))
            if engine is None:
                engine = self.engine.split(int(colour))
            made = _world_of(engine, self.device, self.backend, self.members[self.rank], self.total)
            engines.keep(own, engine, made)
            return made
        finally:
            if watch is not None:
                watch.leave()


def _world_of(engine: Engine, device: str, backend: str, member: int, total: int) -> World:
    """The world of an engine; `member` is the rank of this process in the whole world."""
    local_rank, local_size = engine.local()
    members = tuple(engine.gathered(member))
    made = World(engine.rank, engine.size, local_rank, local_size, device, backend, members, total, Messages(engine))
    _parts[(backend, members)] = made
    return made


def launched_size() -> int:
    """How many processes the launcher says that it started; 1 without a launcher."""
    launch = launch_of()
    return 1 if launch is None else launch.size


def world(backend: str | None = None, device: str | None = None, limit: float | None = None) -> World:
    """The world of this process: all processes that one `mpiexec` or `srun` started. Without a launcher it is a world of one.

    `device` is "cpu", "gpu" or "gpu:1", by default the CPU. "gpu" is one for each rank: number `local_rank` modulo the number of
    GPUs. It becomes the current GPU of this thread. `backend` is "nccl", "mpi" or "none", by default "nccl" for GPUs and "mpi"
    for CPUs, where a launcher started this process. If NCCL cannot be had, the world's repr says why, and how arrays travel.
    The same arguments give the same world. Nothing is imported for a world of one on the CPU. `limit` is how many seconds a
    collective waits for other ranks, in all worlds of this process, until it ends with an error; 600 if nothing is given.
    In a process that a rank has started, such as a worker of a pool, the world has the rank's place, but collectives raise.

    Raises MissingExtraError if a launcher started this process, but mpi4py is not installed; DeviceError without a GPU.
    """
    if backend is not None and backend not in BACKENDS:
        raise RangeError(f"world: backend is one of {', '.join(BACKENDS)}; got {backend!r}.")
    place = device or ("gpu" if backend == "nccl" else "cpu")
    is_on_gpu = parse_device(place) is not None
    if backend == "nccl" and not is_on_gpu:
        raise RangeError(f'world: NCCL connects GPUs, but the device is {device!r}: leave it out, or say device="gpu".')
    if limit is not None and not (isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0):
        raise RangeError(f"world: limit is a number of seconds above 0, or math.inf; got {limit!r}.")
    made = starting(lambda: _whole(backend, place), LIMIT if limit is None else limit)
    if limit is not None and made.engine.watch is not None:
        made.engine.watch.notes.limit = float(limit)
    return made


@functools.cache
def _whole(backend: str | None, device: str) -> World:
    with _LOCK:
        launch = launch_of()
        is_on_gpu = parse_device(device) is not None
        if backend == "none" or (backend is None and (launch is None or launch.size == 1)):
            if is_on_gpu:
                device = f"gpu:{choose_gpu(device, 0)}"
            return _known(_world_of(Alone(), device, "none", 0, 1))
        if launch is not None and is_child_of_rank():
            return _known(_world_of_child(launch, device))
        if is_on_gpu:
            with contextlib.suppress(DeviceError):  # `joined` tells all ranks
                # An MPI that reads the memory of GPUs asks for the current one when it starts.
                choose_gpu(device, (launch and launch.local_rank) or 0)
        from .engines.choice import engine_of
        from .engines.mpi import mpi

        # A communicator of our own: messages never meet those that a user sends on MPI.COMM_WORLD.
        comm = mpi().COMM_WORLD.Dup()
        if reason := why_apart(launch, comm.Get_size()):
            raise StructureError(f"world: {reason}")
        engine: Engine = engine_of(comm)
        if is_on_gpu:
            engine, device, backend = joined(engine, comm, device, engine.local()[0], backend)
        else:
            engine, backend = Placed(engine, None), "mpi"
        return _known(_world_of(engine, device, backend, engine.rank, engine.size))


def _world_of_child(launch: Launch, device: str) -> World:
    """The world of a process that a rank has started: the rank's place, without messages."""
    local_rank = launch.rank if launch.local_rank is None else launch.local_rank
    local_size = launch.size if launch.local_size is None else launch.local_size
    members = tuple(range(launch.size))
    messages = Messages(Absent(launch.rank, launch.size))
    return World(launch.rank, launch.size, local_rank, local_size, device, "mpi", members, launch.size, messages)


def _known(made: World) -> World:
    """The whole world, which a pickled one becomes in this process."""
    _wholes.append(made)
    return made


def _loaded(members: tuple[int, ...] | None, backend: str = "none") -> World:
    """The world of the process that loads a pickled one. If it has several whole ones, that of the same back end."""
    alike = [whole for whole in _wholes if whole.backend == backend]
    whole = [*_wholes, *alike][-1] if _wholes else world()
    if members is None or whole.size == 1:
        return whole
    found = _parts.get((whole.backend, members))
    if found is None:
        raise StructureError(
            f"the pickled world is a part of another one, with the ranks {list(members)}. This process has not split its world "
            "in that way: call world.split before loading."
        )
    return found
