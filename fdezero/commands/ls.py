"""Lists what is in files: keys, dtypes, shapes, sizes and norms.

Numbers are shown in place of a norm where an entry is a single one. Sizes are those of the numbers; a second size is that in the file,
where the entry is compressed.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import FdezeroError
from ..io.formats import Reader
from ..io.shards import located, open_reader
from .helpers.contents import FILE, Norm, array_of, entries_of, for_each, is_number, norm_of
from .helpers.words import counted, in_a_line, in_bytes, shown, shown_shape

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help=FILE)
    parser.add_argument("--depth", type=int, metavar="N", help="sum up what lies deeper than N parts of a key")
    parser.add_argument("--fast", action="store_true", help="read headers alone: without norms")


def run(options: argparse.Namespace) -> int:
    if options.depth is not None and options.depth < 1:
        raise ValueError(f"--depth counts parts of keys, from 1; got {options.depth}")
    return for_each(options.files, lambda path: _listed(path, options))


def _listed(path: str, options: argparse.Namespace) -> int:
    with open_reader(path) as reader:
        entries, damaged = entries_of(reader), dict[str, str]()
        kinds = {}
        for key, entry in entries.items():
            try:
                kinds[key] = reader.kind(entry)
            except FdezeroError as error:
                damaged[key] = in_a_line(error)
        numbers = sum(int(np.prod(shape, dtype=object)) for shape, _ in kinds.values())
        sizes = {key: int(np.prod(shape, dtype=object)) * dtype.itemsize for key, (shape, dtype) in kinds.items()}
        print(
            f"{shown(located(path))}: {counted(len(entries), 'array')}, {counted(numbers, 'number')}, {in_bytes(sum(sizes.values()))}"
        )
        rows = _groups(kinds, options.depth)
        names = {row: shown(row) for row in [*rows, *damaged]}
        width = max(map(len, names.values()), default=0)
        for row, keys in rows.items():
            try:
                cells = [*_cells(reader, entries, kinds, sizes, row, keys, options.fast)]
            except FdezeroError as error:
                damaged[row] = in_a_line(error)
                continue
            print("  ".join([f"  {names[row]:{width}}", *cells]).rstrip())
        for row, message in damaged.items():
            print(f"  {names[row]:{width}}  {message}")
    return 1 if damaged else 0


def _groups(kinds: dict[str, Any], depth: int | None) -> dict[str, list[str]]:
    """The keys of each row: one, or all that begin alike."""
    rows: dict[str, list[str]] = {}
    for key in kinds:
        parts = key.split("/")
        row = key if depth is None or len(parts) <= depth else "/".join([*parts[:depth], "..."])
        rows.setdefault(row, []).append(key)
    return rows


def _cells(
    reader: Reader, entries: Any, kinds: Any, sizes: Any, row: str, keys: list[str], fast: bool
) -> Iterator[str]:
    """The columns of a row after its name."""
    size, stored = sum(sizes[key] for key in keys), sum(reader.stored(entries[key])[0] for key in keys)
    shape, dtype = kinds[keys[0]]
    if keys == [row]:
        yield f"{dtype!s:10}"
        yield f"{shown_shape(shape):18}"
    else:
        yield f"{', '.join(sorted({str(kinds[key][1]) for key in keys})):10}"
        yield f"{counted(len(keys), 'array'):18}"
    yield f"{in_bytes(size):>9}"
    yield f"{f'({in_bytes(stored)})' if stored < size else '':11}"
    numbers = [key for key in keys if is_number(kinds[key][1])]
    if fast or not numbers:
        return
    if keys == [row] and not shape:
        yield f"= {array_of(reader, entries[row])[()]}"
        return
    norm = sum((norm_of(reader, entries[key]) for key in numbers), Norm())
    yield f"norm {norm.value:<9.4g}"
    if norm.not_finite:
        yield f"{counted(norm.not_finite, 'number')} not finite"
