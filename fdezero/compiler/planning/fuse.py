"""Fusion: runs of elementwise operations on large arrays become one step, which passes over memory once.

On the CPU a group runs block by block, and each block is small enough to stay in the cache. On the GPU it is one kernel of any size.
A group grows until an operation outside it needs one of its results. It runs just before that operation.
"""

import copy
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from ...core import Primitive, Region
from ...devices import backend_named
from ...ops.reductions import sum_axes
from ..graph import Atom, Constant, Graph, Instruction, Variable, ufunc_of, uses
from . import expressions, lines
from .lines import ENTRY, LINE, Lines, layout
from .schedule import Schedule
from .sinking import sunk

LARGE = 1 << 19  # bytes of an array from which a group pays on the CPU
# Of a group, by its mode; ctypes takes 1024 arguments.
MOST_OPERANDS = {"kernel": expressions.MOST_OPERANDS, "loops": 256}

APART = 1 << 16  # bytes of an array from which on steps that nothing connects are loops of their own

# Operations in the body of a loop: compilers take longer than in proportion (6,000 in one loop: 8 s, 20,000: 90 s, GCC 12).
MOST_STEPS = 1 << 11


@attrs.frozen(eq=False)
class Part:
    """Entries of the array `whole`, from `start` on along the trailing axis number `axis`."""

    whole: Atom
    axis: int
    start: int

    def offset(self, strides: tuple[int, ...]) -> int:
        """The distance in bytes from the first entry of the whole array, which has these strides."""
        return self.start * strides[self.axis]


class Fused(Region):
    """Elementwise operations that run as one. `body` is their program, on the same variables as the program around it.

    In the mode "flat" all operands have the same memory layout, and a block is a stretch of memory. In the mode "rows" a block is a
    run of rows. In the modes "kernel" (the GPU) and "loops" (a C++ compiler) operands broadcast. `total` is the instruction that
    sums a result, if a sum ends the group. `schedule` are the passes of a group of loops that has other reductions.
    """

    fresh = True

    def __init__(
        self, body: Graph, mode: str, total: Instruction | None = None, schedule: Schedule | None = None
    ) -> None:
        self.name, self.body, self.mode, self.total, self.schedule = "fused", body, mode, total, schedule
        # Operands that are parts of other arrays, and results that are stored as parts of others: see `parts`.
        self.views: dict[Atom, Part] = {}
        self.stores: dict[Atom, tuple[Part, ...]] = {}

    def with_parts(self, views: dict[Atom, Part], stores: dict[Atom, tuple[Part, ...]]) -> "Fused":
        """The same group with these operands and results as parts of other arrays."""
        fused = copy.copy(self)
        fused.views, fused.stores = views, stores
        return fused

    @property
    def shape(self) -> tuple[int, ...]:
        return self.body.instructions[0].output.shape if self.schedule is None else self.schedule.frame.shape


