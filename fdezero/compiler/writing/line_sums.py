"""The reductions of a group in C++: partial results in lanes, how they are put together, and sums over columns.

Sums are added in a fixed number of lanes, so their bits depend neither on the compiler's vectors nor on threads. A lane adds a few
entries of a stretch of the line. Stretches are added in double precision, and for float64 with compensation. So a sum has fewer
roundings than NumPy's pairwise summation.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...ops.kernels import C_TYPES
from ...ops.normalisation import moments, sums
from ..graph import Atom, Instruction, Variable
from ..planning import expressions
from ..planning.lines import ENTRY, LATE
from ..planning.schedule import Pass, Reduction
from .line_arrays import AS_COLUMN, LineArrays, is_written_out
from .loops import by_value

LANES = 32  # partial results of a reduction along a line
STRETCH = 512  # entries of a line that lanes add up
SHORT = 256  # entries of a row below which rows of a line are not stretches of their own
FEW = 64  # lines that sums over columns add up at a time

HELPERS = """\
template <class T> static inline T more(T a, T x) { return x > a || x != x ? x : a; }
template <class T> static inline T less(T a, T x) { return x < a || x != x ? x : a; }
template <class T> static inline T plus(T a, T x) { return a + x; }
template <class T, int N, T (*take)(T, T)> static inline T all(T *a) {
    for (int w = N / 2; w > 4; w /= 2) {
        #pragma omp simd
        for (int k = 0; k < w; k++) a[k] = take(a[k], a[k + w]);
    }
    if (N >= 8) return take(take(take(a[0], a[4]), take(a[2], a[6])), take(take(a[1], a[5]), take(a[3], a[7])));
    for (int w = N / 2; w; w /= 2)
        for (int k = 0; k < w; k++) a[k] = take(a[k], a[k + w]);
    return a[0];
}
static inline void add_to(double &sum, double &rest, double x) {
    const double next = sum + x, part = next - sum;
    rest += (sum - (next - part)) + (x - part);
    sum = next;
}
static inline double whole_of(double sum, double rest) { return rest - rest == 0 ? sum + rest : sum; }"""
RULES = {"max": ("more", "-CUDART_INF"), "min": ("less", "CUDART_INF")}


class Taken(NamedTuple):
    """What a reduction takes in each round, the rule, and the name and the types of what holds the result and of its lanes."""

    name: str
    value: str
    rule: str
    start: str
    c_type: str
    lane: str


class LineSums(LineArrays):
    """Writes reductions. `text` are the lines of code so far."""

    text: list[str]
    depth: int

    def say(self, *lines: str) -> None:
        self.text += ["    " * self.depth + line for line in lines]

    def open(self, line: str) -> None:
        self.say(f"{line} {{")
        self.depth += 1

    def close(self, count: int = 1) -> None:
        for _ in range(count):
            self.depth -= 1
            self.say("}")

    def over_lines(self, lines: Sequence[str], simd: bool = True) -> None:
        """Write lines of code for a line, or for all lines that are worked on at a time."""
        if lines and self.in_lanes:
            self.say(*["#pragma omp simd"] * simd)
            self.open("for (long long k = 0; k < m; k++)")
            self.say("const long long n = b + k;", *lines)
            self.close()
        else:
            self.say(*lines)

    @property
    def lane(self) -> str:
        """What follows the name of a line value."""
        return "[k]" if self.in_lanes else ""

    def declared(self, y: Variable, name: str) -> str:
        """The left side of an assignment to a new line value."""
        c_type = "int" if y.dtype.kind == "b" else C_TYPES[y.dtype.name]
        if not self.in_lanes:
            return f"const {c_type} {name}"
        self.say(f"{c_type} {name}[{self.width}];")
        return f"{name}[k]"

    def value(self, atom: Atom, shape: tuple[int, ...] | None) -> str:
        """An operand in an expression under a shape: None is the full one."""
        of = self.schedule.value_of(atom)
        if of.variable in self.schedule.makers:
            name = self.local[of.variable] + ("" if of.part is None else f"_{of.part}")
            return name if self.schedule.kinds[of.variable] == ENTRY else name + self.lane
        if is_written_out(atom, self.names):
            return ""
        x = self.names[atom]
        if by_value(atom) or shape is None:  # entries are loaded at the start of a round
            return x
        text = f"{x}s[{self.of_line((atom, shape))}]"
        return f"(!!(int){text})" if atom.dtype.kind == "b" else text

    # Along lines

    @property
    def is_double(self) -> bool:
        """Whether sums along lines need more than double precision."""
        return not self.in_lanes and any(a.dtype == np.float64 for a in (*self.operands, *self.schedule.makers))

    @property
    def is_stretched(self) -> bool:
        """Whether a line is added up in stretches."""
        return not self.in_lanes and (self.is_double or len(self.inner) == 1 or self.inner[-1] >= SHORT)

    def taken(self, each: Pass) -> list[Taken]:
        """What the reductions of a pass take in each round."""
        found = []
        for part in each.reductions:
            if not part.is_column:
                y = part.step.output
                found += [
                    self._taken(self.held(y) + suffix, value, part.step.name, y) for suffix, value in self._terms(part)
                ]
        if each.sums_total and self.total is not None:
            x = self.total.inputs[0]
            found.append(self._taken("whole", self.value(x, None), "sum", x))
        return found

    def _taken(self, name: str, value: str, rule: str, like: Atom) -> Taken:
        c_type = C_TYPES[like.dtype.name]
        take, start = RULES.get(rule, ("plus", "0"))
        if take == "plus":
            return Taken(name, value, take, start, "double", c_type if self.is_stretched else "double")
        return Taken(name, value, take, start + ("_F" if c_type == "float" else ""), c_type, c_type)

    def held(self, y: Atom) -> str:
        """The name of what holds a reduction's result."""
        return f"a{self.local[y][1:]}"

    def _terms(self, part: Reduction) -> list[tuple[str, str]]:
        step = part.step
        if step.operation is sums:
            return list(zip(("_0", "_1"), self._products(step), strict=True))
        x = self.value(step.inputs[0], None)
        if step.operation is not moments:
            return [("", x)]
        if not step.params["centred"]:
            return [("_2", f"{x} * {x}")]
        if part.stage == 0:
            return [("_0", x)]
        rest = f"({x} - {self.local[step.output]}_0{self.lane})"
        return [("_1", rest), ("_2", f"{rest} * {rest}")]

    def _products(self, step: Instruction) -> tuple[str, str]:
        """The terms t w and t w ((x - c) a + e), as `sums` defines them."""
        numbers = [is_written_out(atom, self.names) for atom in step.inputs]
        t, x, c, a, e, w = [
            expressions.literal(atom.value, step.output.dtype) if is_number else self.value(atom, None)  # type: ignore[union-attr]  # a number in the text is a constant
            for atom, is_number in zip(step.inputs, numbers, strict=True)
        ]
        u = t if numbers[5] else f"({t} * {w})"
        z = f"({x if numbers[2] else f'({x} - {c})'} * {a})"
        return u, f"{u} * {z if numbers[4] else f'({z} + {e})'}"

    def begin(self, taken: Sequence[Taken]) -> None:
        """Declare what holds partial results."""
        for part in taken:
            if self.in_lanes:
                self.say(f"{part.c_type} {part.name}[{self.width}];")
                self.say(f"for (long long k = 0; k < m; k++) {part.name}[k] = {part.start};")
            else:
                self.say(f"{part.lane} {part.name}s[{self.lanes}];", f"{part.c_type} {part.name} = {part.start};")
                if self.is_double and part.rule == "plus":
                    self.say(f"double {part.name}_rest = 0;")

    def clear(self, taken: Sequence[Taken]) -> None:
        """Set the lanes to where a reduction starts."""
        starts = " ".join([f"{part.name}s[k] = {part.start};" for part in taken])
        self.say(f"for (int k = 0; k < {self.lanes}; k++) {{ {starts} }}")

    def take(self, taken: Sequence[Taken]) -> None:
        """In a round: take the values into their lanes."""
        for part in taken:
            lane = f"{part.name}[k]" if self.in_lanes else f"{part.name}s[k]"
            if part.rule == "plus":
                self.say(f"{lane} += {part.value};")
            else:
                self.say(f"{lane} = {part.rule}({lane}, {part.value});")

    def fold(self, taken: Sequence[Taken]) -> None:
        """Put the lanes together."""
        for part in taken:
            folded = f"all<{part.lane}, {self.lanes}, {part.rule}<{part.lane}>>({part.name}s)"
            if part.rule == "plus" and self.is_double:
                self.say(f"add_to({part.name}, {part.name}_rest, {folded});")
            else:
                self.say(f"{part.name} = {part.rule}<{part.c_type}>({part.name}, {folded});")

    @property
    def lanes(self) -> int:
        return min(LANES, 1 << (self.inner[-1] - 1).bit_length())

    def after(self, each: Pass) -> None:
        """Write the results of a pass, once the line is done."""
        code = [line for part in each.reductions if not part.is_column for line in self._results(part)]
        self.over_lines(code)
        if each.sums_total:
            self.over_lines([f"add_to(total, total_rest, {self._sum('whole')});"], simd=False)

    def _sum(self, name: str) -> str:
        return f"whole_of({name}, {name}_rest)" if self.is_double else name + self.lane

    def _results(self, part: Reduction) -> list[str]:
        step, y = part.step, part.step.output
        name, local, c_type = self.held(y), self.local[y], C_TYPES[y.dtype.name]

        def result(suffix: str, value: str) -> str:
            return f"{self.declared(y, local + suffix)} = ({c_type})({value});"

        if step.operation is sums:
            return [result(suffix, self._sum(name + suffix)) for suffix in ("_0", "_1")]
        if step.operation is not moments:
            return [result("", name + self.lane if step.name in RULES else self._sum(name))]
        count = f"{self.span}.0"
        if not step.params["centred"]:
            return [result("_0", "0"), result("_1", "0"), result("_2", f"{self._sum(f'{name}_2')} / {count}")]
        if part.stage == 0:
            return [result("_0", f"{self._sum(f'{name}_0')} / {count}")]
        far = f"({self._sum(f'{name}_1')} / {count})"
        return [result("_1", far), result("_2", f"{self._sum(f'{name}_2')} / {count} - {far} * {far}")]

    # Columns

    @property
    def column_sums(self) -> list[tuple[Instruction, int]]:
        """The sums over columns: their operations, and which part of the result each is."""
        return [(step, part) for step in self.schedule.columns for part in range(max(1, self.parts_of(step.output)))]

    @property
    def parts(self) -> int:
        """The number of parts of the lines with sums over columns of their own; 0 without columns. It does not depend on threads."""
        return min(-(-math.prod(self.outer) // FEW), self.rounds) if self.schedule.columns else 0

    @property
    def column_type(self) -> str:
        """The type of sums over columns: double where parts have many lines."""
        is_single = all(step.output.dtype == np.float32 for step in self.schedule.columns)
        return "float" if is_single and math.prod(self.outer) <= 2 * FEW * self.parts else "double"

    def begin_columns(self) -> None:
        for number in range(len(self.column_sums)):
            self.say(f"{self.column_type} *c{number} = shared + ({number * self.parts} + part) * {self.span};")
            self.say(f"for (long long k = 0; k < {self.span}; k++) c{number}[k] = 0;")

    def take_columns(self, each: Pass) -> None:
        here = {part.step for part in each.reductions if part.is_column}
        for number, (step, part) in enumerate(self.column_sums):
            if step in here:
                value = self._products(step)[part] if step.operation is sums else self.value(step.inputs[0], None)
                self.say(f"c{number}[{self.within()}] += {value};")

    def end_columns(self, name: str, given: str) -> list[str]:
        """The function that adds up the parts, once all lines are done."""
        self.text, self.depth = [], 1
        self.say(f"{self.column_type} *shared = DATA({self.column_type}, shared_);")
        late = [y for y in self.outputs if self.schedule.kinds[y] == LATE]
        for y in late:
            self.say(f"{y.dtype.name}_ *{self.names[y]}s = DATA({y.dtype.name}_, {self.names[y]}_);")
        for axis, n in enumerate(self.inner):
            counter = f"r{axis}" if axis < len(self.inner) - 1 else "n"
            self.open(f"for (long long {counter} = 0; {counter} < {n}; {counter}++)")
        for number, (step, part) in enumerate(self.column_sums):
            y = step.output
            if y in late:
                place = f"shared[({number * self.parts} + p) * {self.span}LL + {self.within()}]"
                shift = part * (y.strides or ())[-1] // y.dtype.itemsize if part else 0
                self.say(f"double y{number} = 0;", f"for (int p = 0; p < {self.parts}; p++) y{number} += {place};")
                self.say(f"{self.names[y]}s[{self.of_column((y, AS_COLUMN))} + {shift}] = y{number};")
        self.close(len(self.inner))
        return [f'extern "C" void {name}_end({given}, void *shared_) {{', *self.text, "}"]
