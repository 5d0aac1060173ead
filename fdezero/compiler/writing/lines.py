"""Writes C++ loops with reductions: a group of `planning.lines` becomes a function that goes over each line in a few passes."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...native import PARAMETERS, function_of, in_parts
from ...ops.kernels import C_TYPES
from ..graph import Atom, Instruction, Variable
from ..planning import expressions
from ..planning.fuse import Fused
from ..planning.lines import ENTRY, LATE
from ..planning.schedule import Pass
from .kernels import comment_of
from .line_arrays import AS_LINE
from .line_sums import HELPERS, STRETCH, LineSums, Taken
from .loops import by_value

__all__ = ["HELPERS", "Written", "function", "write"]


class Written(NamedTuple):
    """A group as a function in C++. The first loop has `length` rounds; `memory` are the bytes of scratch memory and of columns."""

    operands: list[Atom]  # outputs last
    kinds: list[str]  # of the parameters, one for each operand
    lines: list[str]
    length: int
    memory: tuple[int, int]


def write(name: str, fused: Fused, is_steady: Callable[[Atom], bool]) -> Written:
    """The group as a function in C++. An operand that is not steady, whose layout may differ in another call, is taken in C order."""
    return _Writer(fused, is_steady).write(name)


class _Writer(LineSums):
    def write(self, name: str) -> Written:
        self.text, self.depth = [], 1
        room = self._arrays()
        if self.total is not None:
            self.say("double total = 0, total_rest = 0;")
        opened = self._loops_over_lines()
        for each in self.schedule.passes:
            self._line_steps(each)
            if each.steps or each.reductions or each.sums_total or each.stored:
                self._pass(each)
        self._store_lines()
        self.close(opened)
        if self.total is not None:
            self.say("return whole_of(total, total_rest);")
        atoms = [*self.operands, *self.outputs]
        kinds = [atom.dtype.kind if by_value(atom) else "array" for atom in atoms]
        given = ", ".join(
            [f"{PARAMETERS[kind][0]}{self.names[atom]}_" for kind, atom in zip(kinds, atoms, strict=True)]
        )
        result = "double" if self.total is not None else "void"
        head = f'extern "C" {result} {name}({given}, void *room_, void *shared_, long long start, long long stop) {{'
        lines = [head, *self.text, "}"]
        if self.parts:
            lines += self.end_columns(name, given)
        shared = (4 if self.column_type == "float" else 8) * len(self.column_sums) * self.parts * self.span
        return Written(atoms, kinds, lines, self.parts or self.rounds, (room, shared))

    def _arrays(self) -> int:
        """Say where arrays lie; return the bytes of scratch memory."""
        self.say("char *room = DATA(char, room_);", f"{self.column_type} *shared = DATA({self.column_type}, shared_);")
        for atom in [*self.operands, *self.outputs]:
            x, dtype = self.names[atom], atom.dtype.name
            if by_value(atom):
                self.say(f"const {C_TYPES[dtype]} {x} = {x}_;")
            else:
                self.say(f"{dtype}_ *{x}s = DATA({dtype}_, {x}_);")
        room = 0
        for number, y in enumerate(self.schedule.scratch):
            self.say(f"{y.dtype.name}_ *s{number} = ({y.dtype.name}_ *)(room + {room});")
            room += -(-self.span * self.width * y.dtype.itemsize // 64) * 64
        return room

    def _loops_over_lines(self) -> int:
        """Open the loops over lines; return how many there are."""
        low, high, opened = "start", "stop", 0
        if self.parts:
            self.open("for (long long part = start; part < stop; part++)")
            self.begin_columns()
            low, high = f"{self.rounds} * part / {self.parts}", f"{self.rounds} * (part + 1) / {self.parts}"
            opened = 1
        for axis, n in enumerate(self.outer or ([] if self.in_lanes else [1])):
            self.open(f"for (long long i{axis} = {low}; i{axis} < {high}; i{axis}++)")
            low, high = "0", str(self.outer[axis + 1]) if axis + 1 < len(self.outer) else str(n)
            opened += 1
        if self.in_lanes:
            n, width = self.beside, self.width
            if self.outer:
                low, high = "0", str(n)
            else:
                low, high = f"start * {width}", f"(stop * {width} < {n} ? stop * {width} : {n})"
            self.open(f"for (long long b = {low}; b < {high}; b += {width})")
            self.say(_count("m", n, "b", width))
            opened += 1
        return opened

    # Line values

    def _line_steps(self, each: Pass) -> None:
        code = []
        for step in each.before:
            left = self.declared(step.output, self.local[step.output])
            code.append(f"{left} = {self._expression(step, step.output.shape)};{comment_of(step)}")
        self.over_lines(code)

    def _store_lines(self) -> None:
        if self.total is not None and not self.schedule.is_entry(self.total.inputs[0]):
            self.over_lines([f"add_to(total, total_rest, {self.value(self.total.inputs[0], None)});"], simd=False)
        stores = []
        for y in self.outputs:
            if self.schedule.kinds[y] in (ENTRY, LATE):
                continue
            where, local, parts = f"{self.names[y]}s[{self.of_line((y, AS_LINE))}", self.local[y], self.parts_of(y)
            step = (y.strides or ())[-1] // y.dtype.itemsize if parts else 0
            stores += [f"{where} + {part * step}] = {local}_{part}{self.lane};" for part in range(parts)]
            stores += [] if parts else [f"{where}] = {local}{self.lane};"]
        self.over_lines(stores)

    def _expression(self, step: Instruction, shape: tuple[int, ...] | None) -> str:
        text = expressions.expression_of(step, [self.value(atom, shape) for atom in step.inputs])
        if step.output.dtype.kind in "iu" and step.output.dtype.itemsize < 4:
            return f"(int)({text})"  # as in `loops`
        return f"!!({text})" if step.output.dtype.kind == "b" else text

    # Entries

    def _pass(self, each: Pass) -> None:
        taken = self.taken(each)
        along = bool(taken) and not self.in_lanes  # partial results go into lanes, which are put together
        self.begin(taken)
        if along and not self.is_stretched:
            self.clear(taken)
        opened = 0
        for axis, n in enumerate(self.inner if self.in_lanes else self.inner[:-1]):
            self.open(f"for (long long r{axis} = 0; r{axis} < {n}; r{axis}++)")
            opened += 1
        if not along:
            self._round(each, taken)
        else:
            n, low, high = self.inner[-1], "0", str(self.inner[-1])
            if self.is_stretched and n > STRETCH:
                self.open(f"for (long long s = 0; s < {n}; s += {STRETCH})")
                low, high, opened = "s", f"(s + {STRETCH} < {n} ? s + {STRETCH} : {n})", opened + 1
            if self.is_stretched:
                self.clear(taken)
            self.open(f"for (long long j = {low}; j < {high}; j += {self.lanes})")
            self.say(_count("m", n, "j", self.lanes))
            self._round(each, taken)
            self.close()
            if self.is_stretched:
                self.fold(taken)
        self.close(opened)
        if along and not self.is_stretched:
            self.fold(taken)
        self.after(each)

    def _round(self, each: Pass, taken: Sequence[Taken]) -> None:
        """The innermost loop of a pass."""
        self.say("#pragma omp simd")
        if self.in_lanes or taken:
            self.open("for (long long k = 0; k < m; k++)")
            self.say(f"const long long n = {'b' if self.in_lanes else 'j'} + k;")
        else:
            self.open(f"for (long long n = 0; n < {self.inner[-1]}; n++)")
        atoms = [x for step in (*each.steps, *[part.step for part in each.reductions]) for x in step.inputs]
        if each.sums_total and self.total is not None:
            atoms += self.total.inputs
        for atom in filter(self.is_array, dict.fromkeys(atoms)):
            self._load(atom, f"{self.names[atom]}s[{self.entry((atom, None))}]", self.names[atom])
        for y in each.taken:
            self._load(y, self._kept(y), self.local[y])
        for step in each.steps:
            y = step.output
            c_type = "int" if y.dtype.kind == "b" else C_TYPES[y.dtype.name]
            self.say(f"const {c_type} {self.local[y]} = {self._expression(step, None)};{comment_of(step)}")
        self.say(*[f"{self._kept(y)} = {self.local[y]};" for y in each.stored])
        self.take(taken)
        self.take_columns(each)
        self.close()

    def _kept(self, y: Variable) -> str:
        """Where an entry is kept for later passes: in scratch memory, or in the result itself."""
        if y in self.schedule.scratch:
            return f"s{self.schedule.scratch.index(y)}[{self.within()}]"
        return f"{self.names[y]}s[{self.entry((y, None))}]"

    def _load(self, atom: Atom, place: str, name: str) -> None:
        is_truth = atom.dtype.kind == "b"  # any byte but 0 is true, and GCC does not vectorise bool
        self.say(
            f"const int {name} = !!(int){place};" if is_truth else f"const {C_TYPES[atom.dtype.name]} {name} = {place};"
        )


def _count(name: str, n: int, start: str, most: int) -> str:
    """How many of n rounds a loop has that begins at `start` and takes `most` at a time."""
    fewer = f"{n} - {start}"
    return f"const long long {name} = {most if n % most == 0 else f'{fewer} < {most} ? {fewer} : {most}'};"


def function(
    library: ctypes.CDLL, name: str, kinds: Sequence[str], count: int, threads: int, total: Any, room: int, shared: int
) -> Callable[..., Any]:
    """A group as a function of its operands and outputs, whose lines threads share. It returns the group's sum in the dtype `total`.

    Each thread needs `room` bytes, and columns `shared` bytes. They are kept, like the program's other memory.
    """
    threads = max(1, min(threads, count))
    rooms, columns = [np.empty(room, np.uint8) for _ in range(threads)], np.empty(shared, np.uint8)
    found = function_of(library, name, [*kinds, "array", "array", "i", "i"], "f" if total is not None else None)
    end = function_of(library, f"{name}_end", [*kinds, "array"]) if shared else None
    cuts = [count * i // threads for i in range(threads + 1)]

    def part(*given: Any) -> Any:
        *operands, number, _ = given
        return found(*operands, rooms[number], columns, cuts[number], cuts[number + 1])

    split = in_parts(part, threads, threads)

    def run(*operands: Any) -> Any:
        sums = split(*operands) if threads > 1 else [found(*operands, rooms[0], columns, 0, count)]
        if end is not None:
            end(*operands, columns)
        return total(sum(sums)) if total is not None else None

    return run
