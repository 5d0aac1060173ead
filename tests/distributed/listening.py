"""What a run opens to the outside: `mpiexec -n 2 python -m tests.distributed.listening FOLDER` prints it as JSON on rank 0."""

import json
import multiprocessing
import os
import socket
import sys
from pathlib import Path

CALLS: list[str] = []


def hear(event: str, arguments: tuple[object, ...]) -> None:
    """Write down what Python does with sockets. Pipes to a loader's processes are pairs of local ones, which nobody can call."""
    is_pair = event == "socket.__new__" and arguments[1] == socket.AF_UNIX
    if event.startswith("socket.") and not is_pair:
        CALLS.append(f"{event} {arguments[1:]}")


TABLES = {  # of Linux: the columns of state and inode, and the state of a socket that others can call; every one of udp can be
    "tcp": (3, 9, "0A"), "tcp6": (3, 9, "0A"), "udp": (3, 9, ""), "udp6": (3, 9, ""), "unix": (3, 6, "00010000"),
}  # fmt: skip


def processes() -> list[int]:
    """This process, and those that it has started."""
    found = [os.getpid()]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("PPid"))
        except OSError:  # it has just ended
            continue
        if int(parent) == os.getpid():
            found.append(int(status.parent.name))
    return found


def listening() -> list[str]:
    """The sockets of these processes on which others could call them."""
    held = set()
    for pid in processes():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                held.add(os.readlink(descriptor))
            except OSError:  # the one that lists the folder
                continue
    found = []
    for kind, (state, inode, value) in TABLES.items():
        rows = [row.split() for row in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
        found += [f"{kind} {row[inode]}" for row in rows if f"socket:[{row[inode]}]" in held and value in ("", row[state])]
    return sorted(found)


def main(folder: Path) -> None:
    from mpi4py import MPI

    MPI.COMM_WORLD.Barrier()
    before = listening()  # what MPI has opened

    import numpy as np

    import fdezero as fd

    from .resumed import run

    world = fd.distributed.world()
    run(world, folder, 4)
    world.split(world.rank % 2).all_gather(np.ones(3))
    # Python's own server of forks, the default of Linux since 3.14, listens on a local socket in a folder of the user.
    method = multiprocessing.get_start_method()
    processes: bool | str = "spawn" if method == "forkserver" else method
    loader = fd.data.DataLoader((np.ones(40),), 4, shuffle=False, transform=np.sqrt, workers=1, processes=processes, shard=world.share)
    seen = [listening() for _ in loader.epoch(0)]
    after = listening()
    new = sorted({name for names in [after, *seen] for name in names if name not in before})
    of_all = MPI.COMM_WORLD.gather((new, CALLS, len(seen)))
    if world.rank == 0:
        print(json.dumps(of_all), flush=True)


if __name__ == "__main__":
    sys.addaudithook(hear)
    main(Path(sys.argv[1]))
