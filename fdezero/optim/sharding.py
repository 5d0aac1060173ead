"""`sharded`: an optimiser whose state is shared out among the ranks of a world."""

import contextlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from .. import tree as trees
from ..compiler.recording.examples import example_of
from ..errors import RangeError, StructureError
from ..messages import describe
from ..tree import static
from ..tree.parts import Part, flatten_to_parts, gathered_parts
from .chains import Chain, Composite
from .inspecting import parts_of
from .leaves import side_by_side
from .masks import _ByPath, _Freeze
from .settings import shown
from .transformation import GradientTransformation, Params, State, Tree
from .wrappers import Wrapper

__all__ = ["sharded"]

LEAST = 1024  # entries of an array that is worth a message
COUNTS = frozenset({"step", "rate"})  # entries of a state that do not grow with the parameters


class Sharded(GradientTransformation):
    """An optimiser that moves this rank's part of each parameter, and gathers the parts of all ranks."""

    optimiser: GradientTransformation
    world: Any = static()
    least: int = static(default=LEAST)

    elementwise = True
    finishes = True

    @property
    def name(self) -> str:
        """That of the optimiser, so that its state has the same place."""
        return self.optimiser.name

    @property
    def entries(self) -> tuple[str, ...] | None:
        """Those of the optimiser."""
        return self.optimiser.entries

    @property
    def counts(self) -> bool:
        """As the optimiser."""
        return self.optimiser.counts

    def init(self, params: Tree) -> State:
        """The state of the optimiser for this rank's part of the parameters."""
        return self.optimiser.for_params(params).init(self._parts(params))

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates of all parameters, and the new state of this rank's parts."""
        optimiser = self.optimiser.for_params(params)
        with _hint():
            updates, state = optimiser.update(self._parts(grads), state, self._parts(params))
        return self._gathered(updates, params, grads), state

    def step(self, params: Params, grads: Tree, state: State) -> tuple[Params, State]:
        """Return the new params and the new state. Raises as the step of every transformation does."""
        side_by_side(params, grads, "grads")
        self.check(state)
        optimiser = self.optimiser.for_params(params)
        with _hint():
            moved, state = optimiser.step(self._parts(params), self._parts(grads), state)
        return self._gathered(moved, params, grads), state

    def _parts(self, tree: Tree) -> Tree:
        """The tree with a part in place of each array that is large enough."""
        leaves, treedef = trees.flatten_trainable(tree)
        return trees.unflatten(treedef, [Part.of(leaf, self.world) if self._is_cut(leaf) else leaf for leaf in leaves])

    def _is_cut(self, leaf: Any) -> bool:
        """Whether a leaf is an array of so many entries. Numbers and arrays without axes are computed otherwise than arrays are."""
        return trees.is_differentiable(leaf) and getattr(leaf, "ndim", 0) > 0 and leaf.size >= self.least

    def _gathered(self, tree: Tree, params: Tree, grads: Tree) -> Tree:
        """Whole arrays in place of the parts, in the memory order that the optimiser alone gives them."""
        nodes, treedef = flatten_to_parts(tree)
        before, slopes = (trees.flatten_trainable(each)[0] for each in (params, grads))
        places = [i for i, node in enumerate(nodes) if isinstance(node, Part)]
        for i, whole in zip(places, gathered_parts([nodes[i] for i in places]), strict=True):
            nodes[i] = _in_order_of(before[i], slopes[i], whole)
        return trees.unflatten(treedef, nodes)

    def for_params(self, params: Tree) -> GradientTransformation:
        """As the optimiser."""
        return self.replace(optimiser=self.optimiser.for_params(params))

    def __repr__(self) -> str:
        least = "" if self.least == LEAST else f", least={self.least}"
        return f"sharded({shown(self.optimiser)}, {self.world!r}{least})"


@contextlib.contextmanager
def _hint() -> Iterator[None]:
    """Say of a state that does not fit where the state of `sharded` comes from."""
    try:
        yield
    except StructureError as error:
        raise StructureError(
            f"{error} The state of sharded holds this rank's parts: it comes from its own init(params), with the same `least`, from its "
            "last step, or from a file, fd.load(path, like=opt.init(params))."
        ) from None


