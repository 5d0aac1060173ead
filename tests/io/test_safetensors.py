"""Trees in safetensors files: what comes back, what other libraries read and write, and what is refused."""

import json
import os
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fdezero as fd
from fdezero import nn
from fdezero.errors import FileError, MissingExtraError
from fdezero.io import bfloat16
from fdezero.testing import assert_trees_equal, pytrees

package = pytest.importorskip("safetensors.numpy")

NUMBERS = np.random.default_rng(0).standard_normal((6, 8))
ARRAYS = {
    "c": NUMBERS.astype(np.float32),
    "fortran": np.asfortranarray(NUMBERS),
    "channels last": NUMBERS.reshape(2, 3, 4, 2).transpose(0, 3, 1, 2),
    "strided": NUMBERS[::2, ::-3],
    "broadcast": np.broadcast_to(NUMBERS[0], (3, 8)),
    "0-d": np.array(1.5, np.float32),
    "empty": np.empty((0, 3), np.float32),
    "bool": NUMBERS > 0,
    "half": NUMBERS.astype(np.float16),
    "int8": np.arange(-128, 128, dtype=np.int8),
    "uint64": np.array([0, 2**64 - 1], np.uint64),
    "special": np.array([np.nan, -np.nan, np.inf, -0.0, 5e-324]),
}


def same(a: Any, b: Any) -> bool:
    """Equal in type, dtype, shape and every bit."""
    return (type(a), a.dtype, a.shape, a.tobytes()) == (type(b), b.dtype, b.shape, b.tobytes())


def stored(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of a header, which is JSON or bytes, and of data; its header may claim another length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str, shape: list[int], first: int, last: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_comes_back_exactly_here_and_by_the_package(tmp_path: Path, name: str) -> None:
    array, path = ARRAYS[name], tmp_path / "x.safetensors"
    fd.save(path, {"x": array})
    for found in (fd.load(path, like={"x": array})["x"], fd.load(path)["x"]):
        assert same(found, array)
        assert found.flags.writeable
    assert fd.load(path)["x"].flags.c_contiguous
    is_dense = array.flags.c_contiguous or name in ("fortran", "channels last")
    assert fd.load(path, like={"x": array})["x"].strides == (array.strides if is_dense else np.array(array, order="C").strides)
    assert same(package.load_file(path)["x"], array)
    package.save_file({"x": np.array(array, order="C")}, path)
    assert same(fd.load(path)["x"], array)


DTYPES = st.sampled_from(["?", "<f2", "<f4", "<f8", "<i8", "<i2", "|u1"])
LEAVES = st.one_of(
    DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))),
    DTYPES.flatmap(lambda dtype: hnp.from_dtype(np.dtype(dtype)).map(np.dtype(dtype).type)),
    st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(),
)  # fmt: skip


@given(tree=pytrees(LEAVES))
def test_random_trees_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    tree = {"tree": tree}
    fd.save(path, tree)
    found = fd.load(path, like=tree)
    assert fd.tree.flatten(found)[1] == fd.tree.flatten(tree)[1]
    for leaf, expected in zip(fd.tree.leaves(found), fd.tree.leaves(tree), strict=True):
        assert type(leaf) is type(expected)
        assert same(np.asarray(leaf), np.asarray(expected))


def test_both_formats_hold_the_same_tree(tmp_path: Path) -> None:
    model = nn.MLP.init(fd.random.key(0), (3, 4, 2))
    for name in ("m.npz", "m.safetensors"):
        fd.save(tmp_path / name, {"model": model, "epoch": 3})
    flat = [fd.load(tmp_path / name) for name in ("m.npz", "m.safetensors")]
    assert set(flat[1]) == {"epoch", "model/layers/0/W", "model/layers/0/b", "model/layers/1/W", "model/layers/1/b"}
    assert_trees_equal(flat[0], flat[1], bits=True)


def test_bfloat16_becomes_float32_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    bfloat16.loaded_dtype.cache_clear()
    monkeypatch.setattr(bfloat16, "loaded_dtype", bfloat16.loaded_dtype.__wrapped__)  # nothing is remembered here
    path, numbers = tmp_path / "x.safetensors", np.array([1, -2.5, np.inf, 0, 3e-38, np.nan], np.float32)
    half = (numbers.view(np.uint32) >> 16).astype("<u2")
    path.write_bytes(stored({"x": entry("BF16", [2, 3], 0, 12)}, half.tobytes()))
    expected = (half.astype(np.uint32) << 16).view(np.float32).reshape(2, 3)
    assert same(fd.load(path)["x"], expected)
    assert same(fd.load(path, like={"x": np.zeros((2, 3), np.float32)})["x"], expected)
    np.testing.assert_allclose(expected.ravel(), numbers, rtol=1 / 128)


