"""The legs of `reducing`, each a program under mpiexec that prints microseconds by bytes as JSON: `python -m tests.benchmarks.reducing_legs LEG`."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .scaling_legs import launched

BYTES = (4_000, 256_000, 4_000_000, 100_000_000)
ROUNDS, LEAVES = 7, 20
Found = dict[str, dict[int, float]]


def best_of(legs: dict[str, Callable[[], Any]], nbytes: int, wait: Callable[[], Any], found: Found) -> None:
    """Add the microseconds of the fastest round of each leg. Legs take turns, and ranks begin together."""
    count = max(1, min(100, 2_000_000 // nbytes))
    for _ in range(ROUNDS + 1):  # the first warms up
        for name, call in legs.items():
            wait()
            begin = time.perf_counter()
            for _ in range(count):
                call()
            took = (time.perf_counter() - begin) / count * 1e6
            times = found.setdefault(name, {})
            times[nbytes] = min(times.get(nbytes, np.inf), took)


def ours() -> Found:
    """mpi4py's own call, and fdezero's: of one array, of a tree, and in a compiled function."""
    from mpi4py import MPI

    import fdezero as fd

    world, comm = fd.distributed.world(), MPI.COMM_WORLD
    compiled = fd.compile(world.all_reduce)
    found: Found = {}
    for nbytes in BYTES:
        x = np.random.default_rng(world.rank).random(nbytes // 4, np.float32)
        out = np.empty_like(x)
        tree = np.array_split(x, LEAVES)
        legs = {
            "mpi4py, `Allreduce` of a flat buffer (floor)": lambda x=x, out=out: comm.Allreduce(x, out),
            "fdezero, an array": lambda x=x: world.all_reduce(x),
            f"fdezero, a tree of {LEAVES} arrays": lambda tree=tree: world.all_reduce(tree),
            "fdezero, an array, compiled": lambda x=x: compiled(x),
            f"fdezero, a tree of {LEAVES} arrays, compiled": lambda tree=tree: compiled(tree),
        }
        comm.Allreduce(x, out)
        np.testing.assert_allclose(world.all_reduce(x), out, 1e-6)
        best_of(legs, nbytes, comm.Barrier, found)
    return found


def torch() -> Found:
    """gloo, in place as torch.distributed has it."""
    import torch

    torch.set_num_threads(1)
    rank, size = launched()
    torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
    found: Found = {}
    for nbytes in BYTES:
        x = torch.zeros(nbytes // 4)
        best_of(
            {"PyTorch, gloo, in place": lambda x=x: torch.distributed.all_reduce(x)},
            nbytes,
            torch.distributed.barrier,
            found,
        )
    torch.distributed.destroy_process_group()
    return found


def jax() -> Found:
    """The sum over CPU devices of one process."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    mesh = jax.make_mesh((len(jax.devices()),), ("data",))
    parts = NamedSharding(mesh, PartitionSpec("data"))
    total = jax.jit(
        jax.shard_map(
            lambda x: jax.lax.psum(x, "data"), mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec()
        )
    )
    found: Found = {}
    for nbytes in BYTES:
        x = jax.device_put(np.zeros((len(jax.devices()), nbytes // 4), np.float32), parts)
        best_of(
            {"JAX, `psum` on two devices": lambda x=x: jax.block_until_ready(total(x))}, nbytes, lambda: None, found
        )
    return found


if __name__ == "__main__":
    made = {"ours": ours, "torch": torch, "jax": jax}[sys.argv[1]]()
    if launched()[0] == 0:
        print(json.dumps(made))
