"""MNIST from the compressed files in this package, decompressed once into a cache folder."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...messages import told
from .fetching import how_to_choose
from .idx import pair_of
from .packaged import packaged

__all__ = ["mnist"]

# SHA-256 checksums of the uncompressed files
FILES = {
    "train-images.idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels.idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images.idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels.idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@told(how_to_choose)
def mnist(
    split: str, *, flatten: bool = True, dtype: Any = np.float32, data_dir: str | os.PathLike[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 784) in [0, 1], or (n, 1, 28, 28) with `flatten=False`, in `dtype`, and labels (n,) int64.

    n is 60,000 for the split "train", 10,000 for "test". With `dtype=np.uint8` the images are bytes from 0 to 255. The files
    come with the package. They are decompressed once, into $FDEZERO_CACHE or the user's cache folder; if that folder cannot be
    written, they are decompressed in memory. With `data_dir`, idx files of the same names are read from there: plain, .gz or .xz,
    with any number of images of 28 x 28.

    Raises RangeError for another split, DTypeError for a dtype that has no fractions, FileError for a file that is
    missing or damaged.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998; licence CC BY-SA 3.0.
    """
    folder = None if data_dir is None else Path(data_dir)
    return pair_of("mnist", split, flatten, dtype, folder, lambda name: packaged(name, FILES[name]))
