"""Transforms of data against loops over pixels, Pillow, SciPy and, where it is installed, torchvision."""

import colorsys
import itertools
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import fdezero as fd
from fdezero.data import transforms as T
from fdezero.data.transforms.values import _quantiles
from fdezero.errors import DTypeError, RangeError, ShapeError
from fdezero.testing import assert_trees_equal

RNG = np.random.default_rng(0)
KEY = fd.random.key(0)
MANY = 400  # images, for what is drawn


def bytes_of(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def fractions(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    return RNG.random(shape).astype(dtype)


# Numbers


def test_to_float_divides_by_white() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(4, 64)
    np.testing.assert_array_equal(T.to_float()(x), x / np.float32(255))
    np.testing.assert_array_equal(T.to_float("float64")(x), x / 255)
    np.testing.assert_array_equal(T.to_float()(np.array([0, -32767], np.int16)), np.float32([0, -1]))
    assert T.to_float("float16")(np.float32([0.1])).dtype == np.float16
    with pytest.raises(DTypeError, match=r"to_float takes integers or floating numbers, got bool\[2\]"):
        T.to_float()(np.array([True, False]))
    with pytest.raises(DTypeError, match=r"to_float: dtype is a floating dtype.*got int32"):
        T.to_float("int32")


def test_as_type_keeps_the_numbers() -> None:
    x = np.array([0, 3, 255], np.uint8)
    assert_trees_equal(T.as_type()(x), np.float32([0, 3, 255]))
    assert_trees_equal(T.as_type(int)(np.array([1.9, -1.9])), np.array([1, -1]))


def test_normalise_is_a_loop_over_channels() -> None:
    x, mean, std = fractions(3, 2, 4, 5, dtype=np.float32), (0.3, 0.6), (0.1, 0.2)
    found = T.normalise(mean, np.array(std))(x)
    for n, c in itertools.product(range(3), range(2)):
        np.testing.assert_array_equal(found[n, c], (x[n, c] - np.float32(mean[c])) / np.float32(std[c]))
    np.testing.assert_array_equal(T.normalise(0.5, 2)(x[0, 0]), (x[0, 0] - np.float32(0.5)) / 2)  # numbers go with any shape
    with pytest.raises(DTypeError, match=r"got uint8\[1,2,1,1\]: write compose\(to_float\(\), normalise"):
        T.normalise(mean, std)(bytes_of(1, 2, 1, 1))
    with pytest.raises(ShapeError, match=r"normalise has 2 numbers for the channels, axis 1, of float64\[1,3,1,1\]"):
        T.normalise(mean, 1)(fractions(1, 3, 1, 1))
    for wrong in (0, (1, 0), -1.0):
        with pytest.raises(RangeError, match="normalise: std is above 0"):
            T.normalise(0, wrong)
    with pytest.raises(RangeError, match="normalise: mean is a finite number, or one for each channel, got nan"):
        T.normalise(float("nan"), 1)


def test_flatten_and_one_hot() -> None:
    x = bytes_of(3, 2, 4, 5)
    np.testing.assert_array_equal(T.flatten()(x), x.reshape(3, 40))
    assert T.flatten()(x[:0]).shape == (0, 40)
    np.testing.assert_array_equal(T.one_hot(3)(np.array([2, 0])), np.float32([[0, 0, 1], [1, 0, 0]]))
    np.testing.assert_allclose(T.one_hot(4, "float64", 0.2)(np.array([1])), [[0.05, 0.85, 0.05, 0.05]])
    with pytest.raises(RangeError, match="one_hot.*0 to 2"):
        T.one_hot(3)(np.array([3]))
    with pytest.raises(DTypeError, match="one_hot takes integer ids"):
        T.one_hot(3)((x, np.array([1.0, 0.0, 2.0])))


def test_noise_is_normal() -> None:
    x = np.full((20, 3, 30, 30), 0.5)
    found = T.noise(0.25)(x, KEY) - 0.5
    assert found.mean() == pytest.approx(0, abs=4e-3)
    assert found.std() == pytest.approx(0.25, rel=0.01)
    for q in (0.01, 0.1, 0.5, 0.9, 0.999):
        assert (found < 0.25 * _normal(q)).mean() == pytest.approx(q, abs=0.006)
    assert np.abs(np.corrcoef(found.reshape(20, -1)) - np.eye(20)).max() < 0.1
    of_bytes = T.noise(0.1)(np.full((20, 3, 30, 30), 128, np.uint8), KEY).astype(float) - 128
    assert of_bytes.std() == pytest.approx(25.5, rel=0.02)
    table = _quantiles()
    assert (table.mean(), table.std()) == pytest.approx((0, 1), abs=1e-12)
    assert np.array_equal(table, np.sort(table))
    assert (T.noise(1.0)(np.zeros((1, 1, 30, 30), np.uint8), KEY) == 0).mean() > 0.4  # cut off, not wrapped


def _normal(q: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(q)


# Places


def test_a_centre_crop_begins_where_dezeros_does() -> None:
    x = bytes_of(2, 3, 7, 9)
    np.testing.assert_array_equal(T.centre_crop((4, 6))(x), x[:, :, 1:5, 1:7])
    np.testing.assert_array_equal(T.centre_crop(5)(x), x[:, :, 1:6, 2:7])
    with pytest.raises(ShapeError, match=r"centre_crop: a crop of \(8, 8\) does not fit into uint8\[2,3,7,9\]"):
        T.centre_crop(8)(x)


@pytest.mark.parametrize(("padding", "mode", "value"), [(0, "constant", 0), ((2, 1), "constant", 7), (2, "reflect", 0), (2, "edge", 0), (1, "symmetric", 0)])
def test_random_crops_are_parts_and_every_part_comes(padding: Any, mode: str, value: int) -> None:
    x = np.repeat(bytes_of(1, 3, 5, 6), MANY, axis=0)
    rows, columns = padding if isinstance(padding, tuple) else (padding, padding)
    filled = {"constant_values": value} if mode == "constant" else {}
    padded = np.pad(x[0], ((0, 0), (rows, rows), (columns, columns)), mode, **filled)
    found = T.random_crop((4, 4), padding, mode=mode, value=value)(x, KEY)
    places = {
        (i, j): padded[:, i : i + 4, j : j + 4] for i in range(padded.shape[1] - 3) for j in range(padded.shape[2] - 3)
    }
    drawn = [next(place for place, part in places.items() if np.array_equal(part, image)) for image in found]
    assert set(drawn) == set(places)
    counts = np.array([drawn.count(place) for place in places])
    assert counts.max() < 3 * MANY / len(places)


def test_crops_that_do_not_fit_and_values_that_do_not_exist() -> None:
    with pytest.raises(ShapeError, match=r"random_crop: a crop of \(9, 9\) does not fit into uint8\[1,1,8,8\] with its padding"):
        T.random_crop(9, 1)(bytes_of(1, 1, 6, 6), KEY)
    with pytest.raises(RangeError, match=r"random_crop: the value 0\.5 is not a whole number from 0 to 255"):
        T.random_crop(6, 1, value=0.5)(bytes_of(1, 1, 6, 6), KEY)
    with pytest.raises(RangeError, match="random_crop: mode is 'constant', 'edge', 'reflect' or 'symmetric', got 'wrap'"):
        T.random_crop(6, 1, mode="wrap")


@pytest.mark.parametrize(("transform", "back"), [(T.horizontal_flip, np.s_[:, :, ::-1]), (T.vertical_flip, np.s_[:, ::-1])])
def test_flips_turn_some_images(transform: Any, back: Any) -> None:
    x = bytes_of(MANY, 2, 3, 4)
    for p in (0.5, 0.2, 0, 1):
        found = transform(p)(x, KEY)
        flipped = np.array([np.array_equal(y, image[back]) for y, image in zip(found, x, strict=True)])
        assert flipped.mean() == pytest.approx(p, abs=0.1 if 0 < p < 1 else 0)
        np.testing.assert_array_equal(found[~flipped], x[~flipped])


def test_cutout_covers_rectangles_whose_centres_lie_anywhere() -> None:
    x = np.repeat(bytes_of(1, 3, 6, 7) | 1, MANY, axis=0)  # no pixel is 0
    found = T.cutout((3, 2))(x, KEY)
    seen = set()
    for image in found:
        covered = (image == 0).all(axis=0)
        np.testing.assert_array_equal(image[:, ~covered], x[0][:, ~covered])
        rows, columns = covered.any(axis=1).nonzero()[0], covered.any(axis=0).nonzero()[0]
        assert covered.sum() == len(rows) * len(columns)
        assert len(rows) in (2, 3)
        assert len(columns) in (1, 2)
        seen.add((rows[0], rows[-1], columns[0], columns[-1]))
    assert len(seen) == 6 * 7  # one for each centre
    covered = (T.cutout(1, count=3, value=5)(np.zeros((MANY, 1, 4, 4)), KEY) == 5).sum(axis=(1, 2, 3))
    assert set(covered.tolist()) == {1, 2, 3}


# Sizes


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "box", "lanczos"])
@pytest.mark.parametrize("size", [(5, 40), (17, 9), (30, 30), (1, 1), (23, 3)])
def test_resize_is_pillows(mode: str, size: tuple[int, int]) -> None:
    Image = pytest.importorskip("PIL.Image")
    method = Image.Resampling[mode.upper()]
    x = fractions(2, 3, 23, 16, dtype=np.float32)
    found = T.resize(size, mode)(x)
    expected = np.stack([[np.asarray(Image.fromarray(c).resize(size[::-1], method)) for c in image] for image in x])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    pixels = bytes_of(2, 3, 23, 16)
    expected = np.stack([np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize(size[::-1], method)).transpose(2, 0, 1) for image in pixels])
    difference = np.abs(T.resize(size, mode)(pixels).astype(int) - expected)
    assert difference.max() <= 1 if mode in ("bilinear", "box") else 2  # the others overshoot, and Pillow cuts that off in between


