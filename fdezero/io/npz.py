"""The npz format: what it can keep, and how trees are written to it and read from it."""

import mmap
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy

from ..errors import FileError
from . import bfloat16
from .archive import Archive, shrinks
from .files import PathLike
from .leaves import CHUNK, flat_bytes, in_order, to_array
from .members import Kind, map_array, open_archive, order_of, read_array, read_kind, read_pieces

NAME = "npz"


def keeps(dtype: Any) -> bool:
    """Whether arrays of this dtype come back as they were."""
    try:
        return bfloat16.is_bfloat16(dtype) or (dtype.kind in "biufcmMSU" and np.dtype(dtype.str) == dtype)
    except (AttributeError, TypeError):  # another library's dtype, such as float8
        return False


def check_key(key: str) -> None:
    """Raise FileError for a key that cannot be the name of a member."""
    encoded = f"{key}.npy".encode(errors="replace")  # "?" for half a surrogate pair
    # zipfile cuts names at a NUL, and on Windows turns backslashes round
    if zipfile.ZipInfo(f"{key}.npy").filename != encoded.decode() or len(encoded) > 0xFFFF:
        raise FileError(f"the key {key[:80]!r} cannot be a name in an npz file: rename it.")


def write(file: IO[bytes], leaves: Mapping[str, Any], compress: bool | str) -> None:
    """Write the leaves one by one, as members of an archive. With "auto", a member is compressed if a sample of it shrinks."""
    archive = Archive(file)
    for key, leaf in leaves.items():
        array = in_order(to_array(leaf))
        if bfloat16.is_bfloat16(array.dtype):
            array = array.view(bfloat16.RECORD)
        data = flat_bytes(array)
        packed = shrinks(data) if compress == "auto" else bool(compress)
        member = archive.member(f"{key}.npy", compress=packed, size=array.nbytes)
        # It calls `write` alone.
        npy.write_array_header_1_0(cast(IO[bytes], member), npy.header_data_from_array_1_0(array))
        for start in range(0, len(data), CHUNK):
            member.write(data[start : start + CHUNK])
        member.close()
        del array, data  # so that no two copies of leaves are held at once
    archive.finish()


class NpzReader:
    """An open archive; its entries are members."""

    suffix = ".npy"

    def __init__(self, path: PathLike, file: IO[bytes], archive: zipfile.ZipFile) -> None:
        self.path, self.file, self.archive = path, file, archive
        self.entries: list[tuple[str, Any]] = [(info.filename, info) for info in archive.infolist()]
        self.memory: mmap.mmap | None = None

    def kind(self, entry: zipfile.ZipInfo) -> Kind:
        return read_kind(self.path, self.archive, entry)

    def array(self, entry: zipfile.ZipInfo) -> np.ndarray:
        return read_array(self.path, self.file, self.archive, entry)

    def mapped(self, entry: zipfile.ZipInfo) -> np.ndarray:
        self.memory = self.memory or mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        return map_array(self.path, self.file, self.archive, entry, self.memory)

    def pieces(self, entry: zipfile.ZipInfo, count: int) -> Iterator[np.ndarray]:
        return read_pieces(self.path, self.archive, entry, count)

    def stored(self, entry: zipfile.ZipInfo) -> tuple[int, str]:
        return entry.compress_size, order_of(self.path, self.archive, entry)


def open_reader(path: PathLike, file: IO[bytes]) -> NpzReader:
    """The members of the archive in an open file."""
    return NpzReader(path, file, open_archive(path, file))
