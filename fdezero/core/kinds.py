"""The kinds of differentiable operations. A declaration states the derivative once, and both modes follow from it.

Rules are written with operators, array methods and NumPy functions. If an argument is a tracer, these are the library's own
operations. So you can differentiate, batch and compile a rule again.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..values import with_shape
from .cotangents import fit, total, zeros_like
from .pieces import Gathers, Views
from .primitive import C, Core, Primitive, positional
from .tape import Tape, TapeTracer

Rule = Callable[..., Any] | int | None


def _same(t: Any) -> Any:
    return t


def _negative(t: Any) -> Any:
    return -t


class _Partial:
    """The derivative by one argument: a `rule` of the operands that it `takes` (0: y, 1: x0, 2: x1, ...).

    The rule returns the partial derivative. If `of_tangent`, it takes the tangent first and returns their product.
    """

    __slots__ = ("of_tangent", "rule", "takes")

    def __init__(self, rule: Callable[..., Any] | int) -> None:
        if isinstance(rule, int):
            rule = _same if rule == 1 else _negative
        names = rule.__code__.co_varnames[: rule.__code__.co_argcount]  # ten times faster than inspect.signature
        operands = names[1:] if names[0] == "t" else names
        self.rule = rule
        self.of_tangent = names[0] == "t"
        self.takes = tuple(0 if name == "y" else int(name[1:]) + 1 for name in operands)

    def times(self, t: Any, operands: Sequence[Any]) -> Any:
        """The tangent or cotangent `t` times the partial derivative."""
        taken = [operands[k] for k in self.takes]
        return self.rule(t, *taken) if self.of_tangent else t * self.rule(*taken)


class Elementwise(Primitive):
    """y = f(x0, x1, ...) entry by entry, with broadcasting.

    Each argument has one rule:
    - a function whose parameters are any of y, x0, x1, ..., which returns the partial derivative;
    - a function whose first parameter is `t`, the tangent, which returns partial derivative times tangent;
    - the number 1 or -1;
    - None, if there is no derivative.

    By default the implementation is the NumPy function of that name. `c` and `facts` are described in `Primitive`.
    """

    def __init__(
        self,
        name: str,
        *rules: Rule,
        c: C,
        impl: Callable[..., Any] | None = None,
        **facts: Any,
    ) -> None:
        self.partials = tuple(None if rule is None else _Partial(rule) for rule in rules)
        self.mask = sum(1 << i for i, rule in enumerate(rules) if rule is not None)
        self._kept: dict[int, frozenset[int]] = {}
        super().__init__(name, impl or getattr(np, name), c=c, **facts)

    def signature(self) -> inspect.Signature:
        has_parameters = bool(getattr(getattr(self.impl, "__code__", None), "co_kwonlyargcount", 0))
        return super().signature() if has_parameters else positional(len(self.partials))

    def _description(self) -> str:
        count = len(self.partials)
        shapes = ", ".join(f"x{i} (...)" for i in range(count)) + " -> (...)"
        active = ", ".join(f"x{i}" for i in range(count) if self.differentiates(i))
        return f"{shapes}, entry by entry{' with broadcasting' if count > 1 else ''}; derivatives for {active}, of every order."

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        operands = (y, *args)
        total = None
        for partial, tangent in zip(self.partials, tangents, strict=True):
            if partial is not None and tangent is not None:
                term = partial.times(tangent, operands)
                total = term if total is None else total + term
        return total

    def save(self, y: Any, args: list[Any], active: int, params: dict[str, Any]) -> Sequence[Any]:
        kept = self._kept.get(active)
        if kept is None:
            taken = [p.takes for i, p in enumerate(self.partials) if p is not None and active >> i & 1]
            kept = self._kept[active] = frozenset(k for takes in taken for k in takes)
        if not kept:
            return ()
        return [operand if k in kept else None for k, operand in enumerate((y, *args))]

    def pull(self, cotangent: Any, node: Any) -> list[tuple[Any, Any]]:
        saved = node.saved
        return [
            (parent, partial.times(cotangent, saved))
            for partial, parent in zip(self.partials, node.parents)  # noqa: B905, the hottest loop
            if parent is not None and partial is not None
        ]


class Reduction(Primitive):
    """y = f(x) over trailing `axes`. `rule(t, y, x, axes)` is t times the partial derivative of y by each entry of x.

    y and t keep the reduced axes, with length 1. Forward mode sums tangent x partial; reverse mode returns cotangent x partial.
    """

    def __init__(self, name: str, rule: Callable[..., Any], impl: Callable[..., Any], **facts: Any) -> None:
        super().__init__(name, impl, **facts)
        self.rule = rule
        self.mask = 1

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        axes, keepdims = params["axes"], params["keepdims"]
        product = self.rule(tangents[0], _expand(y, axes, keepdims), args[0], axes)
        return total(product, axes, keepdims)

    def save(self, y: Any, args: list[Any], active: int, params: dict[str, Any]) -> tuple[Any, ...]:
        return (y, args[0])

    def pull(self, cotangent: Any, node: Any) -> Iterator[tuple[Any, Any]]:
        axes, keepdims = node.params["axes"], node.params["keepdims"]
        y, x = node.saved
        yield node.parents[0], self.rule(_expand(cotangent, axes, keepdims), _expand(y, axes, keepdims), x, axes)


def _expand(y: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return y if keepdims else np.expand_dims(y, axes)


class Aval:
    """The shape and dtype of an array. The adjoint of a linear operation needs no more of its argument."""

    __slots__ = ("dtype", "ndim", "shape")

    def __init__(self, array: Any) -> None:
        self.shape = array.shape
        self.dtype = array.dtype
        self.ndim = len(self.shape)


class Linear(Primitive):
    """Linear in all arguments together, except those without an adjoint (None), which are held fixed.

    The tangent map is the operation itself. An adjoint is `adjoint(t, *args, **params)`; linear arguments come as their shape and
    dtype only. One `variadic` adjoint `(t, i, *args, **params)` serves any number of arguments. `piece` is for operations that read
    a part of their first argument: see `core/pieces.py`.
    """

    def __init__(
        self,
        name: str,
        impl: Callable[..., Any],
        *adjoints: Callable[..., Any] | None,
        variadic: Callable[..., Any] | None = None,
        core: Core = 0,
        piece: Views | Gathers | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(name, impl, core, **facts)
        self.piece = piece
        if piece is not None:
            piece.operation = self
        self.adjoints = adjoints
        self.variadic = variadic
        self.mask = -1 if variadic else sum(1 << i for i, adjoint in enumerate(adjoints) if adjoint is not None)

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        mixed = [
            (zeros_like(arg) if tangent is None else tangent) if self.differentiates(i) else arg
            for i, (arg, tangent) in enumerate(zip(args, tangents, strict=True))
        ]
        return self(*mixed, **params)

    def save(self, y: Any, args: list[Any], active: int, params: dict[str, Any]) -> tuple[Any, ...]:
        return tuple([Aval(with_shape(arg)) if self.differentiates(i) else arg for i, arg in enumerate(args)])

    def pull(self, cotangent: Any, node: Any) -> Iterator[tuple[Any, Any]]:
        for i, parent in enumerate(node.parents):
            if parent is None:
                continue
            if self.variadic is not None:
                yield parent, self.variadic(cotangent, i, *node.saved, **node.params)
            elif (adjoint := self.adjoints[i]) is not None:
                yield parent, adjoint(cotangent, *node.saved, **node.params)


class Multilinear(Linear):
    """Linear in each argument while the other arguments are held fixed. An adjoint may use their values."""

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        total = None
        for i, tangent in enumerate(tangents):
            if tangent is not None:
                term = self(*args[:i], tangent, *args[i + 1 :], **params)
                total = term if total is None else total + term
        return total

    def save(self, y: Any, args: list[Any], active: int, params: dict[str, Any]) -> tuple[Any, ...]:
        alone = active.bit_count() == 1
        return tuple([Aval(with_shape(arg)) if alone and active >> i & 1 else arg for i, arg in enumerate(args)])


class Nonlinear(Primitive):
    """y = f(x0, x1, ...), with a tangent map `tangent(t0, t1, ..., y, x0, x1, ..., **params)` that is linear in the tangents.

    None stands for the tangent of an argument that does not have one. Reverse mode is
    `adjoint(t, y, x0, x1, ..., **params)`, one cotangent for each argument. Without an adjoint, the tangent map is transposed.
    """

    def __init__(
        self,
        name: str,
        impl: Callable[..., Any],
        tangent: Callable[..., Any],
        adjoint: Callable[..., Any] | None = None,
        core: Core = 0,
        **facts: Any,
    ) -> None:
        super().__init__(name, impl, core, **facts)
        self.tangent = tangent
        self.adjoint = adjoint
        self.mask = -1

    def push(self, y: Any, args: list[Any], tangents: list[Any], params: dict[str, Any]) -> Any:
        return self.tangent(*tangents, y, *args, **params)

    def save(self, y: Any, args: list[Any], active: int, params: dict[str, Any]) -> tuple[Any, ...]:
        return (y, *args)

    def pull(self, cotangent: Any, node: Any) -> Iterator[tuple[Any, Any]]:
        y, *args = node.saved
        if self.adjoint is not None:
            pulled = self.adjoint(cotangent, y, *args, **node.params)
        else:
            pulled = self._transposed(cotangent, y, args, node)
        for parent, t in zip(node.parents, pulled, strict=True):
            if parent is not None and t is not None:
                yield parent, t

    def _transposed(self, cotangent: Any, y: Any, args: list[Any], node: Any) -> list[Any]:
        level = Tape(f"the adjoint of {self.name}")
        inputs = [
            None if parent is None else level.input(zeros_like(arg))
            for parent, arg in zip(node.parents, args, strict=True)
        ]
        moved = self.tangent(*inputs, y, *args, **node.params)
        level.alive = False
        assert isinstance(moved, TapeTracer), self.name
        level.seed(moved.node, fit(cotangent, moved.shape, moved.dtype))
        level.backward(keep=False)
        return [None if t is None else t.node.cotangent for t in inputs]


# Declarations use these names. An operation without a derivative (a comparison, an argmax) is a plain primitive.
discrete, elementwise, reduction, linear, multilinear, nonlinear = (
    Primitive,
    Elementwise,
    Reduction,
    Linear,
    Multilinear,
    Nonlinear,
)
