"""Images of Pillow in and out: `from_pil` makes a batch of them, `to_pil` images of a batch."""

import importlib
from typing import Any, ClassVar

import attrs
import numpy as np

from ...devices import to_numpy
from ...errors import DTypeError, MissingExtraError, RangeError, ShapeError
from ...messages import describe
from .batches import array_of, images, name_of
from .settings import one_of, pair, setting
from .transform import Transform

__all__ = ["from_pil", "to_pil"]


def pillow(of: str) -> Any:
    """The module PIL.Image. Raises MissingExtraError."""
    try:
        return importlib.import_module("PIL.Image")
    except ImportError:
        raise MissingExtraError(f"{of} needs the package Pillow: pip install 'fdezero[data]'") from None


def pixels(image: Any, mode: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image of Pillow as uint8 (C, H, W)."""
    image = image.convert("RGB" if mode == "BGR" else mode)
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], 2)  # bilinear
    array = np.array(image, np.uint8)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return np.ascontiguousarray(array[::-1] if mode == "BGR" else array)


@attrs.frozen
class from_pil(Transform):
    """A list of Pillow's images -> uint8 (N, C, H, W), with the channels of `mode`: "RGB", "L" (grey), "RGBA" or "BGR".

    With `size`, a number or (h, w), Pillow resizes each image; without it, all must have one size. A single image is a list of one.
    """

    mode: str = setting(one_of("RGB", "L", "RGBA", "BGR"), default="RGB")
    size: Any = setting(lambda value, what: None if value is None else pair(1)(value, what), default=None)

    by_example: ClassVar[bool] = False

    def run(self, batch: Any, drawn: Any) -> Any:
        module = pillow("from_pil")
        listed = list(batch) if isinstance(batch, list | tuple) else [batch]
        for i, image in enumerate(listed):
            if not isinstance(image, module.Image):
                raise DTypeError(f"from_pil takes images of Pillow, got {describe(image)} at {i}.")
        arrays = [pixels(image, self.mode, self.size) for image in listed]
        for i, array in enumerate(arrays):
            if array.shape != arrays[0].shape:
                raise ShapeError(
                    f"from_pil: image {i} is {array.shape[1]} x {array.shape[2]} pixels, image 0 is "
                    f"{arrays[0].shape[1]} x {arrays[0].shape[2]}. Write from_pil(size=(h, w))."
                )
        return (
            np.stack(arrays)
            if arrays
            else np.empty((0, {"L": 1, "RGBA": 4}.get(self.mode, 3), *(self.size or (0, 0))), np.uint8)
        )


@attrs.frozen
class to_pil(Transform):
    """Images (N, C, H, W), uint8 or fractions from 0 to 1, with 1, 3 or 4 channels -> a list of Pillow's images."""

    by_example: ClassVar[bool] = False

    def run(self, batch: Any, drawn: Any) -> Any:
        module = pillow("to_pil")
        x = to_numpy(images(array_of(batch, self), self))
        if x.shape[1] not in (1, 3, 4):
            raise ShapeError(f"{name_of(self)} takes 1, 3 or 4 channels, (N, C, H, W), got {describe(x)}.")
        if x.dtype != np.uint8:
            if x.size and not (x.min() >= 0 and x.max() <= 1):
                raise RangeError(
                    f"to_pil takes fractions from 0 to 1, got numbers from {x.min():.3g} to {x.max():.3g}. "
                    "Undo what normalise did, or cut off: x.clip(0, 1)."
                )
            x = np.rint(x.astype(np.float32) * 255).astype(np.uint8)
        return [
            module.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
            for image in x
        ]
