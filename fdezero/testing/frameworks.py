"""Properties of functions of other frameworks, besides correct gradients; each checks a function at one example.

A function need not offer everything. What it does not offer raises `NotOffered`, which `given_gradients` reports or refuses.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import tree as trees
from ..values import is_differentiable
from .backends import Arrays, Backend, Run
from .comparison import assert_trees_close, assert_trees_equal
from .differences import ROUNDING, Ruler, copied, like, precision, quiet, replace
from .engines import Foreign, Frameworks, gradient_tree, which
from .gradients import check_grads_of
from .kinks import Kinks
from .properties import SPREAD, narrowed, smaller

Args = tuple[Any, ...]
Function = Callable[..., Any]
MOST_LEAVES = 8  # At most this many leaves are differentiated one by one.


class Properties:
    """The properties of functions of one framework: methods that take a function and its arguments, trees of NumPy arrays."""

    def __init__(self, backend: Backend, kinks: Kinks = None) -> None:
        self.backend, self.kinks = backend, kinks
        self.engine = Frameworks(backend)
        self._compiled: dict[Any, tuple[Foreign, Run]] = {}

    def inputs(self, function: Function, args: Args) -> None:
        """Check that a call and a backward pass leave all that they are given alone, and that neither depends on other calls."""
        with self.backend.wide():
            foreign = Foreign(self.backend, function, args)
            args, before = foreign.arrays, copied(foreign.arrays)
            value = foreign(*args)
            assert_trees_equal(args, before, "the arguments", ("after the call", "before"), bits=True)
            assert_trees_equal(foreign(*args), value, "values of two calls", ("second", "first"))
            xs, given = self.engine.arrays(args), weights(value)
            cotangents = self.engine.cotangents(given)
            with self.engine.asked():
                _, pullback = self.backend.vjp(foreign.run, xs, which(args))
                first = self._gradients(args, pullback(cotangents))
            left = foreign.tree([None if t is None else self.backend.copy(t) for t in cotangents])
            what = "the gradient wrote into its cotangent (grad_output), which others also read: the entries"
            assert_trees_equal(left, trees.trainable(given), what, ("after the backward pass", "before"), bits=True)
            assert_trees_equal(args, before, "the arguments", ("after the gradient", "before"), bits=True)

            fresh = self.engine.cotangents
            again = self._gradients(args, pullback(fresh(given)))
            assert_trees_equal(again, first, "gradients of two backward passes through one call", ("second", "first"))
            _, pullback = self.backend.vjp(foreign.run, xs, which(args))
            second = self._gradients(args, pullback(fresh(given)))
            what = "gradients of two calls with the same arguments (fix the seed inside the function if it draws random numbers)"
            assert_trees_equal(second, first, what, ("second", "first"))
            others = smaller(args, (True,) * len(args), SPREAD[-1])
            _, of_others = self.backend.vjp(foreign.run, self.engine.arrays(others), which(args))
            of_others(fresh(given))
            late = self._gradients(args, pullback(fresh(given)))
            what = "gradients of a call after which the function was called with other arguments"
            assert_trees_equal(late, first, what, ("with a call in between", "without"))

    def alone(self, function: Function, args: Args) -> None:
        """Check that the gradient of each leaf is the same if no other leaf needs one."""
        with self.backend.wide():
            foreign, args, value = self._called(function, args)
            chosen = which(args)
            if len(chosen) < 2:
                return
            xs, given = self.engine.arrays(args), weights(value)
            together = self._pulled(foreign, xs, chosen, given)
            paths = trees.paths(args)
            for place, number in list(enumerate(chosen))[:MOST_LEAVES]:
                single = self._pulled(foreign, xs, [number], given)
                what = f"the gradients of argument {paths[number]}"
                self._close(single[0], together[place], args, what, ("if it alone needs one", "if all need one"))

    def dtypes(self, function: Function, args: Args) -> None:
        """Check that narrow arguments give narrow values and gradients, which agree with double precision."""
        foreign = Foreign(self.backend, function, args)
        args = foreign.arrays
        floats = [leaf for leaf in trees.leaves(args) if is_differentiable(leaf)]
        if floats and all(_bits(leaf) == 64 for leaf in floats):
            args = replace(args, narrowed)
            try:
                foreign(*args)
            except Exception:  # The function may take double precision alone, as a module with such parameters does.
                return
        bits = max((_bits(leaf) for leaf in trees.leaves(args) if is_differentiable(leaf)), default=0)
        if not bits or bits == 64:
            return
        xs, value = self.engine.arrays(args), foreign(*args)
        for path, leaf in trees.flatten_with_path(trees.trainable(value)):
            if _bits(leaf) != bits:
                raise AssertionError(
                    f"the output{_at(path)} is {leaf.dtype}, but the widest argument has {bits} bits. Look for a constant of another dtype."
                )
        with self.engine.asked():
            _, pullback = self.backend.vjp(foreign.run, xs, which(args))
            gradients = pullback(self.engine.cotangents(weights(value)))
        paths = trees.paths(args)
        for number, g in zip(which(args), gradients, strict=True):
            dtypes = [self.backend.dtype(g), self.backend.dtype(xs[number])]
            if dtypes[0] != dtypes[1]:
                raise AssertionError(
                    f"the gradient{_at(paths[number])} is {dtypes[0]}, but its argument is {dtypes[1]}"
                )
        with self.backend.wide():
            ruler, kinks = Ruler(), foreign.whole(self.kinks)
            check_grads_of(foreign, args, 1, ("fwd", "rev"), ruler, 0, False, kinks, "skip", self.engine)

    def empty(self, function: Function, args: Args) -> None:
        """Check that a function that takes arrays of size zero also has gradients there."""
        with self.backend.wide():
            foreign = Foreign(self.backend, function, args)
            for few in _emptied(foreign.arrays):
                try:
                    with quiet():
                        value = foreign(*few)
                except Exception:  # Many functions have no value there, and say so in many ways.
                    continue
                leaves = trees.leaves(trees.trainable(value))
                if not leaves or not all(np.isfinite(leaf).all() for leaf in leaves):
                    continue
                shapes = ", ".join(str(np.shape(leaf)) for leaf in trees.leaves(few))
                try:
                    gradients = self._pulled(foreign, self.engine.arrays(few), which(few), weights(value))
                    for leaf, g in zip([x for x in trees.leaves(few) if is_differentiable(x)], gradients, strict=True):
                        if g.shape != leaf.shape:
                            raise AssertionError(f"a gradient has shape {g.shape}, but its argument has {leaf.shape}")
                    kinks = foreign.whole(self.kinks)
                    if any(leaf.size for leaf in leaves):
                        check_grads_of(foreign, few, 1, ("fwd", "rev"), Ruler(), 0, False, kinks, "skip", self.engine)
                except Exception as error:
                    raise AssertionError(
                        f"the function takes arguments of shapes {shapes}, but its gradient there fails: {type(error).__name__}: {error}"
                    ) from error

    def layouts(self, function: Function, args: Args) -> None:
        """Check that values and gradients do not depend on how arguments and cotangents lie in memory."""
        with self.backend.wide():
            foreign, args, value = self._called(function, args)
            xs, given = self.engine.arrays(args), weights(value)
            plain = [self.backend.copy(x) for x in xs]
            for layout, laid in self._laid_out(xs):
                if (
                    layout == "expanded"
                ):  # Its values are others than those of the example, so the function may refuse them.
                    plain = [self.backend.copy(x) for x in laid]
                    try:
                        value = foreign.tree(foreign.run(plain))
                    except Exception:
                        continue
                names = (layout, "contiguous")
                self._close(foreign.tree(foreign.run(laid)), value, args, f"values of {layout} arguments", names)
                expected = self._pulled(foreign, plain, which(args), given)
                self._close(
                    self._pulled(foreign, laid, which(args), given),
                    expected,
                    args,
                    f"gradients of {layout} arguments",
                    names,
                )
            for layout, laid in self._laid_out(self.engine.cotangents(given)):
                what = f"gradients for a cotangent (grad_output) that is {layout} in memory"
                with self.engine.asked():
                    _, pullback = self.backend.vjp(foreign.run, xs, which(args))
                    expected = self._gradients(args, pullback([t if t is None else self.backend.copy(t) for t in laid]))
                    try:
                        found = self._gradients(args, pullback(laid))
                    except Exception as error:
                        raise AssertionError(f"{what} fail: {type(error).__name__}: {error}") from error
                self._close(found, expected, args, what, (layout, "contiguous"))

    def vmap(self, function: Function, args: Args) -> None:
        """Check that vmap gives the values and gradients of a loop, over all arguments together and over each one alone."""
        with self.backend.wide():
            foreign, args, _ = self._called(function, args)
            arrays = [bool(trees.leaves(arg)) for arg in args]
            alone = [tuple(i == k for i in range(len(args))) for k in range(len(args)) if arrays[k]]
            for chosen in dict.fromkeys([tuple(arrays), *alone]):
                self._batched(foreign, args, chosen)

    def compiled(self, function: Function, args: Args) -> None:
        """Check that the compiled function and its compiled gradient give the results of a plain call, to rounding."""
        with self.backend.wide():
            foreign, args, value = self._called(function, args)
            xs, given = self.engine.arrays(args), weights(value)
            with self.engine.asked():
                of_these, compiled = self._once_compiled(foreign)
                self._close(of_these.tree(compiled(xs)), value, args, "values", ("compiled", "plain"))
                expected = self._pulled(foreign, xs, which(args), given)
                _, pullback = self.backend.vjp(compiled, xs, which(args))
                found = self._gradients(args, pullback(self.engine.cotangents(given)))
            self._close(trees.leaves(found), expected, args, "gradients", ("compiled", "plain"))

    def _once_compiled(self, foreign: Foreign) -> tuple[Foreign, Run]:
        """The compiled function, with the `Foreign` that was compiled: the same for all examples of equal shapes and constants."""
        shapes = tuple((np.shape(x), np.asarray(x).dtype.str) for x in trees.leaves(foreign.arrays))
        constants, structure = trees.flatten(foreign.constants)
        key = (foreign.function, foreign.treedef, shapes, structure, tuple((type(c), c) for c in constants))
        try:
            if key not in self._compiled:
                self._compiled[key] = foreign, self.backend.compile(foreign.run)
            return self._compiled[key]
        except TypeError:  # a constant without a hash, such as a random key
            return foreign, self.backend.compile(foreign.run)

    def _called(self, function: Function, args: Args) -> tuple[Foreign, Args, Any]:
        foreign = Foreign(self.backend, function, args)
        return foreign, foreign.arrays, foreign(*foreign.arrays)

    def _gradients(self, args: Args, gradients: Arrays) -> Any:
        """A copy of the gradients as a tree, which later passes cannot change."""
        return copied(gradient_tree(self.backend, args, gradients))

    def _pulled(self, foreign: Foreign, xs: Arrays, chosen: Sequence[int], given: Any) -> list[np.ndarray]:
        with self.engine.asked():
            _, pullback = self.backend.vjp(foreign.run, xs, chosen)
            return [self.backend.numpy(g).copy() for g in pullback(self.engine.cotangents(given))]

    def _close(self, found: Any, expected: Any, args: Args, what: str, names: tuple[str, str]) -> None:
        found, expected = (list(trees.leaves(tree)) for tree in (found, expected))
        allowed = ROUNDING[precision(args, expected)] / 10
        assert_trees_close(
            found[0] if len(found) == 1 else found,
            expected[0] if len(expected) == 1 else expected,
            allowed,
            what,
            names,
        )

    def _laid_out(self, xs: Arrays) -> Iterator[tuple[str, Arrays]]:
        """Each layout that changes one of the arrays, with the arrays in it; at last arrays of equal values with zero strides."""
        for layout in self.backend.layouts:
            made = [None if x is None else self.backend.lay_out(x, layout) for x in xs]
            if any(x is not None for x in made):
                yield layout, [x if y is None else y for x, y in zip(xs, made, strict=True)]
        if self.backend.layouts:
            yield "expanded", [x if x is None else self.backend.spread(x) for x in xs]

    def _batched(self, foreign: Foreign, args: Args, chosen: tuple[bool, ...]) -> None:
        if not any(chosen):
            return
        members = [smaller(args, chosen, by) for by in SPREAD]
        mapped = [yes for arg, yes in zip(args, chosen, strict=True) for _ in trees.leaves(arg)]
        rows = zip(*[trees.leaves(member) for member in members], strict=True)
        stacked = [self.backend.array(np.stack(row) if yes else row[0]) for row, yes in zip(rows, mapped, strict=True)]
        values = [foreign(*member) for member in members]
        which_ones = ", ".join(str(i) for i, yes in enumerate(chosen) if yes)
        places = which(args)
        with self.engine.asked():
            batched = self.backend.vmap(foreign.run, [0 if yes else None for yes in mapped])
            found = foreign.tree(batched(stacked))
        looped = trees.map(lambda *row: np.stack(row), *values)
        self._close(found, looped, args, f"values, batched over argument {which_ones},", ("vmap", "loop"))
        cotangents = [weights(value) for value in values]
        with self.engine.asked():
            _, pullback = self.backend.vjp(batched, stacked, places)
            together = trees.map(lambda *row: np.stack(row), *cotangents)
            pulled = [self.backend.numpy(g).copy() for g in pullback(self.engine.cotangents(together))]
        single = [
            self._pulled(foreign, self.engine.arrays(m), places, t) for m, t in zip(members, cotangents, strict=True)
        ]
        each = zip(*single, strict=True)
        expected = [np.stack(row) if mapped[place] else np.sum(row, 0) for place, row in zip(places, each, strict=True)]
        self._close(pulled, expected, args, f"gradients, batched over argument {which_ones},", ("vmap", "loop"))


def weights(value: Any) -> Any:
    """Cotangents of `value` with distinct entries near 1, so that outputs need not be scalars."""
    made = [
        1.0 + np.cos(np.arange(np.size(x), dtype=float)).reshape(np.shape(x)) / 4
        for x in trees.leaves(trees.trainable(value))
    ]
    return replace(value, like, made)


def _emptied(args: Args) -> Iterator[Args]:
    """The arguments with no entry along their first axis: all together if these axes have one length, and each one alone."""

    def cut(tree: Any) -> Any:
        return trees.map(lambda leaf: leaf[:0] if np.ndim(leaf) else leaf, tree)

    with_axes = [leaf for leaf in trees.leaves(args) if np.ndim(leaf)]
    if with_axes and len({len(leaf) for leaf in with_axes}) == 1:
        yield cut(args)
    if len(args) > 1:
        for number, arg in enumerate(args):
            if any(np.ndim(leaf) for leaf in trees.leaves(arg)):
                yield (*args[:number], cut(arg), *args[number + 1 :])


def _bits(leaf: Any) -> int:
    return 8 * int(leaf.dtype.itemsize) // (2 if leaf.dtype.kind == "c" else 1)


def _at(path: str) -> str:
    return f" at {path}" if path else ""