class _Group:
    """A group that still grows."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.instructions: list[Instruction] = []
        self.made: set[Atom] = set()
        self.flat = True
        self.total: Instruction | None = None
        self.lines: Lines | None = None  # of a group that has reductions

    def takes(self, instruction: Instruction, flat: bool) -> bool:
        """Whether the instruction may join the group. It may not if it needs the sum over all blocks."""
        if self.total is not None and (not flat or self.total.output in instruction.inputs):
            return False
        if self.lines is not None and not self.lines.takes(instruction, instruction.output.shape):
            return False
        return (flat and self.flat) or _in_rows(instruction)

    def add(self, instruction: Instruction, flat: bool, kind: str = ENTRY) -> None:
        self.instructions.append(instruction)
        self.made.update(instruction.outputs)
        self.flat = self.flat and flat
        if self.lines is not None:
            self.lines.add(instruction, kind)


def fuse(graph: Graph, large: int | None = None, is_native: Callable[[Instruction], bool] | None = None) -> Graph:
    """The graph with each group as one instruction. Arrays must have `large` bytes, unless `is_native` holds for the operation."""
    large = LARGE if large is None else large
    open_groups: dict[Any, _Group] = {}
    order: list[Instruction | _Group] = []
    read = set(uses(graph))
    if is_native is not None:
        graph = sunk(graph)

    def close(group: _Group) -> None:
        del open_groups[group.key]
        order.append(group)

    def close_readers_of(atoms: tuple[Atom, ...], but: _Group | None = None) -> None:
        for group in list(open_groups.values()):
            if group is not but and any(atom in group.made for atom in atoms):
                close(group)

    for instruction in graph.instructions:
        if is_native is not None and read.intersection(instruction.outputs):
            kind, group = _of_lines(instruction, open_groups, is_native, close)
            if group is not None:
                close_readers_of(instruction.inputs, group)
                group.add(instruction, True, kind)
                continue
        # An operation whose result nobody reads is there for its errors: it stays alone, because a group needs a result.
        key = _key_of(instruction, large, is_native) if read.intersection(instruction.outputs) else None
        group = open_groups.get(key) if key is not None else None
        if key is not None:
            flat = key[0] in ("kernel", "loops") or _lies_alike(instruction)
            if group is not None and not group.takes(instruction, flat):
                close(group)
                group = None
            close_readers_of(instruction.inputs, group)
            if group is None:
                group = open_groups[key] = _Group(key)
            group.add(instruction, flat)
        elif (found := _group_summed(instruction, open_groups)) is not None:
            found.total = instruction
            found.made.update(instruction.outputs)
        else:
            close_readers_of(instruction.inputs)
            order.append(instruction)
    for group in list(open_groups.values()):
        close(group)
    return _assembled(graph, order)


def _key_of(instruction: Instruction, large: int, is_native: Callable[[Instruction], bool] | None) -> Any:
    """What the members of a group share: shape, layout and device. None for an instruction that cannot be fused."""
    if not instruction.elementwise or not isinstance(instruction.operation, Primitive):
        return None
    y = instruction.output
    if y.kind != "array" or instruction.alias is not None or y.dtype.kind not in "biufc":
        return None
    if backend_named(y.device).fuses_into_kernels:
        return ("kernel", y.shape, y.device) if expressions.is_expressible(instruction) else None
    if is_native is not None and is_native(instruction):
        return ("loops", y.shape, layout(y))
    if y.nbytes < large or not (instruction.operation.write is not None or ufunc_of(instruction.operation)):
        return None
    if depends_on_a_number(instruction):
        return None
    if not _lies_alike(instruction) and not _in_rows(instruction):
        return None
    return ("blocks", y.shape, layout(y))


def _of_lines(
    instruction: Instruction,
    groups: dict[Any, _Group],
    is_native: Callable[[Instruction], bool],
    close: Callable[[_Group], None],
) -> tuple[str, _Group | None]:
    """The group that takes a reduction, or an operation on what lines share, and the kind of its result; no group for others."""
    frames = lines.frames_of(instruction)
    if frames:
        keys = [("loops", frame.shape, frame.layout) for frame in frames]
        key, frame = next(((k, f) for k, f in zip(keys, frames, strict=True) if k in groups), (keys[0], frames[0]))
        group = groups.get(key)
        if group is not None and group.total is not None and group.total.output in instruction.inputs:
            return "", None
        if group is not None and group.lines is None:
            group.lines = lines.begun(frame, group.instructions)
        kind = group.lines.kind_of(instruction, frame) if group is not None and group.lines is not None else ""
        if group is not None and not kind:
            close(group)
        if not kind:
            group = groups[key] = _Group(key)
            group.lines, kind = Lines(frame), LINE
        return kind, group
    for group in groups.values():
        if group.lines is not None and (kind := group.lines.kind_of_value(instruction, is_native)):
            return kind, group
    return "", None


def depends_on_a_number(instruction: Instruction) -> bool:
    """Whether NumPy may choose the function by the value of an operand that varies: of a power, by an exponent without axes."""
    operation = instruction.operation
    return (
        isinstance(operation, Primitive) and operation.arrays_only and any(map(_is_varying_number, instruction.inputs))
    )


def _is_varying_number(atom: Atom) -> bool:
    return is_number(atom) and not (isinstance(atom, Constant) and atom.kind == "number")


def _lies_alike(instruction: Instruction) -> bool:
    """Whether all operands, except single numbers, have the shape and layout of the result, without gaps."""
    y = instruction.output
    like = layout(y)
    if sorted(s for n, s in zip(y.shape, like, strict=True) if n > 1) != _dense(y.shape, like):
        return False
    return all(is_number(atom) or (atom.shape == y.shape and layout(atom) == like) for atom in instruction.inputs)


def _dense(shape: tuple[int, ...], like: tuple[int, ...]) -> list[int]:
    step, strides = 1, []
    for _, n in sorted((s, n) for n, s in zip(shape, like, strict=True) if n > 1):
        strides.append(step)
        step *= n
    return strides


def is_number(atom: Atom) -> bool:
    """Whether an operand is a single entry, the same for every block."""
    return not atom.shape


def _in_rows(instruction: Instruction) -> bool:
    """Whether rows of the result follow each other in memory and no operand is read backwards: NumPy computes a few with the same bits.

    Within a row, entries may have another order than C's, such as images with their channels last in memory.
    """
    y = instruction.output
    if len(y.shape) < 2 or y.shape[0] < 2 or 0 in y.shape:
        return False
    like = layout(y)
    if like[0] != max(like) or sorted(s for n, s in zip(y.shape, like, strict=True) if n > 1) != _dense(y.shape, like):
        return False
    return all(is_number(atom) or min(layout(atom)) >= 0 for atom in instruction.inputs)


def _group_summed(instruction: Instruction, groups: dict[Any, _Group]) -> _Group | None:
    """The group whose result this instruction sums completely. Summing by halves gives the bits of NumPy's sum."""
    if instruction.operation is not sum_axes or instruction.output.kind != "scalar":
        return None
    x = instruction.inputs[0]
    if (
        x.dtype.char not in "fd"
        or len(instruction.params["axes"]) != len(x.shape)
        or instruction.output.dtype != x.dtype
    ):
        return None
    found = next((g for g in groups.values() if x in g.made and g.flat and g.total is None), None)
    return found if found is None or found.lines is None or found.lines.kinds[x] in (ENTRY, LINE) else None


