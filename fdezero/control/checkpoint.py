"""`checkpoint`: a function whose intermediate values are computed again on the way back, instead of kept."""

from collections.abc import Callable, Sequence
from typing import Any

from .. import tree as trees
from ..compiler.passes.talking import any_talks
from ..compiler.program import Program, program_of
from ..compiler.recording.examples import example_of, of_leaves
from ..compiler.recording.record import is_recorded, record, unheard
from ..compiler.release import release
from ..core import Region, Tracer
from ..core.cotangents import chosen, merged
from ..core.owners import lent
from ..core.tape import TapeTracer
from ..core.wrapping import Transformed
from ..messages import called
from ..ops.shape import fence
from ..transforms import jvp, vmap
from ..transforms.batching import in_axes_of
from ..transforms.reverse import pulled_back


class _Checkpoint(Region):
    """A program for which a tape keeps only the leaves."""

    def __init__(self, program: Program, first: tuple[Any, ...] | None) -> None:
        self.name, self.graph, self.program, self.first = "checkpoint", program.graph, program, first

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return self.program.evaluate(*leaves) if self.first is None else self.first

    def steps(self, *leaves: Any) -> tuple[Any, ...]:
        return self.program.evaluate(*leaves)

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        # Call the region again, so that an outer tape keeps only the leaves as well.
        return self(*leaves), list(leaves)

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        is_active = [
            traced and trees.is_differentiable(leaf) for traced, leaf in zip(is_traced, residuals, strict=True)
        ]
        given = tuple([t for t in cotangents if trees.is_differentiable(t)])
        seed = next(filter(is_recorded, given), given[0])  # a cotangent that is missing is a plain array of zeros
        # The fence stops the compiler from reusing the first computation, whose values would have to be kept.
        again = [_behind(lent(leaf, private=True), seed) for leaf in residuals]

        def of_active(*given: Any) -> tuple[Any, ...]:
            ys = self.program.evaluate(*merged(is_active, given, again))
            return tuple([y for y in ys if trees.is_differentiable(y)])

        _, pullback = pulled_back(self.name, of_active, chosen(again, is_active))
        gradients = pullback.transposed(given)
        pullback.release()
        release(self.graph)
        return tuple(merged(is_active, gradients))

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        values, moved = jvp(self.program.evaluate, tuple(leaves), tuple(tangents))
        return values, tuple([t if trees.is_differentiable(y) else None for y, t in zip(values, moved, strict=True)])

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        mapped = vmap(self.program.evaluate, in_axes_of(is_batched))

        def run(*leaves: Any) -> tuple[Any, ...]:
            return _Checkpoint(program_of(mapped, [example_of(leaf) for leaf in leaves], "checkpoint"), None)(*leaves)

        return run


def _behind(leaf: Any, seed: Any) -> Any:
    if not (is_recorded(leaf) or is_recorded(seed)) or not hasattr(leaf, "shape"):
        return leaf
    return fence(leaf, seed, ndim=len(leaf.shape), after=len(seed.shape))


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, for which reverse mode keeps only the arguments and computes the rest again on the way back.

    You save memory and pay for one more forward run, eagerly and within `fd.compile`. Values in the function's closure also get
    their derivatives. Source: Griewank and Walther, ACM Trans. Math. Softw. 26 (2000) 19.
    """

    def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaves, treedef = trees.flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "shape") or type(leaf) in (int, float, complex)]
        flat, structure = of_leaves(lambda tree: function(*tree[0], **tree[1]), treedef, leaves, places)
        # In silence: whether the program asks other processes is known only when it is recorded, and then it runs again.
        made = unheard(record, flat, [example_of(leaves[i]) for i in places], called(function))
        inputs = [*[leaves[i] for i in places], *made.captures]
        release(made.graph)  # a loop would keep its memory for another run, until the tape lets go of this region
        plain = not any(_below_a_tape(leaf) for leaf in inputs) and not any_talks(made.graph)
        return trees.unflatten(structure[0], _Checkpoint(Program(made.graph), made.outputs if plain else None)(*inputs))

    return Transformed(checkpoint, function, run)


def _below_a_tape(leaf: Any) -> bool:
    """Whether anything but a single tape traces the value, so that the recording's results cannot be used as the results."""
    return isinstance(leaf, Tracer) and not (isinstance(leaf, TapeTracer) and not isinstance(leaf.value, Tracer))
