"""The laws that every data set obeys, over the table of data sets."""

import inspect
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import data
from fdezero.testing import assert_trees_equal

from .datasets import DATASETS, NAMES, Row

law = pytest.mark.parametrize("row", DATASETS, ids=str)


def test_the_table_has_every_data_set() -> None:
    public = {name: getattr(data, name) for name in data.__all__}
    sets = {name for name, value in public.items() if inspect.isfunction(value) and value.__module__.startswith("fdezero.data.sets.")}
    assert {row.name for row in DATASETS} | NAMES == sets


@law
def test_inputs_and_labels_have_their_shapes_and_dtypes(row: Row) -> None:
    x, t = row.load()
    assert type(x) is type(t) is np.ndarray
    assert (x.shape, x.dtype) == (row.shape, row.dtype)
    assert np.isfinite(x).all()
    if row.classes is None:
        assert (t.shape, t.dtype) == (row.shape, row.dtype)
        return
    assert (t.shape, t.dtype) == (row.shape[:1], np.int64)
    assert set(t.tolist()) == set(range(row.classes))


@law
def test_two_calls_give_the_same_bits_in_arrays_of_the_callers_own(row: Row) -> None:
    first = row.load()
    expected = fd.tree.map(lambda a: a[:100].copy(), first)
    for array in first:
        assert array.flags.writeable
        array[:] = 0
    assert_trees_equal(fd.tree.map(lambda a: a[:100], row.load()), expected, bits=True)


@law
def test_a_loader_gives_its_batches(row: Row) -> None:
    x, t = row.load()
    loader = data.DataLoader((x, t), 20, key=fd.random.key(0))
    batch: Any = loader.batch(0, 0)
    assert [part.shape for part in batch] == [(20, *row.shape[1:]), (20, *t.shape[1:])]
    order = loader.order(0)[:20]
    assert_trees_equal(batch, (x[order], t[order]), bits=True)
