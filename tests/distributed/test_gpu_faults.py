"""What is said where GPUs, NCCL or a rank are missing, and where messages fail on the way or do not end."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.distributed import joining
from fdezero.distributed.engines import nccl
from fdezero.errors import DeviceError, MissingExtraError, RangeError
from tests.distributed import nccl_stand_in
from tests.distributed.gpus import gpu_world, gpus
from tests.distributed.ranks import launch, on_ranks

SCRIPT = "tests/distributed/gpu_faults.py"


@on_ranks(2)
def test_arrays_on_another_device_are_an_error(world: Any) -> None:
    with gpus("stand-in"):
        of_gpus = gpu_world()
        other = fd.to_device(np.ones(3), f"gpu:{1 - world.rank}")
        with pytest.raises(DeviceError, match=f"an array is on gpu:{1 - world.rank}, but the device of rank {world.rank} is gpu:{world.rank}: move it"):
            of_gpus.engine.all_reduce(other, other, "sum")
        with pytest.raises(DeviceError, match=rf'the world of rank {world.rank} is on the CPU, but an array is on gpu:.: make it with world\(device="gpu"\)'):
            world.all_reduce(other)


@on_ranks(2)
def test_ranks_that_share_a_gpu_have_mpi(world: Any) -> None:
    with gpus("stand-in", count=1):
        shared = "ranks 0, 1 have the same GPU, 0000:00:00.0 of .*, but NCCL needs one for each rank: start fewer processes"
        with pytest.raises(DeviceError, match=shared):
            gpu_world("nccl")
        of_gpus = gpu_world()
        assert (of_gpus.device, of_gpus.backend) == ("gpu:0", "mpi")
        assert "copied through the host; ranks 0, 1 have the same GPU" in repr(of_gpus)
        x = fd.to_device(np.full(3, world.rank + 1.0), of_gpus.device)
        np.testing.assert_array_equal(fd.to_numpy(of_gpus.all_reduce(x)), 3.0)


@on_ranks(2)
def test_a_rank_without_nccl_is_named_on_all(world: Any) -> None:
    with gpus("stand-in"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nccl_stand_in, "available", world.rank == 0)
        with pytest.raises(MissingExtraError, match=r"no NCCL on rank 1: CuPy does not find NCCL .*pip install 'fdezero\[nccl12\]' or 'fdezero\[nccl13\]'"):
            gpu_world("nccl")
        assert "no NCCL on rank 1" in repr(gpu_world())


@on_ranks(2)
def test_a_rank_without_a_gpu_is_named_on_all(world: Any) -> None:
    with gpus("stand-in"), pytest.MonkeyPatch.context() as patch:
        if world.rank == 1:
            patch.setattr(joining, "why_no_gpu", lambda: "it is on strike.")
        with pytest.raises(DeviceError, match=r"rank 1: no GPU for world\(device='gpu'\): it is on strike"):
            gpu_world()
    with gpus("stand-in", count=2), pytest.raises(DeviceError, match="rank 0: no device 'gpu:7' for this rank: its machine shows it 2 GPUs"):
        gpu_world(device="gpu:7")


def test_a_world_of_one_on_a_gpu() -> None:
    with gpus("stand-in", count=2):
        alone = gpu_world("none", "gpu:1")
        assert (alone.device, alone.backend, alone.size) == ("gpu:1", "none", 1)
        x = fd.to_device(np.ones(3), alone.device)
        assert fd.device_of(alone.all_reduce(x)) == "gpu:1"
        with pytest.raises(DeviceError, match="unknown device 'tpu'"):
            fd.distributed.world(device="tpu")
        with pytest.raises(RangeError, match="NCCL connects GPUs, but the device is 'cpu'"):
            fd.distributed.world("nccl", "cpu")


@on_ranks(2)
def test_errors_of_nccl_say_what_failed_where(world: Any) -> None:
    with gpus("stand-in"), pytest.MonkeyPatch.context() as patch:
        of_gpus = gpu_world()
        x = fd.to_device(np.ones(3), of_gpus.device)

        def refused(*args: Any) -> None:
            raise nccl_stand_in.NcclError(2)

        patch.setattr(nccl_stand_in.NcclCommunicator, "allReduce", refused)
        with pytest.raises(DeviceError, match=rf"all_reduce failed on rank {world.rank} of 2: NCCL_ERROR_SYSTEM_ERROR: .*--shm-size=1g"):
            of_gpus.all_reduce(x)


def test_without_cupy_the_reason_is_said() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nccl, "module", lambda: (_ for _ in ()).throw(ImportError("No module named 'cupy'")))
        assert nccl.why_no_nccl() == "CuPy's module for NCCL cannot be loaded: No module named 'cupy'."


def test_an_error_in_the_background_ends_all_ranks() -> None:
    found = launch(2, SCRIPT, "broken", timeout=30)
    assert found.code not in (0, None), found
    assert found.seconds < 15
    assert "DeviceError: NCCL reports an error on rank 1 of 2, after collective number 2: NCCL_ERROR_REMOTE_ERROR" in found.stderr


def test_a_message_that_does_not_end_says_which_rank_it_waits_for() -> None:
    found = launch(2, SCRIPT, "late", timeout=30)
    assert found.code not in (0, None), found
    assert found.seconds < 15
    assert (
        "WaitingError: Rank 0 waited in all_reduce(op='sum') at gpu_faults.py:21 longer than the limit of 1 s for rank 1, which did not come. "
        "Rank 1 is at gpu_faults.py:24. The last collective that all ranks completed was number 1, barrier() at "
        "gpu_faults.py:17 (at first). The limit is set"
    ) in found.stderr
