"""A script with one fault on its last rank: `mpiexec -n 2 python -m tests.distributed.faulty FAULT`."""

import os
import signal
import sys
import threading
import time

import attrs
import numpy as np

import fdezero as fd
from fdezero.distributed import failing
from fdezero.distributed.engines.mpi import Mpi, mpi
from fdezero.distributed.launchers import launch_of
from fdezero.distributed.messages import Messages

TREE = {"a": np.ones(3), "b": np.ones((2, 2))}


def wrong() -> None:
    raise ValueError("a picture is damaged")


def thread() -> None:
    working = threading.Thread(target=wrong)
    working.start()
    working.join()
    time.sleep(60)


def damaged(batch):
    wrong()


def loader(processes: bool = False) -> None:
    for _ in fd.data.DataLoader((np.ones(8),), 2, shuffle=False, transform=damaged, workers=1, processes=processes).epoch(0):
        pass


def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)


def by_mpi(world):
    """The same ranks, whose messages go by MPI as between machines."""
    return attrs.evolve(world, messages=Messages(Mpi(mpi().COMM_WORLD.Dup())))


def main(fault: str) -> None:
    launch = launch_of()
    if fault == "before MPI starts":
        failing.STARTING = 2.0
        if launch is not None and launch.rank == 1:
            wrong()
    if fault == "late start" and launch is not None and launch.rank == 1:
        time.sleep(2.5)
    world = fd.distributed.world(limit=2.0 if fault.startswith(("hang", "crossed", "before", "late")) else 60.0)
    if "by MPI" in fault:
        world = by_mpi(world)
    is_last = world.rank == world.size - 1
    mean = fd.compile(lambda tree: world.all_reduce(tree, "mean"))
    world.all_reduce(TREE)
    mean(TREE)
    world.barrier()
    if fault == "everywhere":
        wrong()
    if is_last and fault in FAULTS:
        FAULTS[fault]()
    if is_last and fault == "more steps":
        world.all_reduce(TREE)
    if fault.startswith("another order"):  # of calls that were compared before
        for call in (world.barrier, lambda: world.all_reduce(TREE))[:: -1 if is_last else 1]:
            call()
    if fault == "another length by MPI":
        for lengths in ((2, 100_000), (2, 100_000), (100_000, 2)):
            for length in lengths if is_last else (2, 100_000):
                world.all_gather(np.ones(length))
    if fault == "crossed worlds":
        for part in [world.split(0), world.split(0)][:: -1 if is_last else 1]:
            part.barrier()
    if fault == "hang compiled":
        mean(TREE)
    world.all_reduce(TREE)
    print("the end", world.rank, flush=True)


FAULTS = {
    "raise": wrong,
    "thread": thread,
    "loader": loader,
    "loader with processes": lambda: loader(processes=True),
    "exit": lambda: sys.exit(3),
    "exit without an error": lambda: sys.exit(0),
    "interrupt": interrupted,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "hang": lambda: time.sleep(60),
    "hang compiled": lambda: time.sleep(60),
}

if __name__ == "__main__":
    main(sys.argv[1])
