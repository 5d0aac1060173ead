"""The safetensors format, which other frameworks write: what it can keep, and how trees are written to it and read from it.

The package `safetensors` checks a file. The bytes of an entry are read and written here, because the package's form for NumPy
does not know bfloat16, and writes a file only from copies of all its entries.
Source: https://github.com/huggingface/safetensors, section "Format".
"""

import importlib
import json
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from ..errors import FileError, MissingExtraError
from . import bfloat16
from .files import PathLike
from .leaves import CHUNK, flat_bytes, to_array
from .members import AXES, READ, Kind, as_booleans, naming, unique, view_of

NAME = "safetensors"
DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
CODES = {np.dtype(code): name for name, code in DTYPES.items()}
BF16 = "BF16"
ALIGNMENT = 64  # bytes, for arrays that are mapped into memory
LONGEST_HEADER = 100_000_000  # bytes, the limit of the format


def _package(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(
            "a .safetensors file needs the package safetensors: pip install 'fdezero[safetensors]'"
        ) from None


def keeps(dtype: Any) -> bool:
    """Whether arrays of this dtype come back as they were: not double complex numbers, dates, text or another byte order."""
    return isinstance(dtype, np.dtype) and (dtype in CODES or bfloat16.is_bfloat16(dtype))


def check_key(key: str) -> None:
    """Raise FileError for a key that cannot be the name of an entry."""
    if key == "__metadata__" or key != key.encode(errors="replace").decode():
        raise FileError(f"the key {key[:80]!r} cannot be a name in a safetensors file: rename it.")


def write(file: IO[bytes], leaves: Mapping[str, Any], compress: bool | str) -> None:
    """Write the leaves as one block, one by one; the format does not have compression, so `compress` changes nothing.

    Entries of a multiple of 64 bytes come first, then those of wide numbers: so that each begins where it can be mapped.
    """
    _package(NAME)  # so that what is written can be read
    kinds = {key: _kind_of(leaf) for key, leaf in leaves.items()}
    sizes = {key: math.prod(shape) * dtype.itemsize for key, (shape, dtype) in kinds.items()}
    order = sorted(leaves, key=lambda key: (sizes[key] % ALIGNMENT != 0, -kinds[key][1].itemsize, key))
    places, end = dict[str, int](), 0
    for key in order:
        places[key], end = end, end + sizes[key]
    header = {
        key: {
            "dtype": CODES.get(dtype, BF16),
            "shape": list(shape),
            "data_offsets": [places[key], places[key] + sizes[key]],
        }
        for key, (shape, dtype) in kinds.items()
    }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > LONGEST_HEADER:
        raise FileError(f"the names of {len(leaves)} leaves are too long for a safetensors file: save an npz file.")
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for key in order:
        data = flat_bytes(np.asarray(to_array(leaves[key]), order="C"))
        for start in range(0, len(data), CHUNK):
            file.write(data[start : start + CHUNK])
        del data  # so that no two copies of leaves are held at once


def _kind_of(leaf: Any) -> Kind:
    leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return tuple(leaf.shape), leaf.dtype


class SafetensorsReader:
    """An open file that the package found to be whole; its entries are those of its header."""

    suffix = ""

    def __init__(self, path: PathLike, file: IO[bytes], header: dict[str, Any], start: int) -> None:
        self.path, self.file, self.start = path, file, start
        self.entries = [(name, (name, entry)) for name, entry in header.items() if name != "__metadata__"]
        self.memory: mmap.mmap | None = None

    def kind(self, entry: tuple[str, Any]) -> Kind:
        """Shape and dtype; without the package ml_dtypes, bfloat16 is read as float32."""
        shape, stored, narrow = self._stored(entry)
        return shape, bfloat16.loaded_dtype() if narrow else stored

    def array(self, entry: tuple[str, Any]) -> np.ndarray:
        """The array of an entry, which owns its memory."""
        shape, stored, narrow = self._stored(entry)
        with naming(f"{os.fspath(self.path)}: {entry[0]!r} is damaged"):
            array = np.empty(shape, stored)
            self._fill(self._place(entry), array)
        return _as_numbers(array, narrow)

    def mapped(self, entry: tuple[str, Any]) -> np.ndarray:
        """The array of an entry as a read-only view of the file, unless its numbers have to become other ones."""
        shape, stored, narrow = self._stored(entry)
        with naming(f"{os.fspath(self.path)}: {entry[0]!r} is damaged"):
            self.memory = self.memory or mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
            return _as_numbers(view_of(self.memory, shape, stored, self._place(entry)), narrow)

    def pieces(self, entry: tuple[str, Any], count: int) -> Iterator[np.ndarray]:
        """The numbers of an entry in their order in the file, in arrays of `count` numbers."""
        shape, stored, narrow = self._stored(entry)
        place, left = self._place(entry), math.prod(shape)
        while left:
            piece = np.empty(min(count, left), stored)
            with naming(f"{os.fspath(self.path)}: {entry[0]!r} is damaged"):
                self._fill(place, piece)
            place, left = place + piece.nbytes, left - len(piece)
            yield _as_numbers(piece, narrow)

    def stored(self, entry: tuple[str, Any]) -> tuple[int, str]:
        first, last = entry[1]["data_offsets"]
        return last - first, "C"

    def _stored(self, entry: tuple[str, Any]) -> tuple[tuple[int, ...], np.dtype, bool]:
        """Shape and dtype in the file, and whether its integers are the bits of bfloat16."""
        name, facts = entry
        shape, stored = tuple(facts["shape"]), facts["dtype"]
        if len(shape) > AXES or math.prod(size or 1 for size in shape) >= 1 << 60:  # also where one size is 0
            raise FileError(f"{os.fspath(self.path)}: {name!r} has a shape that an array cannot have.")
        if stored != BF16 and stored not in DTYPES:
            raise FileError(
                f"{os.fspath(self.path)}: {name!r} holds {stored} numbers, which NumPy does not have: "
                "convert it to float32 before you save it, or leave the key out by strict=False."
            )
        return shape, bfloat16.BITS if stored == BF16 else np.dtype(DTYPES[stored]), stored == BF16

    def _place(self, entry: tuple[str, Any]) -> int:
        return self.start + int(entry[1]["data_offsets"][0])

    def _fill(self, place: int, array: np.ndarray) -> None:
        self.file.seek(place)
        room = flat_bytes(array)
        for start in range(0, len(room), READ):
            part = room[start : start + READ]
            if self.file.readinto(part) != len(part):  # type: ignore[attr-defined]  # a file that `open` made has it
                raise ValueError("it is cut short")


def _as_numbers(array: np.ndarray, narrow: bool) -> np.ndarray:
    return bfloat16.of_bits(array) if narrow else as_booleans(array) if array.dtype == np.bool_ else array


def open_reader(path: PathLike, file: IO[bytes]) -> SafetensorsReader:
    """The entries of an open file, if the package finds that they are those of its header and fill it."""
    package = _package("safetensors")
    with naming(f"{os.fspath(path)} is no safetensors file, or is damaged"):
        with package.safe_open(os.fspath(path), framework="np"):  # which raises for a file that is not whole
            pass
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length), object_pairs_hook=unique)
        for name, facts in header.items():
            first, last = (0, 0) if name == "__metadata__" else facts["data_offsets"]
            if not 0 <= first <= last:
                raise ValueError(f"{name!r} has a place outside the file")
    return SafetensorsReader(path, file, header, 8 + length)
