"""Which engine serves an array of a GPU: NCCL, an MPI that reads the memory of GPUs, or MPI with a copy through the host.

Arrays of the host go by the host's engine in every world.
"""

import ctypes
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...devices import backend_named, backend_of
from ...errors import DeviceError
from ..waiting import EVERY
from .engine import Engine, Streaming
from .mpi import mpi
from .nccl import Nccl

__all__ = ["CudaAware", "Placed", "ThroughHost", "says_cuda_aware"]

GPU = backend_named("gpu")
# Where the library cannot be asked, or knows only what it was built with: the variables by which users switch it on.
SWITCHES = ("MPICH_GPU_SUPPORT_ENABLED", "MV2_USE_CUDA", "MVP_USE_CUDA")


@functools.cache
def says_cuda_aware() -> str:
    """How the MPI library says that it reads and writes the memory of GPUs; empty if it does not say so."""
    try:
        asked = ctypes.CDLL(mpi().__file__).MPIX_Query_cuda_support  # of Open MPI, MPICH and their relatives
    except (OSError, AttributeError):
        pass
    else:
        asked.restype = ctypes.c_int
        if asked() == 1:
            return "MPIX_Query_cuda_support() is 1"
    return next((f"{name}=1" for name in SWITCHES if os.environ.get(name) == "1"), "")


class ThroughHost(Engine):
    """MPI with copies of GPU arrays in the host's memory: it works everywhere, and waits for the GPU twice in each message."""

    name = "mpi"
    remark = "arrays of GPUs are copied through the host"

    def __init__(self, host: Engine) -> None:
        self.host = host
        self.rank, self.size = host.rank, host.size

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        copy = GPU.to_host(x)
        self.host.all_reduce(copy, copy, op)
        _fill(out, copy)

    def tree_sum(self, x: Any, out: Any) -> None:
        copy = GPU.to_host(x)
        self.host.tree_sum(copy, copy)
        _fill(out, copy)

    def all_gather(self, x: Any, out: Any) -> None:
        copy = np.empty(out.shape, out.dtype)
        self.host.all_gather(GPU.to_host(x), copy)
        _fill(out, copy)

    def reduce_scatter(self, x: Any, out: Any) -> None:
        copy = np.empty(out.shape, out.dtype)
        self.host.reduce_scatter(GPU.to_host(x), copy)
        _fill(out, copy)

    def broadcast(self, x: Any, root: int) -> None:
        copy = GPU.to_host(x) if self.rank == root else np.empty(x.shape, x.dtype)
        self.host.broadcast(copy, root)
        if self.rank != root:
            _fill(x, copy)

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        copy = np.empty(out.shape, out.dtype)
        self.host.permute(GPU.to_host(x), copy, to, source)
        _fill(out, copy)

    def barrier(self) -> None:
        GPU.wait()
        self.host.barrier()

    def within(self, host: Engine, colour: int) -> "ThroughHost":
        """The same engine for the part of the world that `host` connects."""
        return ThroughHost(host)


