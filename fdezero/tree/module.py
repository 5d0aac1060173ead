"""Modules: frozen attrs classes that are pytrees of their fields, declared by subclassing."""

import sys
import weakref
from collections.abc import Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

import attrs

from ..elsewhere import MODULES_ELSEWHERE
from ..errors import ImmutableError, StructureError
from ..messages import describe
from . import display
from .structure import register


def static(*default: Any, **options: Any) -> Any:
    """A field that is not a child: a size, a name, an activation. Takes what `attrs.field` takes; values must be hashable."""
    if default:
        raise TypeError(f"fd.static takes options by name: write fd.static(default={default[0]!r}).")
    return attrs.field(metadata={"static": True}, **options)


def statistic(**options: Any) -> Any:
    """A field that steps change, not gradients: `mean: np.ndarray = nn.statistic()`. Takes what `attrs.field` takes.

    A statistic is saved, moved and mapped like every child. `grad` returns None for it, and optimisers leave it alone.
    """
    return attrs.field(metadata={"statistic": True}, **options)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(attrs.field, static, statistic))
class Module:
    """Base of layers: a subclass is a frozen attrs class, and a pytree of its fields that are not `static`.

    Fields are declared in the body, `W: np.ndarray`, and given by position or by name, `Layer(W)`. A constructor that computes
    them is a classmethod, usually called `init`. Two modules are equal only if they are the same object,
    because a comparison of arrays gives an array.
    """

    __attrs_attrs__: ClassVar[Any]  # type checkers recognise an attrs class by this name

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _declare(cls)
        del cls.__setattr__, cls.__delattr__  # attrs has put them there; those of Module say how to make a changed copy

    @classmethod
    def __attrs_init_subclass__(cls) -> None:  # attrs calls it after it has changed a subclass in place
        if cls in _declared:
            raise _decorated(cls)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields replaced. Raises TypeError for a name that is no field."""
        fields = [field.alias for field in _fields(self) if field.init]
        if unknown := [name for name in changes if name not in fields]:
            raise TypeError(
                f"{type(self).__name__} has no field {unknown[0]!r} to replace; its fields are {', '.join(fields)}."
            )
        return attrs.evolve(self, **changes)  # type: ignore[misc]  # an attrs class, by `_declare`

    if not TYPE_CHECKING:  # to a type checker an unknown attribute stays unknown

        def __getattr__(self, name: str) -> Any:
            """Python asks here for what is not found. The error says what to write for a method of another library."""
            if name in MODULES_ELSEWHERE and not hasattr(type(self), name):
                message = f"{type(self).__name__!r} object has no attribute {name!r}. {MODULES_ELSEWHERE[name]}."
                raise AttributeError(message, name=name, obj=self)
            return object.__getattribute__(self, name)  # raises what was raised, also from within a property

        def _refuse_arithmetic(self, other: Any = None) -> Any:
            kind = type(self).__name__
            raise TypeError(
                f"{kind} is a tree, which has no arithmetic. Write fd.tree.map(lambda a: 0.5 * a, tree), or of two, map(np.add, a, b)."
            )

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __neg__ = (
            __pow__
        ) = _refuse_arithmetic

    def __repr__(self) -> str:
        return display.shown(self)

    def _repr_html_(self) -> str:  # what notebooks show
        return display.as_html(self)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: the fields, without the results that a `cached_property` keeps."""
        return {field.name: getattr(self, field.name) for field in _fields(self)}


_declared: weakref.WeakSet[type] = weakref.WeakSet()


def _declare(cls: type) -> None:
    """Make `cls` a frozen attrs class and a pytree."""
    # cloudpickle makes a class in another process without a body at first. Like other attrs classes, such a class becomes a
    # pytree when a tree first contains an instance: by then it has its fields.
    body = [value for name, value in vars(cls).items() if isinstance(value, FunctionType) or name[:2] != "__"]
    is_empty = not body and not _annotations(cls)
    if "__attrs_attrs__" in vars(cls):  # the copy with slots that attrs makes of a class
        raise _decorated(cls)
    _refuse_unannotated(cls)
    # Without slots: for them attrs would make a second class, but Python is about to return this one.
    attrs.define(frozen=True, eq=False, repr=False, slots=False, auto_attribs=True, field_transformer=_checked)(cls)
    for field in attrs.fields(cls):
        if not field.inherited and _inherits(
            cls, field.name
        ):  # a property, perhaps abstract, which would hide the field
            setattr(cls, field.name, None)
    if "forward" in vars(cls) and "__call__" not in vars(cls) and not _inherits(cls, "__call__"):
        cls.__call__ = _refuse_forward  # type: ignore[method-assign]  # the habit of PyTorch and DeZero
    _declared.add(cls)
    if not is_empty:
        register(cls)


