"""Patterns of paths, such as `features/*` and `**/b`: which paths they match, and the error if they match nothing."""

import difflib
import functools
import re
from collections.abc import Iterable

from ..errors import StructureError


def matches(pattern: str, path: str) -> bool:
    """Whether the whole path matches. `*` is one part of a path, or some of its letters; `**` is any number of parts."""
    return regex_of(pattern).fullmatch(path) is not None


def covers(pattern: str, path: str) -> bool:
    """Whether the path, or that of something around it, matches: `layers/0` covers `layers/0/W`."""
    return any(matches(pattern, path[:end]) for end in [*[i for i, letter in enumerate(path) if letter == "/"], None])


def is_pattern(path: str) -> bool:
    """Whether a path stands for several."""
    return "*" in path or "?" in path


def no_match(what: str, pattern: str, paths: Iterable[str]) -> StructureError:
    """The error for a pattern that matches none of the paths. It names those that are near."""
    known = list(dict.fromkeys(path for path in paths if path))
    near = ", ".join(difflib.get_close_matches(pattern, known, 5, 0.4) or known[:5]) or "none"
    return StructureError(f"{what}: nothing matches {pattern!r}. Paths like it: {near}.")


@functools.lru_cache(256)
def regex_of(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern."""
    *parts, last = pattern.split("/")
    front = ["(?:.*/)?" if part == "**" else "".join(map(_letter, part)) + "/" for part in parts]
    return re.compile("".join(front) + (".*" if last == "**" else "".join(map(_letter, last))))


def _letter(letter: str) -> str:
    return {"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter))
