"""Checkpoints of 1 GB beside torch's and orbax's: how long a write takes, how long training stands still, and the peak of memory."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd

from .measure import peer, table
from .memory import forget_peak, held, most_held

LEAVES, ENTRIES = 16, 1 << 24  # sixteen leaves of 64 MiB of float32
SAVES = 3  # each to a new place; the median counts
NAMES = [
    "raw bytes and a sync (floor)", "fdezero, fd.save", "fdezero, Checkpoints", "torch, save", "torch, async_save", "orbax, save",
    "orbax, asynchronous",
]  # fmt: skip

Save = Callable[[int], None]


def _tree() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"leaf{i}": rng.standard_normal(ENTRIES, np.float32) for i in range(LEAVES)}


def _floor(folder: Path) -> tuple[Save, Callable[[], None]]:
    tree = _tree()

    def save(number: int) -> None:
        with open(folder / str(number), "wb") as file:
            for leaf in tree.values():
                file.write(leaf.data)
            file.flush()
            os.fsync(file.fileno())

    return save, lambda: None


def _save(folder: Path) -> tuple[Save, Callable[[], None]]:
    tree = _tree()
    return lambda number: fd.save(folder / f"{number}.npz", tree), lambda: None


def _checkpoints(folder: Path) -> tuple[Save, Callable[[], None]]:
    tree, checkpoints = _tree(), fd.io.Checkpoints(folder, keep=1)
    return lambda number: checkpoints.save(tree, number) and None, checkpoints.wait


def _torch(folder: Path) -> tuple[Save, Callable[[], None]] | None:
    if (torch := peer("torch")) is None:
        return None
    tree = {name: torch.from_numpy(leaf) for name, leaf in _tree().items()}
    return lambda number: torch.save(tree, folder / f"{number}.pt"), lambda: None


def _torch_async(folder: Path) -> tuple[Save, Callable[[], None]] | None:
    if peer("torch") is None or (saving := peer("torch.distributed.checkpoint")) is None:
        return None
    import torch

    tree, running = {name: torch.from_numpy(leaf) for name, leaf in _tree().items()}, []
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)

    def save(number: int) -> None:
        running.append(saving.async_save(tree, checkpoint_id=folder / str(number)))

    return save, lambda: running[-1].result()


def _orbax(folder: Path, *, asynchronous: bool) -> tuple[Save, Callable[[], None]] | None:
    if (orbax := peer("orbax.checkpoint")) is None:
        return None
    import jax

    tree = jax.device_put(_tree())
    kind = orbax.AsyncCheckpointer if asynchronous else orbax.Checkpointer
    checkpointer = kind(orbax.StandardCheckpointHandler())

    def save(number: int) -> None:
        checkpointer.save(folder / str(number), args=orbax.args.StandardSave(tree))

    return save, getattr(checkpointer, "wait_until_finished", lambda: None)


def _leg(name: str, folder: Path) -> tuple[Save, Callable[[], None]] | None:
    kinds: dict[str, Callable[[], Any]] = dict(zip(NAMES, [
        lambda: _floor(folder), lambda: _save(folder), lambda: _checkpoints(folder), lambda: _torch(folder), lambda: _torch_async(folder),
        lambda: _orbax(folder, asynchronous=False), lambda: _orbax(folder, asynchronous=True),
    ], strict=True))  # fmt: skip
    return kinds[name]()


def _remove(folder: Path, number: int) -> None:
    """Remove an earlier save, as a run does; Checkpoints does so itself."""
    for path in folder.glob(f"{number}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _measured(name: str, place: str) -> tuple[float, float, float] | None:
    """Seconds of a write, seconds until the caller goes on, and MB beyond the tree."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        leg = _leg(name, Path(folder))
        if leg is None:
            return None
        save, wait = leg
        save(0)
        wait()
        found = []
        for number in range(1, SAVES + 1):
            _remove(Path(folder), number - 1)
            forget_peak()
            before = held()
            start = time.perf_counter()
            save(number)
            back = time.perf_counter()
            wait()
            found.append((time.perf_counter() - start, back - start, most_held() - before))
        return tuple(sorted(column)[SAVES // 2] for column in zip(*found, strict=True))  # type: ignore[return-value]  # three columns


def run() -> str:
    rows = []
    for name in NAMES:
        with get_context("spawn").Pool(1) as pool:
            found = pool.apply(_measured, (name, tempfile.gettempdir()))
        if found is None:
            continue
        whole, stands, grown = found
        rows.append([name, f"{whole:.2f}", f"{stands:.3f}", f"{100 * stands / whole:.1f} %", f"{grown:.0f}"])
    heads = ["write, s", "training stands still, s", "of the write", "MB beyond the tree"]
    return table([f"{LEAVES} leaves, {LEAVES * ENTRIES * 4 / 1e9:.1f} GB", *heads], rows)
