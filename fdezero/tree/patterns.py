"""Patterns of paths, such as `features/*` and `**/b`: which paths they match, and what is near a pattern that matches nothing."""

import difflib
import functools
import re
from collections.abc import Iterable


def matches(pattern: str, path: str) -> bool:
    """Whether the whole path matches. `*` is one part of a path, or some of its letters; `**` is any number of parts."""
    return regex_of(pattern).fullmatch(path) is not None


def covers(pattern: str, path: str) -> bool:
    """Whether the path, or that of something around it, matches: `layers/0` covers `layers/0/W`."""
    return any(matches(pattern, path[:end]) for end in [*[i for i, letter in enumerate(path) if letter == "/"], None])


def is_pattern(path: str) -> bool:
    """Whether a path stands for several."""
    return "*" in path or "?" in path


def near(pattern: str, paths: Iterable[str]) -> str:
    """The paths that are near a pattern, for an error."""
    known = list(dict.fromkeys(path for path in paths if path))
    return ", ".join(difflib.get_close_matches(pattern, known, 5, 0.4) or known[:5]) or "none"


@functools.lru_cache(256)
def regex_of(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern."""
    *parts, last = pattern.split("/")
    front = ["(?:.*/)?" if part == "**" else "".join(map(_letter, part)) + "/" for part in parts]
    return re.compile("".join(front) + (".*" if last == "**" else "".join(map(_letter, last))))


def _letter(letter: str) -> str:
    return {"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter))
