"""Saving and loading 100 MB of float32 weights, beside the package safetensors, NumPy and PyTorch: time, memory, size."""

import os
import tempfile
import zlib
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero.io import archive, members

from .measure import Legs, Seconds, Times, peer, table, timed
from .memory import forget_peak, held, most_held

REPETITIONS = 12
FLOOR = "safetensors (reference)"


class Way(NamedTuple):
    """A way to save a tree and to load it again; `ending` is that of its file."""

    ending: str
    save: Callable[[Path, Any], Any]
    load: Callable[[Path], Any]


def _numpy_load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def ways() -> dict[str, Way]:
    """What is installed, the package safetensors first."""
    found: dict[str, Way] = {}
    if theirs := peer("safetensors.numpy"):
        found[FLOOR] = Way(".safetensors", lambda path, tree: theirs.save_file(tree, path), theirs.load_file)
        found["fdezero, safetensors"] = Way(".safetensors", fd.save, fd.load)
        found["fdezero, safetensors, mmap=True"] = Way(".safetensors", fd.save, lambda path: fd.load(path, mmap=True))
    found["fdezero, npz"] = Way(".npz", _counting(zlib.crc32, fd.save), _counting(zlib.crc32, fd.load))
    if isal := peer("isal.isal_zlib"):
        found["fdezero, npz, with the package isal"] = Way(".npz", _counting(isal.crc32, fd.save), _counting(isal.crc32, fd.load))
    found["fdezero, npz, compress=False, mmap=True"] = Way(".npz", _uncompressed, lambda path: fd.load(path, mmap=True))
    found["fdezero, npz, compress=True"] = Way(".npz", _compressed, fd.load)
    found["NumPy, savez"] = Way(".npz", lambda path, tree: np.savez(path, **tree), _numpy_load)
    found["NumPy, savez_compressed"] = Way(".npz", lambda path, tree: np.savez_compressed(path, **tree), _numpy_load)
    if torch := peer("torch"):

        def save(path: Path, tree: Any) -> None:
            torch.save({key: torch.from_numpy(array) for key, array in tree.items()}, path)

        found["PyTorch, save"] = Way(".pt", save, lambda path: torch.load(path, weights_only=True))
    return found


def _counting(crc32: Callable[..., int], call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` with checksums by this function."""

    def run(*args: Any) -> Any:
        archive.crc32 = members.crc32 = lambda: crc32  # type: ignore[assignment]  # what the modules ask for
        return call(*args)

    return run


def _uncompressed(path: Path, tree: Any) -> None:
    fd.save(path, tree, compress=False)


def _compressed(path: Path, tree: Any) -> None:
    fd.save(path, tree, compress=True)


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"layer{i}": rng.standard_normal((2500, 2500), np.float32) for i in range(4)}


def _grown(name: str, folder: str) -> tuple[float, float]:
    """The MB that a fresh process needs at most to save, beyond the tree, and to load, with the tree that is loaded."""
    way, small, path = ways()[name], {"x": np.zeros(10, np.float32)}, Path(folder) / f"peak{ways()[name].ending}"
    way.save(path, small)  # which loads modules
    way.load(path)
    tree = weights()
    grown = []
    for call in (lambda: way.save(path, tree), lambda: way.load(path)):
        forget_peak()
        before = held()
        call()
        grown.append(most_held() - before)
    return grown[0], grown[1]


def run() -> str:
    tree, found = weights(), ways()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{number}{way.ending}" for number, (name, way) in enumerate(found.items())}
        saved = _times({name: lambda n=name, w=way: w.save(paths[n], tree) for name, way in found.items()})
        loaded = _times({name: lambda n=name, w=way: w.load(paths[n]) for name, way in found.items()})
        rows = []
        for name in found:
            with get_context("spawn").Pool(1) as pool:
                peaks = pool.apply(_grown, (name, folder))
            size = f"{paths[name].stat().st_size / 1e6:.1f}"
            rows.append([name, *_cells(saved, name), *_cells(loaded, name), *(f"{peak:.0f}" for peak in peaks), size])
    heads = [f"{what}, {unit}" for what in ("save", "load") for unit in ("CPU s", "wall s", "ratio")]
    return table(["100 MB of float32", *heads, "memory of a save, MB", "of a load, MB", "file, MB"], rows)


def _times(legs: Legs) -> Times:
    """Times of legs in turn. What one leaves to be written to the disk is written before the next begins: it would pay for that."""
    times: Times = {name: [] for name in legs}
    for repetition in range(REPETITIONS + 1):
        for name, call in legs.items():
            if repetition > 2 and times[name][0].cpu > 0.3:  # compression takes long, and always as long
                continue
            os.sync()
            seconds = timed(call)
            if repetition:  # the first one warms up
                times[name].append(seconds)
    return times


def _cells(times: Times, name: str) -> list[str]:
    """The least times, and the ratio of CPU times: a system that is short of memory takes several times as long for some calls."""
    mine, its = (Seconds(*map(min, zip(*of, strict=True))) for of in (times[name], next(iter(times.values()))))
    return [f"{mine.cpu:.3f}", f"{mine.wall:.3f}", f"{mine.cpu / its.cpu:.2f}"]
