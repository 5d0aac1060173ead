"""Transforms that mix examples, and transforms made of transforms: what they draw, and what they say about mistakes."""

from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero.data import transforms as T
from fdezero.errors import DTypeError, KeyMissingError, ShapeError, StructureError
from fdezero.testing import assert_trees_equal, check_grads

RNG = np.random.default_rng(0)
KEY = fd.random.key(0)
MANY = 400  # images, for what is drawn


def bytes_of(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def fractions(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return RNG.random(shape).astype(dtype)


# Mixing


def test_mixup_mixes_images_and_labels_alike() -> None:
    n = MANY
    x, t = np.eye(n, dtype=np.float32), np.arange(n) % 5
    y, shares = T.mixup(0.4, 5)((x, t), KEY)
    weights, partners = np.diag(y).copy(), []
    for i in range(n):
        others = np.delete(np.arange(n), i)[np.delete(y[i], i) > 1e-6]
        assert len(others) <= 1
        j = others[0] if len(others) else i
        partners.append(j)
        np.testing.assert_allclose(y[i, j] if j != i else 0, 1 - weights[i] if j != i else 0, atol=1e-6)
        expected = np.zeros(5)
        expected[t[i]] += weights[i]
        expected[t[j]] += 1 - weights[i]
        np.testing.assert_allclose(shares[i], expected, atol=1e-6)
    assert len(set(partners)) > n / 2
    quarter = np.mean((weights < 0.1) | (weights > 0.9))
    draws = np.random.default_rng(0).beta(0.4, 0.4, 100_000)
    assert quarter == pytest.approx(np.mean((draws < 0.1) | (draws > 0.9)), abs=0.08)


def test_cutmix_takes_a_rectangle_and_counts_its_area() -> None:
    n = MANY
    x = np.broadcast_to(np.arange(n, dtype=np.float64)[:, None, None, None], (n, 2, 6, 5)).copy()
    y, shares = T.cutmix(classes=n)((x, np.arange(n)), KEY)
    for i, image in enumerate(y):
        foreign = image[0] != i
        np.testing.assert_array_equal(image[1], image[0])
        assert len(set(image[0][foreign].tolist())) <= 1
        rows, columns = foreign.any(axis=1), foreign.any(axis=0)
        assert foreign.sum() == rows.sum() * columns.sum()
        np.testing.assert_allclose(shares[i, i], 1 - foreign.mean(), atol=1e-6)
        if foreign.any():
            np.testing.assert_allclose(shares[i, int(image[0][foreign][0])], foreign.mean(), atol=1e-6)
    assert {int(foreign) for foreign in (y[:, 0] != np.arange(n)[:, None, None]).sum(axis=(1, 2))} > {0, 1, 2, 4, 6}


def test_the_centre_of_a_cutmix_is_any_pixel() -> None:
    n, size = MANY, 12
    x = np.broadcast_to(np.arange(n, dtype=np.float64)[:, None, None, None], (n, 1, size, size)).copy()
    covered = (T.cutmix(classes=n)((x, np.arange(n)), KEY)[0] != x).mean(axis=(0, 1))
    for line in (covered.mean(axis=0), covered.mean(axis=1)):
        assert line[:4].mean() == pytest.approx(line[-4:].mean(), abs=0.06)


class Pair(NamedTuple):
    image: Any
    label: Any


def test_mixed_labels_train() -> None:
    x, t = fractions(6, 4), np.array([0, 1, 2, 0, 1, 2])
    rows = T.mixup(0.5, 3)(Pair(x, t), KEY)
    assert isinstance(rows, Pair)
    assert_trees_equal(tuple(rows), T.mixup(0.5)((x, T.one_hot(3)(t)), KEY), bits=True)
    loss = F.kl_divergence(F.log_softmax(rows.image @ fractions(4, 3)), rows.label)
    assert np.isfinite(loss)
    with pytest.raises(StructureError, match=r"mixup makes shares of the labels int64\[6\]: .*mixup\(0\.5, classes=10\)"):
        T.mixup(0.5)((x, t), KEY)
    with pytest.raises(StructureError, match=r"cutmix mixes inputs and labels alike, so a batch is a pair \(x, t\), got float64\[6,4\]"):
        T.cutmix()(x, KEY)


# Composition


def test_compose_numbers_the_parts_that_draw() -> None:
    x = bytes_of(5, 3, 8, 8)
    crop, flip = T.random_crop(6), T.horizontal_flip()
    keys = fd.random.fold_in(KEY, np.arange(5))
    expected = flip(crop(x, fd.vmap(fd.random.fold_in, (0, None))(keys, 0)), fd.vmap(fd.random.fold_in, (0, None))(keys, 1))
    np.testing.assert_array_equal(T.compose(crop, flip)(x, KEY), expected)
    np.testing.assert_array_equal(T.compose(T.as_type("uint8"), crop, T.compose(T.resize(6), flip))(x, KEY), expected)
    assert T.compose(crop, T.compose(flip)) == T.compose(crop, flip)
    assert not T.compose(T.to_float()).draws
    np.testing.assert_array_equal(T.compose()(x), x)


def test_functions_of_ones_own_are_parts() -> None:
    x = fractions(4, 1, 2, 2)
    found = T.compose(np.negative, lambda batch, key: batch + fd.vmap(fd.random.uniform)(key)[:, None, None, None])(x, KEY)
    keys = fd.vmap(fd.random.fold_in, (0, None))(fd.random.fold_in(KEY, np.arange(4)), 0)
    np.testing.assert_array_equal(found, -x + np.array([fd.random.uniform(key) for key in keys])[:, None, None, None])
    with pytest.raises(StructureError, match=r"compose takes transforms or functions of a batch, got list\. Write compose\(a, b\)"):
        T.compose([T.to_float()])
    for make in (lambda: T.on("x", 3), lambda: T.sometimes(T.cutout)):
        with pytest.raises(StructureError, match="transform is a transform or a function of a batch, got (int 3|type)"):
            make()
    with pytest.raises(StructureError, match=r"Make one: to_float\(\.\.\.\)"):
        T.compose(T.to_float)


@attrs.frozen
class brighter(T.Transform):  # noqa: N801, made like a function
    """A transform as a user writes it."""

    draws = True

    def draw(self, keys: Any) -> Any:
        return fd.vmap(fd.random.uniform)(keys)

    def apply(self, x: Any, drawn: Any) -> Any:
        return x + drawn[:, None, None, None]


def test_a_transform_of_ones_own() -> None:
    x = fractions(4, 1, 2, 2, dtype=np.float32)
    found = T.compose(brighter(), T.normalise(0, 2))(x, KEY)
    assert found.shape == x.shape
    assert len(set(np.round(found * 2 - x, 5)[:, 0, 0, 0].tolist())) == 4
    with pytest.raises(KeyMissingError, match="brighter draws"):
        brighter()(x)


def test_one_key_moves_a_picture_and_its_mask_alike() -> None:
    x = fractions(6, 1, 8, 8)
    transform = T.compose(T.random_crop(6), T.horizontal_flip(), T.rotation(20, mode="nearest"))
    np.testing.assert_array_equal(transform(x, KEY) > 0.5, transform((x > 0.5).astype(np.uint8), KEY) == 1)


def test_on_and_sometimes() -> None:
    x, t = bytes_of(MANY, 1, 4, 4), np.arange(MANY)
    batch = T.on("x", T.to_float())({"x": x, "t": t})
    assert batch["t"] is t
    np.testing.assert_array_equal(batch["x"], x / np.float32(255))
    np.testing.assert_array_equal(T.on(1, T.one_hot(MANY))((x, t))[1], np.eye(MANY))
    found = T.sometimes(T.vertical_flip(1), 0.3)(x, KEY)
    flipped = (found == x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert flipped.mean() == pytest.approx(0.3, abs=0.08)
    np.testing.assert_array_equal(found[~flipped], x[~flipped])
    with pytest.raises(ShapeError, match=r"sometimes: resize made uint8\[400,1,2,2\] of uint8\[400,1,4,4\]; both must have one shape"):
        T.sometimes(T.resize(2))(x, KEY)
    with pytest.raises(StructureError, match=r"on\('z', \.\.\.\): the batch has no such part; it has 'x'"):
        T.on("z", T.to_float())({"x": x})
    with pytest.raises(StructureError, match=r"to_float got a dict with 'x': say which part it changes, transforms\.on\('x', \.\.\.\)"):
        T.to_float()({"x": x})


def test_a_loader_takes_a_transform() -> None:
    x, t = bytes_of(10, 3, 8, 8), np.arange(10) % 3
    transform = T.compose(T.random_crop(8, 2), T.horizontal_flip(), T.to_float(), T.one_hot(3))
    for workers in (0, 2):
        loader = fd.data.DataLoader((x, t), 4, key=KEY, transform=transform, workers=workers)
        batches = list(loader.epoch(1))
        assert [batch[0].shape for batch in batches] == [(4, 3, 8, 8), (4, 3, 8, 8), (2, 3, 8, 8)]
        assert batches[0][1].shape == (4, 3)
        assert_trees_equal(list(loader.epoch(1, start=1)), batches[1:], bits=True)


def test_images_of_another_form_are_explained() -> None:
    for x, said in (
        (fractions(3, 4, 4), r"got float64\[3,4,4\]\. Write x\[None\] for a single image"),
        (fractions(3, 784), r"x\.reshape\(len\(x\), 1, 28, 28\)"),
        (fractions(2, 8, 8, 3), r"float64\[2,8,8,3\], whose channels seem to be last\. Write x\.transpose\(0, 3, 1, 2\)"),
    ):
        with pytest.raises(ShapeError, match=f"vertical_flip takes images .N, C, H, W., {said}" if "got" in said else said):
            T.vertical_flip()(x, KEY)
    with pytest.raises(DTypeError, match=r"takes uint8, from 0 to 255, or floating numbers, got int64\[1,1,2,2\]"):
        T.vertical_flip()(np.zeros((1, 1, 2, 2), int), KEY)
    for nothing in (None, 3.0, np.float64(3)):
        with pytest.raises(ShapeError, match="with the examples along the first axis, got"):
            T.vertical_flip()(nothing, KEY)
    with pytest.raises(StructureError, match=r"one_hot changes part 1 of a batch, but the batch has 1: write \(x, t\)"):
        T.one_hot(3)((fractions(2, 3),))


def test_names_of_other_libraries_lead_here() -> None:
    for name, ours in (("Normalize", "normalise"), ("center_crop", "centre_crop"), ("color_jitter", "colour_jitter"), ("RandomHorizontalFlip", "horizontal_flip"), ("ToTensor", "to_float")):
        with pytest.raises(AttributeError, match=rf"use fd\.data\.transforms\.{ours}"):
            getattr(T, name)
    for name, words in T._ELSEWHERE.items():
        for word in words.replace("(", " ").replace(",", " ").split():
            if word.startswith("fd.data.transforms."):
                assert hasattr(T, word.removeprefix("fd.data.transforms.")), name
    for name, words in fd.data._ELSEWHERE.items():
        for word in words.replace("(", " ").replace(",", " ").split():
            if word.startswith("fd.data.") and "transforms" not in word:
                assert hasattr(fd.data, word.removeprefix("fd.data.")), name


def test_gradients_pass_through_colours_and_sizes() -> None:
    x = 0.3 + 0.3 * fractions(1, 3, 4, 4)
    for transform in (T.colour_jitter(0.2, 0.2, 0.2, 0.1), T.resize(3), T.random_resized_crop(3), T.affine(20, 0.1)):
        check_grads(lambda x, transform=transform: transform(x, KEY if transform.draws else None), (x,), order=1)
