"""Gradient transformations: frozen classes with their settings as fields, pure `init`, `update` and `step`, and user-made ones."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, dataclass_transform

import attrs
import numpy as np

from .. import tree as trees
from ..errors import DTypeError, RangeError, StructureError
from ..messages import called, describe
from ..tree import Module, static
from .leaves import applied, moved_in_place, side_by_side, times, weak

Tree: TypeAlias = Any
State: TypeAlias = Any
Params = TypeVar("Params")
Rate: TypeAlias = Any  # float | Array | Callable[[step], float | Array]
Number: TypeAlias = Any  # float | Array

__all__ = ["GradientTransformation"]


def number(
    *, default: Any = attrs.NOTHING, least: float | None = None, below: float | None = None, most: float | None = None
) -> Any:
    """A field for a number, which may be a traced one. Its bounds are checked when the transformation is made.

    NumPy's numbers become Python's, whose dtype is weak, so a rate of float64 keeps parameters of float32.
    """

    def checked(value: Any, owner: Any, field: Any) -> Any:
        value = weak(value)
        where = f"{type(owner).__name__}: {field.name}"
        if isinstance(value, bool | str | None) or callable(value) or not (_is_plain(value) or hasattr(value, "dtype")):
            raise DTypeError(f"{where} is a number; got {_shown(value)}.")
        if _is_plain(value):
            bounds = [
                f"{sign} {bound:g}" for sign, bound in ((">=", least), ("<", below), ("<=", most)) if bound is not None
            ]
            outside = (least is not None and value < least) or (below is not None and value >= below)
            if math.isnan(value) or outside or (most is not None and value > most):
                raise RangeError(f"{where} is a number {' and '.join(bounds) or 'that is not NaN'}; got {value!r}.")
        return value

    return attrs.field(default=default, converter=attrs.Converter(checked, takes_self=True, takes_field=True))


def rate(*, default: Any = attrs.NOTHING) -> Any:
    """A field for a rate: a number, or a schedule, a function of the step. It is checked when the transformation is made."""

    def checked(value: Any, owner: Any, field: Any) -> Any:
        value = weak(value)
        where = f"{type(owner).__name__}: {field.name}"
        if isinstance(value, type) or not (callable(value) or _is_plain(value) or hasattr(value, "dtype")):
            raise DTypeError(f"{where} is a number or a schedule, a function of the step; got {_shown(value)}.")
        if _is_plain(value) and not math.isfinite(value):
            raise RangeError(f"{where} is a finite number or a schedule; got {value!r}.")
        return value

    return attrs.field(default=default, converter=attrs.Converter(checked, takes_self=True, takes_field=True))


def _is_plain(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(attrs.field, static, number, rate))
class GradientTransformation(Module):
    """`init(params) -> state` and `update(grads, state, params) -> (updates, state)`, pure functions.

    `step` adds the updates to the params. Gradients and updates have the structure of `fd.tree.trainable(params)`: None for
    integers and Frozen subtrees. The updates of float16 parameters are float32.

    Make one of two functions, `GradientTransformation(init, update)`, or of a subclass with both methods, whose fields are its
    settings. Optimisers are trees of their settings, so they pickle, print and compare with `fd.tree` as models do.
    """

    if TYPE_CHECKING:

        def __init__(self, init: Callable[[Tree], State], update: Callable[..., tuple[Tree, State]]) -> None: ...

    else:

        def __new__(cls, *args: Any, **settings: Any) -> Any:
            return super().__new__(OfFunctions if cls is GradientTransformation else cls)

    @property
    def entries(self) -> tuple[str, ...] | None:
        """The names in the state, a dict. None for a state of any other form, which a chain keeps under the class's name."""
        return None

    @property
    def name(self) -> str:
        """What the transformation is called in errors and in the states of chains."""
        return type(self).__name__

    @property
    def counts(self) -> bool:
        """Whether an entry `step` of the state is the number of updates so far, which all parts of a chain share."""
        return True

    def init(self, params: Tree) -> State:
        """The state before the first step."""
        return {}

    def update(self, grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        """The updates, and the new state."""
        raise NotImplementedError(f"{type(self).__name__} needs a method update(grads, state, params).")

    def step(self, params: Params, grads: Tree, state: State) -> tuple[Params, State]:
        """Return the new params and the new state.

        Raises StructureError, ShapeError or DTypeError that names the first leaf whose gradient does not fit.
        """
        leaves, _, treedef = side_by_side(params, grads, "grads")
        self.check(state)
        updates, state = self.update(grads, state, params)
        return applied(params, leaves, treedef, updates), state

    def check(self, state: State) -> None:
        """Raise StructureError if a state has other entries than those of this optimiser."""
        entries = self.entries
        if entries is None or (state.__class__ is dict and state.keys() == {*entries}):
            return
        if not entries and not trees.leaves(state):
            return
        got = describe(state) if trees.leaves(state) else "nothing"
        got = ", ".join(map(str, state)) if state and isinstance(state, dict) else got
        raise StructureError(
            f"{self.name} got the state of another optimiser, or no state: it has {got}, but {self.name} keeps "
            f"{', '.join(entries) or 'nothing'}. Pass the state from its own init(params), or from its last step."
        )

    def __repr__(self) -> str:
        fields = [(field.name, getattr(self, field.name, None)) for field in attrs.fields(type(self))]
        return f"{type(self).__name__}({', '.join(f'{name}={_shown(value)}' for name, value in fields)})"


class OfFunctions(GradientTransformation):
    """The transformation that two functions make."""

    init: Callable[[Tree], State] = static()  # type: ignore[assignment]  # the functions are the methods
    update: Callable[[Tree, State, Tree], tuple[Tree, State]] = static()  # type: ignore[assignment]  # the same

    name = "part"

    def __repr__(self) -> str:
        return f"GradientTransformation(init={_shown(self.init)}, update={_shown(self.update)})"


class Stateless(GradientTransformation):
    """Base of transformations without a state: a subclass has `update`."""

    @property
    def entries(self) -> tuple[str, ...]:
        """No names."""
        return ()

    def check(self, state: State) -> None:
        """Raise StructureError for the state of another optimiser."""
        if state:
            super().check(state)


class Scaling(Stateless):
    """Base of transformations that multiply by the number `factor`. Their step reads each tree once, as a loop over the leaves does."""

    @property
    def factor(self) -> Any:
        """What gradients are multiplied by."""
        raise NotImplementedError

    def step(self, params: Params, grads: Tree, state: State) -> tuple[Params, State]:
        """Return the new params and the same state. Raises as the step of every transformation does."""
        leaves, found, treedef = side_by_side(params, grads, "grads")
        self.check(state)
        factor = self.factor
        new = [p if g is None else moved_in_place(p, times(g, factor)) for p, g in zip(leaves, found, strict=True)]
        return trees.unflatten(treedef, new), state


def _shown(value: Any) -> str:
    """The text of a setting."""
    if isinstance(value, Module) or hasattr(type(value), "__attrs_attrs__"):
        return repr(value)
    if callable(value):
        return called(value)
    if isinstance(value, tuple | list):
        inner = ", ".join(map(_shown, value))
        return f"({inner}{',' * (len(value) == 1)})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_shown(part)}' for key, part in value.items())}}}"
    is_array = hasattr(value, "dtype") and not isinstance(value, np.generic)
    return describe(value) if is_array or trees.leaves(value) != [value] else repr(value)
