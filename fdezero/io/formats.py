"""Formats of files, chosen by the ending of a path, and readers of open files."""

from collections.abc import Iterator, Mapping
from typing import IO, Any, Protocol

import numpy as np

from . import npz, safetensors
from .files import PathLike, name_of
from .members import Kind


class Reader(Protocol):
    """An open file: the names and entries that it lists, then what each entry holds. A key is a name without `suffix`."""

    suffix: str
    entries: list[tuple[str, Any]]

    def kind(self, entry: Any) -> Kind: ...
    def array(self, entry: Any) -> np.ndarray: ...
    def mapped(self, entry: Any) -> np.ndarray: ...
    def pieces(self, entry: Any, count: int) -> Iterator[np.ndarray]: ...
    def stored(self, entry: Any) -> tuple[int, str]:
        """How many bytes the entry takes in the file, and the order of its numbers there, "C" or "F"."""


class Format(Protocol):
    """A module for one format of files."""

    NAME: str

    def keeps(self, dtype: Any) -> bool: ...
    def check_key(self, key: str) -> None: ...
    def write(self, file: IO[bytes], leaves: Mapping[str, Any], compress: bool | str) -> None: ...
    def open_reader(self, path: PathLike, file: IO[bytes]) -> Reader: ...


def format_of(path: PathLike) -> Format:
    """safetensors for a path with that ending; npz for any other."""
    return safetensors if name_of(path).endswith(".safetensors") else npz
