"""Files that are written whole or not at all."""

import contextlib
import functools
import os
import platform
import re
import stat
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeAlias

from ..errors import FileError

try:
    import fcntl
except ImportError:  # Windows, which does not remove a file that a process has open
    fcntl = None  # type: ignore[assignment]  # None says that there are no locks

PathLike: TypeAlias = str | os.PathLike[str]

ENDING = ".fdezero.tmp"
TEMPORARY = re.compile(rf"\..*\.([0-9a-f]{{8}})-[0-9a-f]{{8}}{re.escape(ENDING)}", re.DOTALL)
DAY = 24 * 60 * 60
BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


def name_of(path: PathLike) -> str:
    """A path as text, as it was given."""
    return os.fspath(path)


def write_whole(path: PathLike, write: Callable[[IO[bytes]], object], *, like: PathLike | None = None) -> None:
    """Call `write` with a new file, which takes the place of `path` if `write` returns, and is removed if `write` raises.

    A symbolic link stays: the file that it points to is replaced. If several processes write at once, the last one wins.
    The new file has the permissions of the old one from its first byte on, and never more. Its owner, group, extended
    attributes and access lists are also those of the old file, where the system lets this process set them. If there is no old
    file, they are those of the file `like`, if there is such a file.

    Raises FileNotFoundError for a missing folder, FileError if `path` is not a regular file, PermissionError if `path` must
    not be written. An interrupt comes out as it is.
    """
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {place.parent} to save {place.name} in.")
    old, model, system = _old(place), place, this_system()
    if old is None and like is not None:
        model = Path(os.path.realpath(like))
        old = _old(model)
    _sweep(place.parent, system)
    temporary = place.with_name(f".{place.name[:50]}.{system}-{os.urandom(4).hex()}{ENDING}")
    file = None
    # One function with one `try`: an interrupt between the `__enter__` of a context manager and its block would leave the file.
    try:
        file = open(_create(temporary, model, old), "wb")  # noqa: SIM115, as the comment above says
        write(file)
        file.flush()
        os.fsync(file.fileno())
        if not fcntl:
            file.raw.close()  # Windows does not rename an open file
        os.replace(temporary, place)  # while the file is locked, so that no other process can sweep it
        file.raw.close()
    except BaseException:
        with contextlib.suppress(OSError):  # what the buffer still holds may not fit on the disk
            if file:
                file.close()
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(place.parent)


def _old(place: Path) -> os.stat_result | None:
    """What the system knows of the file that will be replaced; None if there is no such file."""
    try:
        old = os.stat(place)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(old.st_mode):
        raise FileError(f"{place} is a folder or a device, not a file to write over.")
    os.close(os.open(place, os.O_WRONLY | BINARY))  # the system says whether this process may write the file
    return old


def _create(temporary: Path, place: Path, old: os.stat_result | None) -> int:
    """A new locked file with the permissions that `place` has, and nobody more: its descriptor."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | BINARY  # read also, for a checksum of what was written
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o777
    ours = old is None or not hasattr(os, "getegid") or old.st_gid == os.getegid()
    while True:
        descriptor = os.open(temporary, flags, mode if ours else mode & ~stat.S_IRWXG)
        try:
            lock(descriptor, wait=True)
            # A process that sweeps the folder may have met the file before it was locked.
            if not fcntl or os.fstat(descriptor).st_nlink:
                if old is not None and hasattr(os, "fchmod"):
                    _resemble(descriptor, place, old)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _resemble(descriptor: int, place: Path, old: os.stat_result) -> None:
    """Give an empty file the owner, group, attributes and permissions of an old file, as far as this process may."""
    mode = stat.S_IMODE(old.st_mode) & 0o777
    new = os.fstat(descriptor)
    for owner, group in ((old.st_uid, -1), (-1, old.st_gid)):
        if owner not in (-1, new.st_uid) or group not in (-1, new.st_gid):
            with contextlib.suppress(OSError):
                os.fchown(descriptor, owner, group)
    others = (mode & stat.S_IRWXO) << 3
    if os.fstat(descriptor).st_gid != old.st_gid:
        mode &= ~stat.S_IRWXG | others  # the group is another one: its members are among the others of the old file
    for name in _attributes(place):
        try:
            os.setxattr(descriptor, name, os.getxattr(place, name))
        except OSError:
            if name == "system.posix_acl_access":  # then the bits of the group are those of the list, not of the group
                mode &= ~stat.S_IRWXG | others
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def _attributes(place: Path) -> list[str]:
    with contextlib.suppress(AttributeError, OSError):  # Linux alone has them, and not on every file system
        return os.listxattr(place)
    return []


def lock(descriptor: int, *, wait: bool, shared: bool = False) -> bool:
    """Lock an open file for this process: the system lets go when the process ends. False if it does not know locks."""
    if not fcntl:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # some network file systems
        return False
    return True


def _sweep(folder: Path, system: str) -> None:
    """Remove the temporary files of processes that were killed. A file that somebody writes is locked, and stays.

    A lock proves something only on one system: files that another one wrote, or this one before it was started anew, stay
    for a day. So do all files where locks are unknown.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(ENDING) and (found := TEMPORARY.fullmatch(entry.name)):
                with contextlib.suppress(OSError):
                    _remove_if_dead(entry.path, found[1] == system)


def _remove_if_dead(path: str, here: bool) -> None:
    descriptor = os.open(path, os.O_RDONLY | BINARY | getattr(os, "O_NONBLOCK", 0))
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (hasattr(os, "geteuid") and os.geteuid() not in (0, found.st_uid)):
            return
        knows_locks = lock(descriptor, wait=False)
        if not (knows_locks and here) and time.time() - found.st_mtime < DAY:
            return
        if fcntl:
            os.unlink(path)  # while it is locked: its writer looks again
    finally:
        os.close(descriptor)
    if not fcntl:
        os.unlink(path)


@functools.cache
def this_system() -> str:
    """Eight digits for the running system: its name, or on Linux the number of its start."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        name = platform.node()
    return f"{zlib.crc32(name.encode(errors='replace')):08x}"


def _sync_folder(folder: Path) -> None:
    """Write the folder's list of names to the disk, so that the new file is there after a power failure."""
    with contextlib.suppress(OSError):  # Windows and some network file systems cannot
        descriptor = os.open(folder, os.O_RDONLY | BINARY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