def test_bytes_that_are_no_booleans_are_true(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(stored({"x": entry("BOOL", [3], 0, 3)}, b"\0\1\7"))
    assert same(fd.load(path)["x"], np.array([False, True, True]))


def test_rename_and_strict_are_those_of_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    package.save_file({"fc.weight": np.ones((2, 3), np.float32), "fc.bias": np.zeros(2, np.float32)}, path, metadata={"format": "pt"})
    like = {"fc": {"weight": np.zeros((2, 3), np.float32)}}
    found = fd.load(path, like=like, strict=False, rename=lambda key: key.replace(".", "/"))
    assert_trees_equal(found, {"fc": {"weight": np.ones((2, 3), np.float32)}}, bits=True)
    with pytest.raises(FileError, match=r"unexpected: fc/bias \(float32\[2\]\)"):
        fd.load(path, like=like, rename=lambda key: key.replace(".", "/"))
    with pytest.raises(FileError, match=r"'fc\.\w+' and 'fc\.\w+' both become the key 'x'"):
        fd.load(path, rename=lambda key: "x")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "leaf", [np.zeros(2, complex), np.zeros(2, ">f4"), np.array(["a"]), np.zeros(2, "M8[D]"), "text", 1j], ids=lambda leaf: str(np.asarray(leaf).dtype)
)
def test_what_would_come_back_changed_is_refused_before_anything_is_written(tmp_path: Path, leaf: Any) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(FileError, match="a/b is .*, which safetensors cannot keep: convert it"):
        fd.save(path, {"a": {"b": leaf}})
    assert not os.listdir(tmp_path)


def test_names_that_the_header_cannot_hold_are_refused(tmp_path: Path) -> None:
    for key in ("__metadata__", "\ud800"):
        with pytest.raises(FileError, match="cannot be a name in a safetensors file"):
            fd.save(tmp_path / "x.safetensors", {key: 1.0})


FLOAT = b'"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no safetensors file"),
    "an npz file": (lambda: b"PK\3\4" + bytes(100), "no safetensors file"),
    "a long header": (lambda: stored(b"{}", length=1 << 60), "no safetensors file"),
    "no header": (lambda: stored(b"hello"), "no safetensors file"),
    "one name twice": (lambda: stored(b"{" + FLOAT + b"," + FLOAT + b"}", bytes(4)), "a name twice"),
    "entries that overlap": (lambda: stored({"x": entry("F32", [1], 0, 4), "y": entry("F32", [1], 0, 4)}, bytes(4)), "invalid offset"),
    "a hole": (lambda: stored({"x": entry("F32", [1], 4, 8)}, bytes(8)), "invalid offset"),
    "cut short": (lambda: stored({"x": entry("F32", [2], 0, 8)}, bytes(4)), "not fully covered"),
    "too long": (lambda: stored({"x": entry("F32", [1], 0, 4)}, bytes(8)), "not fully covered"),
    "a shape beyond the file": (lambda: stored({"x": entry("F32", [1 << 40], 0, 4)}, bytes(4)), "no safetensors file"),
    "a shape beyond 64 bits": (lambda: stored({"x": entry("F32", [1 << 62, 1 << 62], 0, 4)}, bytes(4)), "no safetensors file"),
    "empty, beyond 63 bits": (lambda: stored({"x": entry("F32", [0, 1 << 63], 0, 0)}), "a shape that an array cannot have"),
    "empty, too large": (lambda: stored({"x": entry("F32", [0, 1 << 62], 0, 0)}), "x"),
    "many axes": (lambda: stored({"x": entry("F32", [1] * 100, 0, 4)}, bytes(4)), "a shape that an array cannot have"),
    "a negative size": (lambda: stored({"x": entry("F32", [-1], 0, 4)}, bytes(4)), "no safetensors file"),
    "an unknown dtype": (lambda: stored({"x": entry("Q32", [1], 0, 4)}, bytes(4)), "no safetensors file"),
    "numbers of eight bits": (lambda: stored({"x": entry("F8_E4M3", [4], 0, 4)}, bytes(4)), "F8_E4M3 numbers, which NumPy does not have"),
    "deep": (lambda: stored(b"[" * 100_000), "no safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_within_bounded_memory(tmp_path: Path, kind: str) -> None:
    make, said = HOSTILE[kind]
    path = tmp_path / "x.safetensors"
    path.write_bytes(make())
    for options in ({}, {"like": {"x": np.zeros(1)}}, {"mmap": True}):
        tracemalloc.start()
        try:
            with pytest.raises(FileError, match=said) as caught:
                fd.load(path, **options)  # type: ignore[arg-type]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert str(path) in str(caught.value)
        assert peak < 4 << 20


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    fd.save(path, {"a": np.arange(3.0), "b": np.arange(2)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match="damaged"):
            fd.load(path)


def test_a_missing_package_and_a_missing_file_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError):
        fd.load(path)
    fd.save(path, {"x": 1.0})
    before = path.read_bytes()
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for call in (lambda: fd.load(path), lambda: fd.save(path, {"x": 2.0})):
        with pytest.raises(MissingExtraError, match=r"pip install 'fdezero\[safetensors\]'"):
            call()
    assert os.listdir(tmp_path) == ["x.safetensors"]
    assert path.read_bytes() == before
