"""The npz file itself: its bytes and place, failures that leave the older file alone, and damage that is noticed."""

import errno
import io
import os
import stat
import subprocess
import sys
import types
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
from fdezero.io import checksums, files
from fdezero.testing import assert_trees_equal

NUMBERS = np.random.default_rng(0).standard_normal((6, 8))
TREE = {
    "layers": [{"W": NUMBERS.astype(np.float32), "b": np.zeros(8, np.float32)}, {"W": NUMBERS}],
    "rate": 0.1,
    "step": 3,
}


def same(a: Any, b: Any) -> bool:
    """Equal in type, dtype, shape and every bit."""
    return (type(a), a.dtype, a.shape, a.tobytes()) == (type(b), b.dtype, b.shape, b.tobytes())


# --- the file itself -------------------------------------------------------------------------------------------------


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    fd.save(tmp_path / "a.npz", TREE)
    fd.save(tmp_path / "b.npz", dict(reversed(TREE.items())))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_compression_is_the_measured_one_and_can_be_switched_off(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal(100_000, dtype=np.float32)
    for compress, method in ((True, zipfile.ZIP_DEFLATED), (False, zipfile.ZIP_STORED)):
        fd.save(tmp_path / "x.npz", {"W": weights, "zeros": np.zeros(100_000)}, compress=compress)
        with zipfile.ZipFile(tmp_path / "x.npz") as archive:
            info, zeros = archive.infolist()
            assert info.compress_type == method
            if compress:  # the private attribute of zipfile, through which the strategy is set, is still the one
                deflate = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
                assert info.compress_size == len(deflate.compress(archive.read("W.npy")) + deflate.flush())
                assert info.compress_size < 0.93 * info.file_size
                assert zeros.compress_size < 0.01 * zeros.file_size


def test_what_a_sample_says_shrinks_by_a_fifth_is_compressed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sparse = rng.standard_normal(300_000, dtype=np.float32) * (rng.random(300_000) < 0.3)
    tree = {
        "weights": rng.standard_normal(300_000, dtype=np.float32), "zeros": np.zeros(300_000), "sparse": sparse,
        "bytes": rng.integers(0, 256, 100_000, np.uint8), "labels": rng.integers(0, 10, 100_000), "dropped": rng.random(100_000) < 0.5,
        "small": np.zeros(32, np.int8), "small zeros": np.zeros(3000, np.int8), "small weights": rng.standard_normal(700, dtype=np.float32),
        "strided": np.zeros((600, 600))[::2, ::3], "one": 1.0, "none": np.empty((0, 3)),
        "zeros but for the end": np.append(np.zeros(90_000), rng.standard_normal(10_000)),
    }  # fmt: skip
    fd.save(tmp_path / "x.npz", tree)
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        packed = {info.filename[:-4] for info in archive.infolist() if info.compress_type == zipfile.ZIP_DEFLATED}
        assert packed == {"zeros", "sparse", "labels", "dropped", "small zeros", "strided", "zeros but for the end"}
        assert all(info.compress_size < 0.8 * info.file_size for info in archive.infolist() if info.filename[:-4] in packed)
    found = fd.load(tmp_path / "x.npz")
    assert all(same(found[key], np.asarray(leaf)) for key, leaf in tree.items())
    for wrong in ("yes", 1, None):
        with pytest.raises(TypeError, match=f'compress is True, False or "auto"; got {wrong!r}'):
            fd.save(tmp_path / "x.npz", tree, compress=wrong)  # type: ignore[arg-type]


def test_checksums_are_those_of_zlib_whoever_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def crc32(data: Any, start: int) -> int:
        counted.append(len(data))
        return zlib.crc32(data, start)

    monkeypatch.setitem(sys.modules, "isal", types.ModuleType("isal"))
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", types.SimpleNamespace(crc32=crc32))  # type: ignore[arg-type]
    files_of: list[bytes] = []
    for module in ("isal.isal_zlib", None):
        checksums.crc32.cache_clear()
        if module is None:
            monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
        fd.save(tmp_path / "x.npz", TREE, compress=False)
        files_of.append((tmp_path / "x.npz").read_bytes())
        assert_trees_equal(fd.load(tmp_path / "x.npz", like=TREE), TREE)
        assert bool(counted) == (module is not None)
        counted.clear()
    checksums.crc32.cache_clear()
    assert files_of[0] == files_of[1]


def test_the_package_isal_counts_what_zlib_counts() -> None:
    isal_zlib = pytest.importorskip("isal.isal_zlib")
    data = np.random.default_rng(0).bytes(100_001)
    for start in (0, 1, 0xFFFFFFFF):
        for length in (0, 1, 63, 64, 100_001):
            assert isal_zlib.crc32(memoryview(data)[:length], start) == zlib.crc32(data[:length], start)


@pytest.mark.parametrize("name", ["weights", "weights.npz", "weights.zip", "ü weights.v2", "x" * 250])
def test_no_ending_is_appended(tmp_path: Path, name: str) -> None:
    fd.save(str(tmp_path / name), TREE)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert_trees_equal(fd.load(str(tmp_path / name), like=TREE), TREE)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing to save x\.npz in"):
        fd.save(tmp_path / "missing" / "x.npz", TREE)
    with pytest.raises(FileError, match="is a folder or a device, not a file"):
        fd.save(tmp_path, TREE)
    if os.path.exists("/dev/null"):
        with pytest.raises(FileError, match="is a folder or a device, not a file"):
            fd.save("/dev/null", TREE)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        fd.load(tmp_path / "x.npz")


posix = pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")


@posix
def test_permissions_are_those_of_the_user_or_of_the_older_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        fd.save(tmp_path / "x.npz", TREE)
        assert stat.S_IMODE((tmp_path / "x.npz").stat().st_mode) == 0o640
        (tmp_path / "x.npz").chmod(0o604)
        fd.save(tmp_path / "x.npz", TREE)
        assert stat.S_IMODE((tmp_path / "x.npz").stat().st_mode) == 0o604
    finally:
        os.umask(before)


@posix
def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "latest.npz").symlink_to(tmp_path / "runs" / "3.npz")
    for tree in ({"x": NUMBERS}, TREE):
        fd.save(tmp_path / "latest.npz", tree)
        assert (tmp_path / "latest.npz").is_symlink()
        assert_trees_equal(fd.load(tmp_path / "runs" / "3.npz", like=tree), tree)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["3.npz"]


