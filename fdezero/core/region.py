"""`Region`: an operation of several results that keeps its structure under every transform.

A program, a loop, a branch, a function with a rule of its own: each tells how it is run, differentiated and batched as a
whole, and the levels ask it, as they ask primitives.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import TraceError
from .tracer import Level, Tracer

Leaves = Sequence[Any]


class Region:
    """Leaves in, a tuple of leaves out. Calling it hands it to the innermost transform among the leaves."""

    name: str
    composed = False  # whether `run` is made of operations that may stand in a program in its place
    fresh = False  # whether no result is ever a view of a leaf, as for primitives

    def __call__(self, *leaves: Any) -> tuple[Any, ...]:
        top: Level | None = None
        for leaf in leaves:
            if isinstance(leaf, Tracer) and (top is None or leaf.level.serial > top.serial):
                top = leaf.level
        if top is None:
            return self.run(*leaves)
        if not top.alive:
            top.refuse_escaped(leaves)
        results = top.process_region(self, leaves)
        if any(isinstance(y, Tracer) and isinstance(y.value, Tracer) and y.value.level is top for y in results):
            raise TraceError(
                f"{self.name} reaches a value traced by {top.name} through its closure, where its rule does not see it, and a derivative "
                "or a batch would be wrong. Give it as an argument."
            )
        return results

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        """The results, from plain values."""
        raise NotImplementedError

    def steps(self, *leaves: Any) -> tuple[Any, ...] | None:
        """`run` on values of which every operation is looked at; None where it cannot be opened, and is looked at as a whole."""
        return self.run(*leaves) if self.composed else None

    def save(self, is_traced: tuple[bool, ...], leaves: Leaves) -> tuple[tuple[Any, ...], Any]:
        """Reverse mode, on the way out: the results, and the residuals that `pull` needs for the leaves that are traced."""
        raise NotImplementedError

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Leaves) -> tuple[Any, ...]:
        """Reverse mode, on the way back: one cotangent a leaf, None for a leaf that is not traced or gets none."""
        raise NotImplementedError

    def push(self, leaves: Leaves, tangents: Leaves) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Forward mode: the results and their tangents; a tangent is None where a leaf, or a result, has none."""
        raise NotImplementedError

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        """The region over a batch axis of `size`, in front of the leaves that are batched and of every result."""
        raise NotImplementedError
