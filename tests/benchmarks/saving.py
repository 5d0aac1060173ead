"""Saving and loading 100 MB of float32 weights, beside NumPy's savez and load."""

import tempfile
from pathlib import Path

import numpy as np

import fdezero as fd

from .measure import interleaved, table

REPETITIONS = 5


def run() -> None:
    rng = np.random.default_rng(0)
    tree = {f"layer{i}": rng.standard_normal((2500, 2500), np.float32) for i in range(4)}
    with tempfile.TemporaryDirectory() as folder:
        plain, packed, theirs, theirs_packed = (Path(folder) / f"{name}.npz" for name in ("a", "b", "c", "d"))

        def numpy_load(path: Path) -> None:
            with np.load(path) as file:
                for key in file.files:
                    file[key]

        medians = interleaved(
            {
                "save plain": lambda: np.savez(theirs, **tree),
                "fd save plain": lambda: fd.save(plain, tree, compress=False),
                "save packed": lambda: np.savez_compressed(theirs_packed, **tree),
                "fd save packed": lambda: fd.save(packed, tree),
                "load plain": lambda: numpy_load(theirs),
                "fd load plain": lambda: fd.load(plain),
                "load packed": lambda: numpy_load(theirs_packed),
                "fd load packed": lambda: fd.load(packed),
            },
            REPETITIONS,
        )
        sizes = {"plain": (theirs, plain), "packed": (theirs_packed, packed)}
        rows = []
        for verb, kind in (("save", "plain"), ("save", "packed"), ("load", "plain"), ("load", "packed")):
            numpy, ours = medians[f"{verb} {kind}"], medians[f"fd {verb} {kind}"]
            megabytes = " / ".join(f"{path.stat().st_size / 1e6:.1f}" for path in sizes[kind])
            what = f"{verb}, {'compressed' if kind == 'packed' else 'uncompressed'}"
            rows.append([what, f"{numpy:.2f}", f"{ours:.2f}", f"{ours / numpy:.2f}", megabytes])
    table(["100 MB of float32", "NumPy (floor), CPU s", "fdezero, CPU s", "ratio", "file, MB: NumPy / fdezero"], rows)
