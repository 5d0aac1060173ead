"""Functions made of functions: they have the name of the function, bind as methods, and travel to other processes."""

import functools
import operator
import sys
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from ..messages import called, describe


def check_function(function: Any, by: str) -> None:
    """Raise TypeError, naming the transform that it goes to, for what cannot be called, such as a result."""
    if not callable(function):
        raise TypeError(f"{by} takes a function, got {describe(function)}. Write {by}(f), not {by}(f(x)).")


class Wrapper:
    """A callable made of a function. It is copied as functions are: not at all.

    It is pickled by name if its name leads to it, as that of a decorated function does; otherwise by what it is made of. pickle
    finds functions by name alone, but cloudpickle (joblib, Dask, Ray) sends those of `__main__` by value. Only the pickler knows
    which of the two it will do, so a wrapper with a name hands it two functions of the names `f.itself` and `f.parts`. Found by
    name, `itself` returns the wrapper. Sent by value, it returns an empty one, which is made of what `parts` returns.
    """

    __slots__ = ("__dict__", "__weakref__", "_itself", "_parts", "function")
    function: Callable[..., Any]
    _itself: Callable[[], Any]
    _parts: Callable[[], tuple[Any, ...]]

    def _wrap(self, function: Callable[..., Any], by: str) -> None:
        """Take over the name, the documentation and the signature of a function. Raises TypeError for what is none."""
        check_function(function, by)
        self.function = function
        functools.update_wrapper(self, function, updated=() if isinstance(function, Wrapper) else ("__dict__",))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def _recipe(self) -> tuple[Any, ...]:
        """What the wrapper is made of."""
        raise NotImplementedError

    def _make(self, recipe: tuple[Any, ...]) -> None:
        """Become what the recipe says."""
        raise NotImplementedError

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    @property
    def itself(self) -> Callable[[], Any]:
        """A function that returns this wrapper, and that pickle finds by name."""
        if not hasattr(self, "_itself"):
            here = _Here(self)
            self._itself = self._placed(lambda: here.wrapper, "itself")
        return self._itself

    @property
    def parts(self) -> Callable[[], tuple[Any, ...]]:
        """A function that returns what this wrapper is made of, and that pickle finds by name."""
        if not hasattr(self, "_parts"):
            made = _Made(self)
            self._parts = self._placed(lambda: made.recipe, "parts")
        return self._parts

    def _placed(self, function: Any, name: str) -> Any:
        function.__module__, function.__name__ = self.__module__, name
        function.__qualname__ = f"{self._name()}.{name}"
        return function

    def _name(self) -> str:
        return str(vars(self).get("__qualname__", ""))

    def _has_name(self) -> bool:
        """Whether the name of the function leads here."""
        return _found(self.__module__, self._name(), self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self._has_name():
            return _empty, (type(self),), self._recipe()  # empty at first, because a function may refer to its wrapper
        if protocol < 4:  # there, pickle would look for `f.itself` in a pickled f
            return self._name()
        return _standing, (self.itself, type(self)), self.parts

    def __setstate__(self, state: Any) -> None:
        if not hasattr(self, "function"):
            self._make(state() if isinstance(state, FunctionType) else state)


def _found(module: Any, name: str, value: Any) -> bool:
    """Whether a name leads to a value."""
    try:
        return operator.attrgetter(name)(sys.modules.get(str(module))) is value
    except AttributeError:
        return False


class _Here:
    """A wrapper, which stays where it is: another process gets nothing."""

    def __init__(self, wrapper: Any = None) -> None:
        self.wrapper = wrapper

    def __reduce__(self) -> Any:
        return _Here, ()


class _Made:
    """What a wrapper is made of, at the time when it is pickled."""

    def __init__(self, wrapper: Any = None, recipe: Any = None) -> None:
        self.wrapper, self._recipe = wrapper, recipe

    @property
    def recipe(self) -> Any:
        return self._recipe if self.wrapper is None else self.wrapper._recipe()

    def __reduce__(self) -> Any:
        return _Made, (None, self.recipe)


def _empty(kind: type) -> Any:
    return object.__new__(kind)


def _standing(itself: Callable[[], Any], kind: type) -> Any:
    """The wrapper that a name led to, or an empty one in a process that does not have the name."""
    found = itself()
    return _empty(kind) if found is None else found


Run = Callable[[tuple[Any, ...], dict[str, Any]], Any]  # takes all arguments


class Transformed(Wrapper):
    """`transform(function, *args, **options)`, which runs `run(args, kwargs)`."""

    __slots__ = ("recipe", "run")

    def __init__(
        self, transform: Callable[..., Any], function: Callable[..., Any], run: Run, *args: Any, **options: Any
    ) -> None:
        self._wrap(function, called(transform))
        self.__name__ = called(function)
        self.run, self.recipe = run, Recipe(transform, args, tuple(options.items()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(args, kwargs)

    def __repr__(self) -> str:
        return f"<{called(self.recipe.transform)} of {self.__name__}>"

    def _recipe(self) -> tuple[Any, ...]:
        return sendable(self.function), self.recipe

    def _make(self, recipe: tuple[Any, ...]) -> None:
        function, again = recipe
        made = again.of(received(function))
        Transformed.__init__(self, again.transform, made.function, made.run, *again.args, **dict(again.options))


class Recipe(NamedTuple):
    """What a transform was called with, apart from the function."""

    transform: Callable[..., Any]
    args: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def of(self, function: Callable[..., Any]) -> Any:
        """The function that the transform makes of `function`."""
        return self.transform(function, *self.args, **dict(self.options))


class _Sent(NamedTuple):
    """A function that pickle could not find, as it travels: the function that it was made of, and the recipe."""

    function: Any
    recipe: Recipe


def as_function(
    transform: Callable[..., Any], function: Callable[..., Any], run: Run, *args: Any, **options: Any
) -> Callable[..., Any]:
    """Like `Transformed`, as a function of Python: no more references to the arguments than their names and one tuple.

    A gradient counts references. A call of any other object holds the arguments once more.
    """

    @functools.wraps(function)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        return run(args, kwargs)

    return with_recipe(transformed, transform, *args, **options)


def with_recipe(
    function: Callable[..., Any], transform: Callable[..., Any], *args: Any, **options: Any
) -> Callable[..., Any]:
    """A function that the transform made with `functools.wraps`. Within a wrapper it travels as what it was made of."""
    made: Any = function
    made.__recipe__ = Recipe(transform, args, tuple(options.items())), made.__code__
    return function


def sendable(function: Any) -> Any:
    """A function as it can travel within a wrapper."""
    if type(function) is functools.partial:
        return _Sent(
            sendable(function.func), Recipe(functools.partial, function.args, tuple(function.keywords.items()))
        )
    if isinstance(function, Transformed) and not function._has_name():
        return _Sent(sendable(function.function), function.recipe)
    recipe, code = (
        vars(function).get("__recipe__", (None, None)) if isinstance(function, FunctionType) else (None, None)
    )
    if recipe is not None and code is function.__code__:  # not copied here by functools.wraps
        return _Sent(sendable(function.__wrapped__), recipe)
    return function


def is_lasting(function: Any) -> bool:
    """Whether a function that arrives again will be equal to this one, because names lead to all that it is made of."""
    if isinstance(function, _Sent):
        return is_lasting(function.function)
    return _found(getattr(function, "__module__", None), getattr(function, "__qualname__", ""), function)


def received(function: Any) -> Any:
    """The function, made anew if it has travelled as its parts."""
    return function.recipe.of(received(function.function)) if isinstance(function, _Sent) else function
