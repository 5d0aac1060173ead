"""`save` and `load`: a pytree as one file, checked when it is read, written whole or not at all."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from ..core import Tracer
from ..devices import device_of, to_device
from ..errors import FileError, StructureError
from ..foreign import is_foreign
from ..messages import describe
from ..tree import flatten, flatten_to_dict, unflatten
from ..tree.structure import first_where
from ..tree.wholes import cut, gathered, has_parts, lone, outlined
from . import bfloat16
from .files import PathLike, write_whole
from .formats import Format, Reader, format_of
from .members import Kind
from .shards import bytes_of, open_reader, parts_of, remove_shards, write_shards

Rename: TypeAlias = Mapping[str, str] | Callable[[str], str] | None
# The kinds of dtype that each type of Python number is read from.
NUMBERS = {bool: "b", int: "iu", float: "f", complex: "c"}
DIFFERENT = "  different:  "


def save(
    path: PathLike, tree: Any, *, compress: bool | Literal["auto"] = "auto", shard_size: int | str | None = None
) -> None:
    """Write `tree` to `path` as npz: `{"layers/0/W": array}`, readable by numpy.load and by DeZero.

    A path that ends in `.safetensors` becomes a file of that format instead, which is never compressed and needs the
    package safetensors. The file is written beside its place and renamed when complete: an interrupt or a full disk leaves
    an older file intact. It keeps the permissions of the older file. No ending is appended to `path`. Arrays on a GPU are
    copied to the CPU, one at a time. With "auto", arrays whose sample shrinks by a fifth are compressed, and others
    stored; with False all are stored, so that `load` can map the file into memory. With `shard_size`, such as "5GB", a tree
    that is larger goes into several files, and `path` with .index.json at its end lists them.

    Raises FileError, before anything is written, for a leaf that is not a number or an array of numbers, for a lazy layer,
    and for a key that the file cannot hold. Raises MissingExtraError without safetensors. Raises OSError, such as
    FileNotFoundError for a missing folder and PermissionError for a read-only file, if `path` cannot be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"save: the path comes first, then the tree: fd.save('model.npz', tree); got {describe(path)} for the path."
        )
    if not isinstance(compress, bool) and compress != "auto":
        raise TypeError(f'save: compress is True, False or "auto"; got {compress!r}.')
    most = None if shard_size is None else bytes_of(shard_size)
    form, leaves = checked(path, tree)
    parts = [leaves] if most is None else parts_of(leaves, most)
    if len(parts) > 1:
        write_shards(path, form, parts, compress)
        return
    write_whole(path, lambda file: form.write(file, leaves, compress))
    if most is not None:
        remove_shards(path)


def checked(path: PathLike, tree: Any) -> tuple[Format, dict[str, Any]]:
    """The format that `path` names, and the leaves of the tree by their keys. Raises FileError for what it cannot keep."""
    tree = whole_of(tree)
    leaves, form = flatten_to_dict(tree), format_of(path)
    _refuse_unmade(tree)
    for key, leaf in leaves.items():
        _check(key, leaf, form)
    return form, leaves


def whole_of(tree: Any) -> Any:
    """The tree with wholes in place of parts. Raises FileError for parts of several ranks, which hold different entries."""
    place = has_parts(tree)
    if place is None:
        return tree
    if not lone(tree):
        raise FileError(
            f"{place} is one rank's part of an array, so each rank would write another file. Save with "
            "fd.io.Checkpoints(folder, world=world), or gather the whole first, on all ranks: fd.save(path, fd.distributed.gathered(tree))."
        )
    return gathered(tree)


def _refuse_unmade(tree: Any) -> None:
    """Raise FileError for a layer that does not have its arrays yet: its file would be empty."""
    if found := first_where(tree, lambda node: hasattr(type(node), "unmade")):
        path, layer = found
        raise FileError(f"{path or 'the tree'} is {layer!r}, which does not have parameters yet: {type(layer).unmade}.")


