"""Trees in npz files load as they were saved; errors name values that cannot be saved or do not fit."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib import format as npy

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.errors import DeviceError, FileError, StructureError
from fdezero.testing import assert_trees_equal, pytrees

NUMBERS = np.random.default_rng(0).standard_normal((6, 8))
ARRAYS = {
    "c": NUMBERS.astype(np.float32),
    "fortran": np.asfortranarray(NUMBERS),
    "transposed": NUMBERS.T,
    "strided": NUMBERS[::2, ::-3],
    "three axes permuted": NUMBERS.reshape(2, 3, 8).transpose(2, 0, 1),
    "broadcast": np.broadcast_to(NUMBERS[0], (3, 8)),
    "0-d": np.array(1.5, np.float32),
    "empty": np.empty((0, 3), np.float32),
    "empty fortran": np.empty((3, 0, 2), np.int8, order="F"),
    "big-endian": NUMBERS.astype(">f4"),
    "big-endian strided": NUMBERS.astype(">i8")[:, ::2],
    "bool": NUMBERS > 0,
    "half": NUMBERS.astype(np.float16),
    "longdouble": NUMBERS.astype(np.longdouble),
    "complex": (NUMBERS + 1j).astype(np.complex64),
    "int8": np.arange(-128, 128, dtype=np.int8),
    "uint64": np.array([0, 2**64 - 1], np.uint64),
    "special": np.array([np.nan, -np.nan, np.inf, -0.0, 5e-324]),
    "dates": np.array(["2026-11-24", "NaT"], "M8[D]"),
    "durations": np.array([1, 2], "m8[25s]"),
    "text": np.array(["é", "long"]),
    "bytes": np.array([b"a\0b", b""]),
}
TREE = {
    "layers": [{"W": ARRAYS["c"], "b": np.zeros(8, np.float32)}, {"W": NUMBERS}],
    "rate": 0.1,
    "step": 3,
    "on": True,
}


def same(a: Any, b: Any) -> bool:
    """Equal in type, dtype, shape and every bit."""
    return (type(a), a.dtype, a.shape, a.tobytes()) == (type(b), b.dtype, b.shape, b.tobytes())


def flat(tree: Any) -> dict[str, Any]:
    return fd.io.flatten_to_dict(tree)


# --- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [True, False, "auto"])
@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_comes_back_exactly(tmp_path: Path, name: str, compress: Any) -> None:
    array, path = ARRAYS[name], tmp_path / "x.npz"
    fd.save(path, {"x": array}, compress=compress)
    for found in (fd.load(path, like={"x": array})["x"], fd.load(path)["x"]):
        assert same(found, array)
        assert found.flags.writeable
    with np.load(path, allow_pickle=False) as numpys:
        assert same(numpys["x"], array)


DTYPES = st.sampled_from(["?", "<f2", ">f2", "<f4", ">f4", "<f8", "<i8", ">i2", "|u1", "<c16"])
LEAVES = st.one_of(
    DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))),
    DTYPES.flatmap(lambda dtype: hnp.from_dtype(np.dtype(dtype)).map(np.dtype(dtype).newbyteorder("=").type)),
    st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.complex_numbers(),
)  # fmt: skip


@given(tree=pytrees(LEAVES), compress=st.sampled_from([True, False, "auto"]))
def test_random_trees_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, tree: Any, compress: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "random.npz"
    tree = {"tree": tree}
    fd.save(path, tree, compress=compress)
    found = fd.load(path, like=tree)
    assert fd.tree.flatten(found)[1] == fd.tree.flatten(tree)[1]
    for leaf, expected in zip(fd.tree.leaves(found), fd.tree.leaves(tree), strict=True):
        assert type(leaf) is type(expected)
        assert same(np.asarray(leaf), np.asarray(expected))


def test_a_file_is_a_flat_dict_without_like(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", TREE)
    found = fd.load(tmp_path / "x.npz")
    assert list(found) == ["layers/0/W", "layers/0/b", "layers/1/W", "on", "rate", "step"]
    assert [(found[key].shape, found[key].dtype) for key in ("on", "rate", "step")] == [
        ((), "bool"),
        ((), "f8"),
        ((), "i8"),
    ]
    assert_trees_equal(fd.io.unflatten_from_dict(found, like=TREE), TREE)


def test_modules_none_and_numpy_scalars_come_back_as_they_were(tmp_path: Path) -> None:
    model = nn.MLP.init(fd.random.key(0), (3, 4, 2))
    tree = {
        "model": model,
        "state": fd.optim.adam().init(model),
        "at": (2, 17),
        "nothing": None,
        "loss": np.float32(0.5),
        "frozen": fd.Frozen(NUMBERS),
    }
    fd.save(tmp_path / "x.npz", tree)
    found = fd.load(tmp_path / "x.npz", like=tree)
    assert isinstance(found["model"], nn.MLP)
    assert found["nothing"] is None
    assert type(found["loss"]) is np.float32
    assert_trees_equal(found, tree)


def test_a_python_number_takes_numbers_of_its_kind_alone(tmp_path: Path) -> None:
    path, foreign = (
        tmp_path / "x.npz",
        {"i": np.uint8(3), "f": np.float16(0.5), "c": np.complex64(1j), "b": np.bool_(True)},
    )
    fd.save(path, foreign)
    found = fd.load(path, like={"i": 0, "f": 0.0, "c": 0j, "b": False})
    assert [(type(value), value) for value in found.values()] == [(int, 3), (float, 0.5), (complex, 1j), (bool, True)]
    for like in ({"f": 1}, {"i": 1.0}, {"b": 1}, {"i": True}, {"c": 1.0}, {"f": np.float64(1)}):
        with pytest.raises(FileError, match="different: "):
            fd.load(path, like=like, strict=False)
    fd.save(path, {"f": np.ones(1), "long": np.longdouble(0.1)})
    with pytest.raises(FileError, match=r"f is float 0.0 in the tree, float64\[1\] in the file"):
        fd.load(path, like={"f": 0.0}, strict=False)
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(FileError, match=r"long is float 0\.0 in the tree"):
            fd.load(path, like={"long": 0.0}, strict=False)


def test_the_empty_tree(tmp_path: Path) -> None:
    fd.save(tmp_path / "x.npz", {"a": None})
    assert fd.load(tmp_path / "x.npz") == {}
    assert fd.load(tmp_path / "x.npz", like={"a": None}) == {"a": None}


KEYS = [
    "allow_pickle", "file", "self", "args", "kwds", "arr_0", "a", "a.npy", "a.npy.npy", "../up", "/root", "with space",
    "a\tb", "é/字", "a\\b", "x/", "x/.npy", ".",
]  # fmt: skip


def test_no_key_is_lost_or_confused(tmp_path: Path) -> None:
    keys = [key for key in KEYS if not (os.sep == "\\" and "\\" in key)]
    tree = {key: np.array([i]) for i, key in enumerate(keys)} | {"inner": {"": np.array([99])}}
    fd.save(tmp_path / "x.npz", tree)
    assert_trees_equal(fd.load(tmp_path / "x.npz", like=tree), tree)
    assert {key: int(array[0]) for key, array in fd.load(tmp_path / "x.npz").items()} == {
        key: int(a[0]) for key, a in flat(tree).items()
    }
    with np.load(tmp_path / "x.npz") as numpys:
        assert [int(numpys[key][0]) for key in ("allow_pickle", "file", "é/字")] == [0, 1, keys.index("é/字")]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        (np.array([1, None], object), r"object\[2\]"), ("name", "str"), (b"name", "bytes"), (2**70, "int 118059"),
        (np.array(["a"], np.dtypes.StringDType()), "StringDType"), (np.zeros(2, "V2"), r"\|V2\[2\]"),
        (np.str_("name"), r"<U4\[\]"),
        (np.zeros(2, [("a", "f4")]), r"\[\('a', '<f4'\)\]\[2\]"), (print, "builtin_function"), ({1, 2}, "set"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), r"MaskedArray float64\[2\]"), (zipfile.ZipInfo("x"), "ZipInfo"),
    ],
    ids=lambda value: str(type(value).__name__),
)  # fmt: skip
def test_what_a_file_cannot_keep_is_named_before_anything_is_written(tmp_path: Path, leaf: Any, said: str) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(
        FileError, match=f"layers/0/W is {said}.*, which npz cannot keep: convert it.*or declare the field static"
    ):
        fd.save(path, {"a": NUMBERS, "layers": [{"W": leaf}]})
    assert list(tmp_path.iterdir()) == []
    fd.save(path, {"a": NUMBERS})
    before = path.read_bytes()
    with pytest.raises(FileError):
        fd.save(path, {"layers": leaf})
    assert path.read_bytes() == before


class Bfloat16:
    """An array of another library, whose dtype has a code that NumPy does not know."""

    shape = (2,)
    dtype = type("dtype", (), {"kind": "f", "str": "<f1", "__str__": lambda self: "float8_e5m2"})()


def test_dtypes_of_other_libraries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"x is float8_e5m2\[2\], which npz cannot keep"):
        fd.save(tmp_path / "x.npz", {"x": Bfloat16()})


def test_traced_values_are_refused(tmp_path: Path) -> None:
    def loss(x: Any) -> Any:
        fd.save(tmp_path / "x.npz", {"x": x})
        return fd.numpy.sum(x)

    for transform in (fd.grad, fd.vmap):
        with pytest.raises(FileError, match=r"x is a traced value .*: return it from the function and save it outside"):
            transform(loss)(NUMBERS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["a\0b", "half a pair \ud800", "x" * 70_000])
def test_names_that_no_archive_can_hold_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(FileError, match=r"the key .* cannot be a name in an npz file"):
        fd.save(tmp_path / "x.npz", {key: NUMBERS})
    assert list(tmp_path.iterdir()) == []


def test_two_leaves_with_one_key_and_a_single_leaf_are_refused(tmp_path: Path) -> None:
    for tree in ({"a/b": NUMBERS, "a": {"b": NUMBERS}}, NUMBERS):
        with pytest.raises(StructureError, match="key"):
            fd.save(tmp_path / "x.npz", tree)
    assert list(tmp_path.iterdir()) == []


# --- checking --------------------------------------------------------------------------------------------------------


def test_all_differences_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    fd.save(path, {"W": np.zeros((2, 3), np.float32), "b": np.zeros(3), "old": np.zeros(4, np.int8), "step": 3})
    like = {"W": np.zeros((2, 4), np.float32), "b": np.zeros(3, np.float32), "new": np.zeros(5), "step": 0.5}
    with pytest.raises(FileError) as caught:
        fd.load(path, like=like)
    assert str(caught.value).splitlines() == [
        f"{path} does not fit the tree:",
        "  missing:    new (float64[5])",
        "  unexpected: old (int8[4])",
        "  different:  W is float32[2,4] in the tree, float32[2,3] in the file",
        "  different:  b is float32[3] in the tree, float64[3] in the file",
        "  different:  step is float 0.5 in the tree, int64[] in the file",
        "strict=False loads the keys that both have; rename={'old': 'new'} maps prefixes of keys.",
        "No dtype is changed silently. Cast the file first: "
        f"fd.save('cast.npz', fd.tree.map(lambda a: a.astype('float32'), fd.load({str(path)!r}))).",
        f"fd.load({str(path)!r}) shows what the file has.",
    ]


@pytest.mark.parametrize(
    ("like", "hint"),
    [
        ({"W": np.zeros(3), "b": np.zeros(3)}, None),
        ({"W": np.zeros(2)}, "strict=False"),
        ({"W": np.zeros(2, np.float32), "b": np.zeros(3)}, "cast"),
    ],
)
def test_hints_are_for_what_differs(tmp_path: Path, like: Any, hint: str | None) -> None:
    fd.save(tmp_path / "x.npz", {"W": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(FileError) as caught:
        fd.load(tmp_path / "x.npz", like=like)
    assert [word for word in ("strict=False", "cast") if word in str(caught.value)] == ([hint] if hint else [])


def test_the_hint_on_dtypes_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("dezero.npz", **{"l0/W": NUMBERS, "l0/b": np.zeros(8, np.float32)})  # DeZero's on NumPy 2
    like = {"l0": {"W": np.zeros((6, 8), np.float32), "b": np.ones(8, np.float32)}}
    with pytest.raises(FileError) as caught:
        fd.load("dezero.npz", like=like)
    eval(str(caught.value).partition("Cast the file first: ")[2].partition(".\n")[0], {"fd": fd})
    assert_trees_equal(fd.load("cast.npz", like=like)["l0"]["W"], NUMBERS.astype(np.float32))


def test_partial_loading_keeps_leaves_missing_in_the_file_and_skips_those_missing_in_like(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    fd.save(path, {"W": np.ones(2), "old": np.ones(3)})
    like = {"W": np.zeros(2), "new": np.full(4, 7.0), "name": "mlp"}
    found = fd.load(path, like=like, strict=False)
    assert found["W"].tolist() == [1.0, 1.0]
    assert found["new"] is like["new"]
    assert (found["name"], set(found)) == ("mlp", {"W", "new", "name"})
    for wrong in (np.zeros(3), np.zeros(2, np.float32), "text", 1.0, np.float64(1), np.zeros(2, ">f8")):
        with pytest.raises(FileError, match=r"does not fit the tree:\n  different:  W is "):
            fd.load(path, like=like | {"W": wrong}, strict=False)


def test_everything_is_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd.save(tmp_path / "x.npz", {"a": np.ones(2), "b": np.ones(3)})

    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(npy, "read_array", fail)
    with pytest.raises(FileError, match="different"):
        fd.load(tmp_path / "x.npz", like={"a": np.ones(2), "b": np.ones(2)})


@pytest.mark.parametrize(
    ("rename", "keys"),
    [
        ({"l0": "layers/0"}, ["layers/0/W", "layers/0/b", "l01/W", "l1"]),
        ({"l1": "scale", "l0/W": "first"}, ["first", "l0/b", "l01/W", "scale"]),
        ({"l0": "a", "l0/W": "c"}, ["c", "a/b", "l01/W", "l1"]),
        ({"": "model"}, ["model/l0/W", "model/l0/b", "model/l01/W", "model/l1"]),
        ({"l0": ""}, ["W", "b", "l01/W", "l1"]),
        (lambda key: key.upper(), ["L0/W", "L0/B", "L01/W", "L1"]),
        ({}, ["l0/W", "l0/b", "l01/W", "l1"]),
    ],
)
def test_keys_are_renamed_by_prefix_or_by_a_function(tmp_path: Path, rename: Any, keys: list[str]) -> None:
    fd.save(
        tmp_path / "x.npz", {"l0": {"W": np.array(0), "b": np.array(1)}, "l01": {"W": np.array(2)}, "l1": np.array(3)}
    )
    assert {key: int(value) for key, value in fd.load(tmp_path / "x.npz", rename=rename).items()} == dict(
        zip(keys, range(4), strict=True)
    )


@pytest.mark.parametrize("rename", [{"a": "b"}, lambda key: "b"])
def test_keys_that_collide_after_renaming_are_refused(tmp_path: Path, rename: Any) -> None:
    fd.save(tmp_path / "x.npz", {"a": {"W": np.ones(2)}, "b": {"W": np.ones(2)}})
    with pytest.raises(FileError, match=r"x.npz: 'a/W.npy' and 'b/W.npy' both become the key 'b(/W)?': change rename="):
        fd.load(tmp_path / "x.npz", rename=rename)


def test_a_file_of_dezero_loads_by_a_rename(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"l0/W": (784, 20), "l0/b": (20,), "l1/W": (20, 10), "l1/b": (10,)}
    dezero: dict[str, Any] = {key: rng.standard_normal(shape, dtype=np.float32) for key, shape in shapes.items()}
    np.savez_compressed(tmp_path / "dezero.npz", **dezero)  # as its Layer.save_weights does
    model = nn.MLP.init(fd.random.key(0), (784, 20, 10))
    with pytest.raises(
        FileError, match=r"missing:    layers/0/W \(float32\[784,20\]\)\n(.*\n)*  unexpected: l0/W.*\n(.*\n)*.*rename="
    ):
        fd.load(tmp_path / "dezero.npz", like=model)
    model = fd.load(tmp_path / "dezero.npz", like=model, rename={"l0": "layers/0", "l1": "layers/1"})
    x = rng.standard_normal((5, 784), dtype=np.float32)
    expected = F.sigmoid(x @ dezero["l0/W"] + dezero["l0/b"]) @ dezero["l1/W"] + dezero["l1/b"]
    assert_trees_equal(model(x), expected)
    fd.save(tmp_path / "back.npz", {"l0": model.layers[0], "l1": model.layers[1]})
    with np.load(tmp_path / "back.npz") as back:
        assert all(same(back[key], array) for key, array in dezero.items())


# --- devices ---------------------------------------------------------------------------------------------------------


def test_leaves_are_written_from_the_gpu_and_read_to_where_like_lies(tmp_path: Path, gpu: Any) -> None:
    there = fd.to_device(TREE, "gpu")
    fd.save(tmp_path / "there.npz", there)
    fd.save(tmp_path / "here.npz", TREE)
    assert (tmp_path / "there.npz").read_bytes() == (tmp_path / "here.npz").read_bytes()
    found = fd.load(tmp_path / "here.npz", like=there)
    assert all(isinstance(leaf, gpu.ndarray) for key, leaf in flat(found).items() if key.startswith("layers"))
    assert (type(found["rate"]), type(found["step"]), type(found["on"])) == (float, int, bool)
    assert_trees_equal(fd.to_numpy(found), TREE)
    assert isinstance(fd.load(tmp_path / "there.npz", like=TREE)["layers"][0]["W"], np.ndarray)
    mixed = fd.load(tmp_path / "here.npz", like=TREE | {"layers": [there["layers"][0], TREE["layers"][1]]})
    with pytest.raises(DeviceError):
        fd.device_of(mixed)
    with pytest.raises(FileError, match=r"W is float32\[2\] in the tree, float32\[6,8\] in the file"):
        fd.load(tmp_path / "here.npz", like={"layers": [{"W": gpu.zeros(2, dtype=np.float32)}]}, strict=False)


def test_a_second_gpu_gets_its_leaves_back(tmp_path: Path, strict_cupy: Any) -> None:
    there = fd.to_device({"a": NUMBERS}, "gpu:1")
    fd.save(tmp_path / "x.npz", there)
    assert fd.device_of(fd.load(tmp_path / "x.npz", like=there)) == "gpu:1"
