"""Blocks one after the other, kept or computed again for gradients."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .. import nn
from ..errors import FdezeroError
from ..numpy.arguments import Array


@contextmanager
def at(path: str) -> Iterator[None]:
    """An error within is one at `path`."""
    try:
        yield
    except FdezeroError as error:
        error.under(path)
        raise


def chain(
    name: str, blocks: Sequence[Any], x: Array, *, train: bool, checkpoint: bool = False, first: int = 0
) -> Array:
    """`x` through the blocks at `name/first` and after; with `checkpoint`, a gradient keeps only what lies between them."""
    for i, block in enumerate(blocks, first):
        with at(f"{name}/{i}"):
            x = nn.apply(nn.Checkpoint(block) if checkpoint else block, x, train=train)
    return x
