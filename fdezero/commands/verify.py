"""Reads all of files, and says which entry is damaged.

An npz file has a checksum of every entry. The format safetensors does not have any: there, the header and the sizes are compared.
"""

import argparse

from ..errors import FdezeroError
from ..io.shards import located, open_reader
from .helpers.contents import COUNT, FILE, entries_of, for_each
from .helpers.words import counted, in_a_line, shown

__all__ = ["arguments", "run"]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help=FILE)
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing of files that are whole")


def run(options: argparse.Namespace) -> int:
    return for_each(options.files, lambda path: _verified(path, options.quiet))


def _verified(path: str, quiet: bool) -> int:
    place, count, damaged = located(path), 0, False
    try:
        with open_reader(place) as reader:
            for entry in entries_of(reader).values():
                count += 1
                try:
                    reader.kind(entry)
                    for _ in reader.pieces(entry, COUNT):
                        pass
                except FdezeroError as error:
                    damaged = True
                    print(in_a_line(error))
    except FdezeroError as error:
        print(in_a_line(error))
        return 1
    if not damaged and not quiet:
        checked = "the format has no checksums" if ".safetensors" in place else "all checksums are right"
        print(f"{shown(place)}: whole, {counted(count, 'array')}; {checked}")
    return int(damaged)
