"""`custom_vjp`: a function whose derivative is given by its user."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import tree as trees
from ..core import Region, Tracer
from ..core.kinds import zeros_like
from ..errors import StructureError, describe
from .batching import vmap
from .reverse import conjugated, vjp

Flat = Callable[..., tuple[Any, ...]]


class custom_vjp:  # noqa: N801, a decorator
    """Decorator: give `function` a reverse-mode rule of its own, to any order, and under every other transform.

        @fd.custom_vjp
        def clipped(x): return x
        clipped.defvjp(lambda x: (x, None), lambda residuals, t: (fd.numpy.clip(t, -1, 1),))

    `forward(*args) -> (output, residuals)`; `backward(residuals, cotangent) -> a tuple, one entry an argument` (None for
    an argument without gradient). Forward mode follows from `backward`, which must be linear in the cotangent. Cotangents
    of complex numbers are those that `vjp` takes and gives.
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
        outputs = _Custom(name, flat_forward, flat_backward)(*leaves)
        return trees.unflatten(structure[0], outputs)


def _one_per_leaf(name: str, gradients: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(gradients, tuple) or len(gradients) != len(args):
        raise StructureError(f"the backward rule of {name} must return a tuple of {len(args)} gradients, got {describe(gradients)}.")
    flat: list[Any] = []
    for gradient, arg in zip(gradients, args, strict=True):
        leaves, treedef = trees.flatten(arg)
        flat += [None] * len(leaves) if gradient is None else treedef.flatten_up_to(gradient)
    return tuple(flat)


class _Custom(Region):
    """A function with its own rule: `function(*leaves) -> (results, residuals)` and `pull(residuals, cotangents) -> gradients`."""

    composed = True

    def __init__(self, name: str, function: Callable[..., Any], pull: Flat) -> None:
        self.name, self.function, self.pull = name, function, pull

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        outputs: tuple[Any, ...] = self.function(*leaves)[0]
        return outputs

    def forward(self, active: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        # The rule's own forward run is differentiable at the levels below: it runs there as it stands.
        outputs, residuals = self.function(*leaves)
        return outputs, residuals

    def backward(self, active: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        return conjugated(self.pull(residuals, conjugated(tuple(cotangents))))  # type: ignore[no-any-return]

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        outputs, residuals = self.function(*leaves)
        moving = [i for i, t in enumerate(tangents) if t is not None]

        def pulled(*cotangents: Any) -> tuple[Any, ...]:
            gradients = self.pull(residuals, cotangents)
            return tuple(zeros_like(leaves[i]) if gradients[i] is None else gradients[i] for i in moving)

        # The tangent map is the transpose of the linear map `pulled`, which its own pullback computes.
        _, transpose = vjp(pulled, *[zeros_like(y) for y in outputs])
        moved = transpose(tuple(tangents[i] for i in moving))
        transpose.release()
        return outputs, tuple(t if trees.is_differentiable(y) else None for y, t in zip(outputs, moved, strict=True))

    def batched(self, size: int, mine: tuple[bool, ...]) -> "_Custom":
        axes = tuple(0 if my else None for my in mine)

        def pull(residuals: Any, cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
            gradients = vmap(self.pull)(residuals, cotangents)
            # What is not batched serves every example: its gradient is the sum over the batch.
            return tuple(t if t is None or axis == 0 else t.sum(axis=0) for t, axis in zip(gradients, axes, strict=True))

        return _Custom(self.name, vmap(self.function, axes), pull)
