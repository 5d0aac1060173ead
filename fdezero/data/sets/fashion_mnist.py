"""Fashion-MNIST: clothes of ten kinds, in the format of MNIST."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...messages import told
from .fetching import Remote, fetched, how_to_choose
from .idx import decompressed, pair_of

__all__ = ["fashion_mnist"]

SITE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
# The authors state MD5 checksums; several public projects state these SHA-256 checksums of the same files.
FILES = {
    name: Remote(name.replace(".idx", "-idx") + ".gz", SITE, sha256)
    for name, sha256 in {
        "train-images.idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels.idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images.idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels.idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }.items()
}


@told(how_to_choose)
def fashion_mnist(
    split: str, *, flatten: bool = True, dtype: Any = np.float32, data_dir: str | os.PathLike[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images of clothes and labels, exactly as those of `mnist`: (n, 784) or (n, 1, 28, 28), and (n,) int64.

    The files (31 MB) are downloaded once into the cache folder, which needs the extra `data`; with `data_dir` they are read from
    there, plain, .gz or .xz. `class_names("fashion_mnist")` has the ten names.

    Raises DownloadError (an OSError) without a network, with the names of the files and their place; other errors are those of `mnist`.
    Source: Xiao, Rasul, Vollgraf, arXiv:1708.07747, 2017; licence MIT.
    """
    folder = None if data_dir is None else Path(data_dir)

    def read(name: str) -> bytes:
        others = tuple(file.name for other, file in FILES.items() if other != name)
        path = fetched("fashion_mnist", FILES[name], others)
        return decompressed(path.read_bytes(), ".gz", f"{path} is damaged")

    return pair_of("fashion_mnist", split, flatten, dtype, folder, read)
