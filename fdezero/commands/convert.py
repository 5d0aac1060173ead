"""Writes a file in another format or with other names, array by array: npz to safetensors and back, DeZero's names to fdezero's and back.

The endings of the files choose the formats. --names fdezero takes DeZero's names (`l0/W`, and those of VGG and ResNet) and those of
torchvision's networks, whose matrices it turns. --names dots writes `layers.0.W`, --names slashes `layers/0/W`.
"""

import argparse
import os
from typing import Any

import numpy as np

from ..errors import FileError, MissingExtraError
from ..io.bfloat16 import NAME as BFLOAT16
from ..io.bfloat16 import is_bfloat16, loaded_dtype
from ..io.leaves import Pending
from ..io.shards import INDEX, located, open_reader
from ..io.trees import renamed_key, save
from .helpers.contents import FILE, entries_of
from .helpers.naming import NAMINGS, renamed
from .helpers.words import counted, shown

__all__ = ["arguments", "run"]

FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPRESS = {"auto": "auto", "yes": True, "no": False}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FROM", help=FILE)
    parser.add_argument("target", metavar="TO", help="a name that ends in .npz or .safetensors")
    parser.add_argument("--names", choices=[*NAMINGS], help="whose names to write")
    parser.add_argument(
        "--rename", action="append", default=[], metavar="OLD=NEW", help="replace the beginning of keys, before --names"
    )
    parser.add_argument("--dtype", choices=FLOATS, help="round floating numbers to this dtype")
    parser.add_argument(
        "--compress", choices=[*COMPRESS], default="auto", help="which arrays of an npz file (auto: those that shrink)"
    )
    parser.add_argument("--shard-size", metavar="SIZE", help="write several files of at most this size, such as 5GB")
    parser.add_argument("--force", action="store_true", help="write over a file")


def run(options: argparse.Namespace) -> int:
    source, target = located(options.source), options.target
    if not target.endswith((".npz", ".safetensors")):
        raise ValueError(f"{target} must end in .npz or .safetensors, which chooses the format")
    if not options.force and any(os.path.lexists(place) for place in (target, f"{target}{INDEX}")):
        raise FileError(f"{target} is there already: --force writes over it.")
    rename = dict(_pair(text) for text in options.rename)
    with open_reader(source) as reader:
        leaves: dict[str, Pending] = {}
        for key, entry in entries_of(reader).items():
            shape, dtype = reader.kind(entry)
            if (new := renamed_key(key, rename)) in leaves:
                raise FileError(f"two arrays would get the name {new}: change --rename.")
            wanted = _dtype(options.dtype) if options.dtype and (dtype.kind == "f" or is_bfloat16(dtype)) else dtype
            leaves[new] = Pending(shape, wanted, _reading(reader, entry, wanted, key))
        compress: Any = COMPRESS[options.compress]
        found = renamed(leaves, options.names)
        save(target, found, compress=compress, shard_size=options.shard_size)
    print(f"{shown(target)}: {counted(len(found), 'array')}")
    return 0


def _reading(reader: Any, entry: Any, dtype: np.dtype, key: str) -> Any:
    def read() -> Any:
        array = reader.array(entry)
        if array.dtype == dtype:
            return array
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        lost = int(np.count_nonzero(np.isfinite(array)) - np.count_nonzero(np.isfinite(cast)))
        if lost:
            raise FileError(
                f"{key} has {counted(lost, 'number')} that {dtype} cannot hold: they would become infinite."
            )
        return cast

    return read


def _dtype(name: str) -> np.dtype:
    if name == BFLOAT16 and not is_bfloat16(loaded_dtype()):
        raise MissingExtraError("--dtype bfloat16 needs the package ml_dtypes: pip install 'fdezero[bfloat16]'")
    return loaded_dtype() if name == BFLOAT16 else np.dtype(name)


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign:
        raise ValueError(f"--rename takes OLD=NEW; got {text}")
    return old, new
