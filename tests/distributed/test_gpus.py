"""Worlds with GPUs: what they compute is what a world of CPUs computes, by NCCL, by an MPI that reads GPUs, and through the host."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fdezero as fd
from fdezero.distributed.engines import placed
from tests.distributed import nccl_stand_in
from tests.distributed.gpus import gpu_world, gpus, with_gpus
from tests.distributed.ranks import on_ranks

DTYPES = [*"? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16".split(), ml_dtypes.bfloat16]
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.T.copy().T,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
}
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda world, x: world.all_reduce(x),
    "mean": lambda world, x: world.all_reduce(x, "mean"),
    "max": lambda world, x: world.all_reduce(x, "max"),
    "min": lambda world, x: world.all_reduce(x, "min"),
    "gather": lambda world, x: world.all_gather(x),
    "gather columns": lambda world, x: world.all_gather(x, axis=1),
    "scatter": lambda world, x: world.reduce_scatter(x),
    "scatter columns": lambda world, x: world.reduce_scatter(x, axis=1),
    "broadcast": lambda world, x: world.broadcast(x, world.size - 1),
    "ring": lambda world, x: world.permute(x, 1),
}
WAYS = {"nccl": "backend nccl", "cuda-aware": "backend mpi (MPI reads the memory of GPUs)", "through the host": "backend mpi (arrays of GPUs are copied through the host)"}


def numbers(rank: int, dtype: Any, shape: tuple[int, ...] = (4, 8)) -> np.ndarray:
    """Whole numbers, so that float sums are exact in any order."""
    drawn = np.random.default_rng(rank).integers(-60, 60, shape)
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        return (drawn + 1j * drawn[::-1]).astype(dtype)
    return (drawn > 0 if dtype.kind == "b" else drawn % 60 if dtype.kind == "u" else drawn).astype(dtype)


def same(found: Any, wanted: Any) -> None:
    found = fd.to_numpy(found)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("way", "said"), WAYS.items())
@with_gpus
@on_ranks(2)
def test_every_operation_gives_what_the_cpus_give(world: Any, kind: str, way: str, said: str) -> None:
    with gpus(kind), pytest.MonkeyPatch.context() as patch:
        patch.setattr(placed, "says_cuda_aware", lambda: "" if way == "through the host" else "as the test wants")
        patch.setattr("fdezero.distributed.joining.says_cuda_aware", placed.says_cuda_aware)
        of_gpus = gpu_world(None if way == "nccl" else "mpi")
        assert (of_gpus.device, of_gpus.backend) == (f"gpu:{world.rank}", "nccl" if way == "nccl" else "mpi")
        assert repr(of_gpus) == f"<world: rank {world.rank} of 2, local rank {world.rank} of 2 on gpu:{world.rank}, {said}>"
        for dtype in DTYPES:
            if kind == "real" and dtype is ml_dtypes.bfloat16:
                continue  # the emulator does not compile CuPy's kernels for bfloat16
            x = numbers(world.rank, dtype)
            for name, operation in OPERATIONS.items():
                if x.dtype.kind == "c" and name in ("max", "min"):
                    continue
                try:
                    same(operation(of_gpus, fd.to_device(x, of_gpus.device)), operation(world, x))
                except Exception as error:
                    error.add_note(f"{name} of {x.dtype} {way}")
                    raise
        used = {name for name, *_ in nccl_stand_in.CALLS}
        assert used == ({"allReduce", "allGather", "reduceScatter", "broadcast", "send", "recv"} if way == "nccl" else set())
