"""The GPU of each rank, and the engine for its arrays: NCCL where it can be had, else MPI. All ranks decide alike."""

from typing import Any

from ..devices import backend_named, parse_device, why_no_gpu
from ..errors import DeviceError, FdezeroError, MissingExtraError
from .engines.engine import Engine
from .engines.nccl import Nccl, why_apart_on_gpus
from .engines.placed import CudaAware, Placed, ThroughHost, says_cuda_aware

__all__ = ["choose_gpu", "joined"]

GPU = backend_named("gpu")


def choose_gpu(device: str, local_rank: int) -> int:
    """Make this rank's GPU the current one: that of `device`, or for "gpu" number local_rank modulo the number of GPUs.

    Raises DeviceError if there is none.
    """
    index = parse_device(device)
    if index is None:
        raise DeviceError(f"{device!r} is no GPU.")
    if reason := why_no_gpu():
        raise DeviceError(f"no GPU for world(device={device!r}): {reason}")
    count = GPU.count()
    if device == GPU.name:
        index = local_rank % count
    elif index >= count:
        raise DeviceError(
            f"no device {device!r} for this rank: its machine shows it {count} {'GPU' if count == 1 else 'GPUs'}."
        )
    GPU.choose(index)
    return index


def joined(host: Engine, comm: Any, device: str, local_rank: int, backend: str | None) -> tuple[Engine, str, str]:
    """The engine of a world with GPUs, the name of this rank's device, and that of the back end.

    Raises DeviceError or MissingExtraError, on all ranks alike, if a rank has no GPU or NCCL was asked for and cannot be had.
    """
    index, failed = 0, ""
    try:
        index = choose_gpu(device, local_rank)
    except FdezeroError as error:
        failed = str(error)
    for rank, reason in enumerate(comm.allgather(failed)):
        if reason:
            raise DeviceError(reason if comm.Get_size() == 1 else f"rank {rank}: {reason}")
    name, reason = f"{GPU.name}:{index}", ""
    if backend != "mpi":
        reason, is_missing = why_apart_on_gpus(comm, index)
        if not reason:
            return Placed(host, Nccl(comm.Dup(), index, host.watch), index), name, "nccl"
        if backend == "nccl":
            raise (MissingExtraError if is_missing else DeviceError)(reason)
    is_aware = all(comm.allgather(bool(says_cuda_aware())))
    engine = CudaAware(host, comm) if is_aware else ThroughHost(host)
    engine.remark = f"{engine.remark}; {reason}" if reason else engine.remark
    return Placed(host, engine, index), name, "mpi"
