"""Files made by a stranger to do harm: `load` refuses them by name, and its memory stays within what the file holds."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

import fdezero as fd
from fdezero.errors import FileError
from fdezero.io.archive import Archive

MEGABYTE = 1 << 20


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    npy.write_array(file, array)
    return file.getvalue()


def header(shape: str, descr: str = "'<f8'", version: int = 1, pad: int = 0) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode() + b" " * pad
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def zipped(data: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "x.npy") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def patched(file: bytes, *, local: dict[int, tuple[str, int]], listed: dict[int, tuple[str, int]]) -> bytes:
    """The file with other numbers, by their offsets, in the header of its one member and in the list of members."""
    changed = bytearray(file)
    for start, fields in ((0, local), (file.rindex(b"PK\1\2"), listed)):
        for offset, (code, value) in fields.items():
            struct.pack_into(f"<{code}", changed, start + offset, value)
    return bytes(changed)


def claiming(file: bytes, size: int, stored: int | None = None) -> bytes:
    """The file with another uncompressed size of its member, and another compressed one."""
    local, listed = {22: ("I", size)}, {24: ("I", size)}
    if stored is not None:
        local[18], listed[20] = ("I", stored), ("I", stored)
    return patched(file, local=local, listed=listed)


def listing(entries: int, members: int) -> bytes:
    """An archive of `members` members, which lists the last of them `entries` times."""
    file = io.BytesIO()
    archive = Archive(file)
    for number in range(members):
        member = archive.member(f"{number}.npy", compress=True, size=0)
        member.write(npy_bytes(np.zeros(50_000)))
        member.close()
    archive.entries += archive.entries[-1:] * (entries - members)
    archive.finish()
    return file.getvalue()


ZEROS = npy_bytes(np.zeros(MEGABYTE // 8))
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "bzip2": (lambda: zipped(ZEROS, zipfile.ZIP_BZIP2), "neither stored nor deflated: save it again with fd.save"),
    "lzma": (lambda: zipped(ZEROS, zipfile.ZIP_LZMA), "neither stored nor deflated"),
    "unknown method": (lambda: patched(zipped(ZEROS), local={8: ("H", 97)}, listed={10: ("H", 97)}), "neither stored"),
    "encrypted": (lambda: patched(zipped(ZEROS), local={6: ("H", 1)}, listed={8: ("H", 1)}), "encrypted"),
    "strongly encrypted": (lambda: patched(zipped(ZEROS), local={6: ("H", 65)}, listed={8: ("H", 65)}), "encrypted"),
    "long header": (lambda: zipped(header("(1,)", version=2, pad=32 * MEGABYTE) + bytes(8)), "npy header is 33554"),
    "long header, version 3": (lambda: zipped(header("(1,)", version=3, pad=32 * MEGABYTE) + bytes(8)), "npy header is"),
    "long header of version 1": (lambda: zipped(header("(1,)", pad=60_000) + bytes(8)), "header is 60"),
    "header that is not there": (lambda: zipped(b"\x93NUMPY\2\0" + struct.pack("<I", 1 << 30)), "npy header is 1073741824"),
    "short header": (lambda: zipped(b"\x93NUMPY\1\0\x76\0{"), "npy header is cut short"),
    "version 9": (lambda: zipped(header("(1,)", version=9) + bytes(8)), "npy version"),
    "deep literal": (lambda: zipped(header("-" * 9_000 + "1")), "is no npy array"),
    "deep brackets": (lambda: zipped(header("[" * 9_000)), "is no npy array"),
    "long number": (lambda: zipped(header("(" + "9" * 9_000 + ",)")), "is no npy array"),
    "shape beyond the file": (lambda: zipped(header(f"({1 << 40},)")), "length is not that"),
    "shape beyond 64 bits": (lambda: zipped(header(f"({1 << 62}, {1 << 62})")), "length is not that"),
    "empty, beyond 64 bits": (lambda: zipped(header(f"(0, {1 << 70})")), "shape is not one of an array"),
    "negative": (lambda: zipped(header("(-1,)") + bytes(8)), "sizes are negative"),
    "twice negative": (lambda: zipped(header("(-2, -4)") + bytes(64)), "sizes are negative"),
    "negative and empty": (lambda: zipped(header("(-1, 0)")), "sizes are negative"),
    "many axes": (lambda: zipped(header(f"({'1, ' * 200})") + bytes(8)), "too many axes"),
    "object": (lambda: zipped(header("(1,)", "'|O'") + b"cos\nsystem\n"), "pickled objects"),
    "object in a record": (lambda: zipped(header("(1,)", "[('a', '<f8'), ('b', '|O')]") + bytes(16)), "pickled objects"),
    "array in a dtype": (lambda: zipped(header("(1,)", "('<f8', (2, 3))") + bytes(48)), "array of entries"),
    "claims a gigabyte, stored": (lambda: claiming(zipped(ZEROS, zipfile.ZIP_STORED), 1 << 30), "cannot unpack"),
    "claims a gigabyte, deflated": (lambda: claiming(zipped(header(f"({(1 << 27) - 9},)")), 1 << 30), "cannot unpack"),
    "claims what deflate may hold": (lambda: claiming(
        zipped(header(f"({10 * MEGABYTE - 8},)", "'|u1'") + np.random.default_rng(0).bytes(MEGABYTE // 16) + bytes(MEGABYTE)),
        10 * MEGABYTE + 57), "is no npy array"),
    "claims more than the file": (lambda: claiming(zipped(ZEROS), 1 << 30, 1 << 24), "members are longer than the file"),
    "members that overlap": (lambda: listing(4_000, 8), "list of its members is longer|members are longer"),
    "a few members that overlap": (lambda: listing(60, 40), "members are longer than the file"),
    "a list alone": (lambda: listing(100_000, 1), "list of its members is longer than the members"),
    "two of one name": (lambda: listing(2, 1), "holds '0.npy' twice|members are longer"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_within_bounded_memory(tmp_path: Path, kind: str) -> None:
    make, said = HOSTILE[kind]
    path = tmp_path / "x.npz"
    path.write_bytes(make())
    size = path.stat().st_size
    for options in ({}, {"like": {"x": np.zeros(1)}}, {"mmap": True}):
        tracemalloc.start()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            with pytest.raises(FileError, match=said) as caught:
                fd.load(path, **options)  # type: ignore[arg-type]
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        assert str(path) in str(caught.value)
        assert peak < 8 * size + 8 * MEGABYTE, f"{peak:,} bytes for a file of {size:,}"


def test_honest_files_of_the_same_kinds_load(tmp_path: Path) -> None:
    """What the bounds must let through: zeros that deflate to a thousandth, empty arrays, many members, comments, a prefix."""
    path = tmp_path / "x.npz"
    tree = {"zeros": np.zeros(2 * MEGABYTE), "none": np.empty((0, 1 << 40), np.uint8), "text": np.array(["", ""])}
    tree |= {"members": {str(number): number for number in range(300)}, "f": np.asfortranarray(np.arange(12.0).reshape(3, 4))}  # type: ignore[dict-item]
    for compress in (True, False):
        fd.save(path, tree, compress=compress)
        found = fd.load(path)
        for key, array in fd.io.flatten_to_dict(tree).items():
            np.testing.assert_array_equal(found[key], array, strict=True)
            assert found[key].flags.owndata
            assert found[key].flags.f_contiguous == np.asarray(array).flags.f_contiguous
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = bytes(range(200))
    assert len(fd.load(path)) == len(found)
    path.write_bytes(b"#!/bin/sh\n" * 100 + path.read_bytes())
    assert len(fd.load(path)) == len(found)
    np.savez_compressed(path, **{"zeros": np.zeros(MEGABYTE), "version 2": np.zeros(1, [(f"n{i}", "f4") for i in range(400)])})  # type: ignore[arg-type]
    assert fd.load(path)["zeros"].shape == (MEGABYTE,)


def test_every_dtype_of_a_header_is_read_as_numpy_reads_it(tmp_path: Path) -> None:
    for array in (np.ones((2, 3), "f4"), np.zeros(2, [("é", "f4")]), np.zeros((3, 0)), np.array(3j), np.array([b"", b"a"])):
        for version in ((1, 0), (2, 0), (3, 0)):
            if version < (3, 0) and array.dtype.names:
                continue
            file = io.BytesIO()
            npy.write_array(file, array, version)
            (tmp_path / "x.npz").write_bytes(zipped(file.getvalue()))
            np.testing.assert_array_equal(fd.load(tmp_path / "x.npz")["x"], array, strict=True)


# --- the archive itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("wide", [True, False])
def test_zipfile_reads_what_the_archive_writes(compress: bool, wide: bool) -> None:
    members = {"a.npy": b"", "é/字.npy": bytes(70_000), "b": np.random.default_rng(0).bytes(3000)}
    file = io.BytesIO()
    archive = Archive(file)
    for name, data in members.items():
        member = archive.member(name, compress=compress, size=(1 << 31) * wide)
        for start in range(0, len(data), 1000):
            member.write(data[start : start + 1000])
        member.close()
    archive.finish()
    with zipfile.ZipFile(file) as found:
        assert found.testzip() is None
        assert {info.filename: found.read(info) for info in found.infolist()} == members
        assert [(i.date_time, i.extract_version, i.CRC) for i in found.infolist()] == [
            ((1980, 1, 1, 0, 0, 0), 45 if wide else 20, zlib.crc32(data)) for data in members.values()
        ]  # fmt: skip


class Skipping(io.BytesIO):
    """A file of many gigabytes that keeps only the bytes that matter: `skipped` bytes are left out at `hole`."""

    hole, skipped = 1 << 62, 0

    def tell(self) -> int:
        place = super().tell()
        return place + self.skipped if place >= self.hole else place

    def seek(self, place: int, whence: int = 0) -> int:
        return super().seek(place - self.skipped if place >= self.hole and not whence else place, whence)


def test_members_behind_four_gigabytes_have_wide_numbers() -> None:
    file = Skipping()
    archive = Archive(file)
    sizes: dict[str, Any] = {}
    for name in ("first", "second"):
        member = archive.member(name, compress=False, size=5 << 30 if name == "first" else 0)
        member.write(b"data")
        if name == "first":
            file.hole, file.skipped = file.tell(), 5 << 30
            member.size = member.stored = member.size + (5 << 30)
        member.close()
        sizes[name] = (member.size, member.start)
    archive.finish()
    entries = archive.entries
    assert struct.unpack_from("<II", entries[0], 20) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert struct.unpack("<HHQQ", entries[0][-20:]) == (1, 16, sizes["first"][0], sizes["first"][0])
    assert struct.unpack("<HHQ", entries[1][-12:]) == (1, 8, sizes["second"][1])
    assert sizes["second"][1] > 5 << 30
    end = file.getvalue()[-22 - 20 - 56 :]
    assert len(entries) == 2
    assert struct.unpack_from("<4sQHHIIQQQQ", end)[6:8] == (2, 2)
    assert struct.unpack_from("<Q", end, 48)[0] == -(-(sizes["second"][1] + 30 + len("second") + 6) // 64) * 64 + len("data")
    assert struct.unpack_from("<4sHHHHII", end, 76)[3:] == (2, 2, sum(map(len, entries)), 0xFFFFFFFF)
    narrow = Archive(io.BytesIO()).member("x", compress=False, size=0)
    narrow.size = narrow.stored = 5 << 30
    with pytest.raises(ValueError, match="more than its size= let expect"):
        narrow.close()


def test_more_members_than_sixteen_bits_count(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with open(path, "wb") as file:
        archive = Archive(file)
        data = npy_bytes(np.zeros(()))
        for number in range(65_540):
            member = archive.member(f"{number}.npy", compress=False, size=0)
            member.write(data)
            member.close()
        archive.finish()
    with zipfile.ZipFile(path) as found:
        assert len(found.filelist) == 65_540
    assert list(fd.load(path, like={"65539": 1.0}, strict=False)) == ["65539"]