# --- failures --------------------------------------------------------------------------------------------------------


class Disk(io.BufferedWriter):
    """A file on a disk that fails at one operation, or from that one on; `operations` counts them."""

    operations = 0
    fails_at: float = float("inf")
    error: BaseException = OSError(errno.ENOSPC, "No space left on device")
    lasting = True

    def __init__(self, descriptor: int, mode: str) -> None:
        super().__init__(io.FileIO(descriptor, mode.replace("b", "")))

    def write(self, data: Any) -> int:
        self.count()
        return super().write(data)

    def flush(self) -> None:
        self.count()
        super().flush()

    def count(self) -> None:
        number = Disk.operations
        Disk.operations += 1
        if number == Disk.fails_at or (Disk.lasting and number > Disk.fails_at):
            raise Disk.error


def check_failed(folder: Path, old: bytes | None) -> None:
    """Check that the folder contains only the old file, unharmed."""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == ({} if old is None else {"x.npz": old})


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()], ids=repr
)
def test_a_failure_at_any_write_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, compress: bool
) -> None:
    fd.save(tmp_path / "x.npz", {"old": NUMBERS})
    old = (tmp_path / "x.npz").read_bytes()
    new = tmp_path / "new"
    new.mkdir()
    monkeypatch.setattr(files, "open", Disk, raising=False)
    for name, value in {
        "operations": 0,
        "fails_at": float("inf"),
        "error": error,
        "lasting": isinstance(error, OSError),
    }.items():
        monkeypatch.setattr(Disk, name, value)
    fd.save(new / "x.npz", TREE, compress=compress)
    (new / "x.npz").unlink()
    total = Disk.operations
    assert total > 3 * len(fd.tree.leaves(TREE))
    for number in range(total):
        for folder, before in ((new, None), (tmp_path, old)):
            monkeypatch.setattr(Disk, "operations", 0)
            monkeypatch.setattr(Disk, "fails_at", number)
            with pytest.raises(type(error)):
                fd.save(folder / "x.npz", TREE, compress=compress)
            assert Disk.operations > number
            if folder is tmp_path:
                new.rmdir()
            check_failed(folder, before)
            new.mkdir(exist_ok=True)


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()], ids=repr)
def test_a_failure_at_the_end_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException
) -> None:
    fd.save(tmp_path / "x.npz", {"old": NUMBERS})
    old = (tmp_path / "x.npz").read_bytes()

    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        fd.save(tmp_path / "x.npz", TREE)
    check_failed(tmp_path, old)


