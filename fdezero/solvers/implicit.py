"""`custom_root` and `custom_linear_solve`: solutions of equations, differentiated by the implicit function theorem.

They stand above the compiler, because the parameters of an equation mostly come through its closure. Recording makes them arguments.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .. import tree as trees
from ..compiler.recording.closures import closure_converted
from ..core import Region
from ..core.cotangents import zeros_like
from ..core.owners import lent, taken_back
from ..errors import StructureError
from ..messages import describe
from ..numpy.arguments import as_array
from ..transforms import jvp, stop_gradient, vjp, vmap
from ..transforms.batching import in_axes_of, over_the_batch
from ..transforms.reverse import conjugated, pulled_back
from ..values import shape_of

Solve = Callable[[Callable[[Any], Any], Any], Any]


class _Solution(Region):
    """The solution that a user's solver finds. Leaves: `count` of a tree (the right side or the guess), then captured values."""

    composed = True

    def __init__(self, name: str, pure: Callable[..., Any], solve: Solve, treedef: Any, count: int) -> None:
        self.name, self.pure, self.solve, self.treedef, self.count = name, pure, solve, treedef, count

    def split(self, leaves: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """The tree, and the captured values."""
        return trees.unflatten(self.treedef, leaves[: self.count]), tuple(leaves[self.count :])

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        given, captured = self.split(leaves)
        found = self.solve(lambda x: self.pure(captured, x), given)
        self.check(given, found, "solve")
        # The solver's own closure may hold traced values, but the derivative does not go through the solver.
        return tuple(trees.leaves(stop_gradient(found)))

    def check(self, given: Any, found: Any, what: str) -> None:
        """Raise StructureError unless `found` is a tree like `given`."""
        if trees.flatten(found)[1] != self.treedef:
            raise trees.structure_error(
                given, found, f"{self.name}: the tree that was given", f"the tree that {what} returned"
            )
        for (path, a), b in zip(trees.flatten_with_path(given), trees.leaves(found), strict=True):
            if shape_of(a) != shape_of(b):
                where = f" at {path!r}" if path else ""
                raise StructureError(f"{self.name}: {what} returned {describe(b)}{where}, but {describe(a)} was given.")

    def moved(self, leaves: Sequence[Any], tangents: Sequence[Any], x: Any) -> Any:
        """The tangent of `pure` at x from those of the captured values; None if no captured value has a tangent."""
        _, captured = self.split(leaves)
        directions = tuple(tangents[self.count :])
        if all(t is None for t in directions):
            return None
        return jvp(lambda captured: self.pure(captured, x), (captured,), (directions,))[1]

    def pulled(self, leaves: Sequence[Any], x: Any, cotangent: Any) -> tuple[Any, ...]:
        """The cotangents of the captured values: minus the cotangents through `pure` at x."""
        _, captured = self.split(leaves)
        if not any(map(trees.is_differentiable, captured)):
            return (None,) * len(captured)
        _, pullback = pulled_back(self.name, lambda captured: self.pure(captured, x), (captured,))
        (gradients,) = pullback(trees.map(lambda t: -t, cotangent))
        pullback.release()
        return tuple(gradients)

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        x = self.lending(leaves)
        return x, (x, tuple(leaves))

    def lending(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The solution. The solver cannot write into the leaves, and nobody can write into what is returned."""
        views = list(map(lent, leaves))
        return tuple(taken_back(list(self(*views)), leaves, views))

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Region:
        return _Mapped(self, is_batched)


class _LinearSolve(_Solution):
    """x with `pure(captured, x) = b`, where `pure` is linear in x. Leaves: b, captured. `transposed` solves with the transposed map."""

    def __init__(
        self, pure: Any, solve: Solve, transposed: Solve | None, symmetric: bool, treedef: Any, count: int
    ) -> None:
        super().__init__("custom_linear_solve", pure, solve, treedef, count)
        self.transposed, self.symmetric = transposed, symmetric

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        x, leaves = residuals
        multipliers = self.transpose().lending((*conjugated(tuple(cotangents)), *leaves[self.count :]))
        x, cotangent = trees.unflatten(self.treedef, x), trees.unflatten(self.treedef, multipliers)
        return conjugated((*multipliers, *self.pulled(leaves, x, cotangent)))

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        x = self.lending(leaves)  # A x = b, so A dx = db - dA x
        right = [
            zeros_like(b) if t is None else t for b, t in zip(leaves[: self.count], tangents[: self.count], strict=True)
        ]
        change = self.moved(leaves, tangents, trees.unflatten(self.treedef, x))
        if change is not None:
            right = [t - c for t, c in zip(right, trees.leaves(change), strict=True)]
        return x, self.lending((*right, *leaves[self.count :]))

    def transpose(self) -> "_LinearSolve":
        """The solution of the transposed equation."""
        if self.symmetric:
            return self
        if self.transposed is None:
            raise StructureError(
                "custom_linear_solve: reverse mode solves the transposed equation, but there is no transpose_solve. Pass one (it may be "
                "the solver itself, if the solver works with any linear map), or pass symmetric=True."
            )

        def pure(captured: Any, u: Any) -> Any:
            _, pullback = vjp(lambda x: self.pure(captured, x), trees.map(zeros_like, u))
            found = pullback(u)[0]
            pullback.release()
            return found

        return _LinearSolve(pure, self.transposed, self.solve, False, self.treedef, self.count)


class _Root(_Solution):
    """x with `pure(captured, x) = 0`. Leaves: the guess, captured."""

    def __init__(self, pure: Any, solve: Solve, tangent_solve: Solve, treedef: Any, count: int) -> None:
        super().__init__("custom_root", pure, solve, treedef, count)

        def derivative(captured: Any, v: Any) -> Any:
            x, captured = self.split(captured)
            return jvp(lambda x: pure(captured, x), (x,), (v,))[1]

        self.tangents = _LinearSolve(derivative, tangent_solve, tangent_solve, False, treedef, count)

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        x, leaves = residuals
        given = (*conjugated(tuple(cotangents)), *x, *leaves[self.count :])
        multipliers = self.tangents.transpose().lending(given)
        x, cotangent = trees.unflatten(self.treedef, x), trees.unflatten(self.treedef, multipliers)
        return (*[None] * self.count, *conjugated(self.pulled(leaves, x, cotangent)))

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        x = self.lending(leaves)  # F(x, c) = 0, so dF/dx dx = -dF/dc dc
        change = self.moved(leaves, tangents, trees.unflatten(self.treedef, x))
        if change is None:
            return x, (None,) * self.count
        return x, self.tangents.lending((*[-t for t in trees.leaves(change)], *x, *leaves[self.count :]))


class _Mapped(Region):
    """A region over a batch. Its rules are the region's rules under vmap."""

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
    """`solve(matvec, b)`: the x with matvec(x) = b, differentiable in both modes, also with respect to values in `matvec`'s closure.

    `matvec` is linear and returns a tree like `b`; x is also such a tree. Forward mode solves A dx = db - dA x with `solve`. Reverse
    mode solves A^T u = t with `transpose_solve(vecmat, t)`, or with `solve` if `symmetric`. For complex numbers A^T is the conjugate
    transpose, and a symmetric A is Hermitian. No derivative goes through the solver.

    Raises StructureError if trees differ, or for reverse mode without `transpose_solve`.
    """
    pure, captured = closure_converted(matvec, b)
    leaves, treedef = trees.flatten(b)
    region = _LinearSolve(pure, solve, transpose_solve, symmetric, treedef, len(leaves))
    region.check(b, pure(captured, b), "matvec")
    return trees.unflatten(treedef, region(*leaves, *captured))


def custom_root(function: Callable[[Any], Any], initial_guess: Any, solve: Solve, tangent_solve: Solve) -> Any:
    """`solve(function, initial_guess)`: the x with function(x) = 0, differentiable with respect to values in `function`'s closure.

    The implicit function theorem gives dx = -(dF/dx)^-1 dF. `tangent_solve(g, y)` returns the x with g(x) = y for any linear function
    g of trees like x: forward mode passes g = dF/dx, reverse mode its transpose. For numbers, use `lambda g, y: y / g(1.0)`. No
    derivative goes through the solver or to the guess.

    Raises StructureError if `function` or `solve` returns a tree unlike `initial_guess`.
    """
    initial_guess = trees.map(
        as_array, initial_guess
    )  # because a Python number would change its kind in a solver's loop
    pure, captured = closure_converted(function, initial_guess)
    leaves, treedef = trees.flatten(initial_guess)
    region = _Root(pure, solve, tangent_solve, treedef, len(leaves))
    region.check(initial_guess, pure(captured, initial_guess), "the function")
    return trees.unflatten(treedef, region(*leaves, *captured))
