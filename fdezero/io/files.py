"""Files that are written whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeAlias

from ..errors import FileError

PathLike: TypeAlias = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when the block succeeds, and is removed when it fails.

    A symbolic link stays: the file that it points to is replaced. If several processes write at once, the last one wins.
    Raises FileNotFoundError for a missing folder, FileError if `path` is not a regular file.
    """
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {place.parent} to save {place.name} in.")
    if place.exists() and not place.is_file():
        raise FileError(f"{place} is a folder or a device, not a file to write over.")
    temporary = place.with_name(f".{place.name[:50]}.{os.urandom(4).hex()}.tmp")
    file = open(temporary, "xb")  # noqa: SIM115, closed below, before the temporary is renamed or removed
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, temporary)
        os.replace(temporary, place)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
