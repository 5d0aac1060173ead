"""`while_loop`: rounds until a condition fails, recorded as one operation that has forward mode and a batched form."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..compiler.program import Program, program_of
from ..compiler.recording.examples import example_of, of_leaves
from ..compiler.recording.record import is_structured, owned, record_unrun, tried, unheard
from ..compiler.release import rest
from ..core import Region
from ..core.cotangents import filled, merged, zeros_like
from ..errors import ShapeError, TraceError
from ..messages import describe
from ..transforms import vmap
from ..transforms.arguments import name_of
from ..transforms.batching import in_axes_of
from .scan import check_carry, is_number, promoted, repeated


class While(Region):
    """`while condition(*carry, *constants): carry = body(*carry, *constants)`. Leaves: carry, constants; results: carry."""

    def __init__(self, condition: Program, body: Program, carries: int) -> None:
        self.name, self.condition, self.body, self.carries = "while_loop", condition, body, carries

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        carry, constants = leaves[: self.carries], leaves[self.carries :]
        while self.condition.run(*carry, *constants)[0]:
            carry = self.body.run(*carry, *constants)
        rest(self.body, self.condition)
        return owned(carry, leaves)

    def steps(self, *leaves: Any) -> tuple[Any, ...]:
        carry, constants = leaves[: self.carries], leaves[self.carries :]
        while self.condition(*carry, *constants)[0]:
            carry = self.body(*carry, *constants)
        return carry

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        raise TraceError(
            "while_loop has no reverse mode inside fd.compile, because the number of rounds is not known in advance. Use fd.scan with a "
            "fixed length and fd.numpy.where, or forward mode (fd.jvp)."
        )

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        c = self.carries
        pairs = enumerate(zip(leaves, tangents, strict=True))
        is_active = [trees.is_differentiable(example_of(x)) and (t is not None or i < c) for i, (x, t) in pairs]
        ts = filled(leaves, tangents, is_active)
        moved = [i for i in range(c) if is_active[i]]
        given = [*leaves[:c], *[ts[i] for i in moved], *leaves[c:], *[t for t in ts[c:] if t is not None]]
        both, n = c + len(moved), len(leaves)

        def parts(all_given: Sequence[Any]) -> tuple[list[Any], list[Any]]:
            xs = [*all_given[:c], *all_given[both : both + n - c]]
            return xs, merged(is_active, [*all_given[c:both], *all_given[both + n - c :]])

        def round_forward(*all_given: Any) -> tuple[Any, ...]:
            ys, dys = self.body.push(*parts(all_given))
            return (*ys, *[zeros_like(ys[i]) if dys[i] is None else dys[i] for i in moved])

        examples = [example_of(leaf) for leaf in given]
        condition = program_of(lambda *g: self.condition(*parts(g)[0]), examples, "condition")
        results = While(condition, program_of(round_forward, examples, "while_jvp"), both)(*given)
        found = dict(zip(moved, results[c:], strict=True))
        return results[:c], tuple([found.get(i) for i in range(c)])

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        def run(*leaves: Any) -> tuple[Any, ...]:
            c = self.carries
            carry = [x if batched else repeated(x, size) for x, batched in zip(leaves[:c], is_batched[:c], strict=True)]
            axes = in_axes_of([*[True] * c, *is_batched[c:]])

            def chosen(*given: Any) -> tuple[Any, ...]:
                going = self.condition.evaluate(*given)[0]
                return tuple(
                    [np.where(going, new, old) for new, old in zip(self.body.evaluate(*given), given[:c], strict=True)]
                )

            given = [*carry, *leaves[c:]]
            examples = [example_of(leaf) for leaf in given]
            condition = program_of(
                lambda *g: (np.any(vmap(self.condition.evaluate, axes)(*g)[0]),), examples, "condition"
            )
            return While(condition, program_of(vmap(chosen, axes), examples, "while_vmap"), c)(*given)

        return run


def while_loop(condition: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any) -> Any:
    """The carry after `while condition(carry): carry = body(carry)`. The carry keeps its structure, shapes and dtypes.

    A Python number in it takes the dtype that it has after a round.

    Within `fd.compile` the loop is one operation. It supports forward mode and vmap; reverse mode works only outside `fd.compile`,
    where it is a Python loop. Raises StructureError or ShapeError if a round changes the carry.
    """
    name = name_of("while_loop", body)
    going, structured = _tested(condition, carry)
    if getattr(going, "shape", ()) != ():
        raise ShapeError(f"{name}: the condition must be a scalar, got {describe(going)}. Use .any() or .all().")
    while not structured:
        if not going:
            return carry
        following = body(carry)
        if (strong := promoted(carry, following)) is not None:
            carry, following = strong, body(strong)
        check_carry(name, carry, following)
        carry = following
        going, structured = _tested(condition, carry)
    return _structured(name, condition, body, carry)


def _tested(condition: Callable[[Any], Any], carry: Any) -> tuple[Any, bool]:
    """The condition's result, and whether the loop is one operation from here on. If so, the condition is asked again in its rounds."""
    if any(map(is_structured, trees.leaves(carry))):
        return unheard(tried, condition, carry), True
    going = tried(condition, carry)
    return going, is_structured(going)


def _structured(name: str, condition: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any) -> Any:
    leaves, treedef = trees.flatten(carry)
    examples = [example_of(leaf) for leaf in leaves]
    if any(map(is_number, leaves)):
        probe, structure = of_leaves(body, treedef, leaves, range(len(leaves)))
        following = record_unrun(probe, examples, name).outputs
        if (strong := promoted(carry, trees.unflatten(structure[-1], following))) is not None:
            return _structured(name, condition, body, strong)

    def round_(*given: Any) -> list[Any]:
        new = body(trees.unflatten(treedef, given))
        check_carry(name, trees.unflatten(treedef, given), new)
        return trees.leaves(new)

    tested = record_unrun(lambda *given: (condition(trees.unflatten(treedef, given)),), examples, "condition")
    made = record_unrun(round_, examples, name)
    # Both programs take one list of constants; each ignores the constants of the other.
    t, b, c = len(tested.captures), len(made.captures), len(leaves)
    more = [example_of(leaf) for leaf in (*tested.captures, *made.captures)]
    whole, once = Program(tested.graph), Program(made.graph)
    condition_program = program_of(lambda *g: whole(*g[: c + t]), [*examples, *more], "condition")
    body_program = program_of(lambda *g: once(*g[:c], *g[c + t : c + t + b]), [*examples, *more], name)
    results = While(condition_program, body_program, c)(*leaves, *tested.captures, *made.captures)
    return trees.unflatten(treedef, results)
