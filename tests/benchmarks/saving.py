"""Saving and loading 100 MB of float32 weights, beside NumPy's savez and load."""

import tempfile
from pathlib import Path

import numpy as np

import fdezero as fd

from .measure import interleaved, median, ratio, table

REPETITIONS = 5


def numpy_load(path: Path) -> None:
    with np.load(path) as file:
        for key in file.files:
            file[key]


def run() -> str:
    rng = np.random.default_rng(0)
    tree = {f"layer{i}": rng.standard_normal((2500, 2500), np.float32) for i in range(4)}
    with tempfile.TemporaryDirectory() as folder:
        plain, packed, theirs, theirs_packed = (Path(folder) / f"{name}.npz" for name in ("a", "b", "c", "d"))
        pairs = {
            "save, uncompressed": (lambda: np.savez(theirs, **tree), lambda: fd.save(plain, tree, compress=False)),
            "save, compressed": (lambda: np.savez_compressed(theirs_packed, **tree), lambda: fd.save(packed, tree)),
            "load, uncompressed": (lambda: numpy_load(theirs), lambda: fd.load(plain)),
            "load, compressed": (lambda: numpy_load(theirs_packed), lambda: fd.load(packed)),
        }
        rows = []
        for what, (numpys, ours) in pairs.items():
            times = interleaved({"NumPy": numpys, "fdezero": ours}, REPETITIONS)
            its, mine = median(times["NumPy"]), median(times["fdezero"])
            files = (theirs_packed, packed) if what.endswith(" compressed") else (theirs, plain)
            rows.append([
                what, f"{its.cpu:.2f}", f"{mine.cpu:.2f}", f"{ratio(times['fdezero'], times['NumPy']):.2f}",
                f"{its.wall:.2f}", f"{mine.wall:.2f}", " / ".join(f"{path.stat().st_size / 1e6:.1f}" for path in files),
            ])  # fmt: skip
    heads = ["NumPy (floor), CPU s", "fdezero, CPU s", "ratio", "NumPy, wall s", "fdezero, wall s", "file, MB: NumPy / fdezero"]
    return table(["100 MB of float32", *heads], rows)
