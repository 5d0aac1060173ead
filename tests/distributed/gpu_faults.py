"""Faults of GPUs that end a run: `python gpu_faults.py KIND` under mpiexec, with the stand-ins for CuPy and NCCL."""

import sys
import time

import numpy as np

import fdezero as fd
from tests.devices.strict_cupy_graph import Event
from tests.distributed import nccl_stand_in
from tests.distributed.gpus import gpus


def main(kind: str) -> None:
    with gpus("stand-in"):
        world = fd.distributed.world(device="gpu", limit=1)
        world.barrier()
        x = fd.to_device(np.ones(3), world.device)
        if kind == "late":
            Event.done = world.rank > 0
        world.all_reduce({"w": x})
        if kind == "broken" and world.rank == 1:
            nccl_stand_in.BROKEN.append(6)
        time.sleep(20)  # rank 0 waits for its GPU, rank 1 computes


if __name__ == "__main__":
    main(sys.argv[1])
