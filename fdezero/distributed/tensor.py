"""Linear layers that are cut over the ranks of a world (tensor parallelism), and gradients over those ranks that share a leaf."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import optree

from .. import functions as F
from .. import tree as trees
from ..errors import RangeError, ShapeError, StructureError
from ..messages import describe
from ..nn import Linear
from ..numpy.precision import narrowed, widened
from ..optim.leaves import in_dtype_of
from ..tree import static
from ..tree.parts import Parted
from ..tree.structure import ALL
from ..tree.wholes import cut, gathered, outlined
from ..values import is_half
from .worlds import World

__all__ = ["ColumnLinear", "RowLinear"]


class CutLinear(Parted):
    """Base of linear layers that are cut: a subclass says along which axis each field is."""

    cuts: ClassVar[dict[str, int]]
    along: ClassVar[int]  # the axis of W that is cut

    W: Any
    b: Any = None
    world: World = static(kw_only=True)

    @classmethod
    def init(cls, key: Any, in_size: int, out_size: int, world: World, **settings: Any) -> Self:
        """This rank's part of `nn.Linear.init(key, in_size, out_size, ...)`, so the layer does not depend on the number of ranks.

        Raises RangeError for a size that does not divide by the number of ranks.
        """
        own = {name: settings.pop(name) for name in cls.own_settings() & settings.keys()}
        return cls.of(Linear.init(key, in_size, out_size, **settings), world, **own)

    @classmethod
    def own_settings(cls) -> set[str]:
        """The settings that `nn.Linear` does not have."""
        return {field.name for field in cls.__attrs_attrs__} - {"W", "b", "world"}

    @classmethod
    def of(cls, linear: Any, world: World, **settings: Any) -> Self:
        """This rank's part of a whole layer. Raises RangeError for a size that does not divide by the number of ranks."""
        if not isinstance(world, World):
            raise StructureError(
                f"{cls.__name__}: a world is what fd.distributed.world() returns, got {describe(world)}."
            )
        if not isinstance(linear, Linear):
            raise StructureError(f"{cls.__name__}.of takes an nn.Linear, got {describe(linear)}.")
        length = linear.W.shape[cls.along]
        if length % world.size:
            name = ("in_size", "out_size")[cls.along]
            raise RangeError(f"{cls.__name__}: {name} is a multiple of the {world.size} ranks; got {length}.")
        return cls(linear.W, linear.b, world=world, **settings).cut(linear)

    def gathered(self) -> Linear:
        """The whole layer, on every rank."""

        def joined(x: Any, axis: int | None) -> Any:
            x = gathered(x)
            return x if axis is None else self.world.all_gather(x, axis=axis)

        return Linear(**self._fields(joined))

    def outline(self) -> Linear:
        """A stand-in for the whole layer, which takes no memory."""

        def grown(x: Any, axis: int | None) -> Any:
            x = outlined(x)
            if axis is None:
                return x
            shape = [n * self.world.size if i == axis + len(x.shape) else n for i, n in enumerate(x.shape)]
            return np.broadcast_to(np.zeros((), x.dtype), shape)

        return Linear(**self._fields(grown))

    def cut(self, whole: Any) -> Self:
        """A layer like this one with this rank's part of a whole layer."""
        fields = {"W": whole.W, "b": whole.b}
        for name, axis in self.cuts.items():
            if fields[name] is not None:
                length = fields[name].shape[axis] // self.world.size
                own = slice(self.world.rank * length, (self.world.rank + 1) * length)
                fields[name] = fields[name][(..., own, *[slice(None)] * (-1 - axis))].copy()
        return self.replace(**{name: cut(x, like=getattr(self, name)) for name, x in fields.items()})

    def _fields(self, function: Callable[[Any, int | None], Any]) -> dict[str, Any]:
        """The function of each field and of the axis along which it is cut, None for a field that every rank has whole."""
        fields = {"W": self.W, "b": self.b}
        return {name: x if x is None else function(x, self.cuts.get(name)) for name, x in fields.items()}


class ColumnLinear(CutLinear):
    """y = x @ W + b, where each rank has some of the outputs: x (..., in_size) -> (..., out_size / ranks).

    W (in_size, out_size / ranks) and b (out_size / ranks,) are this rank's. Every rank passes the same x. With `gather=True` each rank
    gets all outputs, by one `all_gather`. Without it, elementwise functions and a `RowLinear` may follow.
    Source: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism", 2019.
    """

    cuts: ClassVar[dict[str, int]] = {"W": -1, "b": -1}
    along: ClassVar[int] = 1

    gather: bool = static(default=False, kw_only=True)

    def __call__(self, x: Any) -> Any:
        y = F.linear(x, self.W, self.b)
        return self.world.all_gather(y, axis=-1) if self.gather else y


