"""Passes, graph -> graph: they drop or simplify operations before memory is planned."""

from .algebra import simplify
from .common import merge_common
from .constants import fold_constants
from .dead import drop_dead
from .expand import expand
from .inline import inline
from .order import PASSES, optimise
from .slices import put_slices_together

__all__ = [
    "PASSES", "drop_dead", "expand", "fold_constants", "inline", "merge_common", "optimise", "put_slices_together", "simplify"
]  # fmt: skip
