"""Mixed precision: policies, which say in which dtypes a model computes, and loss scales, which keep small gradients in float16.

model = Policy(params="float32", compute="float16", output="float32")(model)
scale = LossScale.init()
loss, grads = scale.value_and_grad(loss_fn)(model, x, t)      # gradients are float32, and unscaled
model, state, scale = scale.step(opt, model, grads, state)    # a step with an overflow is skipped
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..core.wrapping import Transformed
from ..errors import DTypeError, RangeError, ShapeError, StructureError
from ..messages import describe
from ..nn import standing
from ..nn.abstract import check_model
from ..nn.capturing import is_layer
from ..nn.containers import as_layer, at, options_of
from ..nn.places import matching, places
from ..numpy.arguments import Array, as_dtype
from ..numpy.elementwise import cast
from ..numpy.precision import widened
from ..transforms import value_and_grad
from ..tree import Module, static
from ..values import is_floating, shape_of
from .transformation import GradientTransformation

__all__ = ["LossScale", "Mixed", "Policy", "all_finite", "select"]


def __dir__() -> list[str]:
    return __all__


Tree = Any


# Policies


def _floating(name: str, dtype: Any) -> str | None:
    """The name of a dtype."""
    if dtype is None:
        return None
    try:
        found = as_dtype(dtype)
    except TypeError:
        raise DTypeError(f"Policy: {name} is a floating dtype such as 'float16', got {dtype!r}.") from None
    if not is_floating(found):
        raise DTypeError(f"Policy: {name} is a floating dtype such as 'float16', got {found}.")
    return str(found)


def _layers(layers: Any) -> tuple[tuple[str, str | None], ...]:
    """The converter of exceptions to pairs."""
    pairs = layers.items() if isinstance(layers, Mapping) else layers
    if isinstance(pairs, str) or any(isinstance(pair, str) for pair in pairs):
        raise StructureError(
            f'Policy: layers says which dtype the layers at a path compute in: layers={{"**/norm": "float32"}}; got {layers!r}.'
        )
    return tuple([(pattern, _floating(f"layers[{pattern!r}]", dtype)) for pattern, dtype in pairs])


def _params(dtype: Any) -> Any:
    return _floating("params", dtype)


def _compute(dtype: Any) -> Any:
    return _floating("compute", dtype)


def _output(dtype: Any) -> Any:
    return _floating("output", dtype)


def _as_layer(model: Any) -> Any:
    return as_layer(model, "Mixed")


@attrs.frozen
class Policy:
    """In which dtypes a model keeps its parameters, computes, and answers. `policy(model)` is a layer that obeys.

    None leaves dtypes as they are. `layers` are exceptions by path, such as `{"**/norm": "float32"}`: a layer there gets its inputs and
    parameters in this dtype, and its results go back to that of `compute`. Integers, truth values, keys, complex numbers and
    the statistics of norms keep their dtypes. Raises DTypeError for a dtype that is not floating, and MissingExtraError for bfloat16
    without ml_dtypes.
    """

    params: Any = attrs.field(default="float32", converter=_params)
    compute: Any = attrs.field(default="float16", converter=_compute)
    output: Any = attrs.field(default="float32", converter=_output)
    layers: Any = attrs.field(default=(), converter=_layers, kw_only=True)

    def __call__(self, model: Any) -> "Mixed":
        """`model` as a layer that computes by this policy, with its parameters in the dtype of `params`.

        Raises StructureError for a path in `layers` at which the model does not have a layer.
        """
        if isinstance(model, Mixed):
            model = model.model
        check_model(model)
        mixed = Mixed(model, self)
        self._dtypes(mixed.model)  # which checks the paths
        return mixed.replace(model=self.cast_to_params(mixed.model))

    def cast_to_params(self, tree: Tree) -> Tree:
        """The floating arrays of a tree in the dtype of `params`; statistics stay as they are."""
        return _Casts({}, self.params, None).of(tree)

    def cast_to_compute(self, tree: Tree) -> Tree:
        """The floating arrays of a tree in the dtype of `compute`: inputs, or a model with its exceptions."""
        return _Casts(self._dtypes(tree), self.compute, self.compute).of(tree)

    def cast_to_output(self, tree: Tree) -> Tree:
        """The floating arrays of a tree in the dtype of `output`."""
        return in_dtype(tree, self.output)

    def _dtypes(self, model: Any) -> dict[str, str | None]:
        """The dtypes of the layers at the paths of exceptions."""
        if not self.layers:
            return {}
        known = [place for place in places(model) if is_layer(place.value)]
        return {
            place.path: dtype
            for pattern, dtype in self.layers
            for place in matching([pattern], known, "Policy: layers")
        }


def in_dtype(tree: Tree, dtype: Any) -> Tree:
    """The floating arrays of a tree in `dtype`; everything else, and all of it for None, as it is."""
    return tree if dtype is None else trees.map(lambda leaf: _in(leaf, as_dtype(dtype)), tree)


def _in(leaf: Any, dtype: Any) -> Any:
    found = getattr(leaf, "dtype", None)
    return cast(leaf, dtype) if found is not None and found != dtype and is_floating(found) else leaf


class _Casts:
    """Casts a model layer by layer. The walk keeps stand-ins, so `nn.step` and `nn.capture` see the layers of the copy."""

    def __init__(self, dtypes: Mapping[str, Any], dtype: Any, outside: Any) -> None:
        self.dtypes, self.dtype, self.outside = dtypes, dtype, outside

    def of(self, tree: Tree) -> Tree:
        """The cast copy of a tree."""
        return self.held(standing.rebuilt(tree, self.layer), self.dtype)

    def layer(self, copy: Any, node: standing.Node) -> Any:
        """A layer whose inner layers are cast already."""
        facts = standing.facts_of(copy.__class__)
        dtype = self.at(node.path)
        changes = {}
        for name in facts.children:
            child = getattr(copy, name)
            if name not in facts.statistics and (new := self.held(child, dtype)) is not child:
                changes[name] = new
        made = standing.copied(copy, type(copy), changes) if changes else copy
        around = self.at(node.path.rpartition("/")[0]) if node.path else self.outside
        if node.path in self.dtypes and dtype != around:
            return standing.stand_in(made, _Exception(standing.recorder_of(made), dtype, around), node.path)
        return made

    def at(self, path: str) -> Any:
        """The dtype in which a layer computes: that of the innermost exception around it."""
        while path not in self.dtypes and path:
            path = path.rpartition("/")[0]
        return self.dtypes.get(path, self.dtype)

    def held(self, value: Any, dtype: Any) -> Any:
        """The arrays in `value` that no further layer holds, cast."""
        if dtype is None or standing.facts_of(value.__class__).is_layer:
            return value
        pairs = standing.children(value)
        if not pairs:
            return _in(value, as_dtype(dtype))
        parts = [self.held(child, dtype) for _, child in pairs]
        same = all(part is child for part, (_, child) in zip(parts, pairs, strict=True))
        return value if same else standing.with_children(value, parts)


class _Exception:
    """Casts what goes into a layer that computes in another dtype than its model, and what comes out of it."""

    def __init__(self, outer: Any, dtype: Any, around: Any) -> None:
        self.outer, self.dtype, self.around = outer, dtype, around
        self.detached: Callable[..., Any] = _Detached(dtype, around)

    def call(self, stand: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The result of the layer, in the dtype of the model."""
        args, options = in_dtype((args, options), self.dtype)
        return in_dtype(standing.through(self.outer, stand, args, options), self.around)


