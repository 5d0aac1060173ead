"""`save` and `load`: a pytree as one npz file, checked when it is read, written whole or not at all."""

import os
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeAlias, cast

import numpy as np
from numpy.lib import format as npy

from ..core import Tracer
from ..devices import device_of, to_device, to_numpy
from ..errors import FileError
from ..foreign import is_foreign
from ..messages import describe
from ..tree import flatten, flatten_to_dict, unflatten
from .archive import Archive
from .files import PathLike, write_whole
from .members import Kind, open_archive, read_array, read_kind

Rename: TypeAlias = Mapping[str, str] | Callable[[str], str] | None
NUMBERS = {
    bool: "b",
    int: "iu",
    float: "f",
    complex: "c",
}  # kinds of dtype that each type of Python number is read from


def save(path: PathLike, tree: Any, *, compress: bool = True) -> None:
    """Write `tree` to `path` as npz: `{"layers/0/W": array}`, readable by numpy.load and by DeZero.

    The file is written beside its place and renamed when complete: an interrupt or a full disk leaves an older file intact.
    It keeps the permissions of the older file. No ending is appended to `path`. Arrays on a GPU are copied to the CPU one
    by one. Without `compress` you save and load faster, and files are 8 % larger.

    Raises FileError, before anything is written, for a leaf that is not a number or an array of numbers, and for a key
    that an archive cannot hold. Raises OSError, such as FileNotFoundError for a missing folder and PermissionError for
    a read-only file, if `path` cannot be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"save: the path comes first, then the tree: fd.save('model.npz', tree); got {describe(path)} for the path."
        )
    leaves = flatten_to_dict(tree)
    for key, leaf in leaves.items():
        _check(key, leaf)

    def write(file: IO[bytes]) -> None:
        archive = Archive(file)
        for key, leaf in leaves.items():
            array = np.asarray(to_numpy(leaf))
            member = archive.member(f"{key}.npy", compress=compress, size=array.nbytes)
            npy.write_array(cast(IO[bytes], member), array, allow_pickle=False)  # it calls `write` alone
            member.close()
        archive.finish()

    write_whole(path, write)


def _check(key: str, leaf: Any) -> None:
    """Raise FileError for a leaf that would come back changed from a file."""
    if isinstance(leaf, Tracer):
        raise FileError(f"{key} is a traced value {describe(leaf)}: return it from the function and save it outside.")
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    if isinstance(leaf, str | bytes | np.ma.MaskedArray) or is_foreign(leaf) or not _keeps(dtype):
        raise FileError(
            f"{key} is {describe(leaf)}, which npz cannot keep: "
            "convert it to an array of numbers (bfloat16: to float32), or declare the field static."
        )
    encoded = f"{key}.npy".encode(errors="replace")  # "?" for half a surrogate pair
    # zipfile cuts names at a NUL, and on Windows turns backslashes round
    if zipfile.ZipInfo(f"{key}.npy").filename != encoded.decode() or len(encoded) > 0xFFFF:
        raise FileError(f"the key {key[:80]!r} cannot be a name in an npz file: rename it.")


def _keeps(dtype: Any) -> bool:
    try:
        return dtype.kind in "biufcmMSU" and np.dtype(dtype.str) == dtype
    except (AttributeError, TypeError):  # another library's dtype, such as float8
        return False


def load(path: PathLike, *, like: Any = None, strict: bool = True, rename: Rename = None) -> Any:
    """Read the tree in an npz file, with the structure, devices and Python numbers of `like`; without it, a flat dict.

    Every key, shape and dtype is checked before an array is read. With `strict=False` leaves that the file lacks are
    taken from `like`, and keys that `like` lacks are ignored; shapes and dtypes must still agree. `rename` maps keys of
    the file to keys of the tree. It is a function, or a dict of prefixes, `{"l0": "layers/0"}`; the longest prefix counts.

    Raises a FileError that lists all missing, unexpected and different keys, or says that the file is not an npz file,
    is damaged, is encrypted or compressed by another method than deflate, or holds pickled objects. Memory is set aside
    only for what the file holds. Raises OSError if there is no such file.
    """
    wanted = None if like is None else flatten_to_dict(like)
    with open(path, "rb") as file:
        archive = open_archive(path, file)
        members = _members(path, archive, rename)
        if wanted is not None and not strict:
            members = {key: info for key, info in members.items() if key in wanted}
        kinds = {key: read_kind(path, archive, info) for key, info in members.items()}
        if wanted is not None:
            _compare(path, kinds, wanted, strict)
        arrays = {key: read_array(path, archive, info) for key, info in members.items()}
    if wanted is None:
        return arrays
    leaves = [_like(arrays.pop(key), leaf) if key in arrays else leaf for key, leaf in wanted.items()]
    return unflatten(flatten(like)[1], leaves)


def _members(path: PathLike, archive: zipfile.ZipFile, rename: Rename) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by their keys in the tree."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        key = _rename(info.filename.removesuffix(".npy"), rename)
        if key in members:
            first, second = members[key].filename, info.filename
            if first == second:
                raise FileError(f"{os.fspath(path)} is damaged: it holds {first!r} twice.")
            raise FileError(f"{os.fspath(path)}: {first!r} and {second!r} both become the key {key!r}: change rename=.")
        members[key] = info
    return members


def _rename(key: str, rename: Rename) -> str:
    if rename is None:
        return key
    if not isinstance(rename, Mapping):
        return rename(key)
    for old, new in sorted(rename.items(), key=lambda pair: -len(pair[0])):
        if key == old:
            return new
        if not old or key.startswith(f"{old}/"):
            rest = key.removeprefix(f"{old}/") if old else key
            return f"{new}/{rest}" if new else rest
    return key


def _compare(path: PathLike, found: dict[str, Kind], wanted: dict[str, Any], strict: bool) -> None:
    different = [key for key, kind in found.items() if key in wanted and not _fits(kind, wanted[key])]
    missing = [key for key in wanted if key not in found] if strict else []
    unexpected = [key for key in found if key not in wanted]
    lines = [f"  missing:    {key} ({describe(wanted[key])})" for key in missing]
    lines += [f"  unexpected: {key} ({_show(found[key])})" for key in unexpected]
    lines += [
        f"  different:  {key} is {describe(wanted[key])} in the tree, {_show(found[key])} in the file"
        for key in different
    ]
    if missing or unexpected:
        lines.append("strict=False loads the keys that both have; rename={'old': 'new'} maps prefixes of keys.")
    castable = [leaf for key in different if found[key][0] == getattr(leaf := wanted[key], "shape", None)]
    if castable:
        cast = f"fd.tree.map(lambda a: a.astype('{castable[0].dtype}'), fd.load({os.fspath(path)!r}))"
        lines.append(f"No dtype is changed silently. Cast the file first: fd.save('cast.npz', {cast}).")
    if lines:
        hint = f"fd.load({os.fspath(path)!r}) shows what the file has."
        raise FileError("\n".join([f"{os.fspath(path)} does not fit the tree:", *lines, hint]))


def _fits(kind: Kind, leaf: Any) -> bool:
    """Whether the value in the file fits the leaf. A Python number takes any number of its kind that is no wider."""
    shape, dtype = kind
    if number := _number(leaf):
        return not shape and dtype.kind in NUMBERS[number] and dtype.itemsize <= np.dtype(number).itemsize
    return kind == (getattr(leaf, "shape", None), getattr(leaf, "dtype", None))


def _number(leaf: Any) -> type | None:
    """The Python type of a number; None for anything else, NumPy scalars included."""
    plain = not isinstance(leaf, np.generic)
    return next((number for number in NUMBERS if plain and isinstance(leaf, number)), None)


def _show(kind: Kind) -> str:
    return f"{kind[1]}[{','.join(map(str, kind[0]))}]"


def _like(array: np.ndarray, leaf: Any) -> Any:
    if _number(leaf):
        return type(leaf)(array[()])
    return array[()] if isinstance(leaf, np.generic) else to_device(array, device_of(leaf))
