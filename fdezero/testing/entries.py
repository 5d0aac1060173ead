"""Finds the wrong entries of a derivative by checking every entry of the arguments, one by one."""

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import numpy as np

from .comparison import entry, relative_error
from .differences import Leaves, Ruler, axes_of, inner, like, numbers, replace
from .engines import Engine

Worst: TypeAlias = tuple[str, complex, complex, float]  # the place in the output, both values, the error


@attrs.frozen
class Mismatch:
    """The worst entry of one leaf of the arguments, and how many of its checked entries are wrong."""

    path: str
    index: tuple[int, ...]
    argument: complex
    output: str
    got: complex
    expected: complex
    method: str
    error: float
    wrong: int = 1
    looked_at: int = 1

    def text(self, name: str) -> str:
        """One line that shows the entry with both values."""
        many = f" ({self.wrong} of {self.looked_at} entries wrong)" if self.looked_at > 1 else ""
        of = f", derivative of the output{self.output}" if self.output else ""
        values = f"{name} {self.got:.7g}, {self.method} {self.expected:.7g}"
        return f"{self.path}{entry(self.index)}, which is {self.argument:.6g}{of}: {values}{many}"


def wrong_entries(
    mode: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    cotangents: Any,
    narrow: str,
    ruler: Ruler,
    engine: Engine,
) -> list[Mismatch]:
    """One `Mismatch` for every leaf of `args` for which `mode` disagrees with numerical derivatives, the worst first.

    In reverse mode the gradients of <cotangents, function(*args)> are compared, in forward mode all entries of the output.
    """
    gradient: Any = None
    if mode == "rev":
        _, gradient = engine.vjp(function, args, cotangents)
    found: dict[str, list[Mismatch]] = {}
    looked_at: dict[str, int] = {}
    for path, index, argument, direction in axes_of(args):
        looked_at[path] = looked_at.get(path, 0) + 1
        numeric = ruler.measure(ruler.line(function, args, direction), narrow, refine=True)
        if mode == "rev":
            projections = [
                [np.asarray(inner(*pair)[0])] for pair in ((gradient, direction), (cotangents, numeric.leaves))
            ]
            where, got, expected, error = worst_entry(*projections)
        else:
            tangent = numbers(engine.jvp(function, args, replace(args, like, direction))[1])
            where, got, expected, error = worst_entry(tangent, numeric.leaves)
        if not error <= numeric.tolerance:
            found.setdefault(path, []).append(
                Mismatch(path, index, argument, where, got, expected, numeric.method, error)
            )
    worst = [
        attrs.evolve(max(some, key=_error), wrong=len(some), looked_at=looked_at[path]) for path, some in found.items()
    ]
    return sorted(worst, key=_error, reverse=True)


def _error(mismatch: Mismatch) -> float:
    return mismatch.error


def worst_entry(got: Leaves, expected: Leaves) -> Worst:
    """The entry of the output at which two tangents differ most."""
    worst: Worst = ("", 0.0, 0.0, 0.0)
    for number, (a, b) in enumerate(zip(got, expected, strict=True)):
        error = relative_error(a, b)
        if error.size and error.max() >= worst[3]:
            at = np.unravel_index(int(error.argmax()), error.shape)
            leaf = f" (leaf {number})" if len(got) > 1 else ""
            worst = (f"{leaf}{entry(tuple(map(int, at)))}", a[at].item(), b[at].item(), float(error.max()))
    return worst
