"""Reverse mode: a tape of nodes, which is walked back after the function has returned.

Cotangents on the tape are the complex conjugates of the gradients that users see. So the adjoint of a linear map is its
transpose, and rules of elementwise operations are products: neither needs a conjugate. `vjp` conjugates what enters and leaves.
"""

from typing import Any, cast

import numpy as np

from .. import tree as trees
from ..values import own_dtype, shape_of
from .cotangents import fit, zeros_like
from .owners import Guard, not_shared
from .pieces import Pieces, put_back
from .primitive import Primitive
from .tracer import Level, Tracer

NUMBERS = frozenset(
    {int, float, complex, bool, np.float64, np.float32}
)  # the usual operands that are neither arrays nor traced

LARGE = 1 << 16  # bytes; from here on a sum is written over its first term, if nothing else refers to it


class Node:
    """One recorded operation: the nodes that its cotangent goes to, and the values that its rule saved."""

    __slots__ = ("cotangent", "dtype", "params", "parents", "primitive", "saved", "shape")

    def __init__(self, primitive: Any, parents: Any, saved: Any, params: Any, shape: Any, dtype: Any) -> None:
        self.primitive = primitive
        self.parents = parents
        self.saved = saved
        self.params = params
        self.shape = shape
        self.dtype = dtype  # None for a Python float, whose dtype is weak
        self.cotangent: Any = None


class TapeTracer(Tracer):
    """A value that an operation on the tape made."""

    __slots__ = ("node",)

    def __init__(self, level: Level, value: Any, node: Node) -> None:
        self.level = level
        self.value = value
        self.node = node


