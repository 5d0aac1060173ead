"""NumPy's error state around a program: quiet, unless the caller wants floating-point errors as exceptions."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy._core import umath

# The variable that holds the state. Reading it takes a twentieth of the time of np.geterr; a NumPy without it takes the slower way.
_state: Any = getattr(umath, "_extobj_contextvar", None)

with np.errstate(all="ignore"):
    _QUIET = _state.get() if _state is not None else None


def run_quietly(program: Callable[..., Any], leaves: Sequence[Any]) -> Any:
    """`program(*leaves)` without floating-point warnings. None if the caller's error state is "raise": see `wants_exceptions`."""
    if _state is None:
        if wants_exceptions():
            return None
        with np.errstate(all="ignore"):
            return program(*leaves)
    state = _state.get(None)
    if state is _QUIET:  # inside another program
        return program(*leaves)
    if state is not None:  # the caller has set an error state or a buffer size
        if wants_exceptions():
            return None
        with np.errstate(all="ignore"):
            return program(*leaves)
    token = _state.set(_QUIET)
    try:
        return program(*leaves)
    finally:
        _state.reset(token)


def wants_exceptions() -> bool:
    """Whether the caller asked NumPy to raise FloatingPointError, for any kind of error."""
    return "raise" in np.geterr().values()


def without_warnings() -> Any:
    """A context for a first run: like the later ones, it does not warn, but it raises where the caller wants exceptions."""
    kinds = {kind: "ignore" if way == "warn" else way for kind, way in np.geterr().items()}
    return np.errstate(**kinds)  # type: ignore[arg-type]  # its words are any str here


@contextlib.contextmanager
def telling_of_sizes() -> Iterator[None]:
    """A context for a recording: where a traced number was a size, NumPy's error gets a note that says how to fix the number."""
    try:
        yield
    except TypeError as error:
        if "'Traced(" in str(error):  # NumPy's words
            error.add_note(
                "A number that decides a shape is fixed in a program. Make it a static argument, fd.compile(f, static=('name',)), "
                "or a static field of its module, `size: int = fd.static()`."
            )
        raise
