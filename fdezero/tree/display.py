"""How modules are shown: one line where it fits, else an indented tree with the number of parameters on top; HTML in notebooks."""

import functools
import html
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..messages import describe
from ..values import is_differentiable
from .structure import Constant, Statistic, flatten, flatten_trainable, is_attrs

WIDTH, WIDEST, LONGEST = 100, 120, 200  # of a line; of one that holds no layers; of the text of a leaf


class Entry(NamedTuple):
    """A child of a container with its name. `times` consecutive children that look alike are one entry."""

    name: str
    child: Any
    times: int = 1


def shown(value: Any) -> str:
    """The text of a module, in one line or indented."""
    line = one_line(value)
    if len(line) <= WIDTH:
        return line
    numbers = sizes(value)
    return "\n".join(_lines(value, "", "", 0, f"  # {numbers}" if numbers else ""))


def one_line(value: Any, at_most: int | None = None) -> str:
    """The text of a value without a line break, cut off at a length."""
    children = _children(value)
    if children is None:
        text = _leaf(value)
    else:
        left, right = _brackets(value)
        inner = ", ".join(_prefix(value, entry.name) + one_line(entry.child) for entry in children)
        text = f"{left}{inner}{',' if type(value) is tuple and len(children) == 1 else ''}{right}"
    return text if at_most is None or len(text) <= at_most else f"{text[: at_most - 3]}..."


def sizes(value: Any) -> str:
    """The numbers of parameters, of frozen ones, and of statistics in a tree: `795,010 parameters, 64 statistics`."""
    found = {"parameters": 0, "frozen": 0, "statistics": 0}
    seen: set[int] = set()  # a layer at several places has its parameters once
    for leaf in flatten_trainable(value)[0]:
        kind = (
            "statistics"
            if isinstance(leaf, Statistic)
            else "frozen"
            if _is_container(leaf) or isinstance(leaf, Constant)
            else "parameters"
        )
        for part in flatten(leaf.value if isinstance(leaf, Constant) else leaf)[0]:
            if is_differentiable(part) and id(part) not in seen:
                seen.add(id(part))
                found[kind] += math.prod(getattr(part, "shape", ()))
    return ", ".join(f"{number:,} {kind}" for kind, number in found.items() if number)


def as_html(value: Any) -> str:
    """A tree that folds, for a notebook. All texts are escaped."""
    style = "font-family: monospace; line-height: 1.4"
    return f'<div style="{style}">{"".join(_html("", value, 0))}</div>'


def _html(name: str, value: Any, depth: int) -> Iterator[str]:
    label = f"{html.escape(name)}: " if name else ""
    children = _grouped(_children(value) or [])
    if not children or (depth and not _holds_containers(value)):
        yield f"<div>{label}{html.escape(one_line(value, LONGEST))}{_numbers(value)}</div>"
        return
    title = "" if isinstance(value, list | tuple | dict) else f"<b>{html.escape(type(value).__name__)}</b>"
    yield f"<details{' open' if depth < 2 else ''}><summary>{label}{title}{_numbers(value)}</summary>"
    yield '<div style="margin-left: 1.5em">'
    for entry in children:
        times = f"{entry.times} x " if entry.times > 1 else ""
        if _is_container(entry.child):
            yield from _html(f"{entry.name}{f' ({times.strip()})' if times else ''}", entry.child, depth + 1)
        else:
            yield f"<div>{html.escape(f'{entry.name}: {times}{one_line(entry.child, LONGEST)}')}</div>"
    yield "</div></details>"


def _numbers(value: Any) -> str:
    numbers = sizes(value)
    return f' <span style="opacity: 0.6">{numbers}</span>' if numbers else ""


def _lines(value: Any, before: str, after: str, indent: int, comment: str = "") -> Iterator[str]:
    children = _children(value)
    plain = isinstance(value, list | tuple | dict)
    line = " " * indent + before + one_line(value, LONGEST if plain else None) + after
    is_flat = not _holds_containers(value)
    if not children or (is_flat if plain else not comment and len(line) <= (WIDEST if is_flat else WIDTH)):
        yield line
        return
    left, right = _brackets(value)
    yield " " * indent + before + left + comment
    for entry in _grouped(children):
        times = f"{entry.times} x " if entry.times > 1 else ""
        yield from _lines(entry.child, _prefix(value, entry.name, in_lines=True) + times, ",", indent + 2)
    yield " " * indent + right + after


def _grouped(children: list[Entry]) -> list[Entry]:
    """Consecutive numbered children that look alike as one entry, such as `0-11`."""
    grouped: list[Entry] = []
    texts: list[str] = []
    for entry in children:
        text = one_line(entry.child) if entry.name.isdecimal() and _is_container(entry.child) else ""
        if grouped and text and texts[-1] == text:
            first = grouped[-1].name.partition("-")[0]
            grouped[-1] = Entry(f"{first}-{entry.name}", entry.child, grouped[-1].times + 1)
        else:
            grouped.append(entry)
            texts.append(text)
    return grouped


def _is_container(value: Any) -> bool:
    return bool(_children(value)) or is_attrs(type(value))


def _holds_containers(value: Any) -> bool:
    return any(_is_container(entry.child) for entry in _children(value) or [])


def _children(value: Any) -> list[Entry] | None:
    """The children of a container; None for a leaf, and for a module that says itself how it is shown."""
    kind: Any = type(value)
    if is_attrs(kind):
        if _says_itself(kind):
            return None
        fields = kind.__attrs_attrs__
        has_children = not all(field.metadata.get("static") for field in fields)
        pairs = [(field, getattr(value, field.name, None)) for field in fields]
        return [Entry(field.name, child) for field, child in pairs if not _is_usual(field, child, has_children)]
    if isinstance(value, dict):
        return [Entry(str(key), child) for key, child in value.items()]
    if isinstance(value, list | tuple):
        names = getattr(value, "_fields", range(len(value)))
        return [Entry(str(name), child) for name, child in zip(names, value, strict=True)]
    return None


def _says_itself(kind: type) -> bool:
    """Whether an attrs class has a `__repr__` that somebody wrote, and not attrs or Module, which has both."""
    owner: Any = next(base for base in kind.__mro__ if "__repr__" in vars(base))
    code = getattr(owner.__repr__, "__code__", None)
    is_written = code is not None and not code.co_filename.startswith("<attrs generated")
    return is_written and "_repr_html_" not in vars(owner)


def _is_usual(field: Any, value: Any, has_children: bool) -> bool:
    """Whether a static field says little: it is as by default, and empty, or a number or word beside arrays or layers."""
    if not field.metadata.get("static") or type(value) is not type(field.default) or value != field.default:
        return False
    return value is None or value == () or (has_children and not callable(value))


def _brackets(value: Any) -> tuple[str, str]:
    if type(value) is tuple:
        return "(", ")"
    if isinstance(value, list):
        return "[", "]"
    return ("{", "}") if isinstance(value, dict) else (f"{type(value).__name__}(", ")")


def _prefix(value: Any, name: str, in_lines: bool = False) -> str:
    if isinstance(value, dict):
        return f"{name!r}: "
    if type(value) is tuple or isinstance(value, list):
        return f"{name}: " if in_lines else ""
    return f"{name}="


def _leaf(value: Any) -> str:
    if isinstance(value, functools.partial):
        given = [*map(_leaf, value.args), *[f"{name}={_leaf(x)}" for name, x in value.keywords.items()]]
        return f"{_leaf(value.func)}({', '.join(given)})"
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    text = describe(value) if hasattr(value, "shape") else repr(value).replace("\n", " ")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
