"""`ImageFolder`: images in a folder for each class, read when they are asked for."""

import operator
import os
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ...errors import FileError
from ...messages import describe
from ..transforms.pillow import pillow, pixels
from ..transforms.settings import one_of, pair

__all__ = ["ImageFolder"]

ENDINGS = frozenset(".bmp .gif .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp".split())
STATIC = {"static": True}


def _mode(value: Any) -> str:
    return one_of("RGB", "L", "RGBA")(value, "ImageFolder: mode")


def _size(value: Any) -> tuple[int, int] | None:
    return None if value is None else pair(1)(value, "ImageFolder: size")


@attrs.frozen(repr=False)
class ImageFolder:
    """The images in `root/class/...`, as examples (image, label): uint8 (C, H, W) and a number. `classes` are the names of the folders.

    Classes and files are sorted, and folders within a class belong to it. An image is read, by Pillow, when it is asked for:
    `folder[i]`. With `size`, a number or (h, w), each image is scaled so that it covers the size, and its centre is cut out; so
    images make batches. `mode` is "RGB", "L" (grey) or "RGBA". A loader reads with threads: `DataLoader(folder, 32, workers=2)`.

    Raises FileError for a folder without classes or images, and for a file that is no image, with its name and number.
    """

    root: Path = attrs.field(converter=Path, metadata=STATIC)
    size: Any = attrs.field(default=None, converter=_size, metadata=STATIC)
    mode: str = attrs.field(default="RGB", converter=_mode, metadata=STATIC, kw_only=True)
    classes: tuple[str, ...] = attrs.field(init=False, metadata=STATIC)
    files: tuple[tuple[str, int], ...] = attrs.field(init=False, metadata=STATIC)

    @classes.default
    def _classes(self) -> tuple[str, ...]:
        if not self.root.is_dir():
            raise FileError(f"ImageFolder: there is no folder {self.root}.")
        found = sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        if not found:
            raise FileError(
                f"ImageFolder: {self.root} has no folders. Each class is a folder of images: {self.root.name}/cat/1.png."
            )
        return tuple(found)

    @files.default
    def _files(self) -> tuple[tuple[str, int], ...]:
        found: list[tuple[str, int]] = []
        for label, name in enumerate(self.classes):
            before = len(found)
            for place, folders, names in os.walk(self.root / name):
                folders.sort()  # in the order of names, on every system
                relative = os.path.relpath(place, self.root)
                found += [
                    (os.path.join(relative, file), label)
                    for file in sorted(names)
                    if os.path.splitext(file)[1].lower() in ENDINGS and not file.startswith(".")
                ]
            if len(found) == before:
                raise FileError(
                    f"ImageFolder: the class {name!r} has no image in {self.root / name}; images end in {', '.join(sorted(ENDINGS))}."
                )
        return tuple(found)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: Any) -> tuple[np.ndarray, np.int64]:
        try:
            number = operator.index(i)
        except TypeError:
            raise TypeError(f"ImageFolder: an example has a whole number, got {describe(i)}: folder[3].") from None
        if not -len(self) <= number < len(self):
            raise IndexError(f"ImageFolder: there is no example {number}: there are {len(self)}, counted from 0.")
        name, label = self.files[number]
        return self._read(self.root / name, number % len(self)), np.int64(label)

    @property
    def labels(self) -> np.ndarray:
        """The labels of all examples, (n,) int64, without reading an image."""
        return np.array([label for _, label in self.files], np.int64)

    def _read(self, path: Path, number: int) -> np.ndarray:
        module = pillow("ImageFolder")
        try:
            with module.open(path) as image:
                if self.size is None:
                    return pixels(image, self.mode)
                return pixels(_covering(image, *self.size), self.mode)
        except Exception as error:  # Pillow raises nearly anything for a damaged file
            reason = str(error).replace(f" {os.fspath(path)!r}", "").rstrip(": ") or type(error).__name__
            raise FileError(
                f"{path}, example {number}, is not an image that Pillow can read: {reason}. Remove or replace the file."
            ) from error

    def __repr__(self) -> str:
        names = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        return f"ImageFolder({os.fspath(self.root)!r}: {len(self)} images in {len(self.classes)} classes: {names})"


def _covering(image: Any, h: int, w: int) -> Any:
    """The image, scaled so that it covers (h, w), and cut at its centre."""
    image.draft(None, (2 * w, 2 * h))  # a JPEG far larger than needed is decoded at a fraction of its size
    width, height = image.size
    scale = max(h / height, w / width)
    scaled = max(w, round(width * scale)), max(h, round(height * scale))
    if image.mode in ("1", "P", "I;16"):  # which cannot be mixed
        image = image.convert("RGB")
    image = image.resize(scaled, 2)  # bilinear
    left, top = (scaled[0] - w) // 2, (scaled[1] - h) // 2
    return image.crop((left, top, left + w, top + h))
