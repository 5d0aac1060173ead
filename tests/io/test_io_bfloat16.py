"""Numbers of bfloat16 in both formats, with the package ml_dtypes and without it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import FileError
from fdezero.io import bfloat16

from .test_io import same
from .test_io_mapped import FORMATS

ml_dtypes = pytest.importorskip("ml_dtypes")

NUMBERS = np.array([[1, -2.5, np.inf], [0, 3e-38, np.nan]], np.float32).astype(ml_dtypes.bfloat16)
NARROW = {
    "c": NUMBERS, "fortran": np.asfortranarray(NUMBERS), "strided": NUMBERS[:, ::2], "0-d": np.asarray(NUMBERS[0, 1]),
    "empty": NUMBERS[:0],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("compress", [True, False, "auto"])
def test_bfloat16_comes_back(tmp_path: Path, form: str, compress: Any) -> None:
    path, tree = tmp_path / f"x.{form}", {"tree": NARROW, "scalar": ml_dtypes.bfloat16(1.5)}
    fd.save(path, tree, compress=compress)
    for options in ({}, {"like": tree}) + (({"mmap": True}, {"like": tree, "mmap": True}) if compress is False else ()):
        found = fd.io.flatten_to_dict(fd.load(path, **options))
        for name, array in NARROW.items():
            assert same(found[f"tree/{name}"], array), (name, options)
        assert same(np.asarray(found["scalar"]), np.asarray(tree["scalar"]))
    wide = fd.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), tree)
    for name, array in fd.load(path, like=wide)["tree"].items():
        assert same(array, NARROW[name].astype(np.float32))
    with pytest.raises(FileError, match=r"c is float16\[2,3\] in the tree, bfloat16\[2,3\] in the file"):
        fd.load(path, like={"tree": {"c": np.zeros((2, 3), np.float16)}}, strict=False)


def test_any_numpy_opens_bfloat16_in_an_npz_file(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", {"x": NUMBERS})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        bits = file["x"]["bfloat16"]
    assert same(bits, NUMBERS.view("<u2"))
    wide = (bits.astype(np.uint32) << 16).view(np.float32)  # what the page on files says
    assert same(wide, NUMBERS.astype(np.float32))
    np.savez(tmp_path / "y.npz", **np.load(tmp_path / "x.npz"))  # the mark is within the member
    assert same(fd.load(tmp_path / "y.npz")["x"], NUMBERS)


def test_other_libraries_read_and_write_bfloat16(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("safetensors.torch")
    fd.save(tmp_path / "x.safetensors", {"x": NUMBERS})
    tensor = package.load_file(tmp_path / "x.safetensors")["x"]
    assert tensor.dtype == torch.bfloat16
    assert same(tensor.view(torch.uint16).numpy(), NUMBERS.view("<u2"))
    package.save_file({"x": tensor}, tmp_path / "y.safetensors")
    assert same(fd.load(tmp_path / "y.safetensors")["x"], NUMBERS)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("mmap", [False, True])
def test_without_its_package_bfloat16_becomes_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, mmap: bool
) -> None:
    fd.save(tmp_path / f"x.{form}", {"x": NUMBERS}, compress=False)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    monkeypatch.setattr(bfloat16, "loaded_dtype", bfloat16.loaded_dtype.__wrapped__)  # nothing is remembered
    expected = NUMBERS.astype(np.float32)
    for options in ({}, {"like": {"x": np.zeros((2, 3), np.float32)}}):
        found = fd.load(tmp_path / f"x.{form}", mmap=mmap, **options)["x"]
        assert same(found, expected)
        assert found.flags.writeable == (not mmap)
