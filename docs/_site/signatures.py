"""Signatures and members of public objects, as the reference shows them."""

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

if sys.version_info >= (
    3,
    14,
):  # annotations are evaluated late, and some names in them are there for type checkers alone
    from annotationlib import Format

    LATE: dict[str, Any] = {"annotation_format": Format.FORWARDREF}
else:
    LATE = {}
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def shown(default: Any) -> str:
    """A default value: its code, or its name if it is a function, a class or an object without readable form."""
    if inspect.isroutine(default) or inspect.isclass(default):
        return str(default.__name__)
    text = repr(default)
    if text == "NOTHING" or re.search(r" at 0x|\n", text):
        return "..."
    if text.startswith("<"):
        return str(getattr(default, "__name__", "..."))
    return text


def signature(value: Any, *, bound: bool = False) -> str:
    """The parameters of a function or class with their defaults, and without types; empty if it has no signature."""
    try:
        found = inspect.signature(value, **LATE)
    except (TypeError, ValueError):
        return ""
    parameters = list(found.parameters.values())
    if bound and parameters and parameters[0].kind in POSITIONAL:
        parameters = parameters[1:]
    plain = [
        inspect.Parameter(p.name, p.kind, default=p.default if p.default is p.empty else _Shown(shown(p.default)))
        for p in parameters
    ]
    return str(inspect.Signature(plain))


class _Shown:
    """A default value whose repr is a given text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def parameters(value: Any) -> set[str]:
    """The names of the parameters of a function or class."""
    try:
        return set(inspect.signature(value, **LATE).parameters)
    except (TypeError, ValueError):
        return set()


def members(cls: type, documented: set[type]) -> Iterator[tuple[str, str, Any]]:
    """The public methods and properties of a class: (name, kind, object).

    Those of a base that has an entry of its own are found there, and those of classes outside fdezero in their documents.
    """
    seen: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("fdezero") or (base is not cls and base in documented):
            continue
        for name, member in vars(base).items():
            if name in seen or (name.startswith("_") and name != "__call__"):
                continue
            seen.add(name)
            if isinstance(member, classmethod):
                yield name, "classmethod", member.__func__
            elif isinstance(member, staticmethod):
                yield name, "staticmethod", member.__func__
            elif inspect.isfunction(member):
                yield name, "method", member
            elif isinstance(member, property) or hasattr(member, "func"):
                yield name, "property", member


def bases(cls: type, documented: dict[type, str]) -> list[str]:
    """The paths of the bases of a class that have an entry, the nearest ones."""
    found: list[str] = []
    for base in cls.__bases__:
        found += [documented[base]] if base in documented else bases(base, documented)
    return found
