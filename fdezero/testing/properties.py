"""Properties of differentiable code besides correct gradients; each checks a function at one example."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree as trees
from ..compiler import compile  # noqa: A004, the field's word
from ..devices import gpu_available, to_device, to_numpy
from ..transforms import vjp, vmap
from ..values import shape_of
from .comparison import assert_trees_close, assert_trees_equal
from .differences import ROUNDING, copied, like, precision, replace
from .layouts import LAYOUTS, lay_out

SPREAD = (0.0, 2.0**-7, 2.0**-5)  # the relative shrinking of each member of a batch

Function = Callable[..., Any]
Args = tuple[Any, ...]


def value_is_that_of(reference: Function, tolerance: float | None) -> Callable[[Function, Args], None]:
    """A check that the value equals that of `reference`, a NumPy function."""

    def check(function: Function, args: Args) -> None:
        value = function(*args)
        allowed = ROUNDING[precision(args, value)] if tolerance is None else tolerance
        assert_trees_close(value, reference(*to_numpy(args)), allowed, "values", ("function", "reference"))

    return check


def leaves_inputs_alone(function: Function, args: Args) -> None:
    """Check that the function and its gradient do not write into the arguments, and that a second call gives the same value."""
    before = copied(args)
    value = function(*args)
    assert_trees_equal(args, before, "the arguments", ("after the call", "before"), bits=True)
    assert_trees_equal(function(*args), value, "values of two calls", ("second", "first"))
    _gradient(function)(*args)
    assert_trees_equal(args, before, "the arguments", ("after the gradient", "before"), bits=True)


def keeps_dtype(function: Function, args: Args) -> None:
    """Check that narrow arguments give narrow values and gradients; an example of float64 alone is cast to float32 first."""
    if all(_bits(leaf) == 64 for _, leaf in _leaves(args) if hasattr(leaf, "dtype")):
        args = replace(args, narrowed)
    bits = max((_bits(leaf) for _, leaf in _leaves(args) if hasattr(leaf, "dtype")), default=0)
    if not bits:  # Python numbers are weak: alone they do not fix a dtype.
        return
    value = function(*args)
    for path, leaf in _leaves(value):
        if hasattr(leaf, "dtype") and _bits(leaf) != bits:
            raise AssertionError(
                f"the output{_at(path)} is {leaf.dtype}, but the widest argument has {bits} bits. Look for a NumPy constant."
            )
    for (path, leaf), (_, g) in zip(_leaves(args), _leaves(_gradient(function)(*args)), strict=True):
        if hasattr(leaf, "dtype") and g.dtype != leaf.dtype:
            raise AssertionError(f"the gradient{_at(path)} is {g.dtype}, but its argument is {leaf.dtype}")


def vmap_is_a_loop(function: Function, args: Args) -> None:
    """Check that vmap gives the same as a loop, over all arguments together and over each one alone.

    A batch has the example and slightly smaller copies of it, which should stay within the domain of the function.
    """
    arrays = [any(hasattr(leaf, "shape") for leaf in trees.leaves(arg)) for arg in args]
    alone = [tuple(i == k for i in range(len(args))) for k in range(len(args)) if arrays[k]]
    for chosen in dict.fromkeys([tuple(arrays), *alone]):
        if not any(chosen):
            continue
        members = [smaller(args, chosen, by) for by in SPREAD]
        stacked = trees.map(lambda *row: row[0] if _axis(row[0]) is None else np.stack(row), *members)
        axes = tuple(trees.map(_axis, arg) if yes else None for arg, yes in zip(args, chosen, strict=True))
        given = tuple(batch if yes else arg for batch, arg, yes in zip(stacked, args, chosen, strict=True))
        loop = trees.map(
            lambda *row: np.stack([np.asarray(x) for x in row]), *[to_numpy(function(*member)) for member in members]
        )
        which = ", ".join(str(i) for i, yes in enumerate(chosen) if yes)
        allowed = ROUNDING[precision(args, loop)] / 10
        assert_trees_close(
            vmap(function, axes)(*given), loop, allowed, f"values, batched over argument {which},", ("vmap", "loop")
        )


def compiled_is_eager(function: Function, args: Args) -> None:
    """Check that the compiled function and its compiled gradient give the same bits as eager code on each of three calls."""
    for run, what in ((function, "values"), (_gradient(function), "gradients")):
        expected, compiled = run(*args), compile(run)
        for call in ("first", "second", "third"):
            assert_trees_equal(
                compiled(*args), expected, f"{what} of the {call} call", ("compiled", "eager"), bits=True
            )


def gpu_is_cpu(function: Function, args: Args) -> None:
    """Check that the GPU gives the values and gradients of the CPU, to rounding; without a GPU, check nothing."""
    if not gpu_available():
        return
    for run, what in ((function, "values"), (_gradient(function), "gradients")):
        expected = to_numpy(run(*to_numpy(args)))
        found = to_numpy(run(*to_device(args, "gpu")))
        assert_trees_close(found, expected, ROUNDING[precision(args, expected)], what, ("GPU", "CPU"))


def layouts_change_nothing(function: Function, args: Args) -> None:
    """Check that values and gradients do not depend on how NumPy's arrays lie in memory, nor on whether one may write into them."""
    laid_out = {layout: _laid_out(args, layout) for layout in LAYOUTS}
    for run, what in ((function, "values"), (_gradient(function), "gradients")):
        expected = to_numpy(run(*laid_out["C"]))
        for layout in LAYOUTS[1:]:
            found = to_numpy(run(*laid_out[layout]))
            allowed = ROUNDING[precision(args, expected)] / 10
            assert_trees_close(found, expected, allowed, f"{what} of {layout} arguments", (layout, "C"))


def _laid_out(args: Args, layout: str) -> Args:
    return tuple(trees.map(lambda leaf: lay_out(leaf, layout) if isinstance(leaf, np.ndarray) else leaf, args))


def _gradient(function: Function) -> Function:
    """The gradients along a fixed cotangent with distinct entries near 1, so that outputs need not be scalars."""

    def gradient(*args: Any) -> Any:
        value, pullback = vjp(function, *args)
        weights = [1.0 + np.cos(np.arange(np.size(x), dtype=float)).reshape(np.shape(x)) / 4 for x in _shapes(value)]
        cotangents = replace(value, like, weights)
        gradients = pullback(cotangents)
        pullback.release()
        return gradients

    return gradient


def narrowed(leaf: Any) -> Any:
    return leaf.astype(np.complex64 if leaf.dtype.kind == "c" else np.float32) if hasattr(leaf, "dtype") else leaf


def _shapes(value: Any) -> list[Any]:
    return [np.broadcast_to(0.0, shape_of(leaf)) for leaf in trees.leaves(trees.trainable(value))]


def _axis(leaf: Any) -> int | None:
    return 0 if hasattr(leaf, "shape") else None


def smaller(args: Args, chosen: tuple[bool, ...], by: float) -> Args:
    def scaled(leaf: Any) -> Any:
        return leaf - leaf * like(leaf, by) if trees.is_differentiable(leaf) and hasattr(leaf, "shape") else leaf

    return tuple(trees.map(scaled, arg) if yes else arg for arg, yes in zip(args, chosen, strict=True))


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    return trees.flatten_with_path(trees.trainable(tree))


def _bits(leaf: Any) -> int:
    return 8 * leaf.dtype.itemsize // (2 if leaf.dtype.kind == "c" else 1)


def _at(path: str) -> str:
    return f" at {path}" if path else ""