def _check(key: str, leaf: Any, form: Format) -> None:
    """Raise FileError for a leaf that would come back changed from a file."""
    if isinstance(leaf, Tracer):
        raise FileError(f"{key} is a traced value {describe(leaf)}: return it from the function and save it outside.")
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    if (
        isinstance(leaf, str | bytes | np.ma.MaskedArray)
        or (is_foreign(leaf) and not isinstance(leaf, np.generic))
        or not form.keeps(dtype)
    ):
        raise FileError(
            f"{key} is {_named(leaf)}, which {form.NAME} cannot keep: "
            "convert it to an array of numbers, or declare the field static."
        )
    form.check_key(key)


def _named(leaf: Any) -> str:
    """What a leaf is; arrays of a class of their own with its name."""
    owner = type(leaf).__name__ if isinstance(leaf, np.ndarray) and type(leaf) is not np.ndarray else ""
    return f"{owner} {describe(leaf)}".strip()


def load(path: PathLike, *, like: Any = None, strict: bool = True, rename: Rename = None, mmap: bool = False) -> Any:
    """Read the tree in a file, with the structure, devices, memory order and Python numbers of `like`; without it, a flat dict.

    A path that ends in `.safetensors` is read by the package safetensors. Every other file is npz. `path` may also be the index
    of several files, the path that they were saved to, or the folder that holds one such file or index. Entries of bfloat16 are
    arrays of ml_dtypes.bfloat16 if that package is installed, else float32; where `like` is float32, they become float32.

    Every key, shape and dtype is checked before an array is read. With `strict=False` leaves that the file lacks are
    taken from `like`, and keys that `like` lacks are ignored; shapes and dtypes must still agree. `rename` maps keys of
    the file to keys of the tree. It is a function, or a dict of prefixes, `{"l0": "layers/0"}`; the longest prefix counts.
    With `mmap`, arrays are read-only views of the file, in its memory order, and only what you use is read from the disk.

    Raises a FileError that lists all missing, unexpected and different keys. Raises one for a file that is of another format,
    damaged, encrypted, compressed by another method than deflate (with `mmap`: by any), or holds pickled objects. Memory is
    set aside only for what the file holds. Raises OSError if there is no such file.
    """
    if isinstance(like, type):
        raise StructureError(
            f"load: like is the class {like.__name__}, not a tree. Make one, {like.__name__}.init(...), and give that."
        )
    if like is not None and has_parts(like):
        outline = outlined(like)
        whole = load(path, like=outline, strict=strict, rename=rename, mmap=mmap)
        return placed_like(cut(whole, like, None if strict else outline), like)
    wanted = None if like is None else flatten_to_dict(like)
    if like is not None:
        _refuse_unmade(like)
    with open_reader(path) as reader:
        entries = _entries(path, reader, rename)
        if wanted is not None and not strict:
            entries = {key: entry for key, entry in entries.items() if key in wanted}
        kinds = {key: reader.kind(entry) for key, entry in entries.items()}
        if wanted is not None:
            _compare(path, kinds, wanted, strict)
        read = reader.mapped if mmap else reader.array
        arrays = {key: read(entry) for key, entry in entries.items()}
    if mmap:
        for array in arrays.values():  # also those whose numbers had to become others
            array.flags.writeable = False
    if wanted is None:
        return arrays
    leaves = [like_leaf(arrays.pop(key), leaf, not mmap) if key in arrays else leaf for key, leaf in wanted.items()]
    return unflatten(flatten(like)[1], leaves)


def placed_like(tree: Any, like: Any) -> Any:
    """Parts on the devices of those in `like`, in memory of their own, so that no part keeps the whole that it was cut from."""
    leaves, treedef = flatten(tree)
    return unflatten(treedef, [_owned(x, beside) for x, beside in zip(leaves, flatten(like)[0], strict=True)])


def _owned(x: Any, beside: Any) -> Any:
    if isinstance(x, np.ndarray) and device_of(x) != device_of(beside):
        return to_device(x, device_of(beside))
    return x.copy() if isinstance(x, np.ndarray) and x.base is not None and x.base.nbytes > x.nbytes else x


