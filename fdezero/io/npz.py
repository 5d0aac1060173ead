"""`save` and `load`: a pytree as one npz file, member by member, checked, and whole or not at all."""

import contextlib
import io
import lzma
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.lib import format as npy

from ..devices import device_of, to_device, to_numpy
from ..errors import FileError, describe
from ..tree import flatten, flatten_to_dict, unflatten

PathLike: TypeAlias = str | os.PathLike[str]
Rename: TypeAlias = Mapping[str, str] | Callable[[str], str] | None
EARLIEST = (1980, 1, 1, 0, 0, 0)  # one timestamp for all: the same tree gives the same bytes


def save(path: PathLike, tree: Any, *, compress: bool = True) -> None:
    """Write `tree` to `path` as npz: `{"layers/0/W": array}`, readable by numpy.load and by DeZero.

    The file is written beside its place and renamed when complete, so that an interrupt or a full disk leaves an
    older file whole. No ending is appended. Arrays on a GPU are written from copies on the CPU.
    `compress` deflates runs and byte frequencies alone, which on 100 MB of float32 weights takes 1.0 s and leaves
    92.8 % (NumPy's savez_compressed: 3.5 s for 92.9 %); uncompressed it takes 0.1 s.

    Raises FileError, before anything is written, for a leaf that is no number or array, or a key no archive can hold.
    """
    members = [(_member(key, compress), _storable(key, leaf)) for key, leaf in flatten_to_dict(tree).items()]
    with _replacing(Path(os.path.realpath(path))) as file, zipfile.ZipFile(file, "w") as archive:
        for info, array in members:
            with archive.open(info, "w", force_zip64=array.nbytes > 1 << 30) as member:
                if compress:  # zipfile has no public way to the strategy of zlib
                    member._compressor = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)  # type: ignore[attr-defined]
                npy.write_array(member, array, allow_pickle=False)


def _member(key: str, compress: bool) -> zipfile.ZipInfo:
    name = key + ".npy"
    info = zipfile.ZipInfo(name, EARLIEST)  # cuts names at a NUL, and on Windows turns backslashes round
    encoded = name.encode(errors="replace")  # "?" for half a surrogate pair
    if info.filename != name or encoded.decode() != name or len(encoded) > 0xFFFF:
        raise FileError(f"the key {key[:80]!r} cannot be a name in an npz file: rename it.")
    info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    return info


def _storable(key: str, leaf: Any) -> np.ndarray:
    if hasattr(leaf, "level"):
        raise FileError(f"{key} is a traced value {describe(leaf)}: return it from the function and save it outside.")
    array = np.asarray(to_numpy(leaf))
    # A dtype that NumPy only borrows, such as bfloat16, comes back from a file as something else.
    known = array.dtype.kind in "mM" or np.dtype(array.dtype.str) == array.dtype
    if isinstance(leaf, str | bytes) or array.dtype.kind not in "biufcmMSU" or not known:
        raise FileError(
            f"{key} is {describe(leaf)}, which npz cannot keep: convert it to an array of numbers, or declare the field static."
        )
    return array


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when the block succeeds, and is removed when it does not."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: PathLike, *, like: Any = None, strict: bool = True, rename: Rename = None) -> Any:
    """The tree in an npz file, with the structure, devices and Python numbers of `like`; without `like`, a flat dict.

    Every key, shape and dtype is checked before an array is returned. With `strict=False` leaves that the file lacks are
    those of `like`, and what `like` lacks is passed over; shapes and dtypes must agree all the same. `rename` maps keys
    of the file to keys of the tree: a dict of prefixes, `{"l0": "layers/0"}`, or a function.

    Raises FileError that lists all missing, unexpected and different keys; or names a file that is no npz or is damaged.
    """
    with open(path, "rb") as file:
        with _naming(f"{os.fspath(path)} is no npz file, or is damaged"):
            archive = zipfile.ZipFile(file)
        members = _renamed(path, archive.namelist(), rename)
        if like is None:
            return {key: _read(archive, member) for key, member in members.items()}
        wanted = flatten_to_dict(like)
        _compare(path, {key: _header(archive, member) for key, member in members.items()}, wanted, strict)
        leaves = [_like(_read(archive, members[key]), leaf) if key in members else leaf for key, leaf in wanted.items()]
    return unflatten(flatten(like)[1], leaves)


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Turn what zipfile, its decompressors and NumPy say of a damaged file into a FileError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise FileError(f"{what}: {error}") from error


def _renamed(path: PathLike, names: list[str], rename: Rename) -> dict[str, str]:
    """The key in the tree of every member."""
    members: dict[str, str] = {}
    for name in names:
        key = _rename(name.removesuffix(".npy"), rename)
        if key in members:
            raise FileError(f"{os.fspath(path)}: {members[key]!r} and {name!r} both become {key!r}; mend rename=.")
        members[key] = name
    return members


def _rename(key: str, rename: Rename) -> str:
    if rename is None:
        return key
    if callable(rename):
        return rename(key)
    for old, new in rename.items():
        if key == old or key.startswith(old + "/"):
            return new + key[len(old) :]
    return key


def _header(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype]:
    with _naming(f"{archive.filename}: {member!r} is no npy array, or is damaged"), archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _read(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    with _naming(f"{archive.filename}: {member!r} cannot be read"):
        array: np.ndarray = npy.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
    return array


def _compare(path: PathLike, found: dict[str, Any], wanted: dict[str, Any], strict: bool) -> None:
    lines = []
    for key, leaf in wanted.items():
        if key not in found:
            lines += [f"  missing:    {key} ({describe(leaf)})"] * strict
        elif (expected := _kind(leaf)) != found[key] and not (_is_number(leaf) and _holds(expected, found[key])):
            (shape, dtype), (file_shape, file_dtype) = expected, found[key]
            lines.append(f"  different:  {key} is {dtype}{list(shape)} in the tree, {file_dtype}{list(file_shape)} in the file")
    lines += [f"  unexpected: {key} ({dtype}{list(shape)})" for key, (shape, dtype) in found.items() if key not in wanted] * strict
    if lines:
        hint = "strict=False loads the keys that both have; rename={'old': 'new'} maps prefixes of keys; fd.io.load(path) shows the file."
        raise FileError("\n".join([f"{os.fspath(path)} does not fit the tree:", *lines, hint]))


def _kind(leaf: Any) -> tuple[tuple[int, ...], np.dtype]:
    return tuple(getattr(leaf, "shape", ())), np.dtype(getattr(leaf, "dtype", type(leaf)))


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, bool | int | float | complex) and not isinstance(leaf, np.generic)


def _holds(expected: tuple[tuple[int, ...], np.dtype], found: tuple[tuple[int, ...], np.dtype]) -> bool:
    """Whether a Python number takes what the file has: one number, and no fraction or imaginary part to lose."""
    return found[0] == () and np.can_cast(found[1], expected[1], "same_kind")


def _like(array: np.ndarray, leaf: Any) -> Any:
    if _is_number(leaf):
        return type(leaf)(array[()])
    if isinstance(leaf, np.generic):
        return array[()]
    return to_device(array, device_of(leaf))
