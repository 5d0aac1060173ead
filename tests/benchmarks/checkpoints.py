"""Checkpoints of 1 GB beside torch's and orbax's: the write, how long training stands still, memory, and the load."""

import functools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd

from .measure import peer, table, timed
from .memory import forget_peak, held, most_held

LEAVES, ENTRIES = 16, 1 << 24  # sixteen leaves of 64 MiB of float32
SAVES = 3  # each to a new place; the median counts


class Leg(NamedTuple):
    """Save to a place with a number, wait until that is done, and load what was saved there."""

    save: Callable[[int], Any]
    wait: Callable[[], Any]
    load: Callable[[int], Any]


def _tree() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"leaf{i}": rng.standard_normal(ENTRIES, np.float32) for i in range(LEAVES)}


def _nothing() -> None:
    """What a save that waits itself has to wait for."""


def _floor(folder: Path) -> Leg:
    tree = _tree()

    def save(number: int) -> None:
        with open(folder / str(number), "wb") as file:
            for leaf in tree.values():
                file.write(leaf.data)
            file.flush()
            os.fsync(file.fileno())

    def load(number: int) -> Any:
        with open(folder / str(number), "rb") as file:
            return [np.fromfile(file, np.float32, ENTRIES) for _ in tree]

    return Leg(save, _nothing, load)


def _save(folder: Path) -> Leg:
    tree = _tree()
    return Leg(
        lambda number: fd.save(folder / f"{number}.npz", tree), _nothing, lambda number: fd.load(folder / f"{number}.npz", like=tree)
    )


def _checkpoints(folder: Path) -> Leg:
    tree, checkpoints = _tree(), fd.io.Checkpoints(folder, keep=1)
    return Leg(
        lambda number: checkpoints.save(tree, number), checkpoints.wait, lambda number: checkpoints.restore(like=tree, step=number)
    )


def _torch(folder: Path) -> Leg | None:
    if (torch := peer("torch")) is None:
        return None
    tree = {name: torch.from_numpy(leaf) for name, leaf in _tree().items()}
    return Leg(lambda number: torch.save(tree, folder / f"{number}.pt"), _nothing, lambda number: torch.load(folder / f"{number}.pt"))


def _torch_async(folder: Path) -> Leg | None:
    if peer("torch") is None or (saving := peer("torch.distributed.checkpoint")) is None:
        return None
    import torch

    tree, running = {name: torch.from_numpy(leaf) for name, leaf in _tree().items()}, []
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)

    def save(number: int) -> None:
        running.append(saving.async_save(tree, checkpoint_id=folder / str(number)))

    return Leg(save, lambda: running[-1].result(), lambda number: saving.load(tree, checkpoint_id=folder / str(number)))


def _orbax(folder: Path, *, asynchronous: bool) -> Leg | None:
    if (orbax := peer("orbax.checkpoint")) is None:
        return None
    import jax

    tree = jax.device_put(_tree())
    kind = orbax.AsyncCheckpointer if asynchronous else orbax.Checkpointer
    checkpointer = kind(orbax.StandardCheckpointHandler())
    return Leg(
        lambda number: checkpointer.save(folder / str(number), args=orbax.args.StandardSave(tree)),
        getattr(checkpointer, "wait_until_finished", _nothing),
        lambda number: jax.block_until_ready(checkpointer.restore(folder / str(number), args=orbax.args.StandardRestore(tree))),
    )


LEGS: dict[str, Callable[[Path], Leg | None]] = {
    "raw bytes and a sync (floor)": _floor, "fdezero, fd.save": _save, "fdezero, Checkpoints": _checkpoints, "torch, save": _torch,
    "torch, async_save": _torch_async, "orbax, save": functools.partial(_orbax, asynchronous=False),
    "orbax, asynchronous": functools.partial(_orbax, asynchronous=True),
}  # fmt: skip


def _remove(folder: Path, number: int) -> None:
    """Remove an earlier save, as a run does; Checkpoints does so itself."""
    for path in folder.glob(f"{number}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _measured(name: str) -> tuple[float, ...] | None:
    """Seconds of a write on the wall and of CPU, seconds until the caller goes on, MB beyond the tree, CPU seconds of a load."""
    with tempfile.TemporaryDirectory() as folder:
        leg = LEGS[name](Path(folder))
        if leg is None:
            return None
        leg.save(0)
        leg.wait()
        found = []
        for number in range(1, SAVES + 1):
            _remove(Path(folder), number - 1)
            forget_peak()
            before, cpu, start = held(), time.process_time(), time.perf_counter()
            leg.save(number)
            stands = time.perf_counter() - start
            leg.wait()
            whole, busy, grown = time.perf_counter() - start, time.process_time() - cpu, most_held() - before
            loading = timed(lambda: leg.load(number)).cpu
            found.append((whole, busy, stands, grown, loading))
        return tuple(map(statistics.median, zip(*found, strict=True)))


def run() -> str:
    rows = []
    for name in LEGS:
        with get_context("spawn").Pool(1) as pool:
            found = pool.apply(_measured, (name,))
        if found is None:
            continue
        whole, busy, stands, grown, loading = found
        share = f"{100 * stands / whole:.1f} %"
        rows.append([name, f"{whole:.2f}", f"{busy:.2f}", f"{stands:.3f}", share, f"{grown:.0f}", f"{loading:.2f}"])
    heads = ["write, wall s", "write, CPU s", "training stands still, s", "of the write", "MB beyond the tree", "load, CPU s"]
    return table([f"{LEAVES} leaves, {LEAVES * ENTRIES * 4 / 1e9:.1f} GB", *heads], rows)
