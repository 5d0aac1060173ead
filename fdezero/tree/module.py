"""Modules: frozen attrs classes that are pytrees of their fields."""

from typing import Any, ClassVar, NoReturn, Self, TypeVar, dataclass_transform

import attrs

from ..errors import ImmutableError, StructureError
from ..messages import describe
from .structure import register

T = TypeVar("T")


def static(**options: Any) -> Any:
    """A field that is no leaf: a size, a name, an activation. Takes what `attrs.field` takes; values must be hashable."""
    return attrs.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field, static))
def module(cls: type[T]) -> type[T]:
    """Class decorator: make `cls` a frozen attrs class and a pytree of its fields that are not `static`.

    Fields are declared in the body, `W: np.ndarray`, and given by position or by name, `Layer(W)`; a constructor that computes
    them is a classmethod, by custom called `init`.
    """
    cls = attrs.define(frozen=True, eq=False, repr=False)(cls)
    cls.__setattr__ = _refuse  # type: ignore[method-assign]  # attrs' own error does not say how to make a changed copy
    register(cls)
    return cls


def _refuse(self: Any, name: str, value: Any) -> NoReturn:
    if name not in {field.name for field in _fields(self)}:
        raise ImmutableError(
            f"{type(self).__name__} is immutable and has no field {name}: declare it in the class body, `{name}: np.ndarray`, and let a "
            f"classmethod compute it: `def init(cls, ...): return cls({name}=...)`, in place of an __init__."
        )
    raise ImmutableError(
        f"{type(self).__name__} is immutable: {name} cannot be assigned. Make a new one: module.replace({name}=...), "
        f'or fd.tree.update(tree, {{"path/{name}": ...}}) further down.'
    )


class Module:
    """Base of layers: a short repr and `replace`. Equality is identity, since arrays have no single truth."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if not hasattr(cls, "__attrs_attrs__"):
            raise StructureError(f"{cls.__name__} is a Module but no tree yet: write @fd.module above `class {cls.__name__}`.")
        return super().__new__(cls)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields replaced."""
        return attrs.evolve(self, **changes)  # type: ignore[misc]  # subclasses are attrs classes, by `module`

    def __repr__(self) -> str:
        fields = ", ".join(f"{f.name}={_short(getattr(self, f.name))}" for f in _fields(self))
        return f"{type(self).__name__}({fields})"


def _fields(module: Any) -> Any:
    return attrs.fields(type(module))


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))}{',' if len(value) == 1 else ''})"
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    return describe(value) if hasattr(value, "shape") else repr(value)


@module
class Frozen(Module):
    """A subtree that `grad` gives no gradient (None) and optimisers leave alone. Its content is `.value`.

    A frozen layer is called as the layer is.
    """

    passed_over: ClassVar[bool] = True  # a leaf in the namespace TRAINABLE
    value: Any

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.value(*args, **options)
