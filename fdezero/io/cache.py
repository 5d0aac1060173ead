"""The cache folder: files that are made once, known by name and checksum."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import FileError


def cache_folder() -> Path:
    """The folder for cached files: $FDEZERO_CACHE, or `fdezero` in the user's cache folder."""
    if chosen := os.environ.get("FDEZERO_CACHE"):
        return Path(os.path.expanduser(chosen))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "fdezero"


def cached(name: str, sha256: str, make: Callable[[], bytes], *, damaged: str) -> bytes:
    """The bytes of the cached file `name`, or those of `make()`, which are then kept in the cache.

    A cached file with another checksum is made anew. If the cache cannot be written, nothing is kept.
    Raises FileError, with `damaged` as its message, if what `make()` returns has another checksum.
    """
    from .files import write_whole  # which nobody needs who only asks for the folder

    path = cache_folder() / name
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        if checksum(data) == sha256:
            return data
    data = make()
    if checksum(data) != sha256:
        raise FileError(f"{damaged}.")
    with contextlib.suppress(OSError, FileError):  # a read-only or full disk, or a folder of that name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(data))
    return data


def checksum(data: bytes) -> str:
    """The SHA-256 of `data`, in hexadecimal."""
    import hashlib  # which loads OpenSSL, for a few milliseconds of every import of fdezero

    return hashlib.sha256(data).hexdigest()
