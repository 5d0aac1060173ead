"""Images in the form that networks trained on ImageNet expect, and the names of its 1000 classes."""

import importlib
import os
from typing import Any

import numpy as np

from ..data.sets.imagenet import imagenet_labels
from ..errors import DTypeError, MissingExtraError, RangeError, ShapeError
from ..messages import describe
from ..numpy.arguments import whole_number

__all__ = ["labels", "preprocess"]


def __dir__() -> list[str]:
    return __all__


MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green, blue in [0, 1]: torchvision's
BGR_MEAN = (103.939, 116.779, 123.68)  # of blue, green, red in [0, 255]: Caffe's, of the files of VGG and of He
FORMS = ("torchvision", "dezero")


def preprocess(image: Any, form: str = "torchvision", *, size: int = 224, dtype: Any = np.float32) -> np.ndarray:
    """A PIL image, or an array (H, W, 3) or (H, W) of uint8 -> (1, 3, size, size), as the files of a form expect it.

    - "torchvision": the shorter side becomes size * 256 / 224, and the centre is cut out. Red, green and blue in [0, 1]
      lose their mean and are divided by their deviation.
    - "dezero": the image is resized to (size, size), and blue, green and red in [0, 255] lose their mean.

    Raises RangeError for another form or size, ShapeError and DTypeError for another array, MissingExtraError without Pillow.
    Source: torchvision.transforms and dezero.models.VGG16.preprocess.
    """
    if form not in FORMS:
        raise RangeError(f"preprocess: the form is 'torchvision' or 'dezero', as that of the file; got {form!r}.")
    size = whole_number("preprocess", "size", size)
    picture = _picture(image).convert("RGB")
    if form == "dezero":
        pixels = np.asarray(picture.resize((size, size)), dtype)[:, :, ::-1]
        normal = pixels - np.array(BGR_MEAN, dtype)
    else:
        pixels = np.asarray(_centre(picture, size), dtype) / np.asarray(255, dtype)
        normal = (pixels - np.array(MEAN, dtype)) / np.array(DEVIATION, dtype)
    return normal.transpose(2, 0, 1)[None]


def _picture(image: Any) -> Any:
    """The image of Pillow."""
    try:
        pillow = importlib.import_module("PIL.Image")
    except ImportError:
        raise MissingExtraError("preprocess needs the package Pillow: pip install 'fdezero[pretrained]'") from None
    if isinstance(image, pillow.Image):
        return image
    if not isinstance(image, np.ndarray):
        raise DTypeError(f"preprocess takes an image of Pillow or an array of NumPy, got {describe(image)}.")
    if image.dtype != np.uint8:
        raise DTypeError(
            f"preprocess: an image is an array of uint8, from 0 to 255, got {describe(image)}. "
            "For fractions from 0 to 1 write np.uint8(255 * image + 0.5)."
        )
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,), (4,)) or not image.size:
        raise ShapeError(
            f"preprocess: one image is (height, width, 3) or (height, width), got shape {image.shape}. "
            "Channels are the last axis: image.transpose(1, 2, 0)."
        )
    return pillow.fromarray(image)


def _centre(picture: Any, size: int) -> Any:
    """The centre (size, size) of the picture, whose shorter side first becomes size * 256 / 224."""
    width, height = picture.size
    short = round(size * 256 / 224)
    if width <= height:
        width, height = short, short * height // width
    else:
        width, height = short * width // height, short
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.resize((width, height), 2).crop((left, top, left + size, top + size))  # 2: bilinear


def labels(path: str | os.PathLike[str] | None = None) -> list[str]:
    """The names of the 1000 classes of ImageNet, in the order of the logits: `fd.data.imagenet_labels`."""
    return imagenet_labels(path)
