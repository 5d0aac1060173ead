"""What a rank holds: the state of Adam, whole and cut over the ranks, and the peak memory of a process that trains; PyTorch's ZeRO beside it.

`python -m tests.benchmarks.sharding LEG` is one rank, which mpiexec starts.
"""

import importlib.util
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from .measure import table
from .memory import forget_peak, held, most_held

ROOT = Path(__file__).parents[2]
SIZES, STEPS, ROWS, SHAPE = (1, 2, 4), 3, 32, (784, 4096, 4096, 10)
LEGS = {
    "adam": "fdezero, `adam`",
    "sharded": "fdezero, `sharded(adam)`",
    "torch": "PyTorch, DDP, `Adam`",
    "zero": "PyTorch, DDP, `ZeroRedundancyOptimizer(Adam)`",
}


def run() -> str:
    """MB of the state, and of what rank 0 needs at most for some steps, beyond what it holds before it makes the model."""
    launcher = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
    if launcher is None or importlib.util.find_spec("mpi4py") is None:
        print("left out: sharding (no mpi4py or mpiexec: pip install 'fdezero[mpi]')", file=sys.stderr)
        return ""
    rows = []
    for leg, name in LEGS.items():
        if leg in ("torch", "zero") and importlib.util.find_spec("torch") is None:
            print(f"left out: {leg} (torch is not installed)", file=sys.stderr)
            continue
        found = [measured(launcher, leg, size) for size in SIZES]
        rows.append([name, *[f"{each['state']:.0f} MB, {each['peak']:.0f} MB" for each in found]])
    return table(["the state, and the peak of a rank", *[f"{size} rank{'s' * (size > 1)}" for size in SIZES]], rows)


def measured(launcher: str, leg: str, size: int) -> Any:
    """What rank 0 of a leg says."""
    with socket.socket() as free:  # gloo's ranks find each other at a port
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    command = [launcher, "-n", str(size), sys.executable, "-m", "tests.benchmarks.sharding", leg]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | place, stdout=subprocess.PIPE, check=True, timeout=300)
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


def fdezeros(leg: str) -> tuple[int, float, float]:
    """This rank, the MB of its state after some steps, and its peak."""
    import numpy as np

    import fdezero as fd
    from fdezero import functions as F
    from fdezero import nn, optim

    world = fd.distributed.world()
    forget_peak()
    before = held()
    opt = optim.sharded(optim.adam(1e-3), world) if leg == "sharded" else optim.adam(1e-3)
    model = nn.MLP.init(fd.random.key(0), SHAPE, activation=F.relu)
    state = opt.init(model)

    @fd.compile(native=True)
    def step(model: Any, state: Any, x: Any, t: Any) -> Any:
        loss = lambda model, x, t: F.softmax_cross_entropy(model(x), t)
        _, grads = fd.distributed.value_and_grad(loss, world)(model, x, t)
        return opt.step(model, grads, state)

    rng = np.random.default_rng(world.rank)
    for _ in range(STEPS):
        x, t = rng.random((ROWS, SHAPE[0]), np.float32), rng.integers(0, 10, ROWS)
        model, state = step(model, state, x, t)
    return world.rank, sum(leaf.nbytes for leaf in fd.tree.leaves(state)) / 1e6, most_held() - before


def torchs(leg: str) -> tuple[int, float, float]:
    """The same in PyTorch."""
    import torch
    from torch import distributed
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.nn.parallel import DistributedDataParallel

    rank, size = (int(os.environ.get(f"PMI_{name}", default)) for name, default in (("RANK", 0), ("SIZE", 1)))
    distributed.init_process_group("gloo", rank=rank, world_size=size)
    torch.manual_seed(0)
    forget_peak()
    before = held()
    sizes = itertools.pairwise(SHAPE)
    layers = [layer for n, m in sizes for layer in (torch.nn.Linear(n, m), torch.nn.ReLU())]
    model = DistributedDataParallel(torch.nn.Sequential(*layers[:-1]))
    parameters = model.parameters()
    opt = (
        ZeroRedundancyOptimizer(parameters, torch.optim.Adam, lr=1e-3)
        if leg == "zero"
        else torch.optim.Adam(parameters, lr=1e-3)
    )
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(model(torch.rand(ROWS, SHAPE[0])), torch.randint(0, 10, (ROWS,)))
        opt.zero_grad()
        loss.backward()
        opt.step()
    states = opt.optim.state if leg == "zero" else opt.state
    found = sum(x.nbytes for of_one in states.values() for x in of_one.values() if isinstance(x, torch.Tensor)) / 1e6
    peak = most_held() - before
    distributed.barrier()
    distributed.destroy_process_group()
    return rank, found, peak


if __name__ == "__main__":
    number, of_state, at_most = (torchs if sys.argv[1] in ("torch", "zero") else fdezeros)(sys.argv[1])
    if number == 0:
        print(json.dumps({"state": of_state, "peak": at_most}))
