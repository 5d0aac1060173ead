"""The forms of a data set: the same examples in every one, for the laws of loaders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdezero as fd
from fdezero import data


class Pair(NamedTuple):
    x: Any
    t: Any


class Named(fd.Module):
    x: Any
    t: Any


class Lazy:
    """What a user writes: `len` and `[i]`."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> Any:
        assert type(i) is int
        if not 0 <= i < self.size:
            raise IndexError(i)
        return {"x": inputs(self.size)[i], "t": int(labels(self.size)[i])}


class Whole(Lazy):
    """With the method by which data sets of PyTorch read whole batches."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [super(Whole, self).__getitem__(i) for i in indices]

    def __getitem__(self, i: int) -> Any:
        raise AssertionError("asked for one example, not for the batch")


class Stored:
    """An array in a file, as h5py has it: sorted positions, each of them once."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> np.ndarray:
        assert np.ndim(index) == 0 or (np.diff(index) > 0).all(), "h5py refuses"
        return self.array[index]


def inputs(n: int) -> np.ndarray:
    """(n, 2) float32, each row with numbers of its own."""
    return np.arange(2 * n, dtype=np.float32).reshape(n, 2)


def labels(n: int) -> np.ndarray:
    return np.arange(n) % 3


def example(n: int, i: int) -> tuple[np.ndarray, Any]:
    return inputs(n)[i], labels(n)[i]


def memmaps(n: int, folder: Path) -> Any:
    np.save(folder / "x.npy", inputs(n))
    return {"x": np.load(folder / "x.npy", mmap_mode="r"), "t": labels(n)}


def sparse(n: int) -> Any:
    return pytest.importorskip("scipy.sparse").coo_array(inputs(n))


def frame(n: int) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"x": inputs(n)[:, 0], "t": labels(n)})


def arrow(n: int) -> Any:
    pa = pytest.importorskip("pyarrow")
    return pa.table({"x": pa.FixedSizeListArray.from_arrays(inputs(n).reshape(-1), 2), "t": labels(n)})


def hugging_face(n: int) -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict({"x": inputs(n), "t": labels(n)})


def tensors(n: int) -> Any:
    torch = pytest.importorskip("torch")
    return torch.utils.data.TensorDataset(torch.from_numpy(inputs(n)), torch.from_numpy(labels(n)))


# Each form by a function of the number of examples and of a folder for files.
FORMS: dict[str, Callable[[int, Path], Any]] = {
    "tuple of arrays": lambda n, folder: (inputs(n), labels(n)),
    "dict of arrays": lambda n, folder: {"x": inputs(n), "t": labels(n)},
    "named tuple": lambda n, folder: Pair(inputs(n), labels(n)),
    "module": lambda n, folder: Named(inputs(n), labels(n)),
    "dict with a list": lambda n, folder: {"x": inputs(n), "t": labels(n).tolist()},
    "memmaps": memmaps,
    "list of pairs": lambda n, folder: [example(n, i) for i in range(n)],
    "list of dicts": lambda n, folder: [dict(zip("xt", example(n, i), strict=True)) for i in range(n)],
    "list of lists of numbers": lambda n, folder: [(x.tolist(), int(t)) for x, t in (example(n, i) for i in range(n))],
    "object": lambda n, folder: Lazy(n),
    "object of whole batches": lambda n, folder: Whole(n),
    "objects in a tuple": lambda n, folder: (Stored(inputs(n)), list(labels(n))),
    "a part": lambda n, folder: data.split(Lazy(n), (n - 1, 1))[0] if n > 1 else Lazy(n),
    "sparse rows": lambda n, folder: (sparse(n), labels(n)),
    "pandas": lambda n, folder: frame(n),
    "columns of pandas": lambda n, folder: (inputs(n), frame(n)["t"]),
    "Arrow": lambda n, folder: arrow(n),
    "Hugging Face": lambda n, folder: hugging_face(n),
    "PyTorch": lambda n, folder: tensors(n),
}


def columns(batch: Any) -> tuple[np.ndarray, np.ndarray]:
    """x and t of a batch of any form; x has one column where the form has a table of one."""
    if isinstance(batch, dict):
        return batch["x"], batch["t"]
    return (batch.x, batch.t) if isinstance(batch, Named) else batch
