"""The engine of NVIDIA GPUs: NCCL through CuPy. It works on the current stream, so no message makes the host wait.

Ranks find each other by MPI, once. Moves come as bytes. NCCL has no bool, no 16-bit integers and no complex numbers, and its
maximum may pass over NaN: such a reduction is written with those that NCCL has.
"""

import atexit
import contextlib
import functools
import importlib
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from ...devices import backend_named
from ...errors import DeviceError
from ...values import is_floating
from .engine import Arrays, Engine, StreamingEngine
from .following import Follower
from .mpi import mpi

__all__ = ["Nccl", "why_apart_on_gpus", "why_no_nccl"]

TYPES = {
    "bool": "UINT8", "int8": "INT8", "uint8": "UINT8", "int32": "INT32", "uint32": "UINT32", "int64": "INT64", "uint64": "UINT64",
    "float16": "FLOAT16", "float32": "FLOAT32", "float64": "FLOAT64", "bfloat16": "BFLOAT16",
}  # fmt: skip
GPU = backend_named("gpu")
WIDER = {"int16": np.dtype(np.int32), "uint16": np.dtype(np.uint32)}  # sums wrap around to the same 16 bits
OPS = {"sum": "SUM", "max": "MAX", "min": "MIN"}
Reduction = tuple[Any, Any, tuple[int, int, int]]  # what is sent, what receives, NCCL's numbers
Finish = tuple[Any, Callable[[], Any]]  # where a result goes, and what gives it
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


class Nccl(StreamingEngine):
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

    def permute(self, x: Any, out: Any, to: int, source: int) -> None:
        with self._message("permute") as stream:
            self.joined.send(x.data.ptr, x.nbytes, self.nccl.NCCL_UINT8, to, stream)
            self.joined.recv(out.data.ptr, out.nbytes, self.nccl.NCCL_UINT8, source, stream)

    def all_reduce_each(self, xs: Arrays, outs: Arrays, dtypes: Arrays, op: str) -> None:
        if op == "tree":
            self._tree_sum_each(xs, outs, dtypes)
            return
        calls, finishing = self._reductions(xs, outs, dtypes, "sum" if op == "mean" else op)
        with self._message("all_reduce") as stream:
            for send, receive, (kind, number, parts) in calls:
                self.joined.allReduce(send.data.ptr, receive.data.ptr, send.size * parts, kind, number, stream)
        self._finish(calls, finishing, op)

    def all_gather_each(self, xs: Arrays, outs: Arrays) -> None:
        with self._message("all_gather") as stream:
            for x, out in zip(xs, outs, strict=True):
                self.joined.allGather(x.data.ptr, out.data.ptr, x.nbytes, self.nccl.NCCL_UINT8, stream)

    def reduce_scatter_each(self, xs: Arrays, outs: Arrays, dtypes: Arrays) -> None:
        calls, finishing = self._reductions(xs, outs, dtypes, "sum")
        with self._message("reduce_scatter") as stream:
            for send, receive, (kind, number, parts) in calls:
                count = receive.size * parts
                self.joined.reduceScatter(send.data.ptr, receive.data.ptr, count, kind, number, stream)
        self._finish(calls, finishing, "sum")

    def broadcast_each(self, xs: Arrays, root: int) -> None:
        with self._message("broadcast") as stream:
            for x in xs:
                self.joined.broadcast(x.data.ptr, x.data.ptr, x.nbytes, self.nccl.NCCL_UINT8, root, stream)

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
    def _message(self, what: str) -> Iterator[int]:
        """The address of the current stream, for calls that become one message. So none of them waits for another."""
        with self.device:
            stream = self._stream()
            try:
                self.nccl.groupStart()
                try:
                    yield stream.ptr
                finally:
                    self.nccl.groupEnd()
            except self.nccl.NcclError as error:
                raise _explained(error, f"{what} failed on rank {self.rank} of {self.size}") from error
            self.follower.note(stream)

    def _reductions(self, xs: Arrays, outs: Arrays, dtypes: Arrays, op: str) -> tuple[list[Reduction], list[Finish]]:
        """The calls of NCCL that reduce arrays, each computed in its dtype, and what writes those results that they do not write."""
        calls: list[Reduction] = []
        finishing: list[Finish] = []
        with self.device:
            for x, out, dtype in zip(xs, outs, dtypes, strict=True):
                if op != "sum" and is_floating(dtype):
                    finishing.append(_extreme(x.astype(dtype, copy=False), out, op, calls))
                    continue
                numbers, wide = reduction_of(dtype, op)
                if wide == x.dtype:
                    calls.append((x, out, numbers))
                else:
                    receive = np.empty_like(x, dtype=wide, shape=out.shape)
                    calls.append((x.astype(wide), receive, numbers))
                    finishing.append((out, functools.partial(receive.astype, out.dtype)))
        return calls, finishing

    def _finish(self, calls: list[Reduction], finishing: list[Finish], op: str) -> None:
        if not finishing and op != "mean":
            return
        with self.device:
            if op == "mean":
                for _, receive, _ in calls:
                    np.divide(receive, self.size, out=receive)
            for out, result in finishing:
                out[...] = result()

    def _tree_sum_each(self, xs: Arrays, outs: Arrays, dtypes: Arrays) -> None:
        """`tree_sum` of all arrays of a dtype as one: each step of the tree is a message."""
        for dtype in dict.fromkeys(dtypes):
            group = [(x, out) for x, out, each in zip(xs, outs, dtypes, strict=True) if each == dtype]
            flat = np.concatenate([x.astype(dtype, copy=False) for x, _ in group])
            self.tree_sum(flat, flat)
            start = 0
            for _, out in group:
                out[...] = flat[start : start + out.size]
                start += out.size


@functools.cache
def reduction_of(dtype: Any, op: str) -> tuple[tuple[int, int, int], Any]:
    """NCCL's numbers for a reduction: of the dtype, of the operation, and numbers for each entry; and the dtype in which it is done."""
    wide, parts = np.dtype(WIDER.get(dtype.name, dtype)), 1
    name = wide.name
    if dtype.kind == "c":
        name, parts = f"float{dtype.itemsize * 4}", 2
    elif dtype.kind == "b" and op == "sum":  # True and True is True, as NumPy adds them
        op = "max"
    nccl = module()
    return (getattr(nccl, f"NCCL_{TYPES[name]}"), getattr(nccl, f"NCCL_{OPS[op]}"), parts), wide


def _extreme(x: Any, out: Any, op: str, calls: list[Reduction]) -> Finish:
    """The maximum or minimum of floats, where NaN wins as in NumPy: a second array says where a NaN is."""
    missing = np.isnan(x)
    least = np.where(missing, x.dtype.type(-np.inf if op == "max" else np.inf), x)
    calls.append((least, least, reduction_of(x.dtype, op)[0]))
    calls.append((missing, missing, reduction_of(missing.dtype, "max")[0]))
    return out, lambda: np.where(missing, x.dtype.type(np.nan), least)


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
