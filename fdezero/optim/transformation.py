"""Gradient transformations: frozen classes with their settings as fields, pure `init`, `update` and `step`, and user-made ones."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, dataclass_transform

import attrs

from .. import tree as trees
from ..elsewhere import TRANSFORMATIONS_ELSEWHERE
from ..errors import StructureError
from ..messages import describe, told
from ..tree import static
from .leaves import applied, moved_in_place, refuse_parts, side_by_side, times
from .settings import Settings, number, rate, shown

Tree: TypeAlias = Any
State: TypeAlias = Any
Params = TypeVar("Params")

__all__ = ["GradientTransformation"]


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(attrs.field, static, number, rate))
class GradientTransformation(Settings):
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

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = told(functools.partial(_how_to_make, cls))(cls.__init__)  # type: ignore[method-assign]  # the same call
        if "update" in vars(cls) and "elementwise" not in vars(cls):
            # What the base says of its own update does not hold for another one.
            cls.elementwise = False  # type: ignore[method-assign,assignment]  # a constant in place of the property

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

    @property
    def elementwise(self) -> bool:
        """Whether an entry moves by its own gradient, state and value alone, and by counts: so parts of arrays move as the whole does."""
        return False

    @property
    def finishes(self) -> bool:
        """Whether `step` does better than adding what `update` returns, also as the last part of a chain."""
        return False

    def for_params(self, params: Tree) -> "GradientTransformation":
        """The same transformation, which has asked these parameters all that depends on their shapes, such as a mask."""
        return self

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

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Python asks here for what is not found. The error says what to write for a method of another library."""
            if name in TRANSFORMATIONS_ELSEWHERE:
                message = (
                    f"{type(self).__name__!r} object has no attribute {name!r}. {TRANSFORMATIONS_ELSEWHERE[name]}."
                )
                raise AttributeError(message, name=name, obj=self)
            return object.__getattribute__(self, name)


def _how_to_make(cls: type, *_: Any, **__: Any) -> str:
    settings = ", ".join(f"{field.name}=..." for field in attrs.fields(cls) if field.init)
    return f"Write optim.{cls.__name__}({settings}): the parameters come later, to init(params) and step(params, grads, state)."


class OfFunctions(GradientTransformation):
    """The transformation that two functions make."""

    init: Callable[[Tree], State] = static()  # type: ignore[assignment]  # the functions are the methods
    update: Callable[[Tree, State, Tree], tuple[Tree, State]] = static()  # type: ignore[assignment]  # the same

    name = "part"

    def __repr__(self) -> str:
        return f"GradientTransformation(init={shown(self.init)}, update={shown(self.update)})"


class Stateless(GradientTransformation):
    """Base of transformations without a state: a subclass has `update`."""

    if TYPE_CHECKING:

        def __init__(self) -> None: ...

    @property
    def entries(self) -> tuple[str, ...]:
        """No names."""
        return ()

    def init(self, params: Tree) -> State:
        """No state. Raises StructureError for layers that are cut over ranks, unless each entry moves on its own."""
        if not self.elementwise:
            refuse_parts(self.name, params)
        return {}

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
