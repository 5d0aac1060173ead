"""`ImageFolder`: classes from folders, images read when they are asked for, broken files named."""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.data import ImageFolder
from fdezero.errors import FileError, MissingExtraError, RangeError
from fdezero.testing import assert_trees_equal

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def save(path: Path, height: int, width: int, mode: str = "RGB") -> np.ndarray:
    """Save an image; its pixels (H, W, C)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (height, width) if mode == "L" else (height, width, len(mode)), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("dog/b.png", "dog/a.PNG", "cat/10.png", "cat/9.png", "cat/more/1.bmp"):
        save(tmp_path / "animals" / name, 6, 8)
    (tmp_path / "animals" / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "animals" / "dog" / ".hidden.png").write_text("no image")
    (tmp_path / "animals" / ".git").mkdir()
    (tmp_path / "animals" / "README").write_text("no folder")
    return tmp_path / "animals"


def test_classes_and_files_are_sorted(root: Path) -> None:
    folder = ImageFolder(root)
    assert folder.classes == ("cat", "dog")
    assert [(name.replace(os.sep, "/"), label) for name, label in folder.files] == [
        ("cat/10.png", 0), ("cat/9.png", 0), ("cat/more/1.bmp", 0), ("dog/a.PNG", 1), ("dog/b.png", 1),
    ]  # fmt: skip
    assert len(folder) == 5
    np.testing.assert_array_equal(folder.labels, [0, 0, 0, 1, 1])
    assert "5 images in 2 classes: cat, dog" in repr(folder)
    assert pickle.loads(pickle.dumps(folder)) == folder
    assert fd.tree.leaves(folder) == []


def test_images_are_read_when_they_are_asked_for(root: Path) -> None:
    folder = ImageFolder(str(root))
    pixels = save(root / "cat" / "9.png", 5, 7)  # after the folder was read
    image, label = folder[1]
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1))
    assert (image.dtype, image.flags.writeable, image.flags.c_contiguous, label, label.dtype) == (np.uint8, True, True, 0, np.int64)
    assert_trees_equal(folder[-4], folder[1])
    assert_trees_equal(folder[np.int32(1)], folder[1])
    assert len(list(folder)) == 5  # by IndexError at the end
    for wrong in (5, -6):
        with pytest.raises(IndexError, match=f"no example {wrong}: there are 5"):
            folder[wrong]
    with pytest.raises(TypeError, match=r"a whole number, got str: folder\[3\]"):
        folder["cat"]


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("RGBA", 4)])
@pytest.mark.parametrize("of_file", ["RGB", "L", "RGBA"])
def test_modes_are_converted(tmp_path: Path, mode: str, channels: int, of_file: str) -> None:
    save(tmp_path / "all" / "1.png", 4, 5, of_file)
    expected = np.asarray(Image.open(tmp_path / "all" / "1.png").convert(mode))
    image, _ = ImageFolder(tmp_path, mode=mode)[0]
    np.testing.assert_array_equal(image, expected.transpose(2, 0, 1) if channels > 1 else expected[None])


@pytest.mark.parametrize("size", [4, (3, 6), (12, 5)])
def test_a_size_covers_and_cuts_the_centre(tmp_path: Path, size: Any) -> None:
    save(tmp_path / "all" / "1.png", 8, 10)
    image, _ = ImageFolder(tmp_path, size)[0]
    h, w = size if isinstance(size, tuple) else (size, size)
    scale = max(h / 8, w / 10)
    whole = np.asarray(Image.open(tmp_path / "all" / "1.png").resize((max(w, round(10 * scale)), max(h, round(8 * scale))), 2))
    top, left = (whole.shape[0] - h) // 2, (whole.shape[1] - w) // 2
    np.testing.assert_array_equal(image, whole[top : top + h, left : left + w].transpose(2, 0, 1))


def test_images_of_any_kind_get_the_size(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    big = Image.fromarray(RNG.integers(0, 256, (400, 300, 3), np.uint8))
    big.save(tmp_path / "all" / "a.jpg")
    big.convert("P").save(tmp_path / "all" / "b.gif")
    big.convert("1").save(tmp_path / "all" / "c.png")
    big.convert("CMYK").save(tmp_path / "all" / "d.jpg")
    for image, _ in ImageFolder(tmp_path, (20, 30)):
        assert image.shape == (3, 20, 30)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_reads_batches(root: Path, workers: int) -> None:
    folder = ImageFolder(root)
    loader = fd.data.DataLoader(folder, 2, key=fd.random.key(0), workers=workers)
    images, labels = next(iter(loader.epoch(0)))
    order = loader.order(0)[:2]
    assert (images.shape, labels.shape) == ((2, 3, 6, 8), (2,))
    np.testing.assert_array_equal(images, np.stack([folder[i][0] for i in order]))
    np.testing.assert_array_equal(labels, folder.labels[order])


@pytest.mark.parametrize("content", [b"", b"no image", "cut"])
def test_a_broken_file_is_named_with_its_number(root: Path, content: Any) -> None:
    path = root / "cat" / "9.png"
    path.write_bytes(path.read_bytes()[:60] if content == "cut" else content)
    with pytest.raises(FileError, match=r"9\.png, example 1, is not an image that Pillow can read: .*Remove or replace the file"):
        ImageFolder(root)[1]
    with pytest.raises(FileError, match=r"9\.png, example 1"):
        list(fd.data.DataLoader(ImageFolder(root), 5, shuffle=False))
    path.unlink()
    folder = ImageFolder(root)
    (root / "cat" / "10.png").unlink()  # after the folder was read
    with pytest.raises(FileError, match=r"10\.png, example 0, is not an image .*No such file"):
        folder[0]


def test_folders_without_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no folder .*nothing"):
        ImageFolder(tmp_path / "nothing")
    (tmp_path / "1.png").touch()
    with pytest.raises(FileError, match=r"has no folders\. Each class is a folder of images: .*/cat/1\.png"):
        ImageFolder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(FileError, match=r"the class 'cat' has no image in .*images end in \.bmp"):
        ImageFolder(tmp_path)


def test_settings_are_checked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (0, (1, 2, 3), "big"):
        with pytest.raises(RangeError, match="ImageFolder: size"):
            ImageFolder(root, wrong)
    with pytest.raises(RangeError, match="ImageFolder: mode is 'RGB', 'L' or 'RGBA', got 'HSV'"):
        ImageFolder(root, mode="HSV")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"ImageFolder needs the package Pillow: pip install 'fdezero\[data\]'"):
        ImageFolder(root)[0]
