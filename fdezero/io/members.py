"""Reads the arrays of an npz file that may come from a stranger: nothing is set aside for what the file only claims to hold."""

import contextlib
import io
import math
import mmap
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import IO, Any, Literal, TypeAlias

import numpy as np
from numpy.lib import format as npy

from ..errors import FileError
from . import bfloat16
from .checksums import crc32
from .files import PathLike
from .leaves import flat_bytes

Kind: TypeAlias = tuple[tuple[int, ...], np.dtype]
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the others decompress without a bound on their memory
LONGEST_HEADER = 10_000  # bytes, NumPy's own limit, which it checks only after reading
EXPANSION = 1032  # deflate makes at most so many bytes of one: a code of two bits for 258
LEAST_MEMBER = 30 + 10  # bytes: a local header, and a deflated npy header
AXES = 64  # NumPy's limit
UNPACKED = 1 << 18  # bytes that are unpacked at once, which stay in the cache on their way
READ = 1 << 21  # bytes that are read into an array at once, before their checksum is computed


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Turn the errors of zipfile, its decompressors and NumPy on a damaged file into a FileError."""
    try:
        yield
    except (FileError, MemoryError):
        raise
    except Exception as error:
        raise FileError(f"{what}: {error}") from error


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The `object_pairs_hook` for JSON in such files. Raises ValueError for a name that stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a name twice")
    return found


def open_archive(path: PathLike, file: IO[bytes]) -> zipfile.ZipFile:
    """The archive in an open file, if the members that it lists fit into the file."""
    with naming(f"{os.fspath(path)} is no npz file, or is damaged"):
        guarded = _Guarded(file)
        archive = zipfile.ZipFile(guarded)
        guarded.most = guarded.length  # from here on, members are read
        file.seek(-12 - len(archive.comment), os.SEEK_END)  # the number of members, which zipfile does not check
        if int.from_bytes(file.read(2), "little") != min(len(archive.filelist), 0xFFFF):
            raise ValueError("the list of its members is cut short")
        # Members that share their bytes would unpack to more than the file can hold.
        if sum(info.compress_size + LEAST_MEMBER for info in archive.filelist) > guarded.length:
            raise ValueError("its members are longer than the file")
    return archive


class _Guarded(io.RawIOBase):
    """A file that does not give more than half of its bytes at once, until `most` is set higher."""

    # zipfile reads the list of members in one piece, and makes an object of some 600 bytes of every 46. An entry of the list
    # repeats the name of its member, and has 46 bytes where the member has 30, an npy header and its data.
    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.length = file, file.seek(0, os.SEEK_END)
        self.most = max(1 << 16, self.length // 2)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int = -1) -> bytes:
        if size > self.most:
            raise ValueError("the list of its members is longer than the members")
        return self.file.read(size)


def read_kind(path: PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Kind:
    """Shape and dtype of a member, from the header alone; FileError unless the member holds as many bytes."""
    with _member(path, archive, info, "is no npy array, or is damaged") as member:
        shape, _, dtype = _header(path, info, member)
        if member.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError("its length is not that of its shape and dtype")
        if info.compress_type == zipfile.ZIP_DEFLATED and info.file_size > max(1 << 20, 16 * info.compress_size):
            # It costs little to count what few bytes unpack to, before memory is set aside for what they claim.
            while member.read(UNPACKED):
                pass
            if member.tell() != info.file_size:
                raise ValueError("it is cut short")
    return shape, bfloat16.loaded_dtype() if dtype == bfloat16.RECORD else dtype


def order_of(path: PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """The order of the entries in a member, "C" or "F"."""
    with _member(path, archive, info, "is damaged") as member:
        return "F" if _header(path, info, member)[1] else "C"


def read_array(path: PathLike, file: IO[bytes], archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """The array of a member, which owns its memory."""
    with _member(path, archive, info, "is damaged") as member:
        shape, fortran, dtype = _header(path, info, member)
        array = np.empty(shape, dtype, order="F" if fortran else "C")
        room = flat_bytes(array)  # a view: memory is touched only as data come
        if info.compress_type == zipfile.ZIP_STORED:
            _fill_from_file(file, info, member.tell(), room)
        else:
            _fill(member, room)
            member.read(1)  # at the end zipfile compares checksums
    return _as_numbers(array)


def read_pieces(path: PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo, count: int) -> Iterator[np.ndarray]:
    """The entries of a member in their order in the file, in arrays of `count` entries."""
    with _member(path, archive, info, "is damaged") as member:
        shape, _, dtype = _header(path, info, member)
        left = math.prod(shape)
        while left:
            piece = np.empty(min(count, left), dtype)
            _fill(member, flat_bytes(piece))
            left -= len(piece)
            yield _as_numbers(piece)
        member.read(1)


def map_array(
    path: PathLike, file: IO[bytes], archive: zipfile.ZipFile, info: zipfile.ZipInfo, memory: mmap.mmap
) -> np.ndarray:
    """The array of a stored member as a read-only view of the file, which is mapped into memory. Its checksum is not read."""
    with _member(path, archive, info, "is damaged") as member:
        if info.compress_type != zipfile.ZIP_STORED:
            raise FileError(
                f"{os.fspath(path)}: {info.filename!r} is compressed, so it cannot be mapped into memory: save the file with "
                "fd.save(path, tree, compress=False), or load it without mmap=True."
            )
        shape, fortran, dtype = _header(path, info, member)
        place = _place(file, info) + member.tell()
        return _as_numbers(view_of(memory, shape, dtype, place, "F" if fortran else "C"))


def view_of(
    memory: mmap.mmap, shape: tuple[int, ...], dtype: np.dtype, place: int, order: Literal["C", "F"] = "C"
) -> np.ndarray:
    """The array that lies at a place in a mapped file. An empty one does not lie anywhere."""
    if not math.prod(shape) * dtype.itemsize:
        return np.empty(shape, dtype, order)
    return np.ndarray(shape, dtype, memory, place, order=order)


def _fill(member: IO[bytes], room: memoryview) -> None:
    """Fill a flat array of bytes from a member."""
    place = 0
    while place < len(room):
        data = member.read(min(UNPACKED, len(room) - place))
        if not data:
            raise ValueError("it is cut short")
        room[place : place + len(data)] = data
        place += len(data)


def _fill_from_file(file: IO[bytes], info: zipfile.ZipInfo, skipped: int, room: memoryview) -> None:
    """Fill a flat array with the bytes of a stored member after the first `skipped` ones: they go nowhere on their way."""
    file.seek(_place(file, info))
    count = crc32()
    checksum = count(file.read(skipped), 0)
    for start in range(0, len(room), READ):
        part = room[start : start + READ]
        if file.readinto(part) != len(part):  # type: ignore[attr-defined]  # a file that `open` made has it
            raise ValueError("it is cut short")
        checksum = count(part, checksum)  # while they are in the cache
    if checksum != info.CRC:
        raise ValueError("its checksum is wrong")


def _place(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin, whose header zipfile has checked."""
    file.seek(info.header_offset + 26)
    name, extra = struct.unpack("<HH", _exactly(file, 4))
    return info.header_offset + 30 + int(name) + int(extra)


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """The array as it was saved: records of bfloat16 become numbers, and bytes booleans, which may be neither 0 nor 1."""
    if array.dtype == bfloat16.RECORD:
        return bfloat16.of_bits(array.view(bfloat16.BITS))
    return as_booleans(array) if array.dtype == np.bool_ else array