def _assembled(graph: Graph, order: list[Instruction | _Group]) -> Graph:
    last_reader: dict[Atom, int] = {}
    for number, step in enumerate(order):
        for instruction in step.instructions if isinstance(step, _Group) else [step]:
            for atom in instruction.inputs:
                last_reader[atom] = number
    kept = set(graph.outputs)
    instructions: list[Instruction] = []
    for number, step in enumerate(order):
        if isinstance(step, Instruction):
            instructions.append(step)
            continue
        leaving = {v for i in step.instructions for v in i.outputs if v in kept or last_reader.get(v, number) > number}
        for steps in _apart(step):
            instructions += _as_one(step, steps, leaving)
    return attrs.evolve(graph, instructions=tuple(instructions))


def _apart(group: _Group) -> list[list[Instruction]]:
    """The steps of a group, cut where nothing connects them: updates of two parameters, for example.

    One loop over many large arrays would wait for memory, because processors look ahead for only some of them.
    """
    first = group.instructions[0].output
    if group.lines is not None or group.key[0] not in ("loops", "blocks") or first.nbytes < APART:
        return [group.instructions]
    part_of: dict[Atom, list[Instruction]] = {}
    members: dict[int, list[Atom]] = {}
    order = {step: i for i, step in enumerate(group.instructions)}
    for step in group.instructions:
        atoms = [step.output, *[a for a in step.inputs if not is_number(a)]]
        found = list({id(part): part for a in atoms if (part := part_of.get(a)) is not None}.values())
        part = max(found, key=len, default=[])
        mine = members.setdefault(id(part), [])
        for other in found:
            if other is not part:
                part += other
                for atom in (moved := members.pop(id(other))):
                    part_of[atom] = part
                mine += moved
        part.append(step)
        for atom in atoms:
            if part_of.get(atom) is not part:
                part_of[atom] = part
                mine.append(atom)
    parts = list({id(part): part for part in part_of.values()}.values())
    return [sorted(part, key=order.__getitem__) for part in parts]


def _as_one(group: _Group, steps: list[Instruction], leaving: set[Variable]) -> list[Instruction]:
    """The steps of a group as one instruction, or as several if it would have too many operands."""
    if group.lines is not None:
        return _in_lines(group, group.lines, leaving)
    made = {v for step in steps for v in step.outputs}
    total = group.total if group.total is not None and group.total.inputs[0] in made else None
    if len(steps) == 1 and total is None:
        return steps
    outputs = tuple([step.output for step in steps if step.output in leaving])
    read = tuple(dict.fromkeys([a for step in steps for a in step.inputs if isinstance(a, Variable) and a not in made]))
    body = Graph("fused", read, tuple(steps), outputs)
    is_long = group.key[0] == "loops" and len(steps) > MOST_STEPS
    operands = len(expressions.operands_of(body)) + len(outputs)
    if len(steps) > 1 and (is_long or operands > MOST_OPERANDS.get(group.key[0], np.inf)):
        half = len(steps) // 2
        later = {a for step in steps[half:] for a in step.inputs if isinstance(a, Variable)}
        return [*_as_one(group, steps[:half], leaving | later), *_as_one(group, steps[half:], leaving)]
    mode = group.key[0] if group.key[0] != "blocks" else "flat" if group.flat else "rows"
    fused = Fused(body, mode, total)
    return [Instruction(fused, read, {}, outputs + (total.outputs if total is not None else ()), steps[0].line)]


def _in_lines(group: _Group, of: Lines, leaving: set[Variable]) -> list[Instruction]:
    """A group with reductions as one instruction, and the views of its values that are needed outside."""
    views = []
    for step in reversed(group.instructions):
        if step.alias is not None and step.output in leaving:
            leaving.add(step.inputs[0])  # type: ignore[arg-type]  # a view of a value of the group, which is a variable
            views.append(step)
    steps = [step for step in group.instructions if step.alias is None]
    if len(steps) == 1 and group.total is None and steps[0].operation in lines.ALONE:
        return group.instructions
    made = {step.output for step in group.instructions}
    outputs = tuple([step.output for step in steps if step.output in leaving])
    read = tuple(dict.fromkeys([a for step in steps for a in step.inputs if isinstance(a, Variable) and a not in made]))
    body = Graph("fused", read, tuple(group.instructions), outputs)
    fused = Fused(body, "loops", group.total, Schedule(of, body, group.total))
    total = group.total.outputs if group.total is not None else ()
    return [Instruction(fused, read, {}, outputs + total, steps[0].line), *reversed(views)]
