"""What is in a file, read piece by piece: files may be larger than memory."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...errors import FdezeroError, FileError
from ...io.bfloat16 import widened
from ...io.formats import Reader
from ...values import kind_of
from .words import in_a_line

__all__ = ["Norm", "array_of", "entries_of", "for_each", "in_rows", "is_number", "norm_of"]

FILE = "npz, safetensors, an index of shards, or a folder of one"  # what an argument FILE may be
COUNT = 1 << 18  # numbers that are looked at once


class Norm(NamedTuple):
    """The norm of the finite numbers among others, as `scale * sqrt(total)`, and how many are not finite."""

    scale: float = 0.0
    total: float = 0.0
    not_finite: int = 0

    @property
    def value(self) -> float:
        return self.scale * math.sqrt(self.total)

    def __add__(self, other: Any) -> "Norm":
        """The norm of both together. Squares of numbers near the greatest one do not overflow."""
        scale = max(self.scale, other.scale)
        parts = [part.total * (part.scale / scale) ** 2 for part in (self, other) if part.scale]
        return Norm(scale, math.fsum(parts), self.not_finite + other.not_finite)


def for_each(paths: Iterable[str], look: Callable[[str], int]) -> int:
    """The worst exit status of `look` at each path. A file that cannot be opened is said and does not hide the ones after it."""
    worst = 0
    for path in paths:
        try:
            status = look(path)
        except BrokenPipeError:
            raise
        except (FdezeroError, OSError) as error:
            sys.stdout.flush()
            print(in_a_line(error), file=sys.stderr)
            status = 2
        worst = max(worst, status)
    return worst


def entries_of(reader: Reader) -> dict[str, Any]:
    """The entries of a file by their keys. Raises FileError for a key that stands twice."""
    found = {name.removesuffix(reader.suffix): entry for name, entry in reader.entries}
    if len(found) < len(reader.entries):
        raise FileError("two members have one name, so the file is damaged.")
    return found


def is_number(dtype: np.dtype) -> bool:
    """Whether entries of the dtype are numbers or booleans."""
    return kind_of(dtype) in "biufc"


def norm_of(reader: Reader, entry: Any) -> Norm:
    """The norm of an entry of the file."""
    norm = Norm()
    for piece in reader.pieces(entry, COUNT):
        norm += norm_of_array(piece)
    return norm


def norm_of_array(array: np.ndarray) -> Norm:
    """The norm of an array, in float64 or wider."""
    array = widened(array)
    sizes = np.abs(array.astype(np.result_type(array, np.float64)))
    finite = sizes[np.isfinite(sizes)]
    scale = finite.max(initial=0)
    total = float(np.square(finite / scale).sum()) if scale else 0.0
    return Norm(float(scale), total, sizes.size - finite.size)


def array_of(reader: Reader, entry: Any) -> np.ndarray:
    """An entry of the file: mapped into memory if it can be, else read."""
    try:
        return reader.mapped(entry)
    except FileError:
        return reader.array(entry)


def in_rows(reader: Reader, entry: Any) -> Iterator[np.ndarray]:
    """The numbers of an entry in C order, in arrays of `COUNT` numbers."""
    if reader.stored(entry)[1] == "C":
        yield from reader.pieces(entry, COUNT)
    else:
        array = array_of(reader, entry)
        for start in range(0, array.size, COUNT):
            yield array.flat[start : start + COUNT]
