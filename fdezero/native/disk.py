"""Libraries on disk, so that a later start compiles nothing: in a folder that nobody else can write to, checked before they are loaded.

A library is a file `KEY-CHECKSUM.so`. The key stands for the source and for all that the compiler's work depends on; the checksum is
that of the file. A note is an empty file `KEY-WORD.note`. Files are written whole, under another name first.
"""

import contextlib
import os
import re
import stat
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from ..errors import CacheWarning, RangeError

VARIABLE = "FDEZERO_NATIVE_CACHE"
MEGABYTES = 256
NOTE, LIBRARY, UNFINISHED = ".note", ".so", ".unfinished"
HOUR = 60 * 60
_said: set[str] = set()


def find(key: str) -> Path | None:
    """The library kept under a key; None if there is none, or if it is damaged or not from this user."""
    found = _entry(key, LIBRARY)
    if found is None:
        return None
    place, sum_of_name = found
    with contextlib.suppress(OSError):
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(place, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if _is_safe(about) and stat.S_ISREG(about.st_mode) and checksum(file.read()) == sum_of_name:
                _touch(place, about)
                return place
    remove(place)
    return None


def keep(key: str, library: Path) -> Path | None:
    """Keep a library under a key. Returns its place; None if nothing can be kept."""
    with contextlib.suppress(OSError):
        data = library.read_bytes()
        return _written(f"{_named(key)}-{checksum(data)}{LIBRARY}", data)
    return None


def note_of(key: str) -> str | None:
    """The word that was noted under a key."""
    found = _entry(key, NOTE)
    if found is None:
        return None
    with contextlib.suppress(OSError):
        _touch(found[0], found[0].stat())
    return found[1]


def keep_note(key: str, word: str) -> None:
    with contextlib.suppress(OSError):
        _written(f"{_named(key)}-{word}{NOTE}", b"")


def checksum(data: bytes) -> str:
    """The SHA-256 of `data`, in hexadecimal."""
    from ..io.cache import checksum  # imported here, because few programs need files

    return checksum(data)


def _named(key: str) -> str:
    return checksum(key.encode(errors="backslashreplace"))


def _entry(key: str, ending: str) -> tuple[Path, str] | None:
    """The file under a key, and what its name says after the key."""
    place = folder()
    if place is not None:
        start = f"{_named(key)}-"
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                if name.startswith(start) and name.endswith(ending):
                    return place / name, name.removeprefix(start).removesuffix(ending)
    return None


def _written(name: str, data: bytes) -> Path | None:
    """A new file with this name. Raises OSError if it cannot be written, on a full disk for example."""
    place = folder()
    if place is None:
        return None
    temporary = place / f"{os.urandom(8).hex()}{UNFINISHED}"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(data)
        os.replace(temporary, place / name)
    except BaseException:
        remove(temporary)
        raise
    _make_room(place)
    return place / name


def _make_room(place: Path) -> None:
    """Remove the least recently used libraries until the others fit, and the unfinished files of writers that were killed."""
    now, files = time.time(), []
    with os.scandir(place) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                about = entry.stat(follow_symlinks=False)
                if entry.name.endswith(UNFINISHED) and now - about.st_mtime > HOUR:
                    remove(Path(entry.path))
                elif entry.name.endswith((LIBRARY, NOTE)):
                    files.append((about.st_mtime, max(about.st_size, 1 << 12), entry.path))
    files.sort(reverse=True)
    left = limit()
    for _, size, path in files:
        left -= size
        if left < 0:
            remove(Path(path))


def _touch(place: Path, about: os.stat_result) -> None:
    """Say that a file was used, at most once in an hour."""
    if time.time() - about.st_mtime > HOUR:
        with contextlib.suppress(OSError):
            os.utime(place)


def remove(place: Path) -> None:
    with contextlib.suppress(OSError):
        place.unlink()


# The folder


def limit() -> int:
    """The most bytes that are kept, from the environment variable; 0 keeps nothing."""
    text = os.environ.get(VARIABLE, "").strip() or str(MEGABYTES)
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise RangeError(
            f"the environment variable {VARIABLE} is a number of megabytes, and 0 keeps nothing; it is {text!r}."
        )
    return int(text) << 20


def folder() -> Path | None:
    """The folder for libraries, which is made if it is missing; None if others could write into it."""
    from ..io.cache import cache_folder  # imported here, because few programs need files

    if limit() == 0:
        return None
    place = Path(os.path.abspath(cache_folder() / "native"))
    with contextlib.suppress(OSError):
        if not os.path.lexists(place):
            place.parent.parent.mkdir(parents=True, exist_ok=True)
            for made, mode in ((place.parent, 0o755), (place, 0o700)):
                with contextlib.suppress(FileExistsError):
                    made.mkdir(mode)
        reason = _why_not(place)
        if not reason:
            return place
        _say_once(str(place), reason)
    return None  # no folder can be made here: nothing is kept, and nothing is in danger


def _say_once(place: str, reason: str) -> None:
    if place not in _said:
        _said.add(place)
        depth, frame = 2, sys._getframe(1)
        while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("fdezero."):
            depth, frame = depth + 1, frame.f_back
        warnings.warn(
            f"the folder {place} is not used for native libraries, because {reason}. Every start compiles them anew. Take the "
            f"rights of others away, choose another folder ($FDEZERO_CACHE), or set {VARIABLE}=0.",
            CacheWarning,
            stacklevel=depth,
        )


def _why_not(place: Path) -> str:
    """Why somebody else could write into a folder; empty if nobody can. Raises OSError if that is unknown."""
    if not hasattr(os, "geteuid"):
        # Windows: a user's own folders belong to the user alone, unless somebody changed that on purpose.
        own = [os.path.abspath(os.path.expanduser("~")), *filter(None, [os.environ.get("LOCALAPPDATA")])]
        return "" if any(_lies_in(place, one) for one in own) else "it does not lie among your own files"
    about = os.lstat(place)
    if not stat.S_ISDIR(about.st_mode):
        return "it is a symbolic link" if stat.S_ISLNK(about.st_mode) else "it is not a folder"
    if about.st_uid != os.geteuid():
        return "it belongs to another user"
    for step in _way_to(place):
        about = os.lstat(step)
        if about.st_uid not in (0, os.geteuid()):
            return f"{step} belongs to another user"
        is_link = stat.S_ISLNK(about.st_mode)
        is_shared = about.st_mode & 0o022 and not (about.st_mode & stat.S_ISVTX and step != str(place))
        if is_shared and not is_link:
            return f"other users may write into {step}"
    return ""


def _way_to(place: Path) -> Iterator[str]:
    """Every folder and symbolic link that the system passes on the way to a place, which is the last of them."""
    current, left, links = os.sep, [*place.parts[1:]], 0
    yield current
    while left:
        name = left.pop(0)
        current = os.path.normpath(os.path.join(current, name)) if name != ".." else os.path.dirname(current)
        yield current
        if os.path.islink(current):
            links += 1
            if links > 40:
                raise OSError(f"{place}: too many links")
            target = Path(os.readlink(current))
            left[:0] = target.parts[1:] if target.is_absolute() else target.parts
            current = os.sep if target.is_absolute() else os.path.dirname(current)


def _is_safe(about: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or (about.st_uid == os.geteuid() and not about.st_mode & 0o022)


def _lies_in(place: Path, folder: str) -> bool:
    with contextlib.suppress(ValueError):  # another drive
        return os.path.commonpath([place, os.path.abspath(folder)]) == os.path.abspath(folder)
    return False
