"""Parts of data sets, padding, and sequences in tracks, against loops and DeZero."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import data
from fdezero.errors import DTypeError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_equal, keys

from .data_forms import FORMS, columns, inputs, labels

KEY = fd.random.key(1)


@pytest.mark.parametrize("form", FORMS)
def test_a_part_has_the_form_of_the_whole(form: str, tmp_path: Path) -> None:
    dataset = FORMS[form](21, tmp_path)
    size = data.DataLoader(dataset, 1, shuffle=False).size
    parts = data.split(dataset, (0.6, 0.2, 0.2), KEY)
    loaders = [data.DataLoader(part, 4, shuffle=False) for part in parts]
    assert [loader.size for loader in loaders] == np.diff(np.round(np.array([0, 0.6, 0.8, 1]) * size)).tolist()
    seen = [columns(batch)[0].reshape(-1, columns(batch)[0].size // len(columns(batch)[1])) for loader in loaders for batch in loader]
    first = np.concatenate(seen)[:, 0]
    assert sorted(first) == inputs(21)[:size, 0].tolist()
    if form not in ("object", "object of whole batches", "a part", "PyTorch"):  # these are read when they are asked for
        assert type(parts[0]) is type(dataset)


def test_arrays_on_a_gpu_are_split_there(gpu: Any) -> None:
    here = data.split((inputs(10), labels(10)), 0.3, KEY, stratify="1")
    there = data.split(fd.to_device((inputs(10), labels(10)), "gpu"), 0.3, KEY, stratify="1")
    assert fd.device_of(there) == "gpu:0"
    assert_trees_equal(fd.to_numpy(there), here, bits=True)


@given(
    key=keys(), n=st.integers(4, 60), classes=st.integers(1, 5), fractions=st.sampled_from([0.5, 0.75, (0.5, 0.25, 0.25), (0.4, 0.35, 0.25)])
)
def test_stratified_parts_have_each_class_in_proportion(key: Any, n: int, classes: int, fractions: Any) -> None:
    t = np.asarray(fd.random.randint(key, (n,), 0, classes))
    parts = data.split({"i": np.arange(n), "t": t}, fractions, key, stratify="t")
    shares = fractions if isinstance(fractions, tuple) else (fractions, 1 - fractions)
    assert sorted(np.concatenate([part["i"] for part in parts])) == list(range(n))
    for share, part, plain in zip(shares, parts, data.split(np.arange(n), fractions, key), strict=True):
        assert len(part["i"]) == len(plain)
        assert (np.diff(part["i"]) > 0).all()
        np.testing.assert_array_equal(part["t"], t[part["i"]])
        for label in range(classes):
            assert abs((part["t"] == label).sum() - share * (t == label).sum()) <= len(shares)


def test_parts_in_order_share_memory_and_memmaps_stay_on_disk(tmp_path: Path) -> None:
    x = inputs(10)
    train, test = data.split(x, 7)
    assert np.shares_memory(x, train)
    assert (len(train), len(test)) == (7, 3)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    train, test = data.split(mapped, 7)
    assert isinstance(train, np.memmap)
    train, test = data.split(mapped, 0.5, KEY)
    assert not isinstance(train, np.ndarray)
    both = [batch for part in (train, test) for batch in data.DataLoader(part, 4, shuffle=False)]
    assert sorted(np.concatenate(both)[:, 0]) == x[:, 0].tolist()
    assert (len(train), train[0].tolist()) == (5, x[train.index[0]].tolist())


def test_a_part_that_is_read_later_works_with_every_option(tmp_path: Path) -> None:
    part, _ = data.split(FORMS["object"](20, tmp_path), 0.5, KEY)
    assert repr(part) == "Subset(dataset=Lazy, index=int64[10])"
    plain = [{"x": inputs(20)[i], "t": labels(20)[i]} for i in part.index]
    for options in ({"collate": data.pad}, {"transform_example": lambda example, key: fd.random.uniform(key, (2,)) + example["x"]}):
        loaders = [data.DataLoader(dataset, 4, key=KEY, **options) for dataset in (part, plain)]  # type: ignore[arg-type]
        assert_trees_equal(*[list(loader.epoch(1)) for loader in loaders], bits=True)


def test_files_of_arrays_are_split_like_dicts(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=inputs(10), t=labels(10))
    with np.load(tmp_path / "data.npz") as file:
        parts = data.split(file, 0.7, KEY)
        whole = list(data.DataLoader(file, 4, key=KEY).epoch(0))
    assert_trees_equal(parts, data.split({"x": inputs(10), "t": labels(10)}, 0.7, KEY), bits=True)
    assert_trees_equal(whole, list(data.DataLoader({"x": inputs(10), "t": labels(10)}, 4, key=KEY).epoch(0)), bits=True)


@pytest.mark.parametrize(
    ("fractions", "options", "error", "message"),
    [
        (1.5, {}, RangeError, "fractions are positive and add up to 1, got 1.5"),
        (0.0, {}, RangeError, "fractions are positive"),
        ((0.5, 0.4), {}, RangeError, r"got \(0.5, 0.4\)"),
        (10, {}, RangeError, "whole numbers add up to the 10 examples, got 10"),
        ((5, 6), {}, RangeError, "whole numbers"),
        (0.01, {}, RangeError, "part 0 of 10 examples would be empty"),
        ("half", {}, DTypeError, "got 'half'"),
        (True, {}, DTypeError, "got True"),
        (0.5, {"stratify": "t"}, StructureError, "stratify='t' is no path .* has 0, 1"),
        (0.5, {"stratify": np.zeros(3)}, ShapeError, r"\(10,\), got float64\[3\]"),
        (0.5, {"key": 0}, fd.errors.KeyMissingError, r"fd.random.key\(0\)"),
    ],
)
def test_fractions_that_cannot_be_are_refused(fractions: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.split((inputs(10), labels(10)), fractions, **options)


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=8), width=st.sampled_from([(), (2,)]), multiple=st.integers(1, 5),
    value=st.sampled_from([0, -1]), listed=st.booleans(),
)  # fmt: skip
def test_padding_against_a_loop(lengths: list[int], width: tuple[int, ...], multiple: int, value: int, listed: bool) -> None:
    sequences: list[Any] = [np.arange(n * 2 if width else n, dtype=np.int32).reshape(n, *width) for n in lengths]
    given_ = [array.tolist() for array in sequences] if listed and not width else sequences
    batch, found = data.pad(given_, value=value, multiple=multiple, lengths=True)
    longest = -(-max(lengths) // multiple) * multiple
    assert batch.shape == (len(lengths), longest, *width)
    assert found.tolist() == lengths
    for row, array in zip(batch, sequences, strict=True):
        assert (row[: len(array)] == array).all()
        assert (row[len(array) :] == value).all()
    if max(lengths) and given_ is sequences:
        assert batch.dtype == np.int32
    allowed = (0, 3, 9)
    assert data.pad(given_, length=allowed).shape[1] == min(n for n in allowed if n >= max(lengths))


def test_padding_of_trees() -> None:
    examples = [{"x": np.ones((n, 2), np.float32), "t": list(range(n)), "n": n} for n in (2, 4)]
    batch, lengths = data.pad(examples, value={"t": -1}, lengths=True)
    assert {name: (array.shape, array.dtype) for name, array in batch.items()} == {
        "x": ((2, 4, 2), np.float32), "t": ((2, 4), np.int64), "n": ((2,), np.int64)
    }  # fmt: skip
    assert batch["t"].tolist() == [[0, 1, -1, -1], [0, 1, 2, 3]]
    assert batch["x"][0, 2:].tolist() == [[0, 0], [0, 0]]
    assert_trees_equal(lengths, {"x": np.array([2, 4]), "t": np.array([2, 4]), "n": None})


@pytest.mark.parametrize(
    ("examples", "options", "error", "message"),
    [
        ([], {}, ShapeError, "no sequence"),
        ([[1, 2, 3]], {"length": 2}, RangeError, "example 0 has length 3, but the most is 2"),
        ([{"x": [1]}, {"x": [1, 2, 3]}], {"length": (1, 2)}, RangeError, "example 1 has length 3 at x"),
        ([np.ones((2, 3)), np.ones((2, 4))], {}, ShapeError, r"examples 0 and 1 differ .* float64\[2,3\] and float64\[2,4\]"),
        ([(np.ones(2), 1), (np.ones(3),)], {}, StructureError, "example 0 and example 1 differ"),
        ([np.ones(2, int)], {"value": 0.5}, DTypeError, "float 0.5 does not fit into int64"),
        ([np.ones(2)], {"value": {"x": 1}}, StructureError, "value= names x"),
        ([np.ones(2)], {"multiple": 0}, RangeError, "multiple"),
        ([np.ones(2)], {"length": 2.5}, DTypeError, "length is a whole number or several, got 2.5"),
        ([np.ones(2)], {"length": ()}, RangeError, "length"),
    ],
)
def test_what_cannot_be_padded(examples: Any, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.pad(examples, **options)


def test_mistakes_in_a_batch_name_the_examples_of_the_data_set() -> None:
    loader = data.DataLoader([[0] * n for n in range(9)], 3, shuffle=False, collate=lambda examples: data.pad(examples, length=4))
    with pytest.raises(RangeError, match=r"(?s)example 2 has length 5, .*in collate of the examples 3, 4, 5 of the data set"):
        list(loader)


@pytest.mark.parametrize(("size", "batch_size"), [(12, 3), (100, 10), (8, 8), (7, 1)])
def test_tracks_are_those_of_dezero(size: int, batch_size: int) -> None:
    from ..nn.dezero_reference import dezero

    dataset = [(np.array([i, -i]), i) for i in range(size)]
    expected = list(dezero.SeqDataLoader(dataset, batch_size))
    for form in (dataset, (np.array([x for x, _ in dataset]), np.arange(size))):
        assert_trees_equal(list(data.SequenceLoader(form, batch_size)), expected)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 6), length=st.integers(1, 7), drop_last=st.booleans())
def test_pieces_of_tracks_follow_one_another(n: int, batch_size: int, length: int, drop_last: bool) -> None:
    if n < batch_size or (drop_last and n // batch_size < length):
        return
    loader = data.SequenceLoader({"x": inputs(n), "i": np.arange(n)}, batch_size, length, drop_last=drop_last)
    batches = list(loader)
    assert len(batches) == len(loader)
    track = n // batch_size
    kept = track // length * length if drop_last else track
    joined = np.concatenate([batch["i"] for batch in batches], axis=1)
    np.testing.assert_array_equal(joined, np.arange(track * batch_size).reshape(batch_size, track)[:, :kept])
    assert all(batch["x"].shape == (*batch["i"].shape, 2) for batch in batches)
    assert_trees_equal(list(loader.epoch(3, len(batches) // 2)), batches[len(batches) // 2 :], bits=True)
    lazy = data.SequenceLoader([{"x": inputs(n)[i], "i": i} for i in range(n)], batch_size, length, drop_last=drop_last)
    assert_trees_equal(list(lazy), batches, bits=True)
    parts = [list(loader.shard(rank, 2)) for rank in range(2)]
    assert_trees_equal([fd.tree.map(lambda a, b: np.concatenate([a, b]), *both) for both in zip(*parts, strict=True)], batches)


def test_mistakes_with_sequences() -> None:
    with pytest.raises(RangeError, match="5 examples are too few for 6 tracks"):
        data.SequenceLoader(np.arange(5), 6)
    with pytest.raises(TypeError, match="no shuffle"):
        data.SequenceLoader(np.arange(5), 2, shuffle=True)
    with pytest.raises(RangeError, match="the length is 1 or more"):
        data.SequenceLoader(np.arange(5), 2, 0)
    with pytest.raises(RangeError, match="drop_last"):
        data.SequenceLoader(np.arange(5), 2, 3, drop_last=True)
