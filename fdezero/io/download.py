"""Files from the internet, in the cache folder: fetched once, by the package pooch. A download that broke off goes on where it ended."""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import DownloadError, FileError, MissingExtraError
from .cache import cache_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # it is asked for before each use

__all__ = ["downloaded"]

CHUNK = 1 << 16
PATIENCE = 30  # seconds without an answer


def downloaded(url: str, name: str, *, sha256: str | None = None, extra: str = "pretrained", instead: str = "") -> Path:
    """The path of the file `name` in the cache folder, which is fetched from `url` unless it is there.

    With a checksum, a file that is there but differs is fetched anew. A file is in its place only when it is whole. What came of a
    download that broke off waits beside it, and the next call fetches the rest, if the server says that its file is still the same.
    tqdm, if it is installed, shows a bar. `extra` installs what is missing; `instead` says what else the user can do.

    Raises MissingExtraError without pooch, DownloadError (an OSError) if the file cannot be fetched or written, and FileError
    if what came has another checksum.
    """
    place = cache_folder() / name
    if place.is_file() and (sha256 is None or _checksum(place) == sha256):  # which needs no package
        return place
    instead = (
        instead or "You may also fetch the file elsewhere and put it there; $FDEZERO_CACHE chooses another folder."
    )
    try:
        pooch: Any = importlib.import_module("pooch")
    except ImportError:
        raise MissingExtraError(
            f"a download needs the package pooch: pip install 'fdezero[{extra}]'. Or put {url} at {os.fspath(place)} yourself."
        ) from None
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # pooch advises to copy the checksum into a call that is not the user's
    try:
        return Path(pooch.retrieve(url, sha256, fname=place.name, path=place.parent, downloader=Resuming(place)))
    except ValueError as error:  # so pooch names a checksum
        raise FileError(
            f"{url} is not the file that it was: its checksum differs from {sha256}. "
            f"If you trust the file, put it into a folder yourself, and load it from there."
        ) from error
    except OSError as error:  # also all errors of requests
        raise DownloadError(
            f"{url} could not be downloaded to {os.fspath(place)}: {_reason(error)}. Is there a network? {instead}"
        ) from error
    finally:
        logger.setLevel(level)


class Resuming:
    """What pooch calls to download a file. `.name.part` keeps what came, and `.name.part.tag` how the server named that version."""

    def __init__(self, place: Path) -> None:
        self.part = place.with_name(f".{place.name}.part")
        self.tag = place.with_name(f".{place.name}.part.tag")

    def __call__(self, url: str, output: str, pooch: Any) -> None:
        with _alone(self.part) as part:
            if part is None:  # another process fetches the same file: this one does not wait for it
                with open(output, "wb") as file:
                    self._fetch(url, file, None)
                return
            try:
                tag = self._known_tag() if part.seek(0, os.SEEK_END) else None
                self._fetch(url, part, tag)
                part.flush()
                os.replace(self.part, output) if fcntl else _copy(part, output)
            except BaseException:
                part.flush()
                if not self.tag.exists():  # without the name of a version, the rest might be that of another file
                    part.truncate(0)
                    with contextlib.suppress(OSError):
                        os.unlink(self.part)
                raise
            for leftover in (self.tag, self.part):
                with contextlib.suppress(OSError):
                    os.unlink(leftover)

    def _known_tag(self) -> str | None:
        try:
            return self.tag.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None

    def _fetch(self, url: str, file: IO[bytes], tag: str | None) -> None:
        """Write what the file does not have yet, which is everything unless the server has the version of this tag."""
        have = file.tell() if tag else 0
        requests: Any = importlib.import_module("requests")
        headers = {"Accept-Encoding": "identity"}  # so that bytes are counted as they are stored
        if tag and have:
            headers |= {"Range": f"bytes={have}-", "If-Range": tag}
        with requests.get(url, stream=True, timeout=PATIENCE, headers=headers) as response:
            if response.status_code == 416:  # nothing is left, or the file has become shorter
                self.tag.unlink(missing_ok=True)
                file.truncate(0)
                file.seek(0)
                return self._fetch(url, file, None)
            response.raise_for_status()
            goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
                f"bytes {have}-"
            )
            if not goes_on:
                have = 0
                file.seek(0)
                file.truncate(0)
                self._note(response.headers)
            rest = int(response.headers.get("Content-Length") or 0)
            with _bar(have, have + rest) as advance:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    advance(len(chunk))
        return None

    def _note(self, headers: Any) -> None:
        """Keep the name of this version: a strong ETag, or the time of its last change."""
        tag = headers.get("ETag") or ""
        tag = headers.get("Last-Modified") or "" if not tag or tag.startswith("W/") else tag
        if tag and tag.isascii():
            self.tag.write_text(tag, encoding="ascii")
        else:
            self.tag.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[IO[bytes] | None]:
    """The file, open for this process alone, at its end; None if another process has it."""
    flags = (
        os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    )
    with open(os.open(path, flags, 0o666), "r+b") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            except OSError:  # some network file systems do not know locks
                pass
        yield file


def _copy(file: IO[bytes], output: str) -> None:
    """Windows does not rename an open file."""
    file.seek(0)
    with open(output, "wb") as whole:
        while chunk := file.read(1 << 20):
            whole.write(chunk)


@contextlib.contextmanager
def _bar(have: int, total: int) -> Iterator[Any]:
    """What to call with the number of bytes that came: it moves a bar where tqdm is installed."""
    if not importlib.util.find_spec("tqdm"):
        yield lambda count: None
        return
    tqdm: Any = importlib.import_module("tqdm").tqdm
    with tqdm(total=total or None, initial=have, ncols=79, unit="B", unit_scale=True, leave=True) as bar:
        yield bar.update


def _checksum(path: Path) -> str:
    import hashlib  # which loads OpenSSL

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
