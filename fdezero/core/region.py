"""`Region`: an operation with several results that stays one operation under every transform.

Programs, loops, branches and functions with rules of their own are regions. A region says how it is run, differentiated and
batched as a whole. Levels ask a region for these rules as they ask a primitive.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import TraceError
from .tracer import Level, Tracer

Leaves = Sequence[Any]


class Region:
    """Takes leaves and returns a tuple of leaves. A call goes to the innermost transform among the leaves."""

    name: str
    composed = False  # whether a program may contain the operations of `run` in place of the region
    fresh = False  # whether no result is ever a view of a leaf, as for primitives
    in_place = False  # whether `run(*leaves, into=...)` may get leaf i as the array for result i

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
                f"{self.name} uses a value traced by {top.name} from its closure. Its rule does not know that value, so derivatives and "
                "batches would be wrong. Pass the value as an argument."
            )
        return results

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        """The results, from plain values."""
        raise NotImplementedError

    def filled(self, results: Sequence[Any]) -> tuple[int, ...]:
        """The positions of results that `run(*leaves, into=...)` writes into given arrays, by what a program knows of its results.

        `into` has an array, or None, for each result. What it returns at the positions of arrays has no meaning.
        """
        return ()

    def lifted(self, instruction: Any, read: Any, free: bool) -> Any:
        """In a program: instructions that do what this one does, and atoms in place of its results. None leaves it as it is.

        A loop takes out of its rounds what all of them share. `read` are the results that are read; sums may be taken in another
        order if the program is `free`.
        """
        return None

    def steps(self, *leaves: Any) -> tuple[Any, ...] | None:
        """Like `run`, but operation by operation, for levels that watch each one. None if the region cannot be opened."""
        return self.run(*leaves) if self.composed else None

    def save(self, is_traced: tuple[bool, ...], leaves: Leaves) -> tuple[tuple[Any, ...], Any]:
        """Reverse mode, first half: the results, and the residuals that `pull` needs for the traced leaves."""
        raise NotImplementedError

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Leaves) -> tuple[Any, ...]:
        """Reverse mode, second half: one cotangent for each leaf, or None for a leaf that gets none."""
        raise NotImplementedError

    def push(self, leaves: Leaves, tangents: Leaves) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Forward mode: the results and their tangents. None stands for a tangent that a leaf or a result does not have."""
        raise NotImplementedError

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        """The region for a batch of `size`. The batch axis is in front of the batched leaves and of every result."""
        raise NotImplementedError
