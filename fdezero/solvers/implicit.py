"""`custom_root` and `custom_linear_solve`: solutions of equations, differentiated by the implicit function theorem.

They stand on this floor because an equation's parameters mostly come through the closure, which recording makes explicit.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .. import tree as trees
from ..compiler.recording.closures import closure_converted
from ..core import Region
from ..core.cotangents import zeros_like
from ..errors import StructureError
from ..messages import describe
from ..numpy.arguments import as_array
from ..transforms import jvp, stop_gradient, vjp, vmap
from ..transforms.batching import in_axes_of, over_the_batch
from ..transforms.reverse import conjugated
from ..values import shape_of

Solve = Callable[[Callable[[Any], Any], Any], Any]


class _Solution(Region):
    """What a user's solver finds; leaves: `count` of them a tree, the right side or the guess, and then what was captured."""

    composed = True

    def __init__(self, name: str, pure: Callable[..., Any], solve: Solve, treedef: Any, count: int) -> None:
        self.name, self.pure, self.solve, self.treedef, self.count = name, pure, solve, treedef, count

    def split(self, leaves: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """The tree, and what was captured."""
        return trees.unflatten(self.treedef, leaves[: self.count]), tuple(leaves[self.count :])

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        given, captured = self.split(leaves)
        found = self.solve(lambda x: self.pure(captured, x), given)
        self.check(given, found, "solve")
        # A solver's own closure may hold traced values; the derivative does not go through the solver.
        return tuple(trees.leaves(stop_gradient(found)))

    def check(self, given: Any, found: Any, what: str) -> None:
        """StructureError unless what was found is a tree like what was given."""
        if trees.flatten(found)[1] != self.treedef:
            raise trees.structure_error(given, found, f"{self.name}: what was given", f"what {what} returned")
        for (path, a), b in zip(trees.flatten_with_path(given), trees.leaves(found), strict=True):
            if shape_of(a) != shape_of(b):
                where = f" at {path!r}" if path else ""
                raise StructureError(f"{self.name}: {what} returned {describe(b)}{where} where {describe(a)} was given.")

    def moved(self, leaves: Sequence[Any], tangents: Sequence[Any], x: Any) -> Any:
        """How `pure` at x moves with what was captured, or None if nothing of it does."""
        _, captured = self.split(leaves)
        directions = tuple(tangents[self.count :])
        if all(t is None for t in directions):
            return None
        return jvp(lambda captured: self.pure(captured, x), (captured,), (directions,))[1]

    def pulled(self, leaves: Sequence[Any], x: Any, cotangent: Any) -> tuple[Any, ...]:
        """The cotangents of what was captured: minus those of `pure` at x."""
        _, captured = self.split(leaves)
        if not any(map(trees.is_differentiable, captured)):
            return (None,) * len(captured)
        _, pullback = vjp(lambda captured: self.pure(captured, x), captured)
        (gradients,) = pullback(trees.map(lambda t: -t, cotangent))
        pullback.release()
        return tuple(gradients)

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        x = self(*leaves)
        return x, (x, tuple(leaves))

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Region:
        return _Mapped(self, is_batched)


class _LinearSolve(_Solution):
    """x with `pure(captured, x) = b`, linear in x; leaves: b, captured. `transposed` solves with the transposed map."""

    def __init__(self, pure: Any, solve: Solve, transposed: Solve | None, symmetric: bool, treedef: Any, count: int) -> None:
        super().__init__("custom_linear_solve", pure, solve, treedef, count)
        self.transposed, self.symmetric = transposed, symmetric

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        x, leaves = residuals
        multipliers = self.transpose()(*conjugated(tuple(cotangents)), *leaves[self.count :])
        x, cotangent = trees.unflatten(self.treedef, x), trees.unflatten(self.treedef, multipliers)
        return conjugated((*multipliers, *self.pulled(leaves, x, cotangent)))

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        x = self(*leaves)  # A x = b, so A dx = db - dA x
        right = [zeros_like(b) if t is None else t for b, t in zip(leaves[: self.count], tangents[: self.count], strict=True)]
        change = self.moved(leaves, tangents, trees.unflatten(self.treedef, x))
        if change is not None:
            right = [t - c for t, c in zip(right, trees.leaves(change), strict=True)]
        return x, self(*right, *leaves[self.count :])

    def transpose(self) -> "_LinearSolve":
        """The solution of the transposed equation."""
        if self.symmetric:
            return self
        if self.transposed is None:
            raise StructureError(
                "custom_linear_solve: reverse mode solves the transposed equation, and there is no transpose_solve. Give one, which may be "
                "the solver itself, if it solves with any linear map; or say symmetric=True."
            )

        def pure(captured: Any, u: Any) -> Any:
            _, pullback = vjp(lambda x: self.pure(captured, x), trees.map(zeros_like, u))
            found = pullback(u)[0]
            pullback.release()
            return found

        return _LinearSolve(pure, self.transposed, self.solve, False, self.treedef, self.count)


class _Root(_Solution):
    """x with `pure(captured, x) = 0`; leaves: the guess, captured."""

    def __init__(self, pure: Any, solve: Solve, tangent_solve: Solve, treedef: Any, count: int) -> None:
        super().__init__("custom_root", pure, solve, treedef, count)

        def derivative(captured: Any, v: Any) -> Any:
            x, captured = self.split(captured)
            return jvp(lambda x: pure(captured, x), (x,), (v,))[1]

        self.tangents = _LinearSolve(derivative, tangent_solve, tangent_solve, False, treedef, count)

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        x, leaves = residuals
        multipliers = self.tangents.transpose()(*conjugated(tuple(cotangents)), *x, *leaves[self.count :])
        x, cotangent = trees.unflatten(self.treedef, x), trees.unflatten(self.treedef, multipliers)
        return (*[None] * self.count, *conjugated(self.pulled(leaves, x, cotangent)))

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        x = self(*leaves)  # F(x, c) = 0, so dF/dx dx = -dF/dc dc
        change = self.moved(leaves, tangents, trees.unflatten(self.treedef, x))
        if change is None:
            return x, (None,) * self.count
        return x, self.tangents(*[-t for t in trees.leaves(change)], *x, *leaves[self.count :])


class _Mapped(Region):
    """A region over a batch, whose rules are its rules, mapped."""

    composed = True

    def __init__(self, region: Region, is_batched: tuple[bool, ...]) -> None:
        self.name, self.region = region.name, region
        self.axes = in_axes_of(is_batched)

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return vmap(self.region.run, self.axes)(*leaves)

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        return vmap(lambda *leaves: self.region.save(is_traced, leaves), self.axes)(*leaves)

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        gradients = vmap(lambda residuals, *ts: self.region.pull(is_traced, residuals, ts))(residuals, *cotangents)
        return over_the_batch(gradients, self.axes)

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return vmap(self.region.push, (self.axes, self.axes))(tuple(leaves), tuple(tangents))

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Region:
        return _Mapped(self, is_batched)


def custom_linear_solve(
    matvec: Callable[[Any], Any], b: Any, solve: Solve, transpose_solve: Solve | None = None, *, symmetric: bool = False
) -> Any:
    """`solve(matvec, b)`, the x with matvec(x) = b, differentiable in both modes, also by what `matvec` reaches through its closure.

    `matvec` is linear and gives a tree like `b`, as does x. A dx = db - dA x is solved by `solve`, and in reverse mode A^T u = t by
    `transpose_solve(vecmat, t)`, or by `solve` if `symmetric`; of complex numbers A^T is the conjugate transpose, and a symmetric A is
    Hermitian. No derivative goes through the solver.

    Raises StructureError when trees differ, or for reverse mode without `transpose_solve`.
    """
    pure, captured = closure_converted(matvec, b)
    leaves, treedef = trees.flatten(b)
    region = _LinearSolve(pure, solve, transpose_solve, symmetric, treedef, len(leaves))
    region.check(b, pure(captured, b), "matvec")
    return trees.unflatten(treedef, region(*leaves, *captured))


def custom_root(function: Callable[[Any], Any], initial_guess: Any, solve: Solve, tangent_solve: Solve) -> Any:
    """`solve(function, initial_guess)`, the x with function(x) = 0, differentiable by what `function` reaches through its closure.

    By the implicit function theorem dx = -(dF/dx)^-1 dF: `tangent_solve(g, y)` gives the x with g(x) = y for any linear function g of
    trees like x; forward mode asks for g = dF/dx, reverse mode for its transpose. `lambda g, y: y / g(1.0)` serves for numbers. No
    derivative goes through the solver, nor to the guess.

    Raises StructureError when `function` or `solve` give trees unlike `initial_guess`.
    """
    initial_guess = trees.map(as_array, initial_guess)  # a Python number would change its kind in a solver's loop
    pure, captured = closure_converted(function, initial_guess)
    leaves, treedef = trees.flatten(initial_guess)
    region = _Root(pure, solve, tangent_solve, treedef, len(leaves))
    region.check(initial_guess, pure(captured, initial_guess), "the function")
    return trees.unflatten(treedef, region(*leaves, *captured))
