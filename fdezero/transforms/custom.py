"""`custom_vjp`: a function whose derivative is given by its user."""

import functools
from collections.abc import Callable
from typing import Any

from .. import tree as trees
from ..core import Primitive, Tracer
from ..core.batch import Batch, BatchTracer
from ..core.forward import Forward, ForwardTracer, match
from ..core.kinds import zeros_like
from ..core.tape import Node, Tape, TapeTracer
from ..errors import StructureError, TraceError, describe
from .batching import vmap
from .reverse import vjp

Flat = Callable[..., tuple[Any, ...]]


class custom_vjp:  # noqa: N801, a decorator
    """Decorator: give `function` a reverse-mode rule of its own, to any order, and under every other transform.

        @fd.custom_vjp
        def clipped(x): return x
        clipped.defvjp(lambda x: (x, None), lambda residuals, t: (fd.numpy.clip(t, -1, 1),))

    `forward(*args) -> (output, residuals)`; `backward(residuals, cotangent) -> a tuple, one entry an argument` (None for
    an argument without gradient). Forward mode follows from `backward`, which must be linear in the cotangent.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.forward: Callable[..., Any] | None = None
        self.backward: Callable[..., Any] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Set the rule."""
        self.forward, self.backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        name = getattr(self.function, "__name__", "custom_vjp")
        if self.forward is None or self.backward is None:
            raise StructureError(f"{name} has no rule yet: call {name}.defvjp(forward, backward).")
        leaves, treedef = trees.flatten(args)
        forward, backward = self.forward, self.backward
        structure: list[Any] = [None]

        def flat_forward(*leaves: Any) -> tuple[tuple[Any, ...], Any]:
            output, residuals = forward(*trees.unflatten(treedef, leaves))
            out_leaves, structure[0] = trees.flatten(output)
            return tuple(out_leaves), residuals

        def flat_backward(residuals: Any, cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
            gradients = backward(residuals, trees.unflatten(structure[0], cotangents))
            return _one_per_leaf(name, gradients, args)

        if not any(isinstance(leaf, Tracer) for leaf in leaves):
            return self.function(*args)
        outputs = _call(name, flat_forward, flat_backward, leaves)
        return trees.unflatten(structure[0], outputs)


def _one_per_leaf(name: str, gradients: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(gradients, tuple) or len(gradients) != len(args):
        raise StructureError(f"the backward rule of {name} must return a tuple of {len(args)} gradients, got {describe(gradients)}.")
    flat: list[Any] = []
    for gradient, arg in zip(gradients, args, strict=True):
        leaves, treedef = trees.flatten(arg)
        flat += [None] * len(leaves) if gradient is None else treedef.flatten_up_to(gradient)
    return tuple(flat)


def _call(name: str, forward: Callable[..., Any], backward: Flat, leaves: list[Any]) -> tuple[Any, ...]:
    """The outputs of the rule's forward function, interpreted by the innermost level among `leaves`."""
    level = max((leaf.level for leaf in leaves if isinstance(leaf, Tracer)), key=lambda level: level.serial, default=None)
    if level is None:
        outputs: tuple[Any, ...] = forward(*leaves)[0]
        return outputs
    if not level.alive:
        level.refuse_escaped(tuple(leaves))
    mine = [isinstance(leaf, Tracer) and leaf.level is level for leaf in leaves]
    values = [leaf.value if my else leaf for leaf, my in zip(leaves, mine, strict=True)]
    match_level: dict[type, Callable[..., tuple[Any, ...]]] = {Tape: _on_tape, Forward: _forwards, Batch: _batched}
    if type(level) not in match_level:
        raise TraceError(f"{name} cannot be traced by {level.name}.")
    return match_level[type(level)](name, forward, backward, level, leaves, values, mine)


class _Rule(Primitive):
    """What a node of the tape asks: how to pull a cotangent back. One for each call, outside the registry."""

    def __init__(self, name: str, backward: Flat, avals: list[Any]) -> None:
        self.name, self.backward, self.avals = name, backward, avals

    def pull(self, cotangent: Any, node: Any) -> Any:
        return [(node.parents[0], cotangent)] if node.saved == () else self._pull_all(cotangent, node)

    def _pull_all(self, cotangents: Any, node: Any) -> Any:
        filled = tuple(
            zeros_like(aval) if t is None else t for t, aval in zip(cotangents.parts, self.avals, strict=True)
        )
        gradients = self.backward(node.saved[0], filled)
        return [(parent, t) for parent, t in zip(node.parents, gradients, strict=True) if parent is not None and t is not None]


class _Parts:
    """The cotangents of several outputs, which add up part by part."""

    shape = dtype = None

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts

    def __add__(self, other: "_Parts") -> "_Parts":
        return _Parts(tuple(b if a is None else a if b is None else a + b for a, b in zip(self.parts, other.parts, strict=True)))


class _Output(Primitive):
    """One of several outputs: hands its cotangent to the common node in its place."""

    def __init__(self, position: int, count: int) -> None:
        self.name, self.position, self.count = "output", position, count

    def pull(self, cotangent: Any, node: Any) -> Any:
        parts = tuple(cotangent if i == self.position else None for i in range(self.count))
        return [(node.parents[0], _Parts(parts))]


def _on_tape(
    name: str, forward: Callable[..., Any], backward: Flat, level: Tape, leaves: list[Any], values: list[Any], mine: list[bool]
) -> tuple[Any, ...]:
    residuals: list[Any] = [None]

    def keep_residuals(*values: Any) -> Any:
        outputs, residuals[0] = forward(*values)
        return outputs, residuals[0]

    # The rule's own forward run is differentiable at the levels below: it runs there as it stands.
    outputs = keep_residuals(*values)[0]
    for leaf in trees.leaves(residuals[0]):
        if any(leaf is value for value, my in zip(values, mine, strict=True) if not my):
            level.guard.hold(leaf)
    parents = [leaf.node if my else None for leaf, my in zip(leaves, mine, strict=True)]
    common = Node(_Rule(name, backward, list(outputs)), parents, (residuals[0],), {}, None, None)
    level.nodes.append(common)
    traced: list[Any] = []
    for i, y in enumerate(outputs):
        if not trees.is_differentiable(y):
            traced.append(y)
            continue
        node = Node(_Output(i, len(outputs)), [common], (), {}, getattr(y, "shape", ()), getattr(y, "dtype", None))
        level.nodes.append(node)
        traced.append(TapeTracer(level, y, node))
    return tuple(traced)


def _forwards(
    name: str, forward: Callable[..., Any], backward: Flat, level: Forward, leaves: list[Any], values: list[Any], mine: list[bool]
) -> tuple[Any, ...]:
    outputs, residuals = forward(*values)
    moving = [i for i, my in enumerate(mine) if my]

    def pulled(*cotangents: Any) -> tuple[Any, ...]:
        gradients = backward(residuals, cotangents)
        return tuple(zeros_like(values[i]) if gradients[i] is None else gradients[i] for i in moving)

    # The tangent map is the transpose of the linear map `pulled`, which its own pullback computes.
    _, transpose = vjp(pulled, *[zeros_like(y) for y in outputs])
    tangents = transpose(tuple(match(leaves[i].tangent, values[i]) for i in moving))
    return tuple(
        ForwardTracer(level, y, t) if trees.is_differentiable(y) and t is not None else y
        for y, t in zip(outputs, tangents, strict=True)
    )


def _batched(
    name: str, forward: Callable[..., Any], backward: Flat, level: Batch, leaves: list[Any], values: list[Any], mine: list[bool]
) -> tuple[Any, ...]:
    axes = tuple(0 if my else None for my in mine)
    batched_forward = vmap(forward, axes)

    def batched_backward(residuals: Any, cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
        gradients = vmap(backward)(residuals, cotangents)
        # What is not batched serves every example: its gradient is the sum over the batch.
        return tuple(
            t if t is None or axis == 0 else t.sum(axis=0) for t, axis in zip(gradients, axes, strict=True)
        )

    outputs = _call(name, batched_forward, batched_backward, values)
    return tuple(BatchTracer(level, y) for y in outputs)
