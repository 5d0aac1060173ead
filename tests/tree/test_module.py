"""Modules as Python classes: what a subclass may contain, how it is inherited, copied, pickled and shown."""

import abc
import copy
import functools
import inspect
import pickle
import pydoc
import sys
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero.errors import ImmutableError
from fdezero.testing import assert_trees_equal

T = TypeVar("T")


def _positive(layer: Any, attribute: Any, value: Any) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name} is positive")


class Scale(fd.Module):
    """x times a factor."""

    factor: Any
    power: int = fd.static(default=1, validator=_positive)
    kinds: ClassVar[tuple[str, ...]] = ("scale",)
    Number = float  # A class in the body is not a field.
    counted: ClassVar[int] = 0

    def __attrs_post_init__(self) -> None:
        type(self).counted += 1

    @property
    def inverse(self) -> Any:
        return 1 / self.factor

    @functools.cached_property
    def total(self) -> Any:
        return self.factor.sum()

    @classmethod
    def init(cls, size: int) -> Any:
        return cls(np.ones(size))

    @staticmethod
    def twice(x: Any) -> Any:
        return 2 * x

    def named(self) -> str:
        return f"{__class__.__name__}"  # type: ignore[name-defined]  # Python's cell

    def __call__(self, x: Any) -> Any:
        return x * self.factor**self.power


class Affine(Scale):
    """With one more field, and `super()` without arguments."""

    shift: Any = 0.0
    kinds = ("scale", "shift")  # another value for a ClassVar of the base

    def __call__(self, x: Any) -> Any:
        return super().__call__(x) + self.shift


class Named(Affine):
    """A subclass of a subclass, without fields of its own."""


class Box(fd.Module, Generic[T]):
    content: T


class Sized(Protocol):
    size: int


class Base(fd.Module, abc.ABC):
    @property
    @abc.abstractmethod
    def size(self) -> int: ...

    @abc.abstractmethod
    def __call__(self, x: Any) -> Any: ...


class Concrete(Base):
    W: Any
    size: int = fd.static(default=7)

    def __call__(self, x: Any) -> Any:
        return x @ self.W


class Left(fd.Module):
    left: Any


class Right(fd.Module):
    right: Any


class Both(Left, Right):
    pass


def test_fields_are_inherited_and_methods_are_methods() -> None:
    assert [field.name for field in attrs.fields(Affine)] == ["factor", "power", "shift"]
    layer = Affine(np.array([1.0, 2.0]), 2, shift=3.0)
    np.testing.assert_array_equal(layer(np.ones(2)), [4.0, 7.0])
    np.testing.assert_array_equal(layer.inverse, [1.0, 0.5])
    assert (layer.named(), layer.twice(2), layer.kinds, Scale.kinds) == ("Scale", 4, ("scale", "shift"), ("scale",))
    assert fd.tree.paths(Affine.init(2)) == ["factor", "shift"]
    named = fd.tree.map(lambda x: x + 1, Named(np.zeros(1)))
    assert (type(named), named.shift, named.power) == (Named, 1.0, 1)


def test_validators_and_post_init_run_where_a_user_makes_an_instance() -> None:
    with pytest.raises(ValueError, match="power is positive"):
        Scale(1.0, power=0)
    before = Scale.counted
    layer = Scale(1.0)
    fd.tree.map(lambda x: x, layer)
    assert Scale.counted == before + 1
    assert layer.replace(factor=2.0).factor == attrs.evolve(layer, factor=2.0).factor == 2.0  # type: ignore[misc]  # mypy knows its own attrs classes


def test_a_cached_result_belongs_to_the_instance() -> None:
    layer = Scale(np.ones(3))
    assert layer.total == layer.total == 3.0
    assert fd.tree.paths(layer) == ["factor"]
    assert layer.replace(factor=np.ones(4)).total == fd.tree.map(lambda x: np.ones(4), layer).total == 4.0
    assert fd.grad(lambda layer: layer.total * layer.total)(layer).factor[0] == 6.0
    assert "total" not in vars(pickle.loads(pickle.dumps(layer)))