def test_nearest_and_the_shorter_side() -> None:
    Image = pytest.importorskip("PIL.Image")
    x = bytes_of(1, 1, 9, 14)
    for size in ((4, 6), (20, 14), (9, 3)):
        expected = np.asarray(Image.fromarray(x[0, 0]).resize(size[::-1], Image.Resampling.NEAREST))
        np.testing.assert_array_equal(T.resize(size, "nearest")(x)[0, 0], expected)
    np.testing.assert_array_equal(T.resize((9, 5), "nearest")(x), x[:, :, :, [1, 4, 7, 9, 12]])  # between 6 and 7, the latter
    for shape, short, expected_shape in (((9, 14), 6, (6, 9)), ((14, 9), 6, (9, 6)), ((5, 5), 7, (7, 7))):
        assert T.resize(short, shorter=True)(bytes_of(1, 1, *shape)).shape[2:] == expected_shape
    with pytest.raises(RangeError, match=r"with shorter=True the size is one number, got \(3, 4\)"):
        T.resize((3, 4), shorter=True)


def test_without_antialias_the_nearest_pixels_count() -> None:
    x = fractions(1, 1, 1, 12)
    found = T.resize((1, 3), antialias=False)(x)[0, 0, 0]
    np.testing.assert_allclose(found, (x[0, 0, 0, 1::4] + x[0, 0, 0, 2::4]) / 2)


