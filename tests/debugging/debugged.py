"""Helpers for the tests of `debug`: the number of a marked line, and a comparison of results to the bit."""

from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd


def line_of(file: Path, text: str) -> int:
    """The number of the only line of `file` that ends in the mark `# text`."""
    found = [i for i, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1) if line.endswith(f"# {text}")]
    assert len(found) == 1, (text, found)
    return found[0]


def bits(tree: Any) -> list[Any]:
    """Types, shapes, dtypes and bytes of the leaves."""
    return [(type(leaf), np.shape(leaf), np.asarray(leaf).dtype, np.asarray(leaf).tobytes()) for leaf in fd.tree.leaves(tree)]
