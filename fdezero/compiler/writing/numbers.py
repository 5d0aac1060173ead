"""Writes C++ for groups of numbers: functions without loops, of bounded length, because compilers need long for long functions."""

import ctypes
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...native import PARAMETERS, function_of
from ...ops.kernels import C_TYPES
from ..graph import Atom, Variable
from ..planning.fuse import Fused
from .kernels import write_steps

PART = 256  # operations of a function (4,000 operations on one number: 0.4 s in parts, 1.3 s as one function, GCC 12)


class Written(NamedTuple):
    """A group as a function in C++."""

    operands: list[Atom]
    kinds: list[str]  # of the parameters, one for each operand: see PARAMETERS
    # Of each type: the dtype, whether results are Python's, and how many there are.
    results: list[tuple[str, bool, int]]
    lines: list[str]


def write(name: str, fused: Fused) -> Written:
    """The group as a function, which calls a function for each part. What parts share lies in one structure, `w`."""
    steps, outputs = fused.body.instructions, fused.body.outputs
    operands: list[Atom] = list(fused.body.inputs)
    operands += dict.fromkeys(
        [a for step in steps for a in step.inputs if not isinstance(a, Variable) and a.kind == "array"]
    )
    local: dict[Atom, str] = {atom: f"x{i}" for i, atom in enumerate(operands)}
    text = write_steps(steps, local)
    parts = [range(start, min(start + PART, len(steps))) for start in range(0, len(steps), PART)]
    part_of: dict[Atom, int] = {steps[i].output: number for number, part in enumerate(parts) for i in part}
    shared: dict[Atom, None] = dict.fromkeys([*operands, *outputs])  # what is used outside the part that makes it
    for number, part in enumerate(parts):
        shared.update(
            dict.fromkeys([a for i in part for a in steps[i].inputs if a in local and part_of.get(a) != number])
        )
    lines = [f"struct {name}_numbers {{", *[f"    {C_TYPES[a.dtype.name]} {local[a]};" for a in shared], "};"]
    for number, part in enumerate(parts):
        own = dict.fromkeys([steps[i].output for i in part])  # in order, so that another process writes the same text
        read = dict.fromkeys([a for i in part for a in steps[i].inputs if a in local and a not in own])
        lines += [
            f"static __attribute__((noinline)) void {name}_{number}({name}_numbers &w) {{",
            *[f"    const {C_TYPES[a.dtype.name]} {local[a]} = w.{local[a]};" for a in read],
            *[f"    {text[i]}" for i in part],
            *[f"    w.{local[a]} = {local[a]};" for a in own if a in shared],
            "}",
        ]
    kinds = ["array" if atom.kind == "array" else atom.dtype.kind for atom in operands]
    results = [
        (dtype, kind == "number", len(list(group)))
        for (dtype, kind), group in itertools.groupby(outputs, lambda y: (y.dtype.name, y.kind))
    ]
    lines += _call_of_parts(name, operands, kinds, outputs, results, local, len(parts))
    return Written(operands, kinds, results, lines)


def _call_of_parts(
    name: str,
    operands: Sequence[Atom],
    kinds: Sequence[str],
    outputs: Sequence[Atom],
    results: Sequence[tuple[str, bool, int]],
    local: dict[Atom, str],
    count: int,
) -> list[str]:
    """The function that Python calls: it takes the operands, calls the `count` parts, and writes the results."""
    parameters = [f"{PARAMETERS[kind][0]}x{i}_" for i, kind in enumerate(kinds)]
    parameters += [f"void *out{i}_" for i in range(len(results))]
    lines = [f'extern "C" void {name}({", ".join(parameters)}) {{', f"    {name}_numbers w;"]
    for i, (kind, atom) in enumerate(zip(kinds, operands, strict=True)):
        c_type = atom.dtype.name
        value = f"DATA({c_type}_, x{i}_)[0]" if kind == "array" else f"x{i}_"
        lines.append(f"    w.x{i} = ({C_TYPES[c_type]}){value};")
    lines += [f"    {name}_{number}(w);" for number in range(count)]
    found = iter(outputs)
    for i, (dtype, _, length) in enumerate(results):
        lines += [f"    DATA({dtype}_, out{i}_)[{k}] = w.{local[next(found)]};" for k in range(length)]
    return [*lines, "}"]


def function(
    library: ctypes.CDLL, name: str, kinds: Sequence[str], results: Sequence[tuple[str, bool, int]]
) -> Callable[..., Any]:
    """A group as a function of its operands, which returns all results, in their order."""
    call = function_of(library, name, [*kinds, *["array"] * len(results)])
    outs = [np.empty(count, dtype) for dtype, _, count in results]
    if len(outs) > 1:

        def run(*operands: Any) -> Any:
            call(*operands, *outs)
            return [
                y for out, (_, plain, _) in zip(outs, results, strict=True) for y in (out.tolist() if plain else out)
            ]

        return run
    (out,) = outs
    ((_, is_plain, _),) = results

    def run_one(*operands: Any) -> Any:
        call(*operands, out)
        return out.tolist() if is_plain else out

    return run_one