@attrs.frozen
class _Detached:
    """What an exception does within a transform inside the model, where its tree was built again. Equal ones make equal trees."""

    dtype: Any
    around: Any

    def __call__(self, layer: Any, path: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        args, options = in_dtype((args, options), self.dtype)
        return in_dtype(layer(*args, **options), self.around)


class Mixed(Module):
    """A model that computes by a policy, which `policy(model)` makes. It is called as the model is.

    Gradients have the dtype of the parameters. `.model` is the model, with its parameters as they are kept.
    """

    model: Any = attrs.field(converter=_as_layer)
    policy: Policy = static()

    def __call__(self, x: Any, *more: Any, key: Array | None = None, train: bool = False, **options: Any) -> Any:
        """`model(x, *more, **options)`, with `key` and `train` if the model takes them."""
        policy, given = self.policy, {"key": key, "train": train}
        with at("model"):
            model = policy.cast_to_compute(self.model)
            x, more, options = in_dtype((x, more, options), policy.compute)
            y = model(x, *more, **options, **{name: given[name] for name in options_of(model)})
        return policy.cast_to_output(y)


# Loss scales


def all_finite(tree: Tree) -> Any:
    """Whether all floating and complex numbers in a tree are finite: True or False, or a traced truth value."""
    found: Any = True
    for leaf in trees.leaves(tree):
        if trees.is_differentiable(leaf):
            here = fnp.all(fnp.isfinite(leaf))
            found = here if found is True else fnp.logical_and(found, here)
    return found


def select(condition: Any, yes: Tree, no: Tree) -> Tree:
    """The tree `yes` where the `condition`, one truth value, holds, and else `no`: a choice that compiles."""
    if isinstance(condition, bool | np.bool_):
        return yes if condition else no
    return trees.map(lambda a, b: a if a is b else _where(condition, a, b), yes, no, names=("yes", "no"))


def _where(condition: Any, yes: Any, no: Any) -> Any:
    """`np.where`, whose result is a number where both are: then the next step is called with what this one was called with."""
    y = fnp.where(condition, yes, no)
    return y[()] if y.shape == () else y


def _number(name: str, least: float) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not least <= value < np.inf:
            raise RangeError(f"LossScale: {name} is a finite number of at least {least:g}, got {value!r}.")
        return float(value)

    return convert


class LossScale(Module):
    """A factor of the loss, and so of all gradients, that keeps them above the smallest numbers of float16.

    After `interval` finite steps in a row the scale grows by `factor`. A step with an overflow is skipped, and the scale shrinks
    by `factor`. It stays between `least` and `greatest`. It is a tree like any state: saved, compiled, and kept in
    `training.State(loss_scale=...)`. The loss is scaled in float32, so no scale overflows by itself.
    """

    value: Any  # float32: the scale
    streak: Any  # int64: the finite steps since the scale has changed
    skipped: Any  # int64: the steps that were skipped, in all
    interval: int = static(default=2000)
    factor: float = static(default=2.0, converter=_number("factor", 1))
    least: float = static(default=1.0, converter=_number("least", 0))
    greatest: float = static(default=2.0**24, converter=_number("greatest", 0))
    dynamic: bool = static(default=True)

    @classmethod
    def init(
        cls, value: float = 2.0**15, *, interval: int = 2000, factor: float = 2.0, least: float = 1.0,
        greatest: float = 2.0**24, dynamic: bool = True,
    ) -> Self:  # fmt: skip
        """The scale in which a run begins. With dynamic=False it stays, and steps with an overflow are skipped all the same.

        Raises RangeError for a scale outside the bounds, a factor below 1, and an interval that is not an integer of at least 1.
        """
        if not isinstance(interval, int | np.integer) or isinstance(interval, bool) or interval < 1:
            raise RangeError(f"LossScale: interval is a number of steps, at least 1, got {interval!r}.")
        made = cls(np.float32(1), np.int64(0), np.int64(0), int(interval), factor, least, greatest, dynamic)
        value = _number("value", 0)(value)
        if not made.least <= value <= made.greatest or value == 0:
            raise RangeError(
                f"LossScale: value {value:g} lies outside least={made.least:g} and greatest={made.greatest:g}."
            )
        return made.replace(value=np.float32(value))

    def __repr__(self) -> str:
        counts = self.value, self.streak, self.skipped
        plain = all(isinstance(count, np.ndarray | np.generic) and count.ndim == 0 for count in counts)
        value, streak, skipped = (f"{count.item():g}" if plain else describe(count) for count in counts)
        return f"LossScale({value}, streak={streak}, skipped={skipped})"

    def scale(self, loss: Any) -> Any:
        """The loss times the scale, at least float32: a scalar -> a scalar. Raises ShapeError for more numbers than one."""
        if shape_of(loss) != ():
            raise ShapeError(f"LossScale: a loss is a scalar, got {describe(loss)}. Sum or average it first.")
        return widened(loss) * self.value

    def unscale(self, grads: Tree) -> Tree:
        """Gradients of the scaled loss divided by the scale; those of float16 and bfloat16 become float32. An overflow stays one."""
        return trees.map(lambda g: widened(g) / self.value, grads)

    def value_and_grad(
        self, function: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
    ) -> Callable[..., Any]:
        """`fd.value_and_grad` of the scaled loss: the function that returns the loss as it is, and its gradients, unscaled."""

        def scaled(*args: Any, **options: Any) -> tuple[Any, Any]:
            result = function(*args, **options)
            loss = result[0] if has_aux else result
            return self.scale(loss), result

        def run(args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any]:
            with np.errstate(over="ignore", invalid="ignore"):  # an overflow is expected now and then, and counted
                (_, result), grads = value_and_grad(scaled, argnums, has_aux=True)(*args, **options)
                return result, self.unscale(grads)

        return Transformed(self.value_and_grad, function, run, argnums, has_aux=has_aux)

    def adjust(self, finite: Any) -> Self:
        """The scale after a step: `finite` says whether all gradients were, or is the tree of gradients itself."""
        if not isinstance(finite, bool | np.bool_) and str(getattr(finite, "dtype", None)) != "bool":
            finite = all_finite(finite)
        count = self.streak + 1
        grows = fnp.logical_and(finite, count >= self.interval)
        value = self.value
        if self.dynamic:
            up, down = fnp.minimum(value * self.factor, self.greatest), fnp.maximum(value / self.factor, self.least)
            value = _where(finite, _where(grows, up, value), down)
        streak = _where(fnp.logical_and(finite, fnp.logical_not(grows)), count, 0)
        return self.replace(
            value=cast(value, np.float32),
            streak=cast(streak, np.int64),
            skipped=self.skipped + cast(fnp.logical_not(finite), np.int64),
        )

    def step(
        self, opt: GradientTransformation, params: Any, grads: Tree, state: Any, *, before: Any = None
    ) -> tuple[Any, Any, Self]:
        """`(params, state, scale)` after a step of `opt` with gradients that `value_and_grad` or `unscale` has returned.

        Where a gradient is not finite the step is skipped: you get `params` and `state` as they are. With statistics, `before` is
        the model that the step began with, because an overflow has also reached the statistics of its successor.
        Raises StructureError for what is no optimiser, and as `opt.step` does.
        """
        if not isinstance(opt, GradientTransformation):
            raise StructureError(
                f"LossScale.step takes the optimiser first, scale.step(opt, model, grads, state); got {describe(opt)}."
            )
        finite = all_finite(grads)
        old = (params if before is None else before), state
        if isinstance(finite, bool | np.bool_) and not finite:  # computes nothing, so NumPy does not warn of NaN
            return (*old, self.adjust(finite))
        return (*select(finite, opt.step(params, grads, state), old), self.adjust(finite))
