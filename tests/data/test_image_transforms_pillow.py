"""Images of Pillow in and out of batches."""

import pickle
import sys
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.data import transforms as T
from fdezero.errors import DTypeError, MissingExtraError, RangeError, ShapeError

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def picture(height: int, width: int, mode: str = "RGB") -> Any:
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(RNG.integers(0, 256, shape, np.uint8))


def test_a_list_becomes_a_batch() -> None:
    images = [picture(4, 5), picture(4, 5, "RGBA"), picture(4, 5, "L")]
    for mode, channels in (("RGB", 3), ("L", 1), ("RGBA", 4)):
        batch = T.from_pil(mode)(images)
        assert (batch.shape, batch.dtype, batch.flags.writeable) == ((3, channels, 4, 5), np.uint8, True)
        for found, image in zip(batch, images, strict=True):
            np.testing.assert_array_equal(found, np.asarray(image.convert(mode)).reshape(4, 5, channels).transpose(2, 0, 1))
    np.testing.assert_array_equal(T.from_pil("BGR")(images), T.from_pil()(images)[:, ::-1])
    assert T.from_pil()(images[0]).shape == (1, 3, 4, 5)
    assert T.from_pil()([]).shape[:2] == (0, 3)
    assert pickle.loads(pickle.dumps(T.from_pil("L"))) == T.from_pil("L")


def test_images_of_different_sizes_need_one() -> None:
    images = [picture(4, 5), picture(6, 5)]
    with pytest.raises(ShapeError, match=r"image 1 is 6 x 5 pixels, image 0 is 4 x 5\. Write from_pil\(size=\(h, w\)\)"):
        T.from_pil()(images)
    batch = T.from_pil(size=(3, 4))(images)
    np.testing.assert_array_equal(batch[1], np.asarray(images[1].resize((4, 3), Image.Resampling.BILINEAR)).transpose(2, 0, 1))
    assert T.from_pil(size=7)(images).shape == (2, 3, 7, 7)


def test_there_and_back() -> None:
    for mode in ("RGB", "L", "RGBA"):
        images = [picture(4, 5, mode), picture(4, 5, mode)]
        batch = T.from_pil(mode)(images)
        for form in (batch, T.to_float()(batch), T.to_float("float16")(batch)):
            back = T.to_pil()(form)
            assert [image.mode for image in back] == [mode, mode]
            for found, image in zip(back, images, strict=True):
                np.testing.assert_array_equal(np.asarray(found), np.asarray(image))


def test_parts_of_a_chain() -> None:
    images = [picture(8, 9), picture(7, 7)]
    transform = T.compose(T.from_pil(size=8), T.random_crop(6), T.to_float())
    found = transform(images, fd.random.key(0))
    assert (found.shape, found.dtype) == ((2, 3, 6, 6), np.float32)
    assert len(T.compose(T.resize(4), T.to_pil())(T.from_pil(size=8)(images))) == 2


def test_the_gpu(gpu: Any) -> None:
    batch = T.from_pil()([picture(4, 5)])
    np.testing.assert_array_equal(np.asarray(T.to_pil()(fd.to_device(batch, "gpu"))[0]), np.asarray(T.to_pil()(batch)[0]))


def test_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DTypeError, match="from_pil takes images of Pillow, got str at 1"):
        T.from_pil()([picture(2, 2), "cat.png"])
    with pytest.raises(RangeError, match="from_pil: mode is 'RGB', 'L', 'RGBA' or 'BGR', got 'HSV'"):
        T.from_pil("HSV")
    with pytest.raises(ShapeError, match=r"to_pil takes 1, 3 or 4 channels, \(N, C, H, W\), got uint8\[1,2,4,4\]"):
        T.to_pil()(np.zeros((1, 2, 4, 4), np.uint8))
    for wrong, said in ((2.0, r"from 2 to 2\. Undo what normalise did"), (np.nan, "from nan to nan")):
        with pytest.raises(RangeError, match=f"to_pil takes fractions from 0 to 1, got numbers {said}"):
            T.to_pil()(np.full((1, 1, 2, 2), wrong))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for transform, batch in ((T.from_pil(), []), (T.to_pil(), np.zeros((1, 1, 2, 2)))):
        with pytest.raises(MissingExtraError, match=r"_pil needs the package Pillow: pip install 'fdezero\[data\]'"):
            transform(batch)