class CudaAware(ThroughHost):
    """An MPI that reads the memory of GPUs.

    Its calls block, because not every such MPI takes GPU memory in those that do not. So all ranks meet before, with a limit.
    Only the extremes of floats go through the host: MPI has no maximum that keeps NaN.
    """

    remark = "MPI reads the memory of GPUs"

    def __init__(self, host: Engine, comm: Any) -> None:
        super().__init__(host)
        self.comm = comm

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        if x.dtype.kind == "f" and op != "sum":
            super().all_reduce(x, out, op)
            return
        kind = np.dtype(np.uint8) if x.dtype.kind == "b" else x.dtype
        how = {"sum": mpi().SUM, "max": mpi().MAX, "min": mpi().MIN}[op]
        self._meet()
        self.comm.Allreduce(mpi().IN_PLACE if x is out else _sent(x, kind), _sent(out, kind), how)

    def tree_sum(self, x: Any, out: Any) -> None:
        Engine.tree_sum(self, x, out)

    def all_gather(self, x: Any, out: Any) -> None:
        self._meet()
        self.comm.Allgather(_sent(x), _sent(out))

    def reduce_scatter(self, x: Any, out: Any) -> None:
        self._meet()
        self.comm.Reduce_scatter_block(_sent(x), _sent(out), mpi().SUM)

    def broadcast(self, x: Any, root: int) -> None:
        self._meet()
        self.comm.Bcast(_sent(x), root)

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        self._meet()
        self.comm.Sendrecv(_sent(x), to, 0, _sent(out), source, 0)

    def _meet(self) -> None:
        """Wait for the work that makes the message, because MPI does not know streams, and for the other ranks."""
        GPU.module.cuda.get_current_stream().synchronize()
        self.host.barrier()

    def within(self, host: Engine, colour: int) -> "CudaAware":
        return CudaAware(host, self.comm.Split(colour, self.rank))


def _sent(x: Any, dtype: Any = None) -> list[Any]:
    """The memory of a GPU array for MPI."""
    return [mpi().buffer.fromaddress(x.data.ptr, x.nbytes), mpi().Datatype.fromcode((dtype or x.dtype).char)]


def _fill(out: Any, numbers: np.ndarray) -> None:
    with out.device:
        out[...] = GPU.from_host(numbers)


class Placed(Engine):
    """The engine of a world: arrays of the host go by `host`, those of this rank's GPU by `device`."""

    def __init__(self, host: Engine, device: Nccl | ThroughHost | None, index: int | None = None) -> None:
        self.host, self.device, self.index = host, device, index
        self.rank, self.size, self.watch = host.rank, host.size, host.watch
        if device is not None:
            self.watch.every = EVERY  # the host's engine may compare each call, but it does not carry these
        self.name, self.remark = (host.name, "") if device is None else (device.name, device.remark)

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        self.of(x).all_reduce(x, out, op)

    def tree_sum(self, x: Any, out: Any) -> None:
        self.of(x).tree_sum(x, out)

    def all_gather(self, x: Any, out: Any) -> None:
        self.of(x).all_gather(x, out)

    def reduce_scatter(self, x: Any, out: Any) -> None:
        self.of(x).reduce_scatter(x, out)

    def broadcast(self, x: Any, root: int) -> None:
        self.of(x).broadcast(x, root)

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        self.of(x).permute(x, out, to, source)

    def _exchange(self, x: Any, out: Any, other: int) -> None:
        self.of(x)._exchange(x, out, other)

    def streaming(self, xs: Sequence[Any]) -> Streaming | None:
        engines = {id(engine): engine for engine in [self.of(x) for x in xs]}
        return engines.popitem()[1].streaming(xs) if len(engines) == 1 else None

    def barrier(self) -> None:
        (self.device or self.host).barrier()

    def colours(self, colour: int) -> list[int]:
        return self.host.colours(colour)

    def split(self, colour: int) -> Engine:
        host = self.host.split(colour)
        return Placed(host, self.device and self.device.within(host, colour), self.index)

    def local(self) -> tuple[int, int]:
        return self.host.local()

    def gathered(self, number: int) -> list[int]:
        return self.host.gathered(number)

    def of(self, x: Any) -> Engine:
        """The engine that carries this array."""
        if isinstance(x, np.ndarray | np.generic):
            return self.host
        place = backend_of(x).device_of(x)
        if self.device is None:
            raise DeviceError(
                f'the world of rank {self.rank} is on the CPU, but an array is on {place}: make it with world(device="gpu").'
            )
        if place != f"{GPU.name}:{self.index}":
            raise DeviceError(
                f"an array is on {place}, but the device of rank {self.rank} is {GPU.name}:{self.index}: move it with "
                "fd.to_device(tree, world.device)."
            )
        return self.device