@pytest.mark.parametrize(
    "module", [Named(np.ones(2), 3, np.zeros(2)), Box(np.ones(3)), Both(1.0, 2.0), Concrete(np.eye(2), 3), fd.Module()]
)
def test_copies_are_equal_and_immutable(module: Any) -> None:
    copies = [pickle.loads(pickle.dumps(module, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for other in (copy.copy(module), copy.deepcopy(module), attrs.evolve(module), module.replace(), *copies):
        assert type(other) is type(module)
        assert_trees_equal(other, module)
        assert fd.tree.flatten(other)[1] == fd.tree.flatten(module)[1]
        with pytest.raises(ImmutableError):
            other.anything = 1
    assert copy.copy(module) != module, "equality is identity"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace came with Python 3.13")
def test_the_standard_library_replaces() -> None:
    assert copy.replace(Scale(1.0), factor=2.0).factor == 2.0  # type: ignore[attr-defined]


def test_generic_and_multiple_bases() -> None:
    box = Box[float](2.0)
    assert (type(box), fd.tree.leaves(box), Box.__parameters__) == (Box, [2.0], (T,))  # type: ignore[attr-defined]

    class Floats(Box[float]):
        more: float = 1.0

    assert fd.tree.paths(Floats(2.0)) == ["content", "more"]
    assert sorted(fd.tree.paths(Both(left=1.0, right=2.0))) == ["left", "right"]

    class Structural(fd.Module, Sized):
        size: int = 3

    assert Structural().size == 3


def test_abstract_classes() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]
    layer = Concrete(np.eye(2))
    assert (layer.size, fd.tree.map(lambda W: 2 * W, layer).size) == (7, 7)
    np.testing.assert_array_equal(layer(np.ones(2)), np.ones(2))


def test_names_and_signatures() -> None:
    class Local(fd.Module):
        """A layer in a function."""

        W: Any

    assert (Local.__name__, Local.__module__, Local.__doc__) == ("Local", __name__, "A layer in a function.")
    assert Local.__qualname__ == "test_names_and_signatures.<locals>.Local"
    assert str(inspect.signature(Affine)) == "(factor: Any, power: int = 1, shift: Any = 0.0) -> None"
    assert "With one more field" in pydoc.render_doc(Affine, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    assert [cls for cls in fd.Module.__subclasses__() if cls.__qualname__ == Local.__qualname__] == [Local], "one class, not two"
    match Affine(1.0, 2, 3.0):
        case Affine(factor, shift=shift):
            assert (factor, shift) == (1.0, 3.0)
        case _:
            pytest.fail("no match")


def test_a_base_may_look_at_its_subclasses() -> None:
    known: dict[str, list[str]] = {}

    class Registered(fd.Module):
        def __init_subclass__(cls, *, name: str, **options: Any) -> None:
            super().__init_subclass__(**options)
            known[name] = [field.name for field in attrs.fields(cls)]

    class First(Registered, name="first"):
        W: Any

    assert (known, fd.tree.leaves(First(1.0))) == ({"first": ["W"]}, [1.0])


def test_an_init_may_set_the_fields_at_once() -> None:
    class Own(fd.Module):
        W: Any

        def __init__(self, size: int) -> None:
            self.__attrs_init__(np.zeros(size))  # type: ignore[attr-defined]  # attrs' name for it

    assert fd.tree.map(lambda W: W + 1, Own(2)).W.tolist() == [1.0, 1.0]


def test_fields_of_attrs() -> None:
    class Fields(fd.Module):
        names: list[str] = attrs.field(factory=list, kw_only=True)
        _hidden: Any = attrs.field(converter=float)
        size: int = attrs.field(init=False, default=2, metadata={"static": True})

        @_hidden.validator
        def _check(self, attribute: Any, value: float) -> None:
            assert value > 0

    fields = Fields("3", names=["a"])
    assert (fields._hidden, fields.size, fd.tree.paths(fields)) == (3.0, 2, ["names/0", "_hidden"])
