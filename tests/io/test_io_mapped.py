"""Files mapped into memory, memory while saving, and trees whose layers are not made yet."""

import io
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.errors import FileError

from .test_io import ARRAYS, same
from .test_safetensors import entry, stored

FORMATS = ["npz", "safetensors"]
KEPT = {
    "npz": ARRAYS,
    "safetensors": {key: array for key, array in ARRAYS.items() if array.dtype.kind in "biuf" and array.dtype.isnative and array.dtype != np.longdouble},
}


def base_of(array: Any) -> Any:
    """What holds the memory of an array."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


# --- mapped ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_mapped_arrays_are_those_of_the_file_and_cannot_be_written(tmp_path: Path, form: str) -> None:
    path, tree = tmp_path / f"x.{form}", {"tree": KEPT[form]}
    fd.save(path, tree, compress=False)
    flat, nested = fd.load(path, mmap=True), fd.load(path, like=tree, mmap=True)["tree"]
    for name, array in KEPT[form].items():
        for found in (flat[f"tree/{name}"], nested[name]):
            assert same(found, array), name
            assert type(found) is np.ndarray
            assert type(base_of(found)).__name__ == ("mmap" if found.size else "ndarray"), name
            assert not found.flags.writeable
            if found.size:
                with pytest.raises(ValueError, match="WRITEABLE"):
                    found.flags.writeable = True
            assert found.flags.aligned, name
            if form == "npz" and found.size:
                assert found.ctypes.data % 64 == 0
    assert fd.load(path, like={"tree": {"c": ARRAYS["c"]}}, strict=False, mmap=True)["tree"]["c"].ctypes.data % 64 == 0


def test_arrays_in_a_safetensors_file_begin_where_they_can_be_mapped(tmp_path: Path) -> None:
    tree = {f"{size}{code}": np.ones(size, code) for size in (0, 1, 3, 16, 64) for code in ("?", "i1", "f2", "f4", "f8")}
    fd.save(tmp_path / "x.safetensors", tree)
    for key, found in fd.load(tmp_path / "x.safetensors", mmap=True).items():
        assert same(found, tree[key])
        assert not found.size or found.ctypes.data % (found.itemsize if found.nbytes % 64 else 64) == 0
    assert list(fd.load(tmp_path / "x.safetensors")) == sorted(tree)


def test_numbers_scalars_and_other_devices_come_back_as_their_kind(tmp_path: Path, gpu: Any) -> None:
    tree = {"rate": 0.1, "step": 3, "on": True, "loss": np.float32(2), "W": gpu.ones((2, 3), dtype=np.float32)}
    for name in FORMATS:
        fd.save(tmp_path / f"x.{name}", tree, compress=False)
        found = fd.load(tmp_path / f"x.{name}", like=tree, mmap=True)
        assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in tree.items()}
        fd.testing.assert_trees_equal(fd.to_numpy(found), fd.to_numpy(tree))


def test_a_compressed_member_is_not_mapped_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    tree = {"W": np.random.default_rng(0).standard_normal(1000), "zeros": np.zeros(1000)}
    fd.save(tmp_path / "x.npz", tree)
    with pytest.raises(FileError, match=r"x.npz: 'zeros.npy' is compressed, .* fd.save\(path, tree, compress=False\), or load it without mmap=True"):
        fd.load(tmp_path / "x.npz", mmap=True)
    assert same(fd.load(tmp_path / "x.npz", like={"W": tree["W"]}, strict=False, mmap=True)["W"], tree["W"])


def test_numpys_files_are_mapped_wherever_their_members_begin(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **ARRAYS)  # type: ignore[arg-type]
    for key, found in fd.load(tmp_path / "x.npz", mmap=True).items():
        assert same(found, ARRAYS[key] if ARRAYS[key].flags.c_contiguous or not ARRAYS[key].flags.f_contiguous else np.asfortranarray(ARRAYS[key]))


def test_a_mapped_file_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, {"x": np.arange(100_000.0)}, compress=False)
    found = fd.load(path, mmap=True)["x"]
    if os.name == "nt":  # which does not replace a file that a process has open
        return
    fd.save(path, {"x": np.zeros(3)})
    assert found.sum() == np.arange(100_000.0).sum()


def test_a_model_computes_with_mapped_parameters(tmp_path: Path) -> None:
    model = nn.MLP.init(fd.random.key(0), (3, 4, 2))
    fd.save(tmp_path / "x.npz", model, compress=False)
    mapped, x = fd.load(tmp_path / "x.npz", like=model, mmap=True), np.ones((5, 3), np.float32)

    def loss(model: Any) -> Any:
        return fd.numpy.sum(model(x) ** 2)

    for function in (loss, fd.grad(loss), fd.compile(fd.grad(loss))):
        fd.testing.assert_trees_equal(function(mapped), function(model), bits=True)


def test_booleans_that_are_none_become_ones_also_when_mapped(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(stored({"x": entry("BOOL", [3], 0, 3)}, b"\0\1\7"))
    np.savez(tmp_path / "x.npz", x=np.array([0, 1, 7], np.uint8).view(np.bool_))
    for name in FORMATS:
        for mmap in (False, True):
            found = fd.load(tmp_path / f"x.{name}", mmap=mmap)["x"]
            assert found.view(np.uint8).tolist() == [0, 1, 1]
            assert found.flags.writeable == (not mmap)


def test_a_mapped_member_must_lie_within_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, {"x": np.arange(1000.0)}, compress=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:4000] + whole[8000:])  # zipfile takes the missing bytes for a shorter prefix
    with pytest.raises(FileError, match=str(path)):
        fd.load(path, mmap=True)


# --- memory, and what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("compress", [True, False, "auto"])
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_saving_needs_one_leaf_more_than_the_tree(tmp_path: Path, form: str, compress: Any, layout: str) -> None:
    size = 1 << 20
    leaf = np.zeros((1 << 9, 1 << 9), np.float32) if layout != "strided" else np.zeros((1 << 9, 1 << 10), np.float32)[:, ::2]
    leaf = np.asfortranarray(leaf) if layout == "F" else leaf
    tree = {str(number): leaf for number in range(8)}
    fd.save(tmp_path / f"x.{form}", tree, compress=compress)
    tracemalloc.start()
    try:
        fd.save(tmp_path / f"x.{form}", tree, compress=compress)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    buffer = io.DEFAULT_BUFFER_SIZE  # of the open file: 128 KiB since Python 3.14
    assert peak < (0.5 if layout == "C" or (layout, form) == ("F", "npz") else 1.5) * size + buffer


def test_a_lazy_layer_is_refused_by_path(tmp_path: Path) -> None:
    lazy = nn.Sequential([nn.Linear.lazy(4), nn.Linear.init(fd.random.key(0), 4, 2)])
    said = r"layers/0 is Linear.lazy\(4\), which does not have parameters yet: make the model's layers first: model = nn.init\(model, key, x\)"
    for name in FORMATS:
        for tree, prefix in ((lazy, ""), ({"model": lazy, "step": 3}, "model/"), ({"model": fd.Frozen(lazy)}, "model/.*")):
            with pytest.raises(FileError, match=prefix + said):
                fd.save(tmp_path / f"x.{name}", tree)
        with pytest.raises(FileError, match=r"the tree is Linear.lazy\(4\)"):
            fd.save(tmp_path / f"x.{name}", nn.Linear.lazy(4))
    assert os.listdir(tmp_path) == []
    model = nn.init(lazy, fd.random.key(1), np.ones((1, 3), np.float32))
    fd.save(tmp_path / "x.npz", model)
    with pytest.raises(FileError, match=said):
        fd.load(tmp_path / "x.npz", like=lazy)


def test_padding_lies_in_a_field_that_zipfile_knows(tmp_path: Path) -> None:
    for length in range(1, 130):
        fd.save(tmp_path / "x.npz", {"k" * length: np.arange(3.0)}, compress=False)
        with zipfile.ZipFile(tmp_path / "x.npz") as archive:
            assert archive.testzip() is None
        assert fd.load(tmp_path / "x.npz", mmap=True)["k" * length].ctypes.data % 64 == 0