class Tape(Level):
    """The level of reverse mode. It records every differentiable operation on its tracers."""

    __slots__ = ("guard", "inputs", "nodes")

    def __init__(self, name: str, guard: Guard | None = None) -> None:
        super().__init__(name)
        self.nodes: list[Node] = []
        self.inputs: list[Node] = []
        self.guard = guard or Guard()

    def input(self, value: Any) -> TapeTracer:
        """A tracer for an input. The input's array must not change while the tape lives: see `Guard`."""
        node = Node(None, (), (), {}, shape_of(value), own_dtype(value))
        self.inputs.append(node)
        return TapeTracer(self, value, node)

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        values: list[Any] = []
        parents: list[Node | None] = []
        mask, active, bit = primitive.mask, 0, 1
        bottom, constants = True, False
        for arg in args:
            kind = arg.__class__
            if kind is TapeTracer and arg.level is self:
                value = arg.value
                values.append(value)
                bottom = bottom and not isinstance(value, Tracer)
                if mask & bit:
                    parents.append(arg.node)
                    active |= bit
                else:
                    parents.append(None)
            else:
                values.append(arg)
                parents.append(None)
                if kind is np.ndarray:
                    constants = True
                elif kind not in NUMBERS:
                    if isinstance(arg, Tracer):
                        bottom = False
                    else:
                        constants = True
            bit <<= 1
        if bottom:  # there is no tracer below, so no other level to hand the operation to
            try:
                y = primitive.impl(*values, **params)
            except (ValueError, TypeError, IndexError, Warning) as error:
                raise primitive.explained(values, error) from None
        else:
            y = primitive(*values, **params)
            if active and isinstance(y, Tracer):
                primitive = y.rule(primitive)
        if not active:
            return not_shared(y, values)
        saved = primitive.save(y, values, active, params)
        if constants:
            saved = self.guard.keep_saved(saved, args)
        try:
            node = Node(primitive, parents, saved, params, y.shape, y.dtype if bottom else own_dtype(y))
        except AttributeError:  # a Python number
            node = Node(primitive, parents, saved, params, (), own_dtype(y))
        self.nodes.append(node)
        return TapeTracer(self, y, node)

    def process_region(self, region: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        is_traced, values = tuple(map(self.owns, leaves)), list(map(self.below, leaves))
        outputs, residuals = region.save(is_traced, values)
        constants = [v for v, traced in zip(values, is_traced, strict=True) if not traced and isinstance(v, np.ndarray)]
        if constants:
            residuals = trees.map(
                lambda leaf: self.guard.keep(leaf) if any(leaf is v for v in constants) else leaf, residuals
            )
        parents = [leaf.node if traced else None for leaf, traced in zip(leaves, is_traced, strict=True)]
        rule: Any = _RegionRule(region, is_traced, list(outputs))
        below = next((y for y in outputs if isinstance(y, Tracer)), None)
        common = Node(rule if below is None else below.rule(rule), parents, residuals, {}, None, None)
        self.nodes.append(common)
        results: list[Any] = []
        for i, y in enumerate(outputs):
            if not trees.is_differentiable(y):
                results.append(y)
                continue
            node = Node(_Output(i, len(outputs)), [common], (), {}, shape_of(y), own_dtype(y))
            self.nodes.append(node)
            results.append(TapeTracer(self, y, node))
        return tuple(results)

    def kept(self) -> frozenset[int]:
        """The identities of the arrays that the rules saved, and of those that they are views of. Nobody can write into them."""
        arrays = [leaf for node in self.nodes for leaf in trees.leaves(node.saved) if isinstance(leaf, np.ndarray)]
        return frozenset(map(id, [*arrays, *[array.base for array in arrays if array.base is not None]]))

    def close(self) -> None:
        """Forget everything, and make the user's arrays writable again. It may be called twice."""
        self.alive = False
        self.guard.release()
        self.nodes.clear()

    def seed(self, node: Node, cotangent: Any) -> None:
        """Give the node of an output its cotangent, which `backward` starts from."""
        node.cotangent = cotangent if node.cotangent is None else node.cotangent + cotangent

    def backward(self, *, keep: bool) -> None:
        """Walk the tape back from the seeds. The cotangents of the inputs are in their nodes afterwards.

        Without `keep` the tape is empty afterwards, and each node is freed once it has been walked, with the arrays that its
        rule saved: unless a caller holds a later node, which holds its parents.
        """
        nodes = list(self.nodes) if keep else self.nodes
        try:
            while nodes:
                node = nodes.pop()
                cotangent = node.cotangent
                if cotangent is None:
                    continue
                node.cotangent = None
                primitive = node.primitive
                kind = cotangent.__class__
                if kind is Pieces or kind is tuple:
                    if primitive.piece is not None:
                        cotangent = _pieces(cotangent, node)
                        if cotangent.passes(node):
                            parent = node.parents[0]
                            parent.cotangent = _pieces(parent.cotangent, parent)
                            cotangent.pass_on(node, parent.cotangent)
                            continue
                    cotangent = _total(cotangent, node)
                if (piece := primitive.piece) is not None and piece.starts:
                    parent = node.parents[0]
                    if parent.cotangent is None:
                        parent.cotangent = cotangent, node
                    else:
                        parent.cotangent = _pieces(parent.cotangent, parent)
                        parent.cotangent.take(cotangent, node)
                    continue
                for parent, t in primitive.pull(cotangent, node):
                    if t.shape != parent.shape or t.dtype != parent.dtype:
                        t = fit(t, parent.shape, parent.dtype)
                    before = parent.cotangent
                    kind = before.__class__
                    if before is None:
                        parent.cotangent = t
                    elif kind is Pieces or kind is tuple or (t.__class__ is np.ndarray and t.nbytes >= LARGE):
                        parent.cotangent = _pieces(before, parent)
                        parent.cotangent.add(t)
                    else:
                        parent.cotangent = before + t
            for node in self.inputs:
                node.cotangent = _total(node.cotangent, node)
        except BaseException:
            for node in (*self.nodes, *self.inputs):
                node.cotangent = None
            raise


def _pieces(cotangent: Any, node: Node) -> Pieces:
    """What a node has of its cotangent, as a sum to which pieces can be added. A pair is one piece, and the node that reads it."""
    if cotangent.__class__ is Pieces:
        return cast(Pieces, cotangent)
    if cotangent.__class__ is not tuple:
        return Pieces(node.shape, node.dtype, cotangent)
    pieces = Pieces(node.shape, node.dtype)
    pieces.take(*cotangent)
    return pieces


def _total(cotangent: Any, node: Node) -> Any:
    """The whole cotangent of a node."""
    if cotangent.__class__ is tuple:
        t, reader = cotangent
        return put_back(t, reader, node.shape, node.dtype)
    return cotangent.total() if cotangent.__class__ is Pieces else cotangent


class _RegionRule(Primitive):
    """Pulls cotangents back through a region. Each call makes one, outside the registry."""

    def __init__(self, region: Any, is_traced: tuple[bool, ...], outputs: list[Any]) -> None:
        self.name, self.region, self.is_traced = region.name, region, is_traced
        self.outputs = outputs

    def pull(self, cotangent: Any, node: Any) -> Any:
        filled = [zeros_like(aval) if t is None else t for t, aval in zip(cotangent.parts, self.outputs, strict=True)]
        gradients = self.region.pull(self.is_traced, node.saved, filled)
        return [
            (parent, t)
            for parent, t in zip(node.parents, gradients, strict=True)
            if parent is not None and t is not None
        ]


class _Parts:
    """The cotangents of several results. Two of these are added part by part."""

    shape = dtype = None

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts

    def __add__(self, other: "_Parts") -> "_Parts":
        return _Parts(
            tuple(b if a is None else a if b is None else a + b for a, b in zip(self.parts, other.parts, strict=True))
        )


class _Output(Primitive):
    """One of several results. It hands its cotangent to the node that all of them share."""

    def __init__(self, position: int, count: int) -> None:
        self.name, self.position, self.count = "output", position, count

    def pull(self, cotangent: Any, node: Any) -> Any:
        parts = tuple(cotangent if i == self.position else None for i in range(self.count))
        return [(node.parents[0], _Parts(parts))]
