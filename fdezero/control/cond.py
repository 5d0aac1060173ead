"""`cond`: a branch that a value chooses, compiled, differentiated and batched as a branch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..compiler.program import Program, program_of
from ..compiler.recording.examples import example_of, of_leaves, ones_like
from ..compiler.recording.record import Record, is_structured, owned, record_unrun
from ..core import Region
from ..core.cotangents import chosen, merged, zeros_like
from ..devices import CPU, backend_named
from ..errors import DTypeError, ShapeError
from ..messages import describe
from ..transforms import vmap
from ..transforms.arguments import name_of
from ..transforms.batching import in_axes_of
from ..values import dtype_of, is_inexact, shape_of


class Cond(Region):
    """`yes(*leaves)` or `no(*leaves)`, chosen by the first leaf. Both take the other leaves and return the same kinds of results."""

    def __init__(self, yes: Program, no: Program) -> None:
        self.name, self.yes, self.no = "cond", yes, no

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return owned((self.yes if leaves[0] else self.no).run(*leaves[1:]), leaves)

    def steps(self, *leaves: Any) -> tuple[Any, ...]:
        return (self.yes if leaves[0] else self.no)(*leaves[1:])

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        rules = [branch.reverse(is_traced[1:], leaves[1:]) for branch in (self.yes, self.no)]
        count = len(self.yes.graph.outputs)
        examples = [example_of(leaf) for leaf in leaves[1:]]
        zeros = [[_zeros(v) for v in out.graph.outputs[count:]] for out, _ in rules]

        def padded(which: int) -> Program:
            # Each branch returns the residuals of both branches, with zeros for those of the other branch.
            def run(*given: Any) -> tuple[Any, ...]:
                results = rules[which][0](*given)
                residuals = list(zeros)
                residuals[which] = list(results[count:])
                return (*results[:count], *residuals[0], *residuals[1])

            return program_of(run, examples, "cond_forward")

        results = Cond(padded(0), padded(1))(*leaves)
        return results[:count], (leaves[0], results[count:], rules)

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        choice, saved, ((_, (yes, is_active, is_floating)), (_, (no, _, _))) = residuals
        given = chosen(cotangents, is_floating)
        n = len(yes.graph.inputs) - len(given)
        examples = [example_of(leaf) for leaf in (*saved, *given)]
        of_yes = program_of(lambda *all_given: yes(*all_given[:n], *all_given[len(saved) :]), examples, "cond_backward")
        of_no = program_of(lambda *all_given: no(*all_given[n:]), examples, "cond_backward")
        return (None, *merged(is_active, Cond(of_yes, of_no)(choice, *saved, *given)))

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        moved = [
            i for i, t in enumerate(tangents) if i and t is not None and trees.is_differentiable(example_of(leaves[i]))
        ]
        n = len(leaves) - 1

        def pushed(branch: Program) -> Program:
            def run(*given: Any) -> tuple[Any, ...]:
                ts: list[Any] = [None] * n
                for i, t in zip(moved, given[n:], strict=True):
                    ts[i - 1] = t
                ys, dys = branch.push(given[:n], ts)
                return (*ys, *[zeros_like(y) if dy is None else dy for y, dy in zip(ys, dys, strict=True)])

            return program_of(run, [example_of(leaf) for leaf in given], "cond_jvp")

        given = [*leaves[1:], *[tangents[i] for i in moved]]
        results = Cond(pushed(self.yes), pushed(self.no))(leaves[0], *given)
        count = len(self.yes.graph.outputs)
        is_floating = [is_inexact(atom.dtype) for atom in self.yes.graph.outputs]
        return results[:count], tuple(
            [t if floating else None for t, floating in zip(results[count:], is_floating, strict=True)]
        )

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        axes = in_axes_of(is_batched)

        def run(*leaves: Any) -> tuple[Any, ...]:
            if is_batched[0]:  # each member chooses for itself, so both branches are computed

                def both(choice: Any, *given: Any) -> tuple[Any, ...]:
                    return tuple(
                        [np.where(choice, a, b) for a, b in zip(self.yes(*given), self.no(*given), strict=True)]
                    )

                return vmap(both, axes)(*leaves)
            examples = [example_of(leaf) for leaf in leaves[1:]]
            branches = [
                program_of(vmap(branch.evaluate, axes[1:]), examples, "cond_vmap") for branch in (self.yes, self.no)
            ]
            return Cond(*branches)(*leaves)

        return run


def _zeros(atom: Any) -> Any:
    if atom.kind != "array":
        return atom.dtype.type(0)
    if backend_named(atom.device) is not CPU:
        return zeros_like(ones_like(atom))
    return np.zeros(atom.shape, atom.dtype)


def cond(predicate: Any, yes: Callable[..., Any], no: Callable[..., Any], *operands: Any) -> Any:
    """`yes(*operands)` if `predicate`, a scalar, is true, and `no(*operands)` otherwise. Both return the same tree of the same kinds.

    Eagerly only the chosen branch is called. Within `fd.compile` both are recorded and one runs; operations on values of the closure
    alone run before. Under `vmap` over the predicate both are computed, and each member takes its own result. Derivatives of both
    modes follow the branch that was taken.

    Raises StructureError, ShapeError or DTypeError if the results of the branches differ.
    """
    name = name_of("cond", yes)
    if shape_of(predicate) != ():
        raise ShapeError(
            f"{name}: the predicate must be a scalar, got {describe(predicate)}. Entry by entry, use fd.numpy.where."
        )
    if not is_structured(predicate):
        return (yes if predicate else no)(*operands)
    leaves, treedef = trees.flatten(operands)
    examples = [example_of(leaf) for leaf in leaves]

    def recorded(branch: Callable[..., Any]) -> tuple[Record, Any]:
        flat, structure = of_leaves(lambda args: branch(*args), treedef, leaves, range(len(leaves)))
        made = record_unrun(flat, examples, name)
        return made, trees.unflatten(structure[0], made.outputs)

    made, results = zip(*map(recorded, (yes, no)), strict=True)
    _check_alike(name, *results)
    n, t = len(leaves), len(made[0].captures)
    captures = [*made[0].captures, *made[1].captures]
    more = [*examples, *[example_of(leaf) for leaf in captures]]
    first, second = Program(made[0].graph), Program(made[1].graph)
    of_yes = program_of(lambda *g: first(*g[: n + t]), more, name)
    of_no = program_of(lambda *g: second(*g[:n], *g[n + t :]), more, name)
    return trees.unflatten(trees.flatten(results[0])[1], Cond(of_yes, of_no)(predicate, *leaves, *captures))


def _check_alike(name: str, yes: Any, no: Any) -> None:
    if trees.flatten(yes)[1] != trees.flatten(no)[1]:
        raise trees.structure_error(
            yes, no, f"the result of the first branch of {name}", "the result of the second branch"
        )
    for (path, a), b in zip(trees.flatten_with_path(yes), trees.leaves(no), strict=True):
        text = f"{name}: the result {path or 'itself'} is {describe(a)} in one branch and {describe(b)} in the other"
        if shape_of(a) != shape_of(b):
            raise ShapeError(f"{text}; the shapes must be equal.")
        if dtype_of(a) != dtype_of(b):
            raise DTypeError(f"{text}; the dtypes must be equal: use .astype on one of them.")
