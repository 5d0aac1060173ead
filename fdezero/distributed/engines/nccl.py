"""The engine of NVIDIA GPUs: NCCL through CuPy. It works on the current stream, so no message makes the host wait.

Ranks find each other by MPI, once. Moves come as bytes. NCCL has no bool, no 16-bit integers and no complex numbers, and its
maximum may pass over NaN: such a reduction is written with those that NCCL has.
"""

import atexit
import contextlib
import importlib
import warnings
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from ...devices import backend_named
from ...errors import DeviceError
from .engine import Engine
from .following import Follower
from .mpi import mpi

__all__ = ["Nccl", "why_apart_on_gpus", "why_no_nccl"]

TYPES = {
    "bool": "UINT8", "int8": "INT8", "uint8": "UINT8", "int32": "INT32", "uint32": "UINT32", "int64": "INT64", "uint64": "UINT64",
    "float16": "FLOAT16", "float32": "FLOAT32", "float64": "FLOAT64", "bfloat16": "BFLOAT16",
}  # fmt: skip
GPU = backend_named("gpu")
WIDER = {"int16": np.int32, "uint16": np.uint32}  # sums wrap around to the same 16 bits
OPS = {"sum": "SUM", "max": "MAX", "min": "MIN"}
MADE: "weakref.WeakSet[Nccl]" = weakref.WeakSet()


def module() -> ModuleType:
    """The module `cupy.cuda.nccl`, which CuPy does not import by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without the library CuPy warns, and says what to install in its own way
        return importlib.import_module("cupy.cuda.nccl")


def why_no_nccl() -> str:
    """What is missing to use NCCL, in one sentence; empty if nothing is missing."""
    try:
        found = module()
    except ImportError as error:
        return f"CuPy's module for NCCL cannot be loaded: {error}."
    if getattr(found, "available", False):
        return ""
    return (
        "CuPy does not find NCCL (libnccl.so.2): pip install 'fdezero[nccl12]' or 'fdezero[nccl13]', to suit your CuPy."
    )


class Nccl(Engine):
    """The GPUs of the ranks of one communicator of MPI, one for each rank."""

    name = "nccl"

    def __init__(self, comm: Any, index: int, watch: Any) -> None:
        """Join the ranks of `comm`, whose GPU is number `index` here, where `why_apart_on_gpus` has no objection.

        `watch` is that of the host's engine for the same ranks, which must all call this. Raises DeviceError if NCCL cannot connect
        them.
        """
        self.comm, self.index = comm, index
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.nccl, self.device = module(), GPU.module.cuda.Device(index)
        identity = comm.bcast(self.nccl.get_unique_id() if self.rank == 0 else None)
        self.follower = Follower(watch)
        with self.device, self.follower.joining():
            try:
                self.joined = self.nccl.NcclCommunicator(self.size, identity, self.rank)
            except self.nccl.NcclError as error:
                raise _explained(error, f"rank {self.rank} of {self.size} cannot join on gpu:{index}") from error
        self.follower.joined = self.joined
        MADE.add(self)

    def all_reduce(self, x: Any, out: Any, op: str) -> None:
        with self._served("all_reduce") as stream:
            if x.dtype.kind == "f" and op != "sum":
                self._extreme(x, out, op, stream)
                return
            send, receive, kind, of_nccl = self._plain(x, out, op)
            self.joined.allReduce(send.data.ptr, receive.data.ptr, send.size, kind, of_nccl, stream)
            if out.dtype.name in WIDER:
                out[...] = receive

    def all_gather(self, x: Any, out: Any) -> None:
        with self._served("all_gather") as stream:
            self.joined.allGather(x.data.ptr, out.data.ptr, x.nbytes, self.nccl.NCCL_UINT8, stream)

    def reduce_scatter(self, x: Any, out: Any) -> None:
        with self._served("reduce_scatter") as stream:
            send, receive, kind, op = self._plain(x, out, "sum")
            count = send.size // self.size
            self.joined.reduceScatter(send.data.ptr, receive.data.ptr, count, kind, op, stream)
            if out.dtype.name in WIDER:
                out[...] = receive

    def broadcast(self, x: Any, root: int) -> None:
        with self._served("broadcast") as stream:
            self.joined.broadcast(x.data.ptr, x.data.ptr, x.nbytes, self.nccl.NCCL_UINT8, root, stream)

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        with self._served("permute") as stream, self._together():
            self.joined.send(x.data.ptr, x.nbytes, self.nccl.NCCL_UINT8, to, stream)
            self.joined.recv(out.data.ptr, out.nbytes, self.nccl.NCCL_UINT8, source, stream)

    def barrier(self) -> None:
        """Wait until all ranks have come here, and their GPUs have done what they were given before."""
        with self.device:
            self._stream().synchronize()
        self.comm.Barrier()

    def within(self, host: Engine, colour: int) -> "Nccl":
        """The engine of the part of the world that `host` connects. All ranks of this world must call it."""
        return Nccl(self.comm.Split(colour, self.rank), self.index, host.watch)

    def close(self) -> None:
        """Leave NCCL in peace, as a process does at its end."""
        self.follower.stop()
        self.joined.destroy()

    def _stream(self) -> Any:
        return GPU.module.cuda.get_current_stream()

    @contextlib.contextmanager
    def _served(self, what: str) -> Iterator[int]:
        """The address of the current stream, for one message."""
        with self.device:
            stream = self._stream()
            try:
                yield stream.ptr
            except self.nccl.NcclError as error:
                raise _explained(error, f"{what} failed on rank {self.rank} of {self.size}") from error
            self.follower.note(stream)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Several calls as one, so that sending and receiving do not wait for each other."""
        self.nccl.groupStart()
        try:
            yield
        finally:
            self.nccl.groupEnd()

    def _plain(self, x: Any, out: Any, op: str) -> tuple[Any, Any, int, int]:
        """What NCCL reduces in place of x and `out`, with its numbers for the dtype and the operation."""
        name = x.dtype.name
        if x.dtype.kind == "c":
            x, out = (each.view(each.real.dtype) for each in (x, out))
        elif name == "bool":
            x, out = x.view(np.uint8), out.view(np.uint8)
            op = "max" if op == "sum" else op  # True and True is True, as NumPy adds them
        elif name in WIDER:
            x = x.astype(WIDER[name])
            out = np.empty_like(x, shape=out.shape)
        return x, out, getattr(self.nccl, f"NCCL_{TYPES[x.dtype.name]}"), getattr(self.nccl, f"NCCL_{OPS[op]}")

    def _extreme(self, x: Any, out: Any, op: str, stream: int) -> None:
        """The maximum or minimum of floats, where NaN wins as in NumPy: a second message says where a NaN is."""
        missing = np.isnan(x)
        least = np.where(missing, x.dtype.type(-np.inf if op == "max" else np.inf), x)
        flags = missing.view(np.uint8)
        with self._together():
            for each, of_nccl in ((least, op), (flags, "max")):
                _, _, kind, number = self._plain(each, each, of_nccl)
                self.joined.allReduce(each.data.ptr, each.data.ptr, each.size, kind, number, stream)
        out[...] = np.where(flags.view(np.bool_), x.dtype.type(np.nan), least)


