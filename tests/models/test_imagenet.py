"""Images for networks trained on ImageNet, beside loops over pixels and DeZero's own code; the names of the classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdezero import models
from fdezero.errors import DTypeError, FileError, MissingExtraError, RangeError, ShapeError
from fdezero.models import imagenet

from ..nn.dezero_reference import dezero

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def picture(height: int, width: int) -> Any:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))


def test_dezeros_form_is_dezeros() -> None:
    for image in (picture(300, 200), picture(40, 60).convert("L"), picture(224, 224).convert("RGBA")):
        found = imagenet.preprocess(image, "dezero")
        assert found.shape == (1, 3, 224, 224)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[0], dezero.models.VGG16.preprocess(image))


def test_torchvisions_form_by_hand() -> None:
    """Of an image whose shorter side is 256, the centre is cut out without resizing."""
    image = picture(256, 301)
    pixels = np.asarray(image, np.float64) / 255
    found = imagenet.preprocess(image, dtype=np.float64)
    assert found.shape == (1, 3, 224, 224)
    top, left = 16, 38  # (301 - 224) / 2 = 38.5, which Python rounds to 38
    for channel, (mean, deviation) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        for row, column in [(0, 0), (0, 223), (223, 0), (100, 17)]:
            expected = (pixels[top + row, left + column, channel] - mean) / deviation
            assert found[0, channel, row, column] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("size", "short"), [((500, 375), (341, 256)), ((375, 500), (256, 341)), ((30, 20), (384, 256)), ((224, 224), (256, 256))])
def test_torchvisions_form_resizes_the_shorter_side_to_256(size: tuple[int, int], short: tuple[int, int]) -> None:
    image = picture(size[1], size[0])
    left, top = round((short[0] - 224) / 2), round((short[1] - 224) / 2)
    expected = np.asarray(image.resize(short, Image.Resampling.BILINEAR))[top : top + 224, left : left + 224]
    found = imagenet.preprocess(image)[0].transpose(1, 2, 0) * np.float32(imagenet.DEVIATION) + np.float32(imagenet.MEAN)
    np.testing.assert_allclose(found * 255, expected, atol=1e-3)


def test_arrays_sizes_and_dtypes() -> None:
    image = picture(50, 80)
    for form in imagenet.FORMS:
        np.testing.assert_array_equal(imagenet.preprocess(np.asarray(image), form), imagenet.preprocess(image, form))
        small = imagenet.preprocess(image, form, size=32, dtype=np.float16)
        assert (small.shape, small.dtype) == ((1, 3, 32, 32), np.float16)
    gray = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(imagenet.preprocess(gray), imagenet.preprocess(np.stack([gray] * 3, -1)))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: imagenet.preprocess(picture(9, 9), "caffe"), RangeError, "'torchvision' or 'dezero', as that of the file; got 'caffe'"),
        (lambda: imagenet.preprocess(picture(9, 9), size=0), RangeError, "at least 1, got int 0"),
        (lambda: imagenet.preprocess(np.zeros((9, 9, 3))), DTypeError, r"array of uint8.*float64\[9,9,3\].*np\.uint8\(255 \* image"),
        (lambda: imagenet.preprocess(np.zeros((3, 9, 9), np.uint8)), ShapeError, r"\(3, 9, 9\).*image\.transpose\(1, 2, 0\)"),
        (lambda: imagenet.preprocess("cat.jpg"), DTypeError, "an image of Pillow or an array of NumPy, got str"),
    ],
)
def test_other_images_are_explained(call: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()


def test_without_pillow_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"Pillow: pip install 'fdezero\[pretrained\]'"):
        imagenet.preprocess(np.zeros((9, 9, 3), np.uint8))


def test_labels_are_read_in_the_order_of_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {i: f"class {i}, it's one" for i in reversed(range(1000))}
    path = tmp_path / "labels.txt"
    path.write_text(repr(names))
    assert models.imagenet.labels(path) == [f"class {i}, it's one" for i in range(1000)]
    monkeypatch.setenv("FDEZERO_CACHE", str(tmp_path))
    path.rename(tmp_path / "imagenet1000_clsidx_to_labels.txt")
    assert models.imagenet.labels()[7] == "class 7, it's one"  # no network: the file is in the cache


@pytest.mark.parametrize("content", ["{0: 'a'}", "__import__('os').getcwd()", "{", "[" * 10_000, repr(dict.fromkeys(range(1001), "a")), repr(dict.fromkeys(range(1000), 1))])
def test_another_file_of_labels_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(content)
    with pytest.raises(FileError, match=r"labels\.txt is not a dict of the numbers 0 to 999"):
        imagenet.labels(path)
