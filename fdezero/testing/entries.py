"""The wrong entries of a derivative: it is taken along every entry of the arguments, one by one."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from .. import tree as trees
from ..transforms import jvp, vjp
from .comparison import entry, relative_error
from .differences import Leaves, Line, differentiate, inner, like, numbers, replace

MOST = 512  # entries that are looked at


@attrs.frozen
class Mismatch:
    """What is wrong in one leaf of the arguments: how many of the entries looked at, and the worst one."""

    path: str
    wrong: int
    looked_at: int
    index: tuple[int, ...]
    output: str
    got: complex
    expected: complex
    argument: Any
    method: str
    error: float

    def text(self, name: str) -> str:
        """One line on it, with both values."""
        many = f" ({self.wrong} of {self.looked_at} entries wrong)" if self.looked_at > 1 else ""
        of = f", derivative of the output{self.output}" if self.output else ""
        return (
            f"{self.path}{entry(self.index)} = {self.argument!r}{of}: {name} {_short(self.got)}, "
            f"{self.method} {_short(self.expected)}{many}"
        )


def _short(x: complex) -> str:
    return f"{x:.7g}" if np.iscomplexobj(x) else f"{float(x):.7g}"


def wrong_entries(
    mode: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    cotangents: Any,
    narrow: str,
    method: str,
    step: float | None,
    tolerance: float | None,
) -> list[Mismatch]:
    """One `Mismatch` for every leaf of `args` in which `mode` disagrees with derivatives by number.

    Reverse mode is compared in the gradient of <cotangents, function(*args)>, forward mode in every entry of the output.
    """
    pullback = vjp(function, *args)[1] if mode == "rev" else None
    gradient = numbers(pullback(cotangents)) if pullback else []
    if pullback:
        pullback.release()
    places = [(path, leaf) for path, leaf in trees.flatten_with_path(trees.trainable(args))]
    found, budget = [], MOST
    for number, (path, leaf) in enumerate(places):
        wrong: list[Mismatch] = []
        count = 0
        for index, factor in _axes(leaf):
            if (budget := budget - 1) < 0:
                break
            count += 1
            basis = _basis(args, number, index, factor)
            line = Line(function, args, basis, step)
            numeric = differentiate(line, method, narrow, tolerance, refine=True)
            where = ""
            if mode == "rev":
                # Along i the derivative is the imaginary part of the gradient: <g, i> = Im g.
                got, expected = (np.real(np.conj(factor) * gradient[number][index]), inner(cotangents, numeric.leaves)[0])
                error = float(relative_error(np.asarray(got), np.asarray(expected)))
            else:
                tangent = numbers(jvp(function, args, replace(args, like, basis))[1])
                where, got, expected, error = _worst(tangent, numeric.leaves)
            if not error <= numeric.tolerance:
                argument = np.asarray(numbers(leaf)[0])[index].item()
                wrong.append(Mismatch(path, 0, 0, index, where, got, expected, argument, numeric.method, error))
        if wrong:
            found.append(attrs.evolve(max(wrong, key=lambda mismatch: mismatch.error), wrong=len(wrong), looked_at=count))
    return found


def _axes(leaf: Any) -> Iterator[tuple[tuple[int, ...], complex]]:
    """Every entry of a leaf; complex ones along 1 and along i."""
    factors = (1.0, 1j) if np.dtype(getattr(leaf, "dtype", float)).kind == "c" else (1.0,)
    for index in np.ndindex(np.shape(leaf)):
        for factor in factors:
            yield index, factor


def _basis(args: Any, number: int, index: tuple[int, ...], factor: complex) -> Leaves:
    zeros = [np.zeros_like(leaf) for leaf in numbers(args)]
    zeros[number][index] = factor
    return zeros


def _worst(got: Leaves, expected: Leaves) -> tuple[str, Any, Any, float]:
    """The entry of the output where two tangents differ most."""
    worst: tuple[str, Any, Any, float] = ("", 0.0, 0.0, 0.0)
    for number, (a, b) in enumerate(zip(got, expected, strict=True)):
        error = relative_error(a, b)
        if error.size and error.max() >= worst[3]:
            at = np.unravel_index(int(error.argmax()), error.shape)
            leaf = f" (leaf {number})" if len(got) > 1 else ""
            worst = (f"{leaf}{entry(tuple(map(int, at)))}", a[at].item(), b[at].item(), float(error.max()))
    return worst
