"""`save` and `load`: a pytree as one npz file, checked when it is read, written whole or not at all."""

import contextlib
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.lib import format as npy

from ..core import Tracer
from ..devices import device_of, to_device, to_numpy
from ..errors import FileError
from ..messages import describe
from ..tree import flatten, flatten_to_dict, unflatten
from .files import PathLike, replacing

Rename: TypeAlias = Mapping[str, str] | Callable[[str], str] | None
Kind: TypeAlias = tuple[tuple[int, ...], np.dtype]
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the timestamp of all members: the same tree gives the same bytes
NUMBERS = {
    bool: "b",
    int: "iu",
    float: "f",
    complex: "c",
}  # kinds of dtype that each type of Python number is read from


def save(path: PathLike, tree: Any, *, compress: bool = True) -> None:
    """Write `tree` to `path` as npz: `{"layers/0/W": array}`, readable by numpy.load and by DeZero.

    The file is written beside its place and renamed when complete: an interrupt or a full disk leaves an older file intact.
    No ending is appended to `path`. Arrays on a GPU are copied to the CPU one by one. Without `compress` you save and load
    faster, and files are 8 % larger.

    Raises FileError, before anything is written, for a leaf that is not a number or an array of numbers, and for a key
    that an archive cannot hold. Raises OSError, such as FileNotFoundError for a missing folder, if `path` cannot be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"save: the path comes first, then the tree: fd.save('model.npz', tree); got {describe(path)} for the path."
        )
    leaves = flatten_to_dict(tree)
    for key, leaf in leaves.items():
        _check(key, leaf)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for key, leaf in leaves.items():
            array, info = np.asarray(to_numpy(leaf)), zipfile.ZipInfo(f"{key}.npy", EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            with archive.open(info, "w", force_zip64=array.nbytes > 1 << 30) as member:
                if compress:
                    member._compressor = _compressor()  # type: ignore[attr-defined]  # zipfile has no public way
                npy.write_array(member, array, allow_pickle=False)


def _compressor() -> Any:
    """Deflate that codes byte frequencies and runs. It does not look for repeats: weights have none.

    100 MB of float32 weights on one core (seconds to compress, % left; inflating takes 0.7 s in every case):
    level 1: 3.3, 93.0; 3: 3.5, 93.0; 4: 3.7, 92.8; 6 (NumPy's): 3.7, 92.8; 9: 3.7 to 5.1, 92.8; Z_FILTERED: 3.8, 93.0;
    Z_HUFFMAN_ONLY: 1.1, 92.7; Z_RLE: 1.1, 92.7, with the larger memory (9) 1.0, 92.6. Z_RLE also keeps zeros small.
    """
    return zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)


def _check(key: str, leaf: Any) -> None:
    """Raise FileError for a leaf that would come back changed from a file."""
    if isinstance(leaf, Tracer):
        raise FileError(f"{key} is a traced value {describe(leaf)}: return it from the function and save it outside.")
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    if isinstance(leaf, str | bytes) or hasattr(leaf, "mask") or not _keeps(dtype):
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
    is damaged, or holds pickled objects. Raises OSError if there is no such file.
    """
    wanted = None if like is None else flatten_to_dict(like)
    with open(path, "rb") as file:
        with _naming(f"{os.fspath(path)} is no npz file, or is damaged"):
            archive = zipfile.ZipFile(file)
            file.seek(-12 - len(archive.comment), os.SEEK_END)  # the number of members, which zipfile does not check
            if int.from_bytes(file.read(2), "little") != min(len(archive.filelist), 0xFFFF):
                raise ValueError("the list of its members is cut short")
        members = _members(path, archive, rename)
        if wanted is not None and not strict:
            members = {key: info for key, info in members.items() if key in wanted}
        kinds = {key: _kind(path, archive, info) for key, info in members.items()}
        if wanted is not None:
            _compare(path, kinds, wanted, strict)
        arrays = {key: _read(path, archive, info) for key, info in members.items()}
    if wanted is None:
        return arrays
    leaves = [_like(arrays.pop(key), leaf) if key in arrays else leaf for key, leaf in wanted.items()]
    return unflatten(flatten(like)[1], leaves)


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Turn the errors of zipfile, its decompressors and NumPy on a damaged file into a FileError."""
    try:
        yield
    except (FileError, MemoryError):
        raise
    except Exception as error:
        raise FileError(f"{what}: {error}") from error


def _members(path: PathLike, archive: zipfile.ZipFile, rename: Rename) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by their keys in the tree."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        key = _rename(info.filename.removesuffix(".npy"), rename)
        if key in members:
            first, second = members[key].filename, info.filename
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


def _kind(path: PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Kind:
    """Shape and dtype, from the header alone."""
    with _naming(f"{os.fspath(path)}: {info.filename!r} is no npy array, or is damaged"), archive.open(info) as member:
        version = npy.read_magic(member)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(member)
        if dtype.hasobject:
            raise FileError(
                f"{os.fspath(path)}: {info.filename!r} holds pickled objects, which are never loaded "
                "(DeZero pickles None for a layer that has not been called): save it again with arrays alone."
            )
        if member.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
            raise ValueError("its length is not that of its shape and dtype")
    return shape, dtype


def _read(path: PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with _naming(f"{os.fspath(path)}: {info.filename!r} is damaged"), archive.open(info) as member:
        array: np.ndarray = npy.read_array(member, allow_pickle=False)
        member.read()  # at the end zipfile compares checksums
    return array


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