@posix
def test_data_reach_the_disk_before_the_file_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    fsync, replace, folder = os.fsync, os.replace, Path(os.path.realpath(tmp_path))

    def synced(number: int) -> None:
        found = os.fstat(number)
        done.append("folder" if os.path.samestat(found, folder.stat()) else found.st_size)
        fsync(number)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append((Path(a).parent, Path(b).name)), replace(a, b)))
    fd.save(tmp_path / "x.npz", TREE)
    assert done == [(tmp_path / "x.npz").stat().st_size, (folder, "x.npz"), "folder"]


@posix
def test_a_limit_of_the_system_leaves_the_old_file_whole(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", {"old": NUMBERS})
    old = (tmp_path / "x.npz").read_bytes()
    script = """if True:
        import resource, sys, numpy as np, fdezero as fd
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            fd.save(sys.argv[1], {"x": np.random.default_rng(0).standard_normal(100_000)})
        except OSError as error:
            print(error.strerror)
    """
    command = [sys.executable, "-c", script, str(tmp_path / "x.npz")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "File too large\n"
    check_failed(tmp_path, old)


# --- damage ----------------------------------------------------------------------------------------------------------

SMALL = {"a": np.arange(5, dtype=np.int16), "b": np.empty((0, 2), np.float32)}


@pytest.mark.parametrize("compress", [True, False])
def test_no_damage_goes_unnoticed(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, SMALL, compress=compress)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    damaged += [
        whole[:i] + bytes([byte ^ bits]) + whole[i + 1 :] for i, byte in enumerate(whole) for bits in (1 << i % 8, 0xFF)
    ]
    messages = []
    for data in damaged:
        path.write_bytes(data)
        try:
            found = fd.load(path)
        except FileError as error:
            messages.append(str(error))
        else:  # The byte has no meaning, for example in a time stamp.
            assert found.keys() == SMALL.keys()
            assert all(same(found[key], array) for key, array in SMALL.items())
    assert all(str(path) in message for message in messages)
    assert len(messages) > 0.7 * len(damaged)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def header(text: str, version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text.encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"text", "is no npy array, or is damaged"),
        (b"", "is no npy array, or is damaged"),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000000,)}"),
            "length is not that of its shape",
        ),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}") + bytes(9),
            "length is not that of its shape",
        ),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "is no npy array, or is damaged"),
        (header("{'descr': '<f8'"), "is no npy array, or is damaged"),
        (header("{" * 5000), "is no npy array, or is damaged"),
        (header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,)}", 2), "is no npy array, or is damaged"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", 9), "is no npy array, or is damaged"),
        (
            header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"cos\nsystem\n",
            "holds pickled objects, which are never",
        ),
    ],
)
@pytest.mark.parametrize("like", [None, {"x": np.zeros(1)}])
def test_members_that_are_no_arrays(tmp_path: Path, data: bytes, said: str, like: Any) -> None:
    path = archive(tmp_path / "x.npz", {"x.npy": data})
    with pytest.raises(FileError) as caught:
        fd.load(path, like=like)
    assert said in str(caught.value)
    assert f"{path}: 'x.npy'" in str(caught.value)


def test_partial_loading_passes_over_foreign_members(tmp_path: Path) -> None:
    array = io.BytesIO()
    npy.write_array(array, np.ones(1))
    path = archive(tmp_path / "x.npz", {"x.npy": array.getvalue(), "README": b"text"})
    assert fd.load(path, like={"x": np.zeros(1)}, strict=False)["x"].tolist() == [1.0]
    with pytest.raises(FileError, match="'README' is no npy array"):
        fd.load(path, like={"x": np.zeros(1)})


@pytest.mark.parametrize("make", [lambda: b"", lambda: b"no zip", lambda: bytes(1000)], ids=["empty", "text", "zeros"])
def test_files_that_are_no_npz(tmp_path: Path, make: Callable[[], bytes]) -> None:
    (tmp_path / "x.npz").write_bytes(make())
    with pytest.raises(FileError, match=r"x\.npz is no npz file, or is damaged"):
        fd.load(tmp_path / "x.npz")


def test_a_none_that_dezero_pickled_is_explained(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **{"l0/W": None, "l0/b": np.zeros(3)})  # type: ignore[arg-type]
    with pytest.raises(
        FileError, match=r"'l0/W.npy' holds pickled objects, .*DeZero pickles None for a layer that has not been called"
    ):
        fd.load(tmp_path / "x.npz")
    assert fd.load(tmp_path / "x.npz", like={"l0": {"b": np.ones(3)}}, strict=False)["l0"]["b"].tolist() == [0.0] * 3