def test_a_random_resized_crop_is_a_part_resized_by_pillow() -> None:
    Image = pytest.importorskip("PIL.Image")
    x = fractions(1, 1, 12, 10, dtype=np.float32)
    area, ratio = 48 / 120, 8 / 6  # parts of 6 x 8
    found = T.random_resized_crop((5, 7), (area, area), (ratio, ratio))(np.repeat(x, 60, axis=0), KEY)
    parts = {
        (i, j): np.asarray(Image.fromarray(x[0, 0, i : i + 6, j : j + 8]).resize((7, 5), Image.Resampling.BILINEAR))
        for i, j in itertools.product(range(7), range(3))
    }
    drawn = set()
    for image in found[:, 0]:
        place = min(parts, key=lambda place: float(np.abs(parts[place] - image).max()))
        np.testing.assert_allclose(image, parts[place], atol=1e-6)
        drawn.add(place)
    assert len(drawn) > 15


def test_random_resized_crops_have_shares_and_ratios() -> None:
    columns = np.broadcast_to(np.arange(100.0)[None, None, None], (MANY, 1, 80, 100))
    both = np.concatenate([columns, np.broadcast_to(np.arange(80.0)[None, None, :, None], columns.shape)], axis=1)
    found = T.random_resized_crop(20, (0.1, 0.5), (0.5, 2))(both, KEY)
    width = (found[:, 0, 0, -1] - found[:, 0, 0, 0]) * 20 / 19
    height = (found[:, 1, -1, 0] - found[:, 1, 0, 0]) * 20 / 19
    inside = (width < 95) & (height < 75)
    share, ratio = (width * height)[inside] / 8000, (width / height)[inside]
    assert share.min() > 0.08
    assert share.max() < 0.55
    assert 0.45 < ratio.min() < 0.6
    assert 1.7 < ratio.max() < 2.2
    for wrong in ((0, 1), (0.5, 0.1), 1):
        with pytest.raises(RangeError, match=r"random_resized_crop: scale is \(low, high\), two numbers above 0"):
            T.random_resized_crop(3, wrong)