def sharded(optimiser: GradientTransformation, world: Any, *, least: int = LEAST) -> GradientTransformation:
    """The optimiser with its state shared out among the ranks of `world`: a rank keeps, and moves, its part of each parameter.

    Gradients and parameters are whole and the same on all ranks, as a mean over ranks makes them; a step gathers the new parameters.
    Results have the bits of the optimiser alone. Arrays of fewer than `least` entries are not cut. What needs whole gradients, such as
    `clip_by_global_norm`, stays outside on every rank: `sharded(chain(clip_by_global_norm(1.0), adam(1e-3)), world)` is
    `chain(clip_by_global_norm(1.0), sharded(adam(1e-3), world))`. Optimisers that keep nothing for parameters stay as they are.

    A class of yours is cut if it says `elementwise = True`. Raises StructureError for an optimiser whose state cannot be cut.
    Source: Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", SC 2020, stage 1.
    """
    if not isinstance(optimiser, GradientTransformation):
        more = " L-BFGS needs the loss of all data at once." if type(optimiser).__name__ == "lbfgs" else ""
        if isinstance(optimiser, type):
            more = f" Make it first: {optimiser.__name__}(1e-3)."
        raise StructureError(
            f"sharded takes an optimiser and a world, sharded(optim.adam(1e-3), fd.distributed.world()); got "
            f"{describe(optimiser)} for the optimiser.{more}"
        )
    if not (hasattr(world, "all_gather") and hasattr(world, "size")):
        hint = " Call it: fd.distributed.world()." if callable(world) else ""
        raise StructureError(f"sharded: a world is what fd.distributed.world() returns, got {describe(world)}.{hint}")
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise RangeError(f"sharded: least is a number of entries, 1 or more; got {least!r}.")
    found = _placed(optimiser, world, least)
    kept = [part for part in _outside(found) if _keeps(part)]
    if kept and found is optimiser:
        raise StructureError(
            f"sharded: the state of {shown(kept[0])} cannot be cut, because an entry moves by others of its array. "
            "Use it without sharded, or say `elementwise = True` in a class of yours whose entries move on their own."
        )
    return found


def _placed(optimiser: Any, world: Any, least: int) -> Any:
    """The optimiser with `Sharded` around those parts that keep something and whose entries move on their own."""
    if optimiser.elementwise:
        return Sharded(optimiser, world, least) if _keeps(optimiser) else optimiser
    if isinstance(optimiser, Composite):
        single = [_placed(part, world, least) for part in optimiser.parts]
        if all(new is old for new, old in zip(single, optimiser.parts, strict=True)):
            return optimiser
        runs: list[Any] = []
        for is_elementwise, run in groupby(optimiser.parts, lambda part: part.elementwise):
            parts = tuple(run)
            together = Chain(parts) if len(parts) > 1 else parts[0]
            runs += (
                [_placed(together, world, least)] if is_elementwise else [_placed(part, world, least) for part in parts]
            )
        joined = Chain(tuple(runs))
        return joined if joined.entries == optimiser.entries else Chain(tuple(single))  # so that files stay the same
    if isinstance(optimiser, _ByPath):
        groups = [part and _placed(part, world, least) for part in optimiser.parts]
        return optimiser.replace(parts=tuple(groups)) if groups != [*optimiser.parts] else optimiser
    if isinstance(optimiser, Wrapper | _Freeze):
        inside = _placed(optimiser.optimiser, world, least)
        return optimiser if inside is optimiser.optimiser else optimiser.replace(optimiser=inside)
    return optimiser


def _keeps(optimiser: Any) -> bool:
    """Whether an optimiser keeps more than counts."""
    if isinstance(optimiser, Composite | _ByPath):
        return any(part is not None and _keeps(part) for part in optimiser.parts)
    if isinstance(optimiser, _Freeze):
        return _keeps(optimiser.optimiser)
    return optimiser.entries is None or not COUNTS.issuperset(optimiser.entries)


def _outside(optimiser: Any) -> Iterator[Any]:
    """The parts that see whole arrays."""
    parts = [part for _, part in parts_of(optimiser)]
    if isinstance(optimiser, Sharded):
        return
    if not parts:
        yield optimiser
    for part in parts:
        yield from _outside(part)


def _in_order_of(before: Any, slope: Any, whole: Any) -> Any:
    """An array in the memory order of a sum of the parameter before and its gradient: the order of both, or that of rows if they differ."""
    order, other, own = [_order(example_of(x)) for x in (before, slope, whole)]
    order = order if order == other else list(range(whole.ndim))
    if order == own:
        return whole
    turned = whole.transpose(order)
    # A line has one memory order. Compiled code would leave out a copy that has another order than its values.
    return turned.reshape(-1).reshape(turned.shape).transpose(np.argsort(order).tolist())


def _order(x: Any) -> list[int]:
    """The axes from the longest stride to the shortest; those of length 1, whose strides mean nothing, where they stand."""
    moving = iter(sorted([i for i, n in enumerate(x.shape) if n > 1], key=lambda i: -abs(x.strides[i])))
    return [next(moving) if n > 1 else i for i, n in enumerate(x.shape)]
