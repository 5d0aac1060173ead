"""A script whose ranks start processes of their own: `mpiexec -n 2 python -m tests.distributed.children`."""

import multiprocessing
import os
import subprocess
import sys
from typing import Any

import fdezero as fd

world = fd.distributed.world()  # as scripts have it, so workers that import the script call it as well


def place(_: int) -> tuple[Any, ...]:
    here = fd.distributed.world()
    return here.rank, here.size, fd.distributed.world("none").size


def refused(here: Any) -> str:
    try:
        here.all_reduce(1.0)
    except fd.errors.StructureError as error:
        return str(error)
    return "not refused"


def main() -> None:
    world.barrier()
    for method in {multiprocessing.get_start_method(), "spawn"}:  # one that copies the rank where there is one, and one that begins anew
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(place, [0]) == [(world.rank, world.size, 1)], method
            assert f"rank {world.rank}" in (said := pool.apply(refused, (world,))), (method, said)
            assert "Only the processes that the launcher started take part" in said, (method, said)
    if "PMI_FD" in os.environ:
        words = "import fdezero as fd; w = fd.distributed.world(); print(w.rank, w.size)"
        said = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout
        assert said == f"{world.rank} {world.size}\n", said
    assert world.all_reduce(1.0) == world.size  # nothing has disturbed the ranks
    print("well", flush=True)


if __name__ == "__main__":
    main()
