"""A tree in several files: shards of a largest size, and an index of them, as the Hugging Face convention has it.

`model.safetensors.index.json` says in which file each key is. Shards are new files under names of their own. Only when all of
them are on the disk does the new index replace the old one: until then the old index and its shards are whole. Then the old
shards go.
"""

import contextlib
import json
import math
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import FileError
from . import files
from .files import PathLike, name_of, write_whole
from .formats import Format, Reader, format_of
from .members import Kind, naming, unique

INDEX = ".index.json"
ENDINGS = (".safetensors", ".npz")
LONGEST_INDEX = 100_000_000  # bytes, as for the header of a safetensors file
UNITS = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}  # fmt: skip


def bytes_of(size: int | str) -> int:
    """The number of bytes that `5_000_000_000`, "5GB" or "512MiB" says."""
    text = str(size).replace("_", "").replace(" ", "").upper()
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?I?B?)", text)
    count = int(float(found[1]) * UNITS[found[2]]) if found and found[2] in UNITS else 0
    if isinstance(size, bool) or count < 1:
        raise ValueError(
            f'save: shard_size is a number of bytes, such as 5_000_000_000, "5GB" or "512MiB"; got {size!r}.'
        )
    return count


def parts_of(leaves: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    """The leaves in their order, in parts of at most `most` bytes; a leaf that is larger is a part of its own."""
    parts: list[dict[str, Any]] = [{}]
    held = 0
    for key, leaf in leaves.items():
        size = size_of(leaf)
        if held + size > most and parts[-1]:
            parts.append({})
            held = 0
        parts[-1][key] = leaf
        held += size
    return parts


def size_of(leaf: Any) -> int:
    """The bytes of a leaf's numbers."""
    like = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return math.prod(like.shape) * int(like.dtype.itemsize)


def write_shards(path: PathLike, form: Format, parts: list[dict[str, Any]], compress: bool | str) -> None:
    """Write the parts beside each other, and then their index to `path` with the ending .index.json; the old ones are removed.

    Raises what `write_whole` raises; then, as after a kill, the old index and its shards are whole.
    """
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {place.parent} to save {place.name} in.")
    index = Path(os.path.realpath(f"{os.fspath(path)}{INDEX}"))
    old = index if index.exists() else place  # whose permissions the new files have
    made: list[Path] = []
    folder = None
    try:
        folder = _alone_in(place, index)
        tag = f"{files.this_system()}{os.urandom(2).hex()}"
        map_of_keys: dict[str, str] = {}
        for number, part in enumerate(parts, start=1):
            name = f"{place.stem}-{tag}-{number:05}-of-{len(parts):05}{place.suffix}"
            made.append(place.with_name(name))
            write_whole(made[-1], _writer(form, part, compress), like=old)
            map_of_keys |= dict.fromkeys(part, name)
        size = sum(size_of(leaf) for part in parts for leaf in part.values())
        text = json.dumps({"metadata": {"total_size": size}, "weight_map": map_of_keys}, indent=2, ensure_ascii=False)
        before = _named(index)
        write_whole(index, lambda file: file.write(f"{text}\n".encode()), like=old)
        for name in before - set(map_of_keys.values()):
            _remove(place.with_name(name))
        _remove(place)  # an older file that is not in parts: `load` would prefer it
    except BaseException:
        if not _named(index) & {path.name for path in made}:  # an interrupt may come after the new index has its place
            for path in made:
                _remove(path)
        raise
    finally:
        if folder is not None:
            os.close(folder)


def _writer(form: Format, part: dict[str, Any], compress: bool | str) -> Any:
    return lambda file: form.write(file, part, compress)


def remove_shards(path: PathLike) -> None:
    """Remove an index that has been replaced by a whole file, and the shards that it names."""
    place, index = Path(os.path.realpath(path)), Path(os.path.realpath(f"{os.fspath(path)}{INDEX}"))
    names = _named(index)
    _remove(index)
    for name in names:
        _remove(place.with_name(name))


def _remove(path: PathLike) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _pattern(stem: str, suffix: str) -> re.Pattern[str]:
    """The names of the shards of a file; those that were saved here have the number of a system and of a save."""
    return re.compile(
        rf"{re.escape(stem)}(?:-([0-9a-f]{{8}})[0-9a-f]{{4}})?-\d{{5}}-of-\d{{5}}{re.escape(suffix)}", re.DOTALL
    )


def _named(index: Path) -> set[str]:
    """The names of shards in an index that would be replaced, as far as they are those of its shards."""
    base = Path(index.name.removesuffix(INDEX))
    pattern = _pattern(base.stem, base.suffix)
    try:
        return {name for name in read_index(index).values() if pattern.fullmatch(name)}
    except (OSError, FileError):
        return set()


def _alone_in(place: Path, index: Path) -> int | None:
    """Remove shards that killed processes left, and say to others that this process saves shards: an open folder with a lock."""
    folder, alone = None, False
    if files.fcntl:
        folder = os.open(place.parent, os.O_RDONLY | files.BINARY)
    try:
        if folder is not None:
            with contextlib.suppress(BlockingIOError):  # somebody else saves
                alone = files.lock(folder, wait=False)
        _sweep(place, index, alone)
        if folder is not None:
            files.lock(folder, wait=True, shared=True)
    except BaseException:
        if folder is not None:
            os.close(folder)
        raise
    return folder


def _sweep(place: Path, index: Path, alone: bool) -> None:
    """Remove shards that no index names: at once if no process of this system saves shards, else after a day."""
    pattern, named = _pattern(place.stem, place.suffix), _named(index)
    with contextlib.suppress(OSError), os.scandir(place.parent) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if not found or not found[1] or entry.name in named:
                continue
            with contextlib.suppress(OSError):
                is_dead = alone and found[1] == files.this_system()
                if is_dead or time.time() - entry.stat(follow_symlinks=False).st_mtime > files.DAY:
                    os.unlink(entry.path)


# Reading


def located(path: PathLike) -> str:
    """The file or index that `path` stands for: itself, the index of its shards, or the one file or index in a folder."""
    name = name_of(path)
    if not os.path.isdir(name):
        return f"{name}{INDEX}" if not os.path.exists(name) and os.path.exists(f"{name}{INDEX}") else name
    entries = sorted(os.listdir(name))
    shard = re.compile(r".*-\d{5}-of-\d{5}\.\w+", re.DOTALL)
    whole = [entry for entry in entries if entry.endswith(ENDINGS) and not shard.fullmatch(entry) and entry[0] != "."]
    parted = [entry for entry in entries if entry.removesuffix(INDEX).endswith(ENDINGS) and entry.endswith(INDEX)]
    found = whole + [entry for entry in parted if entry.removesuffix(INDEX) not in whole]
    if len(found) != 1:
        said = (
            f"holds {', '.join(found[:5])}: name one of them"
            if found
            else "holds no .npz or .safetensors file, and no index of such"
        )
        raise FileError(f"the folder {name} {said}.")
    return os.path.join(name, found[0])


def read_index(path: PathLike) -> dict[str, str]:
    """The name of the shard of each key. Shards lie beside the index: a name that leads elsewhere is refused."""
    with open(path, "rb") as file, naming(f"{os.fspath(path)} is no index of shards, or is damaged"):
        if (size := os.fstat(file.fileno()).st_size) > LONGEST_INDEX:
            raise ValueError(f"it has {size} bytes: {LONGEST_INDEX} are allowed")
        found = json.loads(file.read(size), object_pairs_hook=unique)["weight_map"]
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
            raise ValueError("its weight_map does not map keys to names of files")
        for name in set(found.values()):
            name.encode()  # an error for half a surrogate pair
            if any(sign in name for sign in "/\\:\0") or not name.endswith(ENDINGS):
                raise ValueError(f"{name[:80]!r} is not the name of an .npz or .safetensors file beside it")
    return found


class ShardedReader:
    """The shards that an index names, all of them open; its entries are the index's keys."""

    suffix = ""

    def __init__(self, path: PathLike, index: Mapping[str, str], readers: Mapping[str, Reader]) -> None:
        self.entries: list[tuple[str, Any]] = []
        found: dict[str, Any] = {}
        for name, reader in readers.items():
            for full, entry in reader.entries:
                key = full.removesuffix(reader.suffix)
                if index.get(key) != name or key in found:
                    raise FileError(f"{os.fspath(path)}: {name} holds {key!r}, which the index does not place there.")
                found[key] = reader, entry
        for key, name in index.items():
            if key not in found:
                raise FileError(f"{os.fspath(path)}: {name} lacks {key!r}, which the index places there.")
            self.entries.append((key, found[key]))

    def kind(self, entry: tuple[Reader, Any]) -> Kind:
        return entry[0].kind(entry[1])

    def array(self, entry: tuple[Reader, Any]) -> np.ndarray:
        return entry[0].array(entry[1])

    def mapped(self, entry: tuple[Reader, Any]) -> np.ndarray:
        return entry[0].mapped(entry[1])

    def pieces(self, entry: tuple[Reader, Any], count: int) -> Iterator[np.ndarray]:
        return entry[0].pieces(entry[1], count)

    def stored(self, entry: tuple[Reader, Any]) -> tuple[int, str]:
        return entry[0].stored(entry[1])


@contextlib.contextmanager
def open_reader(path: PathLike) -> Iterator[Reader]:
    """A reader of what `path` stands for: a file, an index of shards, or a folder that holds one of these."""
    path = located(path)
    with contextlib.ExitStack() as stack:
        if not path.endswith(INDEX):
            yield format_of(path).open_reader(path, stack.enter_context(open(path, "rb")))
            return
        index, opened = _all_open(Path(path), stack)
        readers = {name: format_of(name).open_reader(file.name, file) for name, file in opened.items()}
        yield ShardedReader(path, index, readers)


def _all_open(path: Path, stack: contextlib.ExitStack) -> tuple[dict[str, str], dict[str, IO[bytes]]]:
    """An index, and the files that it names, which another process may replace meanwhile: then those of the new index."""
    index = read_index(path)
    while True:
        try:
            opened: dict[str, IO[bytes]] = {}
            for name in dict.fromkeys(index.values()):
                place = path.with_name(name)
                if not stat.S_ISREG(place.stat().st_mode):
                    raise FileError(f"{path}: {name} is a folder or a device, not a file.")
                opened[name] = stack.enter_context(place.open("rb"))
            return index, opened
        except FileNotFoundError as error:
            newer = read_index(path)
            if newer == index:
                raise FileError(f"{path} names {name}, which is not beside it.") from error
            index = newer