def as_booleans(array: np.ndarray) -> np.ndarray:
    """An array of booleans whose bytes may be any: itself if they are 0 and 1."""
    return array if not array.size or array.view(np.uint8).max() <= 1 else array.view(np.uint8).astype(np.bool_)


@contextlib.contextmanager
def _member(path: PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo, trouble: str) -> Iterator[IO[bytes]]:
    """An open member whose sizes are possible."""
    with naming(f"{os.fspath(path)}: {info.filename!r} {trouble}"):
        if info.flag_bits & 1:
            raise ValueError("it is encrypted: save it again without a password")
        if info.compress_type not in METHODS:
            raise ValueError("it is neither stored nor deflated: save it again with fd.save or numpy.savez_compressed")
        stored = info.compress_type == zipfile.ZIP_STORED
        if info.file_size > info.compress_size * (1 if stored else EXPANSION):
            raise ValueError("its bytes cannot unpack to the length that it claims")
        with archive.open(info) as member:
            yield member


def _header(path: PathLike, info: zipfile.ZipInfo, member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype. The header is read only if it is as short as NumPy's headers are."""
    version = npy.read_magic(member)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"its npy version is {version}, not (1, 0), (2, 0) or (3, 0)")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(_exactly(member, width), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"its npy header is {length} bytes long: {LONGEST_HEADER} are allowed")
    text = _exactly(member, length)
    if version == (3, 0):  # NumPy has no public function for its names in UTF-8
        text = text.decode().encode("ascii", "backslashreplace")
    read = npy.read_array_header_1_0 if width == 2 else npy.read_array_header_2_0
    try:
        shape, fortran, dtype = read(io.BytesIO(len(text).to_bytes(width, "little") + text))
    except MemoryError:  # Python's parser says so of a literal that is nested too deeply
        raise ValueError("its npy header is nested too deeply") from None
    if dtype.hasobject:
        raise FileError(
            f"{os.fspath(path)}: {info.filename!r} holds pickled objects, which are never loaded "
            "(DeZero pickles None for a layer that has not been called): save it again with arrays alone."
        )
    if any(not 0 <= size < 1 << 63 for size in shape) or len(shape) > AXES:
        raise ValueError(
            "its shape is not one of an array: sizes are negative or too large, or there are too many axes"
        )
    if dtype.subdtype is not None:
        raise ValueError("its dtype is an array of entries")
    return shape, fortran, dtype


def _exactly(member: IO[bytes], count: int) -> bytes:
    data = member.read(count)
    if len(data) < count:
        raise ValueError("its npy header is cut short")
    return data