# Turning


def by_scipy(image: np.ndarray, angle: float, scale: float = 1, shear: float = 0, shift: tuple[float, float] = (0, 0), order: int = 1, fill: float = 0) -> np.ndarray:
    """An image (H, W), sheared along rows, turned against the clock, scaled and shifted, about its centre."""
    a, s = np.deg2rad(angle), np.tan(np.deg2rad(shear))
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])  # of (row, column), rows counting downwards
    forward = scale * turn @ np.array([[1, 0], [-s, 1]])
    back = np.linalg.inv(forward)
    centre = (np.array(image.shape) - 1) / 2
    return ndimage.affine_transform(image, back, centre - back @ (centre + np.array(shift)), order=order, mode="grid-constant", cval=fill)


@pytest.mark.parametrize("angle", [13, -30, 90, 180, 200])
@pytest.mark.parametrize(("mode", "order"), [("bilinear", 1), ("nearest", 0)])
def test_a_rotation_is_scipys(angle: float, mode: str, order: int) -> None:
    x = fractions(2, 2, 8, 9)
    found = T.rotation((angle, angle), mode=mode, value=0.25)(x, KEY)
    for n, c in itertools.product(range(2), range(2)):
        expected = by_scipy(x[n, c], angle, order=order, fill=0.25)
        if order == 1 or angle % 90:  # else two pixels are equally near, and either may be taken
            np.testing.assert_allclose(found[n, c], expected, atol=1e-12)


def test_a_turn_by_90_degrees_is_numpys() -> None:
    x = bytes_of(1, 3, 6, 6)
    np.testing.assert_array_equal(T.rotation((90, 90))(x, KEY), np.rot90(x, axes=(2, 3)))


def test_an_affine_map_is_scipys() -> None:
    x = fractions(1, 1, 9, 8)
    for angle, scale, shear in ((20, 1.3, 0), (0, 0.7, 15), (-35, 1.2, -10)):
        found = T.affine((angle, angle), 0, scale, (shear, shear))(x, KEY)[0, 0]
        np.testing.assert_allclose(found, by_scipy(x[0, 0], angle, scale, shear), atol=1e-12)


