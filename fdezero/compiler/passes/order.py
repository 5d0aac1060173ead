"""The passes in their order. They drop or simplify operations before memory is planned, and all keep the same bits."""

from collections.abc import Callable

from ..graph import Graph
from .algebra import simplify
from .common import merge_common
from .constants import fold_constants
from .dead import drop_dead
from .expand import expand
from .inline import inline
from .slices import put_slices_together
from .views import lent_outputs, own_outputs

Pass = Callable[[Graph], Graph]


def optimise(graph: Graph, check: Callable[[Graph], Graph] = lambda graph: graph, native: bool = False) -> Graph:
    """Run all passes in their order; `check` is called after each. `native` is whether groups become native loops."""
    lent = lent_outputs(graph)
    for step in PASSES:
        graph = check(expand(graph, native=True) if native and step is expand else step(graph))
    return check(own_outputs(graph, lent))


PASSES: tuple[Pass, ...] = (
    inline, fold_constants, simplify, merge_common, drop_dead, expand, simplify, merge_common, put_slices_together, drop_dead
)  # fmt: skip
