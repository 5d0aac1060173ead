"""Blocks one after the other, kept or computed again for gradients."""

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..nn.containers import at
from ..numpy.arguments import Array

__all__: list[str] = []  # a helper of the models


def chain(
    name: str, blocks: Sequence[Any], x: Array, *, train: bool, checkpoint: bool = False, first: int = 0
) -> Array:
    """`x` through the blocks at `name/first` and after; with `checkpoint`, a gradient keeps only what lies between them."""
    for i, block in enumerate(blocks, first):
        with at(f"{name}/{i}"):
            x = nn.apply(nn.Checkpoint(block) if checkpoint else block, x, train=train)
    return x