def why_apart_on_gpus(comm: Any, index: int) -> tuple[str, bool]:
    """Why the ranks of `comm` cannot join NCCL, and whether something is not installed. All ranks get the same answer."""
    reason = why_no_nccl()
    told = comm.allgather((reason, "" if reason else f"{GPU.place_of(index)} of {mpi().Get_processor_name()}"))
    for rank, (missing, _) in enumerate(told):
        if missing:
            return f"no NCCL on rank {rank}: {missing}", True
    users: dict[str, list[int]] = {}
    for rank, (_, place) in enumerate(told):
        users.setdefault(place, []).append(rank)
    for place, ranks in users.items():
        if len(ranks) > 1:
            return (
                f"ranks {', '.join(map(str, ranks))} have the same GPU, {place}, but NCCL needs one for each rank: start fewer "
                'processes on that machine, or share GPUs by world("mpi", "gpu").'
            ), False
    return "", False


def _explained(error: Exception, what: str) -> DeviceError:
    return DeviceError(
        f"{what}: {error}. NCCL_DEBUG=WARN in the environment makes NCCL say more; frequent reasons are a small /dev/shm in a "
        "container (docker run --shm-size=1g) and the wrong network (NCCL_SOCKET_IFNAME)."
    )


@atexit.register
def _close() -> None:
    for engine in list(MADE):
        engine.close()