def _entries(path: PathLike, reader: Reader, rename: Rename) -> dict[str, Any]:
    """The entries of a file by their keys in the tree."""
    names: dict[str, str] = {}
    entries: dict[str, Any] = {}
    for name, entry in reader.entries:
        key = renamed_key(name.removesuffix(reader.suffix), rename)
        if key in names:
            if names[key] == name:
                raise FileError(f"{os.fspath(path)} is damaged: it holds {name!r} twice.")
            raise FileError(
                f"{os.fspath(path)}: {names[key]!r} and {name!r} both become the key {key!r}: change rename=."
            )
        names[key], entries[key] = name, entry
    return entries


def renamed_key(key: str, rename: Rename) -> str:
    """A key as `load(..., rename=rename)` maps it."""
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
    lines = differences(found, wanted, strict)
    if not lines:
        return
    if any(not line.startswith(DIFFERENT) for line in lines):
        lines.append("strict=False loads the keys that both have; rename={'old': 'new'} maps prefixes of keys.")
    castable = [
        wanted[key]
        for key in found
        if key in wanted and not _fits(found[key], wanted[key]) and found[key][0] == getattr(wanted[key], "shape", None)
    ]
    if castable:
        cast = f"fd.tree.map(lambda a: a.astype('{castable[0].dtype}'), fd.load({os.fspath(path)!r}))"
        lines.append(f"No dtype is changed silently. Cast the file first: fd.save('cast.npz', {cast}).")
    hint = f"fd.load({os.fspath(path)!r}) shows what the file has."
    raise FileError("\n".join([f"{os.fspath(path)} does not fit the tree:", *lines, hint]))


def differences(found: Mapping[str, Kind], wanted: Mapping[str, Any], strict: bool) -> list[str]:
    """A line for each key that is missing (if `strict`), unexpected, or different in shape or dtype."""
    missing = [key for key in wanted if key not in found] if strict else []
    unexpected = [key for key in found if key not in wanted]
    different = [key for key, kind in found.items() if key in wanted and not _fits(kind, wanted[key])]
    lines = [f"  missing:    {key} ({describe(wanted[key])})" for key in missing]
    lines += [f"  unexpected: {key} ({_show(found[key])})" for key in unexpected]
    return lines + [
        f"{DIFFERENT}{key} is {describe(wanted[key])} in the tree, {_show(found[key])} in the file" for key in different
    ]


def _fits(kind: Kind, leaf: Any) -> bool:
    """Whether the value in the file fits the leaf. A Python number takes any number of its kind that is no wider."""
    shape, dtype = kind
    if number := _number(leaf):
        return not shape and dtype.kind in NUMBERS[number] and dtype.itemsize <= np.dtype(number).itemsize
    wanted = getattr(leaf, "dtype", None)
    fits = dtype == wanted or (wanted == np.float32 and bfloat16.is_bfloat16(dtype))  # as without the package ml_dtypes
    return fits and shape == getattr(leaf, "shape", None)


def _number(leaf: Any) -> type | None:
    """The Python type of a number; None for anything else, NumPy scalars included."""
    plain = not isinstance(leaf, np.generic)
    return next((number for number in NUMBERS if plain and isinstance(leaf, number)), None)


def _show(kind: Kind) -> str:
    return f"{kind[1]}[{','.join(map(str, kind[0]))}]"


def like_leaf(array: np.ndarray, leaf: Any, ordered: bool) -> Any:
    """The array as the kind of value that `leaf` is, on its device and, if `ordered`, in its memory order."""
    if _number(leaf):
        return type(leaf)(array[()])
    if leaf.dtype == np.float32:
        array = bfloat16.widened(array)
    if isinstance(leaf, np.generic):
        return array[()]
    if ordered and isinstance(leaf, np.ndarray) and leaf.strides != array.strides:
        room = np.empty_like(leaf, subok=False)
        if room.strides == leaf.strides:  # without gaps, repetitions and entries read backwards
            room[...] = array
            return room
    return to_device(array, device_of(leaf))
