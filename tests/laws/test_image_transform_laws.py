"""The laws that every transform of data obeys, over the table of transforms."""

import inspect
import pickle
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero.data import transforms as T
from fdezero.data.transforms import batches
from fdezero.errors import KeyMissingError, ShapeError
from fdezero.testing import assert_trees_equal

from .image_transforms import LABELS, OTHERS, TRANSFORMS, Row

KEY = fd.random.key(3)
KEYS = fd.random.fold_in(KEY, np.arange(len(LABELS)))
law = pytest.mark.parametrize("row", TRANSFORMS, ids=str)
drawing = pytest.mark.parametrize("row", [row for row in TRANSFORMS if row.transform.draws], ids=str)
BY_EXAMPLE = [row for row in TRANSFORMS if row.of != "both" and row.transform.by_example]


def key_of(row: Row, key: Any = KEY) -> Any:
    return key if row.transform.draws else None


def test_the_table_has_every_transform() -> None:
    assert {row.name for row in TRANSFORMS} | set(OTHERS) == {name for name in T.__all__ if inspect.isclass(getattr(T, name))} == set(T.__all__)
    assert all(type(row.transform).__name__ == row.name for row in TRANSFORMS)


def test_the_page_names_every_transform_and_every_data_set() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "images.md").read_text(encoding="utf-8")
    functions = {name for name in fd.data.__all__ if str(getattr(getattr(fd.data, name), "__module__", "")).startswith("fdezero.data.sets.")}
    assert len(functions) > 8
    for name in (set(T.__all__) | functions) - {"Transform", "Text"}:
        assert f"`{name}(" in page or f", `{name}(" in page or f"data.{name}(" in page, name


def test_wrong_transforms_are_caught() -> None:
    """The laws can fail: transforms with one mistake each."""

    class Leaking(T.Transform):  # its draws depend on the batch
        draws = True

        def apply(self, x: Any, drawn: Any) -> Any:
            return x + fd.random.uniform(drawn[0], (len(x),))[:, None, None, None].astype(x.dtype)

    class Changing(T.Transform):  # it writes into its input
        def apply(self, x: Any, drawn: Any) -> Any:
            x += 1
            return x

    leaking, changing = (Row(name, kind(), takes=("float32",), linear=False) for name, kind in (("Leaking", Leaking), ("Changing", Changing)))
    with pytest.raises(AssertionError):
        test_an_example_does_not_depend_on_the_others(leaking)
    with pytest.raises(ValueError, match="read-only"):
        test_the_input_stays_and_shares_no_memory_with_the_result(changing)


@law
def test_shapes_and_dtypes_are_what_they_say(row: Row) -> None:
    for dtype in row.takes:
        x, t = row.batch(dtype)
        new_x, new_t = row.transform((x, t), key_of(row))
        if row.of in ("x", "chain", "both"):
            assert new_x.shape == (len(x), *(x.shape[1:] if row.shape is None else row.shape)), dtype
            assert new_x.dtype == (row.dtype or dtype)
        else:
            assert new_x is x
            assert (new_t.shape, new_t.dtype) == ((len(t), *(row.shape or ())), row.dtype)
        if row.of == "x":
            assert new_t is t
        if row.of == "both":
            assert (new_t.shape, new_t.dtype) == ((len(t), 3), np.float32)
            np.testing.assert_allclose(new_t.sum(axis=1), 1, atol=1e-6)


@law
def test_the_input_stays_and_shares_no_memory_with_the_result(row: Row) -> None:
    for transform in (row.transform, row.neutral):
        if transform is None or row.of == "t":
            continue
        x, t = row.batch(row.takes[0])
        for array in (x, t):
            array.flags.writeable = False
        y, _ = transform((x, t), KEY if transform.draws else None)
        np.testing.assert_array_equal(x, row.batch(row.takes[0])[0])
        if len(getattr(transform, "parts", (1,))):  # no part, no new array
            assert not np.may_share_memory(x, y)


@law
def test_the_key_decides_alone(row: Row) -> None:
    batch = row.batch(row.takes[0])
    first = row.transform(batch, key_of(row))
    assert_trees_equal(row.transform(batch, key_of(row)), first, bits=True)
    if row.transform.draws:
        assert_trees_equal(row.transform(batch, KEYS), first, bits=True)
        others = [row.transform(batch, fd.random.key(seed)) for seed in range(4)]
        assert any(not np.array_equal(other[0], first[0]) for other in others)


@drawing
def test_a_transform_that_draws_needs_a_key(row: Row) -> None:
    with pytest.raises(KeyMissingError, match=rf"^{row.name} draws, so it needs a key"):
        row.transform(row.batch(row.takes[0]))
    with pytest.raises(KeyMissingError, match=r"fd\.random\.key\(3\)"):
        row.transform(row.batch(row.takes[0]), 3)
    with pytest.raises(ShapeError, match=rf"^{row.name} needs one key, or a key for each of 5 examples, got uint64\[3,2\]"):
        row.transform(row.batch(row.takes[0]), KEYS[:3])


@pytest.mark.parametrize("row", BY_EXAMPLE, ids=str)
def test_an_example_does_not_depend_on_the_others(row: Row) -> None:
    for dtype in row.takes:
        x, t = row.batch(dtype)
        whole = row.transform((x, t), key_of(row))
        for i in range(len(x)):
            chosen = [i, 0, 3, i]
            part = row.transform((x[chosen], t[chosen]), key_of(row, KEYS[chosen]))
            assert_trees_equal(fd.tree.map(lambda a: a[3], part), fd.tree.map(lambda a, i=i: a[i], whole), bits=True)


