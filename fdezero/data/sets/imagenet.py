"""The names of the 1000 classes of ImageNet."""

import ast
import os

from ...errors import FileError
from ...io.download import downloaded

__all__ = ["imagenet_labels"]

LABELS = (  # the file that DeZero downloads
    "https://gist.githubusercontent.com/yrevar/942d3a0ac09ec9e5eb3a/raw/"
    "238f720ff059c1f82f368259d1ca4ffa5dd8f9f5/imagenet1000_clsidx_to_labels.txt"
)


def imagenet_labels(path: str | os.PathLike[str] | None = None) -> list[str]:
    """The names of the 1000 classes of ImageNet, in the order of the logits: imagenet_labels()[0] is "tench, Tinca tinca".

    The list is downloaded once into the cache folder, from the place that DeZero names; or it is read from `path`.
    Raises FileError for a file without 1000 names, DownloadError (an OSError) without a network.
    """
    place = downloaded(LABELS, "imagenet1000_clsidx_to_labels.txt", extra="data") if path is None else path
    try:
        with open(place, encoding="utf-8") as file:
            names = ast.literal_eval(file.read())  # a dict in Python's spelling; nothing of it runs
        listed = [names[number] for number in range(1000)]
        if len(names) != 1000 or not all(isinstance(name, str) for name in listed):
            raise ValueError("a name is missing")
    except (ValueError, SyntaxError, LookupError, TypeError, MemoryError, RecursionError) as error:
        raise FileError(
            f"{os.fspath(place)} is not a dict of the numbers 0 to 999 and their names: {error}. "
            "Remove it, and it is downloaded anew."
        ) from error
    return listed
