"""Files from the internet, in the cache folder: fetched once, by the package pooch."""

import importlib.util
import logging
import os
from pathlib import Path
from typing import Any

from ..errors import DownloadError, FileError, MissingExtraError
from .cache import cache_folder

__all__ = ["downloaded"]


def downloaded(url: str, name: str, *, sha256: str | None = None) -> Path:
    """The path of the file `name` in the cache folder, which is fetched from `url` unless it is there.

    With a checksum, a file that is there but differs is fetched anew. A file is in its place only when it is whole. tqdm, if
    it is installed, shows a bar.

    Raises MissingExtraError without pooch, DownloadError (an OSError) if the file cannot be fetched or written, and FileError
    if what came has another checksum.
    """
    place = cache_folder() / name
    if sha256 is None and place.is_file():  # which needs no package
        return place
    pooch: Any = _package()
    downloader = pooch.HTTPDownloader(progressbar=bool(importlib.util.find_spec("tqdm")), chunk_size=1 << 16)
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # pooch advises to copy the checksum into a call that is not the user's
    try:
        return Path(pooch.retrieve(url, sha256, fname=name, path=cache_folder(), downloader=downloader))
    except ValueError as error:  # so pooch names a checksum
        raise FileError(
            f"{url} is not the file that it was: its checksum differs from {sha256}. "
            f"If you trust the file, put it into {place.parent} yourself, and load it from there."
        ) from error
    except OSError as error:  # also all errors of requests
        raise DownloadError(
            f"{url} could not be downloaded to {os.fspath(place)}: {_reason(error)}. Is there a network? "
            f"You may also fetch the file elsewhere and put it there; $FDEZERO_CACHE chooses another folder."
        ) from error
    finally:
        logger.setLevel(level)


def _package() -> Any:
    try:
        return importlib.import_module("pooch")
    except ImportError:
        raise MissingExtraError("a download needs the package pooch: pip install 'fdezero[pretrained]'") from None


def _reason(error: OSError) -> str:
    """What went wrong, in one line: the innermost of the errors that requests and urllib3 wrap."""
    reason: BaseException = error
    for _ in range(8):
        inner = next((arg for arg in reason.args if isinstance(arg, BaseException)), None)
        inner = inner or getattr(reason, "reason", None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    return f"{type(reason).__name__}: {str(reason).splitlines()[0] if str(reason) else 'no reason given'}"