def test_shifts_stay_within_their_share() -> None:
    x = np.zeros((MANY, 1, 20, 30))
    x[:, :, 10, 15] = 1
    rows, columns = np.meshgrid(np.arange(20), np.arange(30), indexing="ij")
    found = T.affine(translate=(0.1, 0.3))(x, KEY)[:, 0]
    down, across = (found * rows).sum(axis=(1, 2)) - 10, (found * columns).sum(axis=(1, 2)) - 15
    assert 1.9 < np.abs(down).max() <= 2 + 1e-9
    assert 8.6 < np.abs(across).max() <= 9 + 1e-9
    assert abs(np.corrcoef(down, across)[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: T.rotation(-5), "rotation: degrees is a number d >= 0, for -d to d, or .low, high., got -5"),
        (lambda: T.rotation((5, -5)), "rotation: degrees"),
        (lambda: T.affine(scale=0), "affine: scale is a number above 0"),
        (lambda: T.affine(translate=1.5), "affine: translate is a share of the image from 0 to 1"),
        (lambda: T.affine(mode="bicubic"), "affine: mode is 'bilinear' or 'nearest', got 'bicubic'"),
        (lambda: T.rotation(5, value=300)(bytes_of(1, 1, 2, 2), KEY), "rotation: the value 300.0 is not a whole number"),
        (lambda: T.resize(True), "resize: size is a whole number of at least 1, got bool True"),
        (lambda: T.resize((1, 2, 3)), "resize: size is a number, or .height, width., got .1, 2, 3."),
        (lambda: T.resize(3, "cubic"), "resize: mode is 'nearest', 'box', 'bilinear', 'bicubic' or 'lanczos', got 'cubic'"),
        (lambda: T.horizontal_flip(1.5), "horizontal_flip: p is a probability, from 0 to 1, got float 1.5"),
        (lambda: T.cutout(4, 0), "cutout: count is a whole number of at least 1"),
        (lambda: T.noise(-1), "noise: std is a number of at least 0"),
        (lambda: T.colour_jitter(-1), "colour_jitter: brightness is a number d >= 0"),
        (lambda: T.colour_jitter(hue=0.6), "colour_jitter: hue is a number d from 0 to 0.5"),
        (lambda: T.colour_jitter(hue=(0.2, -0.2)), "colour_jitter: hue"),
        (lambda: T.colour_jitter((1.5, 0.5)), "colour_jitter: brightness is a number"),
        (lambda: T.affine(scale=(2, 1)), "affine: scale is a number above 0, or .low, high."),
        (lambda: T.mixup(0), "mixup: alpha is a number above 0"),
        (lambda: T.mixup(1, 0), "mixup: classes is a whole number of at least 1"),
        (lambda: T.sometimes(T.cutout(2), 2), "sometimes: p is a probability"),
    ],
)
def test_settings_are_checked_when_a_transform_is_made(make: Any, said: str) -> None:
    with pytest.raises(RangeError, match=said):
        make()


# Colours


