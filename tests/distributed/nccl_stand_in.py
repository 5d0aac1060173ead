"""A stand-in for `cupy.cuda.nccl` on machines without GPUs: CuPy's names and signatures over MPI, on memory of the host.

It is strict where NCCL is: dtypes, the stream of the current device, buffers that overlap, sends without a group, one GPU for each
rank. It adds in another order than that of the ranks, and its maximum passes over NaN, because NCCL promises neither.
`serve` puts the same functions behind the real binding of CuPy: as a small libnccl.so.2 that calls back.
"""

import ctypes
import itertools
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

NCCL_SUM, NCCL_PROD, NCCL_MAX, NCCL_MIN, NCCL_AVG = range(5)
NCCL_INT8 = NCCL_CHAR = 0
NCCL_UINT8 = 1
NCCL_INT32 = NCCL_INT = 2
NCCL_UINT32, NCCL_INT64, NCCL_UINT64 = 3, 4, 5
NCCL_FLOAT16 = NCCL_HALF = 6
NCCL_FLOAT32 = NCCL_FLOAT = 7
NCCL_FLOAT64 = NCCL_DOUBLE = 8
NCCL_BFLOAT16 = 9
DTYPES = [np.dtype(kind) for kind in ("i1", "u1", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ml_dtypes.bfloat16)]
ERRORS = ["SUCCESS", "UNHANDLED_CUDA_ERROR", "SYSTEM_ERROR", "INTERNAL_ERROR", "INVALID_ARGUMENT", "INVALID_USAGE", "REMOTE_ERROR"]
INVALID_ARGUMENT, INVALID_USAGE = 4, 5
REDUCE: dict[int, Callable[[Any, Any], Any]] = {NCCL_SUM: np.add, NCCL_PROD: np.multiply, NCCL_MAX: np.fmax, NCCL_MIN: np.fmin}
TAG = 31000  # of the messages by which the ranks of a communicator find each other
available = True

CALLS: list[tuple[str, int, int]] = []  # name, entries and stream of every call of this process
GROUPS: list[int] = []  # the number of calls of every group
BROKEN: list[int] = []  # the status that check_async_error finds
pending: list[list[Callable[[list[Any]], None]]] = []  # the calls of the group that is open, if one is
numbers = itertools.count(1)