@pytest.mark.parametrize("row", BY_EXAMPLE, ids=str)
def test_blocks_have_the_bits_of_the_whole(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in (row.takes[0], row.takes[-1]):
        batch = row.batch(dtype)
        whole = row.transform(batch, key_of(row))
        monkeypatch.setattr(batches, "IN_CACHE", 2 * (batch[0][0].nbytes + 8))  # two at a time
        assert_trees_equal(row.transform(batch, key_of(row)), whole, bits=True)
        monkeypatch.undo()


def test_blocks_have_as_many_examples_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "IN_CACHE", 20)
    seen: list[tuple[int, ...]] = []

    def run(batch: Any, drawn: Any) -> Any:
        seen.append(tuple(map(len, batch)))
        return batch

    x, t = np.ones((5, 10)), np.arange(5)
    assert_trees_equal(batches.in_blocks(run, (x, t), None), (x, t))
    assert seen == [(2, 2), (2, 2), (1, 1)]
    seen.clear()
    batches.in_blocks(run, (x, t[:3]), None)  # parts of different lengths are not cut
    assert seen == [(5, 3)]


@law
def test_a_batch_without_examples_stays_one(row: Row) -> None:
    x, t = row.batch(row.takes[0])
    whole = row.transform((x, t), key_of(row))
    none = row.transform((x[:0], t[:0]), key_of(row))
    for found, expected in zip(none, whole, strict=True):
        assert (found.shape, found.dtype) == ((0, *expected.shape[1:]), expected.dtype)


@law
def test_the_order_of_memory_does_not_matter(row: Row) -> None:
    x, t = row.batch(row.takes[0])
    whole = row.transform((x, t), key_of(row))
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=3)[..., ::2], x[:, :, ::-1].copy()[:, :, ::-1]):
        assert_trees_equal(row.transform((other, t), key_of(row)), whole, bits=True)


@law
def test_compiled_has_the_bits_of_eager(row: Row) -> None:
    compiled = fd.compile(lambda batch, key: row.transform(batch, key))
    for dtype in (row.takes[0], "float32"):
        batch = row.batch(dtype)
        assert_trees_equal(compiled(batch, key_of(row)), row.transform(batch, key_of(row)), bits=True)
        again = fd.random.key(9)
        assert_trees_equal(compiled(batch, key_of(row, again)), row.transform(batch, key_of(row, again)), bits=True)


@law
def test_batches_can_be_mapped(row: Row) -> None:
    x, t = row.batch("float32")
    xs, ts, keys = np.stack([x, x[::-1]]), np.stack([t, t]), fd.random.split(KEY)
    mapped = fd.vmap(row.transform)((xs, ts)) if not row.transform.draws else fd.vmap(row.transform)((xs, ts), keys)
    for i in range(2):
        one = row.transform((xs[i], ts[i]), key_of(row, keys[i]))
        for ours, expected in zip(mapped, one, strict=True):
            np.testing.assert_allclose(ours[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("row", [row for row in TRANSFORMS if row.neutral is not None], ids=str)
def test_settings_that_do_nothing_give_the_same_images(row: Row) -> None:
    for dtype in row.takes:
        x, t = row.batch(dtype)
        y, same = row.neutral((x, t), KEY if row.neutral.draws else None)
        assert same is t
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, x)


@law
def test_a_transform_is_a_value(row: Row) -> None:
    again = row.transform if "<function" in repr(row.transform) else pickle.loads(pickle.dumps(row.transform))
    assert again == row.transform
    assert hash(again) == hash(row.transform)
    assert fd.tree.leaves(row.transform) == []  # its settings are constants
    field = attrs.fields(type(row.transform))[0].name if attrs.fields(type(row.transform)) else "size"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(row.transform, field, 1)
    assert repr(row.transform).startswith(f"{row.name}(")


@pytest.mark.parametrize("row", [row for row in TRANSFORMS if row.linear and row.of == "x"], ids=str)
def test_derivatives_are_differences(row: Row) -> None:
    """The transforms of the table marked so are linear maps and a constant, so one difference is exact."""
    x, t = row.batch("float64")
    step = np.sin(np.arange(x.size)).reshape(x.shape)

    def f(x: Any) -> Any:
        return row.transform((x, t), key_of(row))[0]

    y, tangent = fd.jvp(f, (x,), (step,))
    np.testing.assert_allclose(tangent, f(x + step) - y, atol=1e-12)
    cotangent = np.cos(np.arange(y.size)).reshape(y.shape)
    np.testing.assert_allclose(np.sum(fd.vjp(f, x)[1](cotangent)[0] * step), np.sum(cotangent * tangent), rtol=1e-10)


@law
def test_the_gpu_gives_the_same(row: Row, gpu: Any) -> None:
    for dtype in (row.takes[0], "float32"):
        here = row.transform(row.batch(dtype), key_of(row))
        there = row.transform(fd.to_device(row.batch(dtype), "gpu"), fd.to_device(key_of(row), "gpu"))
        assert fd.device_of(there) == "gpu:0"
        for ours, expected in zip(fd.to_numpy(there), here, strict=True):
            assert (ours.shape, ours.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(ours.astype(float), expected.astype(float), atol=1 if expected.dtype == np.uint8 else 1e-3 if expected.dtype == np.float16 else 1e-5)


def test_functions_of_ones_own_are_shown_by_name() -> None:
    def brighter(x: Any) -> Any:
        return x * 2

    assert repr(T.compose(brighter, T.on(0, brighter), T.flatten())) == "compose(brighter, on(place=0, transform=brighter), flatten())"
