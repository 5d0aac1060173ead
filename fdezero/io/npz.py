"""The npz format: what it can keep, and how trees are written to it and read from it."""

import zipfile
from collections.abc import Mapping
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy

from ..devices import to_numpy
from ..errors import FileError
from .archive import Archive
from .files import PathLike
from .members import Kind, open_archive, read_array, read_kind

NAME = "npz"


def keeps(dtype: Any) -> bool:
    """Whether arrays of this dtype come back as they were."""
    try:
        return dtype.kind in "biufcmMSU" and np.dtype(dtype.str) == dtype
    except (AttributeError, TypeError):  # another library's dtype, such as float8
        return False


def check_key(key: str) -> None:
    """Raise FileError for a key that cannot be the name of a member."""
    encoded = f"{key}.npy".encode(errors="replace")  # "?" for half a surrogate pair
    # zipfile cuts names at a NUL, and on Windows turns backslashes round
    if zipfile.ZipInfo(f"{key}.npy").filename != encoded.decode() or len(encoded) > 0xFFFF:
        raise FileError(f"the key {key[:80]!r} cannot be a name in an npz file: rename it.")


def write(file: IO[bytes], leaves: Mapping[str, Any], compress: bool) -> None:
    """Write the leaves one by one, as members of an archive."""
    archive = Archive(file)
    for key, leaf in leaves.items():
        array = np.asarray(to_numpy(leaf))
        member = archive.member(f"{key}.npy", compress=compress, size=array.nbytes)
        npy.write_array(cast(IO[bytes], member), array, allow_pickle=False)  # it calls `write` alone
        member.close()
    archive.finish()


class NpzReader:
    """An open archive; its entries are members."""

    suffix = ".npy"

    def __init__(self, path: PathLike, archive: zipfile.ZipFile) -> None:
        self.path, self.archive = path, archive
        self.entries: list[tuple[str, Any]] = [(info.filename, info) for info in archive.infolist()]

    def kind(self, entry: zipfile.ZipInfo) -> Kind:
        return read_kind(self.path, self.archive, entry)

    def array(self, entry: zipfile.ZipInfo) -> np.ndarray:
        return read_array(self.path, self.archive, entry)


def open_reader(path: PathLike, file: IO[bytes]) -> NpzReader:
    """The members of the archive in an open file."""
    return NpzReader(path, open_archive(path, file))