class NcclError(RuntimeError):
    """An error of NCCL by its status."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"NCCL_ERROR_{ERRORS[status]}: {ERRORS[status].lower().replace('_', ' ')}")


def demand(condition: Any, status: int = INVALID_ARGUMENT) -> None:
    if not condition:
        raise NcclError(status)


def mpi() -> Any:
    from mpi4py import MPI

    return MPI


def current_device() -> int:
    import cupy

    return int(cupy.cuda.runtime.getDevice())


def bus_of(device: int) -> str:
    import cupy

    return str(cupy.cuda.runtime.deviceGetPCIBusId(device))


def get_version() -> int:
    return 22707


def get_build_version() -> int:
    return 22707


def get_unique_id() -> bytes:
    made = mpi().COMM_WORLD.rank.to_bytes(4, "little") + next(numbers).to_bytes(4, "little")
    return made + secrets.token_bytes(120)


def groupStart() -> None:
    demand(not pending, INVALID_USAGE)  # NCCL nests groups, the library does not
    pending.append([])


def groupEnd() -> None:
    demand(pending, INVALID_USAGE)
    requests: list[Any] = []
    GROUPS.append(len(pending[-1]))
    for call in pending.pop():
        call(requests)
    mpi().Request.Waitall(requests)


def memory(pointer: int, count: int, dtype: np.dtype) -> np.ndarray:
    """The numbers at a pointer."""
    size = count * dtype.itemsize
    demand(pointer or not size)
    if not size:
        return np.empty(0, dtype)
    return np.frombuffer((ctypes.c_ubyte * size).from_address(pointer), dtype)


def apart(a: np.ndarray, b: np.ndarray) -> bool:
    return not np.may_share_memory(a, b)


class NcclCommunicator:
    """cupy.cuda.nccl.NcclCommunicator."""

    def __init__(self, ndev: int, commId: bytes, rank: int, config: None = None) -> None:
        assert isinstance(commId, bytes)
        assert len(commId) == 128
        demand(0 <= rank < ndev)
        MPI = mpi()
        world, self.device = MPI.COMM_WORLD, current_device()
        root, tag = int.from_bytes(commId[:4], "little"), TAG + int.from_bytes(commId[4:8], "little") % 500
        self._comm: Any = None
        here = (rank, world.rank, commId, bus_of(self.device), MPI.Get_processor_name())
        if world.rank == root:
            found = [here, *[world.recv(source=MPI.ANY_SOURCE, tag=tag) for _ in range(ndev - 1)]]
            for _, peer, *_ in found[1:]:
                world.send(sorted(found), dest=peer, tag=tag)
        else:
            world.send(here, dest=root, tag=tag)
            found = world.recv(source=root, tag=tag)
        found = sorted(found)
        demand(len({identity for _, _, identity, *_ in found}) == 1)
        demand(len({place for *_, bus, host in found for place in [(bus, host)]}) == ndev, INVALID_USAGE)  # "Duplicate GPU detected"
        group = world.group.Incl([peer for _, peer, *_ in found])
        self._comm = world.Create_group(group, tag + 500)

    def rank_id(self) -> int:
        return int(self._comm.rank)

    def size(self) -> int:
        return int(self._comm.size)

    def device_id(self) -> int:
        return self.device

    def destroy(self) -> None:
        if self._comm is not None:
            self._comm.Free()
            self._comm = None

    def abort(self) -> None:
        self._comm = None  # MPI cannot free a communicator alone

    def check_async_error(self) -> None:
        if BROKEN:
            raise NcclError(BROKEN[-1])

    def allReduce(self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int) -> None:
        dtype = self._checked("allReduce", count, datatype, stream, op)
        send, receive = memory(sendbuf, count, dtype), memory(recvbuf, count, dtype)
        demand(sendbuf == recvbuf or apart(send, receive))
        self._do(lambda: np.copyto(receive, self._reduced(send, op)))

    def reduceScatter(self, sendbuf: int, recvbuf: int, recvcount: int, datatype: int, op: int, stream: int) -> None:
        dtype = self._checked("reduceScatter", recvcount, datatype, stream, op)
        send, receive = memory(sendbuf, recvcount * self.size(), dtype), memory(recvbuf, recvcount, dtype)
        place = self.rank_id() * recvcount
        demand(recvbuf == sendbuf + place * dtype.itemsize or apart(send, receive))
        self._do(lambda: np.copyto(receive, self._reduced(send, op)[place : place + recvcount]))

    def allGather(self, sendbuf: int, recvbuf: int, count: int, datatype: int, stream: int) -> None:
        dtype = self._checked("allGather", count, datatype, stream)
        send, receive = memory(sendbuf, count, dtype), memory(recvbuf, count * self.size(), dtype)
        demand(sendbuf == recvbuf + self.rank_id() * count * dtype.itemsize or apart(send, receive))
        self._do(lambda: np.copyto(receive, self._gathered(send).reshape(-1)))

    def broadcast(self, sendbuff: int, recvbuff: int, count: int, datatype: int, root: int, stream: int) -> None:
        dtype = self._checked("broadcast", count, datatype, stream)
        demand(0 <= root < self.size())
        receive = memory(recvbuff, count, dtype)
        send = memory(sendbuff, count, dtype) if self.rank_id() == root else receive
        demand(sendbuff == recvbuff or self.rank_id() != root or apart(send, receive))
        self._do(lambda: np.copyto(receive, self._gathered(send)[root]))

    def send(self, sendbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        dtype = self._checked("send", count, datatype, stream)
        demand(0 <= peer < self.size())
        data = memory(sendbuf, count, dtype).view(np.uint8)
        if pending:
            pending[-1].append(lambda requests: requests.append(self._comm.Isend(data.copy(), peer)))
        else:
            self._comm.Ssend(data, peer)  # it waits for the receiver, as NCCL's does

    def recv(self, recvbuf: int, count: int, datatype: int, peer: int, stream: int) -> None:
        dtype = self._checked("recv", count, datatype, stream)
        demand(0 <= peer < self.size())
        data = memory(recvbuf, count, dtype).view(np.uint8)
        if pending:
            pending[-1].append(lambda requests: requests.append(self._comm.Irecv(data, peer)))
        else:
            self._comm.Recv(data, peer)

    def _checked(self, name: str, count: int, datatype: int, stream: int, op: int = NCCL_SUM) -> np.dtype:
        demand(self._comm is not None)
        demand(count >= 0)
        demand(0 <= datatype < len(DTYPES))
        demand(op in REDUCE)
        demand(current_device() == self.device, INVALID_USAGE)  # a stream belongs to the device that was current when it was made
        CALLS.append((name, count, stream))
        return DTYPES[datatype]

    def _do(self, call: Callable[[], None]) -> None:
        if pending:
            pending[-1].append(lambda requests: call())
        else:
            call()

    def _gathered(self, send: np.ndarray) -> np.ndarray:
        found = np.empty((self.size(), send.size), send.dtype)
        self._comm.Allgather(send.view(np.uint8), found.view(np.uint8))
        return found

    def _reduced(self, send: np.ndarray, op: int) -> np.ndarray:
        rows = self._gathered(send)
        total = rows[-1]
        for row in rows[:-1]:  # the last one first
            total = REDUCE[op](total, row).astype(send.dtype)
        return total


SOURCE = r"""
#include <stddef.h>
typedef int (*call)(int, long, long, size_t, int, int, int, long);
typedef struct { char internal[128]; } unique;
static call table;
static char made[128];
void fdezero_serve(call function) { table = function; }
char *fdezero_identity(void) { return made; }
enum { VERSION, IDENTITY, INIT, DESTROY, ABORT, ASYNC, START, END, REDUCE, SCATTER, GATHER, BROADCAST, SEND, RECV };
#define COMM(c) (int)(long)(c)
int ncclGetVersion(int *version) { *version = 22707; return 0; }
const char *ncclGetErrorString(int status) { return "an error of the stand-in"; }
int ncclGetUniqueId(unique *id) {
    int status = table(IDENTITY, 0, 0, 0, 0, 0, 0, 0);
    for (int i = 0; i < 128; ++i) id->internal[i] = made[i];
    return status;
}
int ncclCommInitRankConfig(void **comm, int size, unique id, int rank, void *config) {
    for (int i = 0; i < 128; ++i) made[i] = id.internal[i];
    int number = table(INIT, 0, 0, 0, 0, size, rank, 0);  /* -status, or the number of the communicator */
    if (number <= 0) return -number;
    *comm = (void *)(long)number;
    return 0;
}
int ncclCommInitRank(void **comm, int size, unique id, int rank) { return ncclCommInitRankConfig(comm, size, id, rank, 0); }
int ncclCommDestroy(void *c) { return table(DESTROY, 0, 0, 0, 0, 0, COMM(c), 0); }
int ncclCommAbort(void *c) { return table(ABORT, 0, 0, 0, 0, 0, COMM(c), 0); }
int ncclCommGetAsyncError(void *c, int *status) { *status = table(ASYNC, 0, 0, 0, 0, 0, COMM(c), 0); return 0; }
int ncclGroupStart(void) { return table(START, 0, 0, 0, 0, 0, 0, 0); }
int ncclGroupEnd(void) { return table(END, 0, 0, 0, 0, 0, 0, 0); }
int ncclAllReduce(void *s, void *r, size_t n, int t, int op, void *c, void *q) { return table(REDUCE, (long)s, (long)r, n, t, op, COMM(c), (long)q); }
int ncclReduceScatter(void *s, void *r, size_t n, int t, int op, void *c, void *q) { return table(SCATTER, (long)s, (long)r, n, t, op, COMM(c), (long)q); }
int ncclAllGather(void *s, void *r, size_t n, int t, void *c, void *q) { return table(GATHER, (long)s, (long)r, n, t, 0, COMM(c), (long)q); }
int ncclBroadcast(void *s, void *r, size_t n, int t, int root, void *c, void *q) { return table(BROADCAST, (long)s, (long)r, n, t, root, COMM(c), (long)q); }
int ncclSend(void *s, size_t n, int t, int peer, void *c, void *q) { return table(SEND, (long)s, 0, n, t, peer, COMM(c), (long)q); }
int ncclRecv(void *r, size_t n, int t, int peer, void *c, void *q) { return table(RECV, 0, (long)r, n, t, peer, COMM(c), (long)q); }
#define ABSENT(name) int name(void) { return 3; }
ABSENT(ncclBcast) ABSENT(ncclCommCount) ABSENT(ncclCommCuDevice) ABSENT(ncclCommInitAll) ABSENT(ncclCommSplit) ABSENT(ncclCommUserRank)
ABSENT(ncclReduce)
"""
CALL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, *[ctypes.c_long] * 2, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
KEPT: list[Any] = []  # what C refers to


def serve() -> str:
    """Let the real CuPy find NCCL: a libnccl.so.2 whose functions call the stand-in. Returns why this cannot be, or nothing."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return "the stand-in for libnccl.so.2 needs a C compiler"
    if KEPT:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "nccl.c"), Path(folder, "libnccl.so.2")
        source.write_text(SOURCE)
        subprocess.run([compiler, "-w", "-shared", "-fPIC", "-Wl,-soname,libnccl.so.2", "-o", library, source], check=True)
        loaded = ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)  # CuPy's module asks for the library by this name
    loaded.fdezero_identity.restype = ctypes.POINTER(ctypes.c_char * 128)
    identity = loaded.fdezero_identity().contents
    communicators: dict[int, NcclCommunicator] = {}

    def make(size: int, rank: int) -> int:
        communicators[number := len(communicators) + 1] = NcclCommunicator(size, identity.raw, rank)
        return number

    def dispatch(which: int, send: int, receive: int, count: int, datatype: int, extra: int, number: int, stream: int) -> int:
        try:
            if which == 1:
                identity.raw = get_unique_id()
            elif which == 2:
                return make(extra, number)
            elif which in (6, 7):
                (groupStart if which == 6 else groupEnd)()
            else:
                comm = communicators[number]
                {
                    3: comm.destroy, 4: comm.abort, 5: comm.check_async_error,
                    8: lambda: comm.allReduce(send, receive, count, datatype, extra, stream),
                    9: lambda: comm.reduceScatter(send, receive, count, datatype, extra, stream),
                    10: lambda: comm.allGather(send, receive, count, datatype, stream),
                    11: lambda: comm.broadcast(send, receive, count, datatype, extra, stream),
                    12: lambda: comm.send(send, count, datatype, extra, stream),
                    13: lambda: comm.recv(receive, count, datatype, extra, stream),
                }[which]()  # fmt: skip
        except NcclError as error:
            return -error.status if which == 2 else error.status
        return 0

    function = CALL(dispatch)
    loaded.fdezero_serve(function)
    KEPT.extend([loaded, function])
    return ""
