"""Prints the values of keys: `cat run.npz model/layers/0/W`, `'model/*/b'`, `'model/layers/0/W[0, :5]'`.

Long arrays are shortened as NumPy shortens them. With --all, each line has the numbers of one row of the last axis.
"""

import argparse
import ast
import fnmatch
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import FileError, RangeError
from ..io.shards import open_reader
from .helpers.contents import FILE, array_of, entries_of, in_rows
from .helpers.words import shown, shown_shape

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=FILE)
    parser.add_argument(
        "keys", nargs="+", metavar="KEY", help="a key; * and ? stand for any signs; [0, :5] at the end chooses entries"
    )
    parser.add_argument("--all", action="store_true", help="print every number")


def run(options: argparse.Namespace) -> int:
    with open_reader(options.file) as reader:
        entries = entries_of(reader)
        asked = [choice for key in options.keys for choice in _chosen(options.file, key, entries)]
        for key, index in asked:
            kind = reader.kind(entries[key])
            whole = options.all and index is None
            array = np.empty(0) if whole else array_of(reader, entries[key])
            if index is not None:
                try:
                    array = np.asarray(array[index])
                except IndexError as error:
                    raise RangeError(f"{key}, {kind[1]}{shown_shape(kind[0])}: {error}") from error
            if len(asked) > 1:
                print(f"{shown(key)}: {kind[1]}{shown_shape(kind[0] if index is None else array.shape)}")
            if whole:
                _print_rows(in_rows(reader, entries[key]), kind[0][-1] if kind[0] else 1)
            elif options.all:
                _print_rows(iter([array.reshape(-1)]), array.shape[-1] if array.shape else 1)
            elif array.ndim:
                print(np.array2string(array, separator=", "))
            else:
                print(array[()])
    return 0


def _print_rows(pieces: Iterator[np.ndarray], length: int) -> None:
    """Print numbers, `length` of them in a line."""
    place = 0
    for piece in pieces:
        for number in piece:
            place += 1
            sys.stdout.write(f"{number}{' ' if place % length else chr(10)}")


def _chosen(path: str, text: str, entries: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys that a text means, each with its index or None."""
    pattern, index = text, None
    found = [text] if text in entries else fnmatch.filter(entries, text)
    if not found and text.endswith("]") and "[" in text:
        pattern, _, inner = text[:-1].rpartition("[")
        index = _index(inner)
        found = [pattern] if pattern in entries else fnmatch.filter(entries, pattern)
    if not found:
        below = [key for key in entries if key.startswith(f"{pattern.rstrip('/')}/")]
        hint = f"write {pattern.rstrip('/')}/* for what lies below" if below else f"`ls {path}` shows its keys"
        raise FileError(f"{path} has no key {pattern}: {hint}.")
    yield from ((key, index) for key in found)


def _index(text: str) -> Any:
    """The index that a text writes in Python's way: numbers, slices and `...`, with commas between them."""
    try:
        node = ast.parse(f"x[{text}]", mode="eval").body
        assert isinstance(node, ast.Subscript)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return tuple(_part(part) for part in parts)
    except (SyntaxError, ValueError, AssertionError, RecursionError, MemoryError):
        raise RangeError(f"[{text}] is no index of numbers, slices and ..., such as [0, :5].") from None


def _part(node: ast.expr) -> Any:
    if isinstance(node, ast.Slice):
        return slice(*[part and ast.literal_eval(part) for part in (node.lower, node.upper, node.step)])
    found = ast.literal_eval(node)
    if found is not Ellipsis and (not isinstance(found, int) or isinstance(found, bool)):
        raise ValueError(found)
    return found
