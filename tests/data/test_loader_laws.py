"""Laws of loaders, for data sets of every form with every option: each example once, resumed anywhere, any workers, any shards."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import data
from fdezero.data import DataLoader, transforms
from fdezero.testing import assert_trees_equal, keys

from ..profiles import NIGHTLY
from .data_forms import FORMS, columns, inputs, labels

form_law = pytest.mark.parametrize("form", FORMS)
KEY = fd.random.key(3)
SIZE = 23


def noise_of_example(example: Any, key: Any) -> Any:
    """An augmentation of one example: the label, and a number from the key."""
    _, t = columns(example)
    return {"t": t, "noise": fd.random.uniform(key, (2,))}


def noise_of_batch(batch: Any, key: Any) -> Any:
    """An augmentation of a whole batch, with a key for each example."""
    _, t = columns(batch)
    return {"t": t, "noise": fd.vmap(lambda key: fd.random.uniform(key, (2,)))(key)}


def centred(batch: Any) -> Any:
    """A transform that looks at the whole batch."""
    x, t = columns(batch)
    x = np.asarray(x, np.float64)
    return {"x": x - x.mean(axis=0), "t": t}


def sorted_by_label(examples: list[Any]) -> Any:
    """A collate that puts examples into another order."""
    return data.pad(sorted(examples, key=lambda example: int(example["t"])))


def positions(values: Any) -> list[Any]:
    return np.asarray(values).tolist()


OPTIONS: dict[str, dict[str, Any]] = {
    "in order": {"shuffle": False},
    "shuffled": {"key": KEY},
    "full batches": {"key": KEY, "drop_last": True},
    "transform": {"key": KEY, "transform": noise_of_batch},
    "by example": {"key": KEY, "transform_example": noise_of_example},
    "both": {"key": KEY, "transform_example": noise_of_example, "transform": lambda batch, key: (batch, key)},
    "collate": {"key": KEY, "collate": data.pad},
    "of whole batches": {"key": KEY, "transform": centred, "whole_batches": True},
    "sorted": {"key": KEY, "collate": sorted_by_label, "whole_batches": True, "transform_example": noise_of_example},
    "weighted": {"key": KEY, "sampler": data.Weighted(np.arange(SIZE), 40), "transform_example": noise_of_example},
    "balanced": {"key": KEY, "sampler": data.Balanced(labels(SIZE))},
    "buckets": {"key": KEY, "sampler": data.Buckets(np.arange(SIZE) % 5, (1, 4))},
    "a function": {"key": KEY, "sampler": lambda key, epoch: np.roll(np.arange(SIZE), epoch)},
}


@form_law
def test_batches_are_the_examples_of_the_order(form: str, tmp_path: Path) -> None:
    dataset = FORMS[form](SIZE, tmp_path)
    loader = DataLoader(dataset, 4, key=KEY)
    order, batches = loader.order(1), list(loader.epoch(1))
    assert sorted(order) == list(range(loader.size))
    assert len(batches) == len(loader) == -(-loader.size // 4)
    for step, batch in enumerate(batches):
        x, t = columns(batch)
        rows = order[4 * step : 4 * step + 4]
        expected = inputs(SIZE)[rows]
        assert type(x) is type(t) is np.ndarray
        np.testing.assert_array_equal(x, expected if x.ndim == 2 else expected[:, 0])
        np.testing.assert_array_equal(t, labels(SIZE)[rows])
        assert t.dtype == np.int64
        assert x.flags.writeable, "a batch is its user's own"
        assert t.flags.writeable
        if form != "list of lists of numbers":
            assert x.dtype == np.float32


# By default, each form with every third option
PAIRS = [(form, name) for i, form in enumerate(FORMS) for j, name in enumerate(OPTIONS) if NIGHTLY or (i + j) % 3 == 0]


@pytest.mark.parametrize(("form", "options"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_the_bits_do_not_depend_on_workers_start_or_shards(form: str, options: str, tmp_path: Path) -> None:
    dataset = FORMS[form](SIZE, tmp_path)
    loader = (
        DataLoader(dataset, 5, **OPTIONS[options])
        if form != "a part"
        else DataLoader(FORMS["object"](SIZE, tmp_path), 5, **OPTIONS[options])
    )
    whole = list(loader.epoch(2))
    assert len(whole) == len(loader)
    for workers, prefetch in ((1, 0), (3, 0), (0, 2), (2, 1)):
        other = DataLoader(loader.dataset, 5, **OPTIONS[options], workers=workers, prefetch=prefetch)
        assert_trees_equal(list(other.epoch(2)), whole, bits=True)
    start = len(whole) // 2
    assert_trees_equal(list(loader.epoch(2, start)), whole[start:], bits=True)
    for size, more in ((3, {}), (2, {"workers": 2}), (8, {"prefetch": 1})):  # eight leave shards without an example
        if size != 3 and form not in ("tuple of arrays", "list of dicts", "object"):
            continue
        parts = [list(DataLoader(loader.dataset, 5, **OPTIONS[options], **more, shard=(rank, size)).epoch(2)) for rank in range(size)]
        for step, batch in enumerate(whole):
            assert loader.shard(0, size).counts(2, step) == tuple(len(fd.tree.leaves(part[step])[0]) for part in parts)
            joined = fd.tree.map(lambda *rows: np.concatenate(rows), *[part[step] for part in parts])
            assert_trees_equal(joined, batch, bits=True)


@given(
    key=keys(), size=st.integers(1, 30), batch_size=st.integers(1, 12), epoch=st.integers(0, 2**40), workers=st.integers(0, 3),
    form=st.sampled_from(["tuple of arrays", "list of pairs", "object", "object of whole batches", "objects in a tuple"]), data=st.data(),
)  # fmt: skip
def test_an_epoch_has_every_example_once_and_resumes_at_every_step(
    key: Any, size: int, batch_size: int, epoch: int, workers: int, form: str, data: Any
) -> None:
    loader = DataLoader(FORMS[form](size, Path()), batch_size, key=key, workers=workers, transform=noise_of_batch)
    whole = list(loader.epoch(epoch))
    assert len({tuple(row) for batch in whole for row in batch["noise"].tolist()}) == size
    seen = DataLoader(FORMS[form](size, Path()), batch_size, key=key, workers=workers)
    assert (
        sorted(x for batch in seen.epoch(epoch) for x in columns(batch)[0][:, 0].tolist())
        == inputs(size)[:, 0].tolist()
    )
    start = data.draw(st.integers(0, len(loader)))
    batches = loader.epoch(epoch, start)
    assert (batches.epoch, batches.step, len(batches)) == (epoch, start, len(whole) - start)
    assert_trees_equal(list(batches), whole[start:], bits=True)
    if start < len(whole):
        assert_trees_equal(loader.batch(epoch, start), whole[start], bits=True)


IMAGES = (inputs(24)[:, :1, None, None] * np.ones((24, 3, 4, 5), np.float32), labels(24) % 3)
MIXING: dict[str, tuple[Any, dict[str, Any]]] = {
    "mixup": (IMAGES, {"transform": transforms.mixup(0.4, classes=3)}),
    "cutmix": (IMAGES, {"transform": transforms.cutmix(classes=3)}),
    "a chain": (IMAGES, {"transform": transforms.compose(transforms.horizontal_flip(), transforms.mixup(classes=3))}),
    "some of them": (
        IMAGES,
        {
            "transform": transforms.compose(
                transforms.one_hot(3),
                transforms.sometimes(transforms.on(0, transforms.horizontal_flip())),
                transforms.cutmix(),
            )
        },
    ),
    "padded": ([np.arange(i % 7 + 1.0) for i in range(24)], {"collate": data.pad}),
    "padded, with lengths": (
        [np.arange(i % 7 + 1.0) for i in range(24)],
        {"collate": functools.partial(data.pad, lengths=True, multiple=2)},
    ),
}


@pytest.mark.parametrize("size", [2, 5, 8])
@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_examples_sees_the_whole_batch_on_every_rank(name: str, size: int) -> None:
    """Partners, and the length of padding, do not depend on how many ranks there are."""
    dataset, options = MIXING[name]
    loader = DataLoader(dataset, 7, key=KEY, **options)
    for step, whole in enumerate(loader.epoch(1)):
        parts = [loader.shard(rank, size).batch(1, step) for rank in range(size)]
        assert_trees_equal(fd.tree.map(lambda *rows: np.concatenate(rows), *parts), whole, bits=True)
        assert loader.counts(1, step) == (len(fd.tree.leaves(whole)[0]),)


@given(
    size=st.integers(1, 8),
    n=st.integers(1, 40),
    batch_size=st.integers(1, 20),
    form=st.sampled_from(["dict of arrays", "list of dicts"]),
)
def test_shards_of_any_number_make_up_the_batches(size: int, n: int, batch_size: int, form: str) -> None:
    loader = DataLoader(FORMS[form](n, Path()), batch_size, key=KEY, transform_example=noise_of_example)
    shards = [loader.shard(rank, size) for rank in range(size)]
    assert {len(shard) for shard in shards} == {len(loader)}
    for step, whole in enumerate(loader.epoch(5)):
        parts = [shard.batch(5, step) for shard in shards]
        counts = shards[-1].counts(5, step)
        assert counts == tuple(len(part["t"]) for part in parts)
        assert max(counts) - min(counts) <= 1
        twice = loader.shard(0, 2 * size).counts(5, step)
        assert counts == tuple(map(sum, zip(twice[::2], twice[1::2], strict=True)))  # twice as many ranks have halves
        assert_trees_equal(fd.tree.map(lambda *rows: np.concatenate(rows), *parts), whole, bits=True)


def test_keys_of_examples_do_not_depend_on_batch_sizes_and_differ_by_epoch_and_use() -> None:
    """Small batches see the same numbers as large ones; a second draw of an example, and the second transform, see others."""

    def by_label(loader: DataLoader, epoch: int) -> dict[int, Any]:
        return {
            int(t): tuple(noise)
            for batch in loader.epoch(epoch)
            for t, noise in zip(batch["t"], batch["noise"].tolist(), strict=True)
        }

    dataset = {"x": inputs(20), "t": np.arange(20)}
    for kind in ("transform", "transform_example"):
        chosen: Any = {kind: noise_of_batch if kind == "transform" else noise_of_example}
        small, large = (DataLoader(dataset, n, key=KEY, **chosen) for n in (3, 20))
        assert by_label(small, 1) == by_label(large, 1) != by_label(small, 2)
    both = [
        DataLoader(dataset, 4, key=KEY, **{name: noise})
        for name, noise in (("transform", noise_of_batch), ("transform_example", noise_of_example))
    ]
    assert by_label(both[0], 0) != by_label(both[1], 0)
    again = DataLoader(
        dataset, 8, key=KEY, sampler=lambda key, epoch: np.full(20, 7), transform_example=noise_of_example
    )
    drawn = np.concatenate([batch["noise"] for batch in again.epoch(0)])
    assert len(np.unique(drawn, axis=0)) == 20
    once = DataLoader(dataset, 8, key=KEY, transform_example=noise_of_example)
    np.testing.assert_array_equal(drawn[0], by_label(once, 0)[7])


def test_transforms_of_the_library_get_a_key_for_each_example() -> None:

    images = np.arange(6 * 3 * 8 * 8, dtype=np.uint8).reshape(6, 3, 8, 8)
    change = transforms.compose(transforms.to_float(), transforms.random_crop(6))
    loader = DataLoader((images, np.arange(6)), 4, key=KEY, transform=change)
    x, t = loader.batch(3, 0)
    assert x.shape == (4, 3, 6, 6)
    keys = fd.random.fold_in(fd.random.split(fd.random.fold_in(KEY, 3))[0], t)
    assert_trees_equal(x, change(images[t], key=keys), bits=True)
    with pytest.raises(fd.errors.KeyMissingError, match=r"transform=compose\(.*pass key=fd.random.key\(0\)"):
        DataLoader((images, np.arange(6)), 4, shuffle=False, transform=change)
    with pytest.raises(fd.errors.DTypeError, match=r"to_float\(\.\.\.\)"):
        DataLoader(images, 4, key=KEY, transform=transforms.to_float)


def test_the_place_may_come_from_the_state_of_a_run() -> None:
    loader = DataLoader(np.arange(10), 4, key=KEY)
    state = {"epoch": np.array(2), "step": np.array(1)}
    batches = loader.epoch(state["epoch"], state["step"])
    assert_trees_equal(list(batches), list(loader.epoch(2, 1)), bits=True)
    assert (state["step"].item(), batches.step, type(batches.step)) == (1, 3, int)
    assert_trees_equal(
        next(loader.epochs(5, (state["epoch"], state["step"]))).__next__(), loader.batch(2, 1), bits=True
    )
    for place in ((0.0, 0), (0, 1.5), ("0", 0)):
        with pytest.raises(fd.errors.DTypeError, match="is a whole number, got"):
            loader.epoch(*place)
    with pytest.raises(fd.errors.RangeError, match="no epoch -1"):
        loader.epoch(-1)
    with pytest.raises(fd.errors.RangeError, match="no step 3"):
        loader.counts(0, 3)


def test_epochs_follow_one_another() -> None:
    loader = DataLoader(np.arange(10), 4, key=KEY)
    whole = [[batch.tolist() for batch in loader.epoch(epoch)] for epoch in range(4)]
    assert [[batch.tolist() for batch in batches] for batches in loader.epochs(4)] == whole
    assert [[batch.tolist() for batch in batches] for batches in loader.epochs(4, start=2)] == whole[2:]
    places = [(batches.epoch, batches.step) for batches in loader.epochs(3, start=(1, 2)) for _ in batches]
    assert places == [(1, 3), (2, 1), (2, 2), (2, 3)]
    assert [[batch.tolist() for batch in batches] for batches in loader.epochs(3, start=(1, 2))] == [
        whole[1][2:],
        whole[2],
    ]
    assert repr(loader.epoch(1, 2)) == "Batches(epoch=1, step=2, 1 to come)"
