"""Trees in npz files: bit for bit, whole or not at all, and what an error says of a file that does not fit."""

import errno
import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy

import fdezero as fd
from fdezero.errors import FileError
from fdezero.testing import arrays, pytrees

DTYPES = ["?", "f2", "f4", "f8", "i1", "i8", "u2", "u8", ">f4", ">i2", ">u8", ">c16", "c8"]
TREE = {"layers": [{"W": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3)}], "step": 7}


def in_some_layout(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values, otherwise in memory."""
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed" and array.ndim:
        return array[::-1].copy()[::-1]
    return np.asfortranarray(array) if layout == "fortran" else array


def of_any_dtype(dtype: str) -> st.SearchStrategy[np.ndarray]:
    shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
    numbers = arrays("f8" if "c" in dtype else np.dtype(dtype).newbyteorder("="), shapes, min_value=0)
    layouts = st.sampled_from(["c", "fortran", "strided", "reversed"])
    return st.builds(in_some_layout, numbers.map(lambda array: array.astype(dtype)), layouts)


LEAVES = st.sampled_from(DTYPES).flatmap(of_any_dtype)


def assert_bits_equal(left: Any, right: Any) -> None:
    """Same structure, types, dtypes with their byte order, and bytes."""
    (mine, structure), (others, other_structure) = fd.tree.flatten(left), fd.tree.flatten(right)
    assert structure == other_structure
    for one, other in zip(mine, others, strict=True):
        assert type(one) is type(other)
        assert (np.asarray(one).dtype.str, np.shape(one)) == (np.asarray(other).dtype.str, np.shape(other))
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@given(tree=pytrees(LEAVES).map(lambda tree: {"root": tree}), compress=st.booleans())
def test_what_is_saved_is_loaded_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, tree: Any, compress: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.npz"
    fd.save(path, tree, compress=compress)
    assert_bits_equal(fd.load(path, like=tree), tree)
    flat = fd.tree.flatten_to_dict(tree)
    assert_bits_equal(fd.load(path), flat)
    with np.load(path) as file:
        assert_bits_equal({key: file[key] for key in file.files}, flat)


def test_nan_and_zero_keep_their_bits(tmp_path: Path) -> None:
    tree = {"x": np.array([0x7FF8000000000123, 0x8000000000000000, 0x7FF0000000000000], "u8").view("f8")}
    fd.save(tmp_path / "x.npz", tree)
    assert_bits_equal(fd.load(tmp_path / "x.npz", like=tree), tree)


KEYS = [
    "allow_pickle",
    "file",
    "a",
    "a.npy",
    "a.npy.npy",
    "args",
    "kwds",
    "../up",
    "/root",
    "é 文",
    "arr_0",
    "x/",
    "a\tb",
    ".",
]


def test_any_key_that_an_archive_can_hold(tmp_path: Path) -> None:
    tree = {key: np.full(2, i) for i, key in enumerate(KEYS)}
    fd.save(tmp_path / "x.npz", tree)
    assert_bits_equal(fd.load(tmp_path / "x.npz"), dict(sorted(tree.items())))
    assert_bits_equal(fd.load(tmp_path / "x.npz", like=tree), tree)
    assert os.listdir(tmp_path) == ["x.npz"]


@pytest.mark.parametrize("key", ["a\0b", "\ud800", "x" * 70_000])
def test_keys_that_an_archive_cannot_hold(tmp_path: Path, key: str) -> None:
    with pytest.raises(FileError, match="cannot be a name"):
        fd.save(tmp_path / "x.npz", {"a": 1, key: np.ones(2)})
    assert os.listdir(tmp_path) == []


def test_python_and_numpy_scalars_come_back_as_they_were(tmp_path: Path) -> None:
    tree = {
        "i": 3,
        "f": 0.1,
        "b": True,
        "c": 1 + 2j,
        "n": None,
        "u": 2**63,
        "s": np.float32(0.1),
        "zero": np.array(1.5),
    }
    fd.save(tmp_path / "x.npz", tree)
    assert_bits_equal(fd.load(tmp_path / "x.npz", like=tree), tree)


@pytest.mark.parametrize(
    ("leaf", "stored"), [(1, 2.7), (True, 0.5), (1.0, 1j), (1, np.ones(1)), (np.float64(1), np.float32(1))]
)
def test_scalars_are_not_narrowed(tmp_path: Path, leaf: Any, stored: Any) -> None:
    fd.save(tmp_path / "x.npz", {"a": stored})
    with pytest.raises(FileError, match="different:  a is"):
        fd.load(tmp_path / "x.npz", like={"a": leaf})


def test_modules_and_optimiser_states(tmp_path: Path) -> None:
    params = fd.nn.MLP.init(fd.random.key(0), (4, 5, 3), dropout=0.5)
    optimiser = fd.optim.adam()
    tree = {"params": params, "state": optimiser.init(params), "frozen": fd.Frozen(np.ones(2)), "at": (2, 17)}
    fd.save(tmp_path / "run.npz", tree)
    assert_bits_equal(fd.load(tmp_path / "run.npz", like=tree), tree)


@pytest.mark.parametrize("compress", [True, False])
def test_the_same_tree_gives_the_same_bytes(tmp_path: Path, compress: bool) -> None:
    fd.save(tmp_path / "a.npz", {"x": np.ones(9), "y": 1}, compress=compress)
    fd.save(tmp_path / "b.npz", {"y": 1, "x": np.ones(9)}, compress=compress)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_compression_is_a_switch(tmp_path: Path) -> None:
    for compress, least, most in ((True, 0, 10_000), (False, 800_000, 801_000)):
        fd.save(tmp_path / "x.npz", {"x": np.zeros(100_000)}, compress=compress)
        assert least < (tmp_path / "x.npz").stat().st_size < most


# What DeZero writes, and the same weights here


def test_a_dezero_file_loads_with_one_rename(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    W0, b0 = generator.normal(size=(6, 5)).astype("f4"), generator.normal(size=5).astype("f4")
    W1, b1 = generator.normal(size=(5, 3)).astype("f4"), generator.normal(size=3).astype("f4")
    np.savez_compressed(tmp_path / "dezero.npz", **{"l0/W": W0, "l0/b": b0, "l1/W": W1, "l1/b": b1})
    like = fd.nn.MLP.init(fd.random.key(0), (6, 5, 3))
    rename = {"l0": "layers/0", "l1": "layers/1"}
    x = generator.normal(size=(7, 6)).astype("f4")
    expected = (1 / (1 + np.exp(-(x @ W0 + b0)))) @ W1 + b1
    for way in (rename, lambda key: key.replace("l", "layers/", 1)):
        model = fd.load(tmp_path / "dezero.npz", like=like, rename=way)
        np.testing.assert_array_equal(model.layers[0].W, W0)
        np.testing.assert_allclose(model(x), expected, rtol=2e-6, atol=2e-6)
    assert fd.load(tmp_path / "dezero.npz", rename=rename).keys() == fd.tree.flatten_to_dict(like).keys()


def test_rename_takes_whole_parts_of_keys_and_refuses_collisions(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", {"l1": {"W": 1}, "l10": {"W": 2}})
    assert fd.load(tmp_path / "x.npz", rename={"l1": "first"}).keys() == {"first/W", "l10/W"}
    with pytest.raises(FileError, match=r"'l1/W.npy' and 'l10/W.npy' both become the key 'l10/W'"):
        fd.load(tmp_path / "x.npz", rename={"l1": "l10"})


# What does not fit


def test_strict_lists_every_difference(tmp_path: Path) -> None:
    fd.save(
        tmp_path / "x.npz", {"a": np.ones(2), "b": np.ones((2, 3), "f4"), "c": np.ones(2), "old": {"x": np.ones(4)}}
    )
    like = {"a": np.ones(2), "b": np.ones((3, 2), "f4"), "c": np.ones(2, "f4"), "new": [np.ones(5)]}
    with pytest.raises(FileError) as error:
        fd.load(tmp_path / "x.npz", like=like)
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'x.npz'} does not fit the tree:")
    for part in ("missing:    new/0 (float64[5])", "unexpected: old/x (float64[4])"):
        assert part in text
    for part in (
        "b is float32[3,2] in the tree, float32[2,3] in the file",
        "c is float32[2] in the tree, float64[2] in the file",
    ):
        assert f"different:  {part}" in text
    assert " a is" not in text


def test_not_strict_loads_what_both_have(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", {"a": np.ones(2), "old": np.ones(4)})
    new = np.full(3, 5.0)
    loaded = fd.load(tmp_path / "x.npz", like={"a": np.zeros(2), "new": new}, strict=False)
    assert_bits_equal(loaded, {"a": np.ones(2), "new": new})
    with pytest.raises(FileError, match=r"different:  a is float64\[3\]"):
        fd.load(tmp_path / "x.npz", like={"a": np.zeros(3)}, strict=False)


@pytest.mark.parametrize(
    "leaf",
    [
        np.array([1, None]),
        object(),
        "text",
        b"text",
        {1, 2},
        np.zeros(2, "i4,f4"),
        np.ma.masked_array([1.0]),
        2**70,
        len,
    ],
    ids=lambda leaf: type(leaf).__name__,
)
def test_what_is_no_number_is_refused_before_writing(tmp_path: Path, leaf: Any) -> None:
    fd.save(tmp_path / "x.npz", TREE)
    before = (tmp_path / "x.npz").read_bytes()
    with pytest.raises(FileError, match=r"z/0 is .*npz cannot keep"):
        fd.save(tmp_path / "x.npz", {"a": np.ones(3), "z": [leaf]})
    assert (tmp_path / "x.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["x.npz"]


def test_traced_values_are_refused(tmp_path: Path) -> None:
    def loss(x: Any) -> Any:
        fd.save(tmp_path / "x.npz", {"x": x})
        return x.sum()

    with pytest.raises(FileError, match="traced value"):
        fd.grad(loss)(np.ones(2))
    assert os.listdir(tmp_path) == []


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(2), **{"l0/W": np.array(None)})
    with pytest.raises(FileError, match=r"l0/W\.npy' holds pickled objects"):
        fd.load(tmp_path / "x.npz")


# Files whole or not at all


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device"), MemoryError()], ids=repr
)
@pytest.mark.parametrize(
    ("place", "name"), [(npy, "write_array"), (os, "fsync"), (os, "replace")], ids=["write", "fsync", "replace"]
)
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("call", [0, 1, 2])
def test_a_failure_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, place: Any, name: str, old: bool, call: int
) -> None:
    path = tmp_path / "x.npz"
    if old:
        fd.save(path, TREE)
    working, calls = getattr(place, name), iter(range(100))
    failing_call = call if name == "write_array" else 0

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == failing_call:
            raise error
        return working(*args, **kwargs)

    monkeypatch.setattr(place, name, failing)
    with pytest.raises(type(error)) as raised:
        fd.save(path, fd.tree.map(lambda leaf: leaf + 1, TREE))
    monkeypatch.undo()
    assert raised.value is error
    assert os.listdir(tmp_path) == ["x.npz"] * old
    if old:
        assert_bits_equal(fd.load(path, like=TREE), TREE)


class FullDisk(io.BytesIO):
    """A file on a disk with `room` bytes."""

    room = 0

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("share", [0, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99])
def test_a_full_disk_is_what_the_error_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    fd.save(tmp_path / "x.npz", TREE, compress=False)
    room = int(share * (tmp_path / "x.npz").stat().st_size)

    def open_full(path: Any, mode: str) -> Any:
        Path(path).touch()
        file = FullDisk()
        file.room = room
        return file

    monkeypatch.setattr("fdezero.io.npz.open", open_full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        fd.save(tmp_path / "x.npz", fd.tree.map(lambda leaf: leaf + 1, TREE), compress=False)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["x.npz"]
    assert_bits_equal(fd.load(tmp_path / "x.npz", like=TREE), TREE)


@pytest.mark.skipif(os.name == "nt", reason="modes and links are those of POSIX")
def test_modes_and_links_of_an_older_file_are_kept(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", {"a": 1})
    (tmp_path / "x.npz").chmod(0o640)
    (tmp_path / "link.npz").symlink_to("x.npz")
    fd.save(tmp_path / "link.npz", {"a": 2})
    assert (tmp_path / "link.npz").is_symlink()
    assert (tmp_path / "x.npz").stat().st_mode & 0o777 == 0o640
    assert fd.load(tmp_path / "x.npz", like={"a": 0}) == {"a": 2}


def test_no_ending_is_appended(tmp_path: Path) -> None:
    fd.save(str(tmp_path / "weights"), {"a": 1})
    assert os.listdir(tmp_path) == ["weights"]


def test_a_folder_or_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fd.save(tmp_path / "nowhere" / "x.npz", {"a": 1})
    with pytest.raises(FileNotFoundError, match=r"x\.npz"):
        fd.load(tmp_path / "x.npz")


# Damaged files


@pytest.mark.parametrize("compress", [True, False])
def test_a_file_cut_short_anywhere(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, TREE, compress=compress)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"x\.npz is no npz file, or is damaged"):
            fd.load(path, like=TREE)


@pytest.mark.parametrize("compress", [True, False])
def test_changed_bytes_give_the_tree_or_an_error_that_names_the_file(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, TREE, compress=compress)
    whole, generator = path.read_bytes(), random.Random(0)
    refusals = []
    for _ in range(600):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] = generator.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            assert_bits_equal(fd.load(path, like=TREE), TREE)
        except FileError as error:
            refusals.append(str(error))
    assert len(refusals) > 300
    assert all(str(path) in refusal for refusal in refusals)


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(FileError, match=r"x\.npz: 'readme\.txt' is no npy array"):
        fd.load(tmp_path / "x.npz")
