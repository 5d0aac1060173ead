"""`custom_jvp` and `custom_vjp`: functions whose derivative you write yourself."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from .. import tree as trees
from ..core import Region, Tracer
from ..core.cotangents import chosen, filled, zeros_like
from ..core.forward import ForwardTracer
from ..core.kinds import Aval
from ..core.owners import lent, taken_back
from ..core.tape import TapeTracer
from ..core.tracer import tracers_of
from ..core.wrapping import Wrapper
from ..errors import DTypeError, ShapeError, StructureError, TraceError
from ..messages import called, describe
from ..numpy.arguments import as_array
from ..values import is_complex, shape_of
from .arguments import counted
from .batching import in_axes_of, over_the_batch, vmap
from .reverse import conjugated, pulled_back

Flat = Callable[..., tuple[Any, ...]]


class _Rule(Wrapper):
    """A function with a rule: the part that both decorators share."""

    rules: tuple[str, ...]  # the names of the functions that say the derivative

    def __init__(self, function: Callable[..., Any], nondiff_argnums: Sequence[int] = ()) -> None:
        self._wrap(function, type(self).__name__)
        self.name = called(function)
        self.nondiff_argnums = tuple(nondiff_argnums)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            bound = inspect.signature(self.function).bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
            if bound.kwargs:
                raise StructureError(f"{self.name} has a rule: pass {', '.join(bound.kwargs)} by position.")
        call = _Call(self.name, args, self.nondiff_argnums)
        values = call.handed_over()
        if not any(isinstance(leaf, Tracer) for leaf in values):
            return self.function(*args)
        return call.output(self.region(call)(*values))

    def _recipe(self) -> tuple[Any, ...]:
        return self.function, self.nondiff_argnums, tuple([getattr(self, name) for name in self.rules])

    def _make(self, recipe: tuple[Any, ...]) -> None:
        function, nondiff_argnums, rules = recipe
        type(self).__init__(self, function, nondiff_argnums)
        for name, rule in zip(self.rules, rules, strict=True):
            setattr(self, name, rule)

    def region(self, call: "_Call") -> Region:
        """The call as a region."""
        raise NotImplementedError


class _Call:
    """One call of a function with a rule. Its arguments are values, which may be traced, and settings, which are not."""

    def __init__(self, name: str, args: tuple[Any, ...], nondiff: tuple[int, ...]) -> None:
        self.name, self.args = name, args
        if any(not -len(args) <= n < len(args) for n in nondiff):
            raise StructureError(f"{name}: nondiff_argnums={nondiff}, but {len(args)} arguments were given.")
        self.nondiff = sorted(n % len(args) for n in nondiff)
        self.differentiated = [n for n in range(len(args)) if n not in self.nondiff]
        self.leaves, self.treedef = trees.flatten(args)
        argument = [n for n, arg in enumerate(args) for _ in trees.leaves(arg)]
        # A number is a value if it may be differentiated. Otherwise it may be an axis, which must stay a number.
        self.places = [
            i for i, (leaf, n) in enumerate(zip(self.leaves, argument, strict=True))
            if hasattr(leaf, "shape") or (isinstance(leaf, int | float | complex) and n not in self.nondiff)
        ]  # fmt: skip
        self.values = [self.leaves[i] for i in self.places]
        self.fixed = [k for k, i in enumerate(self.places) if argument[i] in self.nondiff]
        self.is_active = [
            argument[i] not in self.nondiff and trees.is_differentiable(self.leaves[i]) for i in self.places
        ]
        for place, value in zip(self.places, self.values, strict=True):
            if argument[place] in self.nondiff and (level := _derivative_of(value)):
                raise TraceError(
                    f"{name}: argument {trees.paths(args)[place]} is in nondiff_argnums and has no derivative, but {level.name} "
                    "differentiates with respect to it. Pass fd.stop_gradient(x) if you want a constant, or change nondiff_argnums."
                )

    def handed_over(self) -> list[Any]:
        """The values. Only their shapes and dtypes stay here, because a tape and a call that hold each other would be a cycle."""
        values, self.values = self.values, []
        for place, value in zip(self.places, values, strict=True):
            self.leaves[place] = Aval(as_array(value)) if isinstance(value, Tracer) else value
        self.args = trees.unflatten(self.treedef, self.leaves)
        return values

    def full(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """All arguments, built from the values."""
        leaves = list(self.leaves)
        for place, value in zip(self.places, values, strict=True):
            leaves[place] = value
        args: tuple[Any, ...] = trees.unflatten(self.treedef, leaves)
        return args

    def leaves_of(self, output: Any) -> tuple[Any, ...]:
        """The leaves of the function's result, whose structure is remembered."""
        leaves, self.structure = trees.flatten(output)
        return tuple(leaves)

    def output(self, leaves: Sequence[Any]) -> Any:
        """Leaves with the structure of the function's result."""
        return trees.unflatten(self.structure, leaves)

    def split(self, values: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
        """The arguments that are not differentiated, and those that are, built from the values."""
        args = self.full(values)
        return [args[n] for n in self.nondiff], tuple(args[n] for n in self.differentiated)

    def again(self, fixed: Sequence[Any]) -> list[Any]:
        """The arguments that are not differentiated, built from their own values."""
        values: list[Any] = [None] * len(self.places)
        for k, value in zip(self.fixed, fixed, strict=True):
            values[k] = value
        return self.split(values)[0]

    def tangents(self, values: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
        """The tangents of the differentiated arguments: zeros if missing, None for arguments without a derivative."""
        moved = iter(filled(values, tangents, self.is_active))
        places = set(self.places)
        leaves = [next(moved) if i in places else None for i in range(len(self.leaves))]
        args = trees.unflatten(self.treedef, leaves)
        return tuple(args[n] for n in self.differentiated)

    def gradients(self, given: Any) -> tuple[Any, ...]:
        """The result of a reverse rule (one entry for each differentiated argument) as one entry for each value."""
        count = len(self.differentiated)
        if not isinstance(given, tuple) or len(given) != count:
            got = counted(given)
            raise StructureError(
                f"the backward rule of {self.name} must return a tuple of {count} gradients, one per argument, got {got}."
            )
        by_argument = dict(zip(self.differentiated, given, strict=True))
        flat: list[Any] = []
        for n, arg in enumerate(self.args):
            leaves, treedef = trees.flatten(arg)
            gradient = by_argument.get(n)
            flat += [None] * len(leaves) if gradient is None else _parts(self.name, n, treedef, gradient, arg)
        return tuple(flat[place] if active else None for place, active in zip(self.places, self.is_active, strict=True))


def _parts(name: str, n: int, treedef: Any, gradient: Any, arg: Any) -> list[Any]:
    """The leaves of a gradient, in the structure of the argument; None where there is no gradient."""
    try:
        parts = treedef.flatten_up_to(gradient)
    except ValueError:
        error = trees.structure_error(arg, gradient, f"argument {n}", "its gradient")
        raise StructureError(f"the backward rule of {name}: {error}") from None
    checked: list[Any] = []
    for (path, x), t in zip(trees.flatten_with_path(arg), parts, strict=True):
        part = None if t is None else as_array(t)
        if part is not None and part.shape != shape_of(x):
            where = f"{n}/{path}" if path else str(n)
            raise ShapeError(
                f"the backward rule of {name}: argument {where} is {describe(x)}, but its gradient is {describe(t)}."
            )
        checked.append(part)
    return checked


def _derivative_of(value: Any) -> Any:
    """The level that differentiates with respect to a value, if there is one."""
    return next((tracer.level for tracer in tracers_of(value) if isinstance(tracer, TapeTracer | ForwardTracer)), None)


class custom_vjp(_Rule):  # noqa: N801, a decorator
    """Decorator: write the reverse-mode rule of `function` yourself. It holds to any order and under every other transform.

        @fd.custom_vjp
        def clipped(x): return x
        clipped.defvjp(lambda x: (x, None), lambda residuals, t: (fd.numpy.clip(t, -1, 1),))

    `forward(*args) -> (output, residuals)`; `backward(residuals, cotangent) -> a tuple, one entry per argument` (None for
    an argument without a gradient). Forward mode follows from `backward`, which must be linear in the cotangent. Cotangents
    of complex numbers follow the convention of `vjp`.
    Arguments in `nondiff_argnums` have no derivative: `backward(*nondiff, residuals, cotangent)` takes them first and
    returns gradients of the other arguments.
    """

    rules = "forward", "backward"
    forward: Callable[..., Any] | None = None
    backward: Callable[..., Any] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Set the rule."""
        self.forward, self.backward = forward, backward

    def region(self, call: _Call) -> Region:
        """As `_Rule.region`; StructureError without a rule."""
        if self.forward is None or self.backward is None:
            raise StructureError(f"{self.name} has no rule yet: call {self.name}.defvjp(forward, backward).")
        function, forward, backward = self.function, self.forward, self.backward

        def flat_function(*values: Any) -> tuple[Any, ...]:
            return call.leaves_of(function(*call.full(values)))

        def flat_forward(*values: Any) -> tuple[tuple[Any, ...], Any]:
            result = forward(*call.full(values))
            if not isinstance(result, tuple) or len(result) != 2:
                raise StructureError(
                    f"the forward rule of {self.name} must return (output, residuals), got {counted(result)}."
                )
            return call.leaves_of(result[0]), (result[1], [values[k] for k in call.fixed])

        def flat_backward(residuals: Any, cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
            kept, fixed = residuals
            return call.gradients(backward(*call.again(fixed), kept, call.output(cotangents)))

        return _Pulled(self.name, flat_function, flat_forward, flat_backward)


class _Pulled(Region):
    """A function with a reverse rule: `forward(*leaves) -> (results, residuals)`, `backward(residuals, cotangents) -> gradients`."""

    composed = True

    def __init__(self, name: str, function: Flat, forward: Callable[..., Any], backward: Flat) -> None:
        self.name, self.function, self.forward, self.backward = name, function, forward, backward

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return self.function(*leaves)

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        # The rule's own forward run is differentiable at the levels below, so it runs there unchanged.
        views = _lent(leaves, is_traced)
        outputs, residuals = self.forward(*views)
        kept, treedef = trees.flatten(residuals)
        found, count = [*outputs, *kept], len(outputs)
        del outputs, residuals, kept
        taken_back(found, leaves, views)
        return tuple(found[:count]), (found[count:], treedef)

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        kept, treedef = residuals
        given = conjugated(tuple(cotangents))
        views = list(map(lent, given))
        found = list(self.backward(trees.unflatten(treedef, map(lent, kept)), tuple(views)))
        gradients: tuple[Any, ...] = conjugated(tuple(taken_back(found, given, views)))
        return gradients

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        outputs, residuals = self.forward(*leaves)
        active = [i for i, t in enumerate(tangents) if t is not None]

        def pulled(*cotangents: Any) -> tuple[Any, ...]:
            gradients = self.backward(residuals, cotangents)
            return tuple(zeros_like(leaves[i]) if gradients[i] is None else gradients[i] for i in active)

        # The tangent map is the transpose of the linear map `pulled`. The pullback of `pulled` computes it.
        _, transpose = pulled_back(f"the rule of {self.name}", pulled, [zeros_like(y) for y in outputs])
        moved = transpose(tuple(tangents[i] for i in active))
        transpose.release()
        return outputs, tuple(t if trees.is_differentiable(y) else None for y, t in zip(outputs, moved, strict=True))

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> "_Pulled":
        axes = in_axes_of(is_batched)

        def backward(residuals: Any, cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
            return over_the_batch(vmap(self.backward)(residuals, cotangents), axes)

        return _Pulled(self.name, vmap(self.function, axes), vmap(self.forward, axes), backward)


class custom_jvp(_Rule):  # noqa: N801, a decorator
    """Decorator: write the forward-mode rule of `function` yourself. It holds to any order and under every other transform.

        @fd.custom_jvp
        def log1pexp(x): return fd.numpy.log(1 + fd.numpy.exp(x))
        @log1pexp.defjvp
        def rule(primals, tangents):
            (x,), (t,) = primals, tangents
            return log1pexp(x), t / (1 + fd.numpy.exp(-x))

    `rule(primals, tangents) -> (output, its tangent)` must be linear in the tangents. They are zeros for primals that do not move
    and None for integers. Reverse mode is the transpose of the rule. Arguments in `nondiff_argnums` have no derivative, and the
    rule takes them first: `rule(*nondiff, primals, tangents)`.
    """

    rules = ("rule",)
    rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule and return it."""
        self.rule = rule
        return rule

    def region(self, call: _Call) -> Region:
        """As `_Rule.region`; StructureError without a rule."""
        if self.rule is None:
            raise StructureError(f"{self.name} has no rule yet: call {self.name}.defjvp(rule).")
        function, rule = self.function, self.rule

        def flat_function(*values: Any) -> tuple[Any, ...]:
            return call.leaves_of(function(*call.full(values)))

        def flat_rule(values: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            nondiff, primals = call.split(values)
            result = rule(*nondiff, primals, call.tangents(values, tangents))
            if not isinstance(result, tuple) or len(result) != 2:
                raise StructureError(f"the rule of {self.name} must return (output, tangent), got {counted(result)}.")
            return call.leaves_of(result[0]), self._moved(result[0], result[1])

        return _Pushed(self.name, flat_function, flat_rule, tuple(call.is_active))

    def _moved(self, output: Any, tangent: Any) -> tuple[Any, ...]:
        """The tangents of the output's leaves: zeros for leaves that do not move, None for leaves without a derivative."""
        given, treedef = trees.flatten(tangent, none_is_leaf=True)
        if treedef != trees.flatten(output, none_is_leaf=True)[1] and tangent is not None:
            error = trees.structure_error(output, tangent, "output", "tangent")
            raise StructureError(f"the rule of {self.name}: {error}")
        moved: list[Any] = []
        pairs = trees.flatten_with_path(output, none_is_leaf=True)
        for (path, y), t in zip(pairs, [None] * len(pairs) if tangent is None else given, strict=True):
            if y is None:
                continue
            if not trees.is_differentiable(y):
                moved.append(None)
                continue
            t = zeros_like(y) if t is None else as_array(t)
            where = f" at {path!r}" if path else ""
            if is_complex(t) and not is_complex(y):
                raise DTypeError(
                    f"the rule of {self.name}: the tangent{where} is {describe(t)}, but the output is {describe(y)}. If its imaginary "
                    "part has no meaning, return fd.numpy.real(t)."
                )
            if t.shape != shape_of(y):
                raise ShapeError(
                    f"the rule of {self.name}: the tangent{where} is {describe(t)}, but the output is {describe(y)}."
                )
            moved.append(t)
        return tuple(moved)


def _lent(leaves: Sequence[Any], is_traced: Sequence[bool]) -> list[Any]:
    """The leaves as a rule gets them. The memory of traced ones belongs to the library."""
    return [lent(x, private=traced) for x, traced in zip(leaves, is_traced, strict=True)]


class _Pushed(Region):
    """A function with a forward rule: `rule(leaves, tangents) -> (results, their tangents)`. `is_active`: which leaves may have one."""

    composed = True

    def __init__(self, name: str, function: Flat, rule: Callable[..., Any], is_active: tuple[bool, ...]) -> None:
        self.name, self.function, self.rule, self.is_active = name, function, rule, is_active

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return self.function(*leaves)

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        given = (*leaves, *tangents)
        views = list(map(lent, given))
        outputs, moved = self.rule(tuple(views[: len(leaves)]), tuple(views[len(leaves) :]))
        found, count = [*outputs, *moved], len(outputs)
        del outputs, moved
        taken_back(found, given, views)
        return tuple(found[:count]), tuple(found[count:])

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        active = [i for i, both in enumerate(zip(is_traced, self.is_active, strict=True)) if all(both)]
        views = _lent(leaves, is_traced)

        def along(*directions: Any) -> tuple[list[Any], tuple[Any, ...]]:
            tangents: list[Any] = [None] * len(leaves)
            for i, t in zip(active, directions, strict=True):
                tangents[i] = t
            outputs, moved = self.rule(tuple(views), tuple(tangents))
            return [t for t in moved if t is not None], outputs

        # The rule is linear in the tangents, so its pullback at zero is its transpose.
        at = [zeros_like(leaves[i]) for i in active]
        found, pullback, outputs = pulled_back(f"the rule of {self.name}", along, at, has_aux=True)
        results = list(outputs)
        del found, outputs
        outputs = tuple(taken_back(results, leaves, views))
        return outputs, (pullback, active, [trees.is_differentiable(y) for y in outputs])

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        pullback, active, is_floating = residuals
        gradients = dict(zip(active, pullback.transposed(chosen(cotangents, is_floating)), strict=True))
        return tuple(gradients.get(i) for i in range(len(is_traced)))

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> "_Pushed":
        axes = in_axes_of(is_batched)
        return _Pushed(self.name, vmap(self.function, axes), vmap(self.rule, (axes, axes)), self.is_active)
