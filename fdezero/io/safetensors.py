"""The safetensors format, which other frameworks write: what it can keep, and how trees are written to it and read from it.

The package `safetensors` checks a file and writes one. The bytes of an entry are read here, because the package's form for
NumPy does not know bfloat16.
Source: https://github.com/huggingface/safetensors, section "Format".
"""

import importlib
import json
import os
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from ..devices import to_numpy
from ..errors import FileError, MissingExtraError
from .files import PathLike
from .members import AXES, Kind, naming

NAME = "safetensors"
DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
KEPT = {np.dtype(code) for code in DTYPES.values()}


def _package(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(
            "a .safetensors file needs the package safetensors: pip install 'fdezero[safetensors]'"
        ) from None


def keeps(dtype: Any) -> bool:
    """Whether arrays of this dtype come back as they were: not double complex numbers, dates, text or another byte order."""
    return isinstance(dtype, np.dtype) and dtype in KEPT


def check_key(key: str) -> None:
    """Raise FileError for a key that cannot be the name of an entry."""
    if key == "__metadata__" or key != key.encode(errors="replace").decode():
        raise FileError(f"the key {key[:80]!r} cannot be a name in a safetensors file: rename it.")


def write(file: IO[bytes], leaves: Mapping[str, Any], compress: bool) -> None:
    """Write the leaves as one block; the format does not have compression, so `compress` changes nothing."""
    arrays = {key: np.asarray(to_numpy(leaf), order="C") for key, leaf in leaves.items()}
    file.write(_package("safetensors.numpy").save(arrays))


class SafetensorsReader:
    """An open file that the package found to be whole; its entries are those of its header."""

    suffix = ""

    def __init__(self, path: PathLike, file: IO[bytes], header: dict[str, Any], start: int) -> None:
        self.path, self.file, self.start = path, file, start
        self.entries = [(name, (name, entry)) for name, entry in header.items() if name != "__metadata__"]

    def kind(self, entry: tuple[str, Any]) -> Kind:
        """Shape and dtype; bfloat16 is read as float32, which holds each of its numbers."""
        name, facts = entry
        shape, stored = tuple(facts["shape"]), facts["dtype"]
        if len(shape) > AXES or any(size >= 1 << 63 for size in shape):
            raise FileError(f"{os.fspath(self.path)}: {name!r} has a shape that an array cannot have.")
        if stored == "BF16":
            return shape, np.dtype("f4")
        if stored not in DTYPES:
            raise FileError(
                f"{os.fspath(self.path)}: {name!r} holds {stored} numbers, which NumPy does not have: "
                "convert it to float32 before you save it, or leave the key out by strict=False."
            )
        return shape, np.dtype(DTYPES[stored])

    def array(self, entry: tuple[str, Any]) -> np.ndarray:
        """The array of an entry, which owns its memory."""
        shape, dtype = self.kind(entry)
        name, facts = entry
        narrow = facts["dtype"] == "BF16"
        with naming(f"{os.fspath(self.path)}: {name!r} is damaged"):
            self.file.seek(self.start + facts["data_offsets"][0])
            array = np.empty(shape, np.dtype("<u2") if narrow else dtype)
            room = array.reshape(-1).view(np.uint8)
            if self.file.readinto(room) != len(room):  # type: ignore[attr-defined]  # a file that `open` made has it
                raise ValueError("it is cut short")
        if narrow:
            wide = array.astype(np.uint32) << np.uint32(16)  # a bfloat16 is the upper half of a float32
            return wide.view(np.float32).astype(dtype, copy=False)
        return array.view(np.uint8).astype(np.bool_) if dtype == np.bool_ else array  # a byte may be neither 0 nor 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header has a name twice")
    return found


def open_reader(path: PathLike, file: IO[bytes]) -> SafetensorsReader:
    """The entries of an open file, if the package finds that they are those of its header and fill it."""
    package = _package("safetensors")
    with naming(f"{os.fspath(path)} is no safetensors file, or is damaged"):
        with package.safe_open(os.fspath(path), framework="np"):  # which raises for a file that is not whole
            pass
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length), object_pairs_hook=_unique)
        for name, facts in header.items():
            first, last = (0, 0) if name == "__metadata__" else facts["data_offsets"]
            if not 0 <= first <= last:
                raise ValueError(f"{name!r} has a place outside the file")
    return SafetensorsReader(path, file, header, 8 + length)