def _refuse_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Raise TypeError: a module with a method `forward` is called, but defines no `__call__`."""
    kind = type(self).__name__
    raise TypeError(
        f"{kind} defines forward, which nobody calls here. Name the method __call__: y = {kind.lower()}(x) runs it."
    )


def _decorated(cls: type) -> StructureError:
    return StructureError(
        f"{cls.__name__} is an attrs class already, because it is an fd.Module: remove the decorator above it."
    )


def _inherits(cls: type, name: str) -> bool:
    return any(name in vars(base) for base in cls.__mro__[1:])


def _refuse_unannotated(cls: type) -> None:
    annotated = _annotations(cls)
    for name, value in vars(cls).items():
        is_data = not isinstance(value, type) and not hasattr(
            type(value), "__get__"
        )  # no function, property, nested class
        if is_data and name not in annotated and not name.startswith("_") and not _inherits(cls, name):
            raise StructureError(
                f"{cls.__name__}.{name} has no annotation: `{name}: np.ndarray = ...` makes it a field, "
                f"`{name}: ClassVar = ...` a constant of the class."
            )


def _annotations(cls: type) -> Mapping[str, Any]:
    """The annotations in the body of `cls`. Some may name what is not defined yet."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return vars(cls).get("__annotations__", {})


def _checked(cls: type, fields: list[Any]) -> list[Any]:
    """The `fields`. Raises StructureError for a mutable default, or a field without default after one that has one."""
    before = None
    for field in fields:
        if type(field.default).__hash__ is None:
            raise StructureError(
                f"{cls.__name__}.{field.name} has a mutable default, {describe(field.default)}, which all instances would share. "
                f"Write `{field.name}: ... = attrs.field(factory=lambda: ...)`, or use a tuple."
            )
        if not field.init or field.kw_only:
            continue
        if before and field.default is attrs.NOTHING:
            raise StructureError(
                f"{cls.__name__}.{field.name} has no default, but follows {before}, which has one. Give it a default, or write "
                f"`{field.name}: ... = attrs.field(kw_only=True)` and pass it by name."
            )
        before = field.name if field.default is not attrs.NOTHING else before
    return fields


def _refuse_assignment(self: Any, name: str, value: Any) -> None:
    kind = type(self).__name__
    if name == "__orig_class__":  # how Python 3.11 notes the type arguments of `Layer[int](...)`; nobody reads them
        return
    if name not in {field.name for field in _fields(self)}:
        raise ImmutableError(
            f"{kind} is immutable and has no field {name}: declare it in the class body, `{name}: np.ndarray`, and let a "
            f"classmethod compute it: `def init(cls, ...): return cls({name}=...)`, in place of an __init__."
        )
    if sys._getframe(1).f_code.co_name == "__init__":
        raise ImmutableError(
            f"{kind} is immutable: its __init__ cannot assign {name}. Let a classmethod compute the field: "
            f"`def init(cls, ...): return cls({name}=...)`, in place of an __init__."
        )
    raise ImmutableError(
        f"{kind} is immutable: {name} cannot be assigned. Make a new one: module.replace({name}=...), "
        f'or, for a module inside a tree, fd.tree.update(tree, {{"path/{name}": ...}}).'
    )


def _fields(module: Any) -> Any:
    return attrs.fields(type(module))


_declare(Module)  # an empty tree
Module.__setattr__ = _refuse_assignment  # type: ignore[method-assign]


class Frozen(Module):
    """A subtree that does not change: `grad` returns None for it, and optimisers leave it alone. Its content is `.value`.

    You call a frozen layer like the layer itself.
    """

    passed_over: ClassVar[bool] = True  # a leaf in the namespace TRAINABLE
    value: Any

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.value(*args, **options)
