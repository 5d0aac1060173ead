"""`Made`: the base of layers whose arrays `init` makes."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, Self

import attrs

from ..errors import StructureError
from ..messages import told
from ..tree import Module


class Made(Module):
    """Base of layers whose constructor takes arrays, and whose `init` takes sizes. Sizes in the constructor are refused."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("init", "lazy"):
            method = vars(cls).get(name)
            if isinstance(method, classmethod):
                setattr(cls, name, classmethod(told(functools.partial(_how_to_call, method.__func__))(method.__func__)))

    def __new__(cls, *args: Any, **fields: Any) -> Self:
        if args or fields:
            _refuse_sizes(cls, args, fields)
        return super().__new__(cls)


def _how_to_call(function: Any, cls: type, *args: Any, **kwargs: Any) -> str:
    """What to write in place of a call of `init` or `lazy` that does not fit."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    named = [f"{p.name}=..." for p in parameters if p.default is not p.empty]
    text = f"Write {_name(cls)}.{function.__name__}({', '.join([*needed, *named])})."
    if needed[:1] == ["key"] and args and not hasattr(args[0], "dtype"):
        text += " The key comes first: fd.random.key(0)."
    return text + (" The sizes are one tuple: (784, 10)." if "sizes" in needed else "")


def _name(cls: type) -> str:
    return f"nn.{cls.__name__}" if cls.__module__.startswith(__package__) else cls.__name__


def _refuse_sizes(cls: type, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """Raise StructureError for what `init` takes in place of fields: sizes of arrays, and names that are no fields.

    0 and 1 are accepted, because a tree of axes for `vmap` holds them where the layer holds arrays.
    """
    known = {field.name: not field.metadata.get("static") for field in attrs.fields(cls) if field.init}
    given = {**dict(zip(known, args, strict=False)), **fields}
    has_size = any(known.get(name) and _is_size(value) for name, value in given.items())
    if not has_size and fields.keys() <= known.keys():
        return
    made: Any = cls
    parameters = inspect.signature(made.init).parameters
    if not has_size and not fields.keys() - known.keys() <= parameters.keys():
        return  # Python's own error names the unknown argument
    children = ", ".join([name for name, is_child in known.items() if is_child])
    call = [*map(repr, args), *[f"{name}={value!r}" for name, value in fields.items()]]
    name = _name(cls)
    held = f"{name}(...) takes what the layer holds ({children}), not sizes. "
    if hasattr(made, "lazy") and (missing := _missing(parameters, args, fields)):
        raise StructureError(
            f"{held}{cls.__name__}.init also needs {' and '.join(missing)}. For sizes that come from the first input, "
            f"write {name}.lazy({', '.join(call)}) and nn.init(model, key, x)."
        )
    raise StructureError(
        f"{held}{cls.__name__}.init makes a layer of sizes: "
        f"write {name}.init({', '.join(['key', *call] if 'key' in parameters else call)})."
    )


def _missing(parameters: Mapping[str, inspect.Parameter], args: tuple[Any, ...], fields: dict[str, Any]) -> list[str]:
    """Arguments that `init` needs and did not get, if all others fit; a key does not count."""
    known = [parameter for name, parameter in parameters.items() if name != "key"]
    try:
        given = inspect.Signature(known).bind_partial(*args, **fields).arguments
    except TypeError:
        return []
    needed = [p.name for p in known if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [name for name in needed if name not in given]


def _is_size(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_is_size, value))
    return type(value) is int and value > 1