class RowLinear(CutLinear):
    """y = x @ W + b, where each rank has some of the inputs: x (..., in_size / ranks) -> (..., out_size), by one `all_reduce`.

    W (in_size / ranks, out_size) is this rank's, and every rank has the whole b. Each rank passes what it has, as `ColumnLinear`
    returns it. With `scatter=True` every rank passes the same whole x, and takes its part. float16 and bfloat16 are
    rounded once.
    Source: as for `ColumnLinear`.
    """

    cuts: ClassVar[dict[str, int]] = {"W": -2}
    along: ClassVar[int] = 0

    scatter: bool = static(default=False, kw_only=True)

    def __call__(self, x: Any) -> Any:
        rows, size = self.W.shape[0], self.world.size
        if self.scatter:
            if x.shape[-1:] != (rows * size,):
                raise ShapeError(
                    f"RowLinear with scatter=True expects a last axis of {rows * size}, got x {describe(x)}."
                )
            x = x[..., self.world.rank * rows : (self.world.rank + 1) * rows]
        elif size > 1 and x.shape[-1:] == (rows * size,):
            raise ShapeError(
                f"RowLinear expects this rank's part of the last axis, {rows} of {rows * size}, got x {describe(x)}. To pass the whole x, "
                "make the layer with scatter=True."
            )
        half = x.dtype if is_half(x.dtype) and x.dtype == self.W.dtype else None
        y = self.world.all_reduce(F.linear(widened(x), widened(self.W)))
        y = y if self.b is None else y + widened(self.b)
        return y if half is None else narrowed(y, half)


# Gradients


def over_ranks(tree: Any, world: World, op: str = "sum") -> Any:
    """Gradients reduced over those ranks of `world` that hold the same leaf: all of them, or for a part those with this part.

    The gradient of a part is complete where the part is, so the mean of a part divides by all ranks as well.
    """
    nodes, treedef = flatten_to_layers(tree)
    if not any(isinstance(node, CutLinear) for node in nodes):
        return world.all_reduce(tree, op)
    whole = world.all_reduce([_split(node)[1] for node in nodes], op)
    parts = [_split(node)[0] for node in nodes]
    sums: dict[World, list[int]] = {}
    for i, node in enumerate(nodes):
        if isinstance(node, CutLinear):
            sums.setdefault(_with_this_part(world, node.world), []).append(i)
    for ranks, places in sums.items():
        for i, found in zip(places, ranks.all_reduce([parts[i] for i in places]), strict=True):
            mean = trees.map(lambda g: g / in_dtype_of(g, world.size), found) if op == "mean" else found
            nodes[i] = nodes[i].replace(**mean)
    for i, node in enumerate(nodes):
        nodes[i] = node.replace(**whole[i]) if isinstance(node, CutLinear) else whole[i]
    return trees.unflatten(treedef, nodes)


def _split(node: Any) -> tuple[Any, Any]:
    """The fields of a cut layer that are parts, and those that every rank has whole; another leaf is whole."""
    if not isinstance(node, CutLinear):
        return {}, node
    fields = {"W": node.W, "b": node.b}
    return tuple({name: x for name, x in fields.items() if (name in node.cuts) is cut} for cut in (True, False))  # type: ignore[return-value]  # one of each


def flatten_to_layers(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a tree, with cut layers as leaves."""
    trees.flatten(tree)  # which registers classes that are new
    return optree.tree_flatten(tree, is_leaf=lambda node: isinstance(node, CutLinear), namespace=ALL)


def refuse_cut_layers(name: str, tree: Any) -> None:
    """Raise StructureError for a layer that is cut over ranks."""
    for node in flatten_to_layers(tree)[0]:
        if isinstance(node, CutLinear):
            raise StructureError(
                f"{name}: with reproducible=True a layer cannot be cut over ranks, but the model has {node!r}."
            )


@functools.lru_cache(64)
def _with_this_part(world: World, parts: World) -> World:
    """Those ranks of `world` that have the same part as this one, where a layer is cut over the ranks of `parts`."""
    if not {*parts.members} <= {*world.members}:
        raise StructureError(
            f"a layer is cut over the ranks {list(parts.members)}, which are not all in the world {list(world.members)} of the gradient."
        )
    return world.split(parts.rank)