def test_brightness_contrast_and_saturation_are_factors() -> None:
    x = 0.2 + 0.3 * fractions(2, 3, 4, 5)
    grey = (x * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(axis=1, keepdims=True)
    mean = grey.mean(axis=(1, 2, 3), keepdims=True)
    for arguments, expected in (
        ((1.3, 1, 1), 1.3 * x), ((1, 1.4, 1), mean + 1.4 * (x - mean)), ((1, 0, 1), mean + 0 * x), ((1, 1, 0.4), grey + 0.4 * (x - grey)),
        ((1.2, 0.5, 2), 0.5 * (1.2 * (grey + 2 * (x - grey)) - 1.2 * mean) + 1.2 * mean),
    ):  # fmt: skip
        found = T.colour_jitter(*((factor, factor) for factor in arguments))(x, KEY)
        np.testing.assert_allclose(found, expected.clip(0, 1), atol=1e-12)
    one = T.colour_jitter((1.2, 1.2), (0.5, 0.5), (3, 3), (0.2, 0.2))(x[:, :1], KEY)  # grey images have no colour
    np.testing.assert_allclose(one, 0.6 * (x[:, :1] - x[:, :1].mean(axis=(2, 3), keepdims=True)) + 1.2 * x[:, :1].mean(axis=(2, 3), keepdims=True))


def test_the_hue_turns_about_grey() -> None:
    colours = np.array([[0.6, 0.4, 0.45], [0.3, 0.5, 0.4], [0.5, 0.5, 0.6], [0.4, 0.4, 0.4]])
    x = colours[:, :, None, None]
    luma = colours @ [0.299, 0.587, 0.114]
    for turn in (0.1, -0.3, 0.5):
        found = T.colour_jitter(hue=(turn, turn))(x, KEY)[:, :, 0, 0]
        np.testing.assert_allclose(found @ [0.299, 0.587, 0.114], luma, atol=1e-4)  # the brightness stays
        np.testing.assert_allclose(found[3], colours[3], atol=1e-4)  # and so does grey
        for old, new in zip(colours[:3], found[:3], strict=True):
            moved = (colorsys.rgb_to_hsv(*new)[0] - colorsys.rgb_to_hsv(*old)[0] - turn + 0.5) % 1 - 0.5
            assert abs(moved) < 0.07  # the hue of HSV is another angle
    back = T.colour_jitter(hue=(-0.2, -0.2))(T.colour_jitter(hue=(0.2, 0.2))(x, KEY), KEY)
    np.testing.assert_allclose(back, x, atol=1e-12)


def test_colours_are_cut_off_and_bytes_rounded() -> None:
    x = bytes_of(3, 3, 4, 4)
    found = T.colour_jitter((1.5, 1.5))(x, KEY)
    np.testing.assert_array_equal(found, np.rint(np.float32(1.5) * x).clip(0, 255).astype(np.uint8))
    factors = T.colour_jitter(0.5)(np.full((MANY, 1, 1, 1), 0.5), KEY)[:, 0, 0, 0] / 0.5
    assert 0.5 <= factors.min() < 0.52
    assert 1.48 < factors.max() <= 1.5
    with pytest.raises(ShapeError, match=r"colour_jitter takes images with 1 or 3 channels, \(N, C, H, W\), got float64\[1,4,2,2\]"):
        T.colour_jitter(0.5)(fractions(1, 4, 2, 2), KEY)


# torchvision


@pytest.fixture(scope="module")
def tv() -> Any:
    pytest.importorskip("torch")
    return pytest.importorskip("torchvision.transforms.v2.functional")


def test_torchvision_resizes_and_turns_alike(tv: Any) -> None:
    import torch

    x = fractions(2, 3, 20, 17, dtype=np.float32)
    there = torch.from_numpy(x)
    for mode in ("bilinear", "bicubic"):
        for size in ((9, 30), (26, 8)):
            expected = tv.resize(there, size, tv.InterpolationMode(mode), antialias=True).numpy()
            np.testing.assert_allclose(T.resize(size, mode)(x), expected, atol=3e-6)
    expected = torch.nn.functional.interpolate(there, (7, 9), mode="bilinear").numpy()
    np.testing.assert_allclose(T.resize((7, 9), antialias=False)(x), expected, atol=1e-6)
    for angle in (15.0, -40.0):
        expected = tv.rotate(there, angle, tv.InterpolationMode.BILINEAR).numpy()
        np.testing.assert_allclose(T.rotation((angle, angle))(x, KEY), expected, atol=1e-4)
    expected = tv.affine(there, -20.0, [0, 0], 1.2, [10.0, 5.0], tv.InterpolationMode.BILINEAR).numpy()  # it turns with the clock
    found = T.affine((20, 20), 0, 1.2, (10, 10), shear_columns=(5, 5))(x, KEY)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_torchvision_changes_colours_alike(tv: Any) -> None:
    import torch

    x = 0.2 + 0.4 * fractions(2, 3, 5, 6, dtype=np.float32)
    there = torch.from_numpy(x)
    for k, change in enumerate((tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)):
        factors = [(1.0, 1.0)] * 3
        factors[k] = (1.2, 1.2)
        np.testing.assert_allclose(T.colour_jitter(*factors)(x, KEY), change(there, 1.2).numpy(), atol=3e-4)
    np.testing.assert_allclose(T.normalise((0.1, 0.2, 0.3), 0.5)(x), tv.normalize(there, [0.1, 0.2, 0.3], [0.5] * 3).numpy(), rtol=1e-6, atol=1e-7)
    pixels = np.uint8(255 * x)
    np.testing.assert_allclose(T.to_float()(pixels), tv.to_dtype(torch.from_numpy(pixels), torch.float32, scale=True).numpy(), rtol=2e-7)
