"""Recording by example: the function runs once for real, and its tracers write down every operation."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, cast

import attrs
import numpy as np

from ...core import Region, Tracer
from ...core.batch import BatchTracer
from ...core.lines import Line, Placed, user_frame, user_line
from ...core.owners import sealed
from ...core.tracer import Level, tracers_of
from ...errors import TraceError
from ...messages import describe
from ...ops.talking import TALK, harmless_examples, recording, silence
from ...transforms import vmap
from ...transforms.batching import in_axes_of
from ..graph import Atom, Constant, Graph, Instruction, Variable, evaluate
from .examples import example_of, harmless, identifier, variable_of

COMPARED = 1 << 20  # bytes; the contents of larger constants are not compared


class RecordTracer(Tracer):
    """A value of the first run, with its name in the program."""

    __slots__ = ("atom", "line")

    def __init__(self, level: Level, value: Any, atom: Atom, line: Line | None = None) -> None:
        self.level = level
        self.value = value
        self.atom = atom
        self.line = line

    def rule(self, operation: Any) -> Any:
        return Placed(operation, self.line)

    def _refuse_number(self, what: str) -> NoReturn:
        frame = user_frame()
        raise TraceError(
            f"{what} of a value {describe(self)} that {self.level.name} records, at {frame.f_code.co_filename}, line {frame.f_lineno}: "
            "the program is recorded once, but the value differs from call to call. Choose with fd.numpy.where(condition, a, b) or "
            'fd.cond. If the value is a setting, make it static: fd.compile(f, static=("name",)). Or do this outside the '
            "compiled function, with its results."
        )

    def __bool__(self) -> bool:
        self._refuse_number("the truth (if, while, and, or, not)")

    def __index__(self) -> int:
        self._refuse_number("the number (range(), an index of a list, a shape)")

    def __iter__(self) -> Any:
        if len(self.shape) < 2:  # rows of a matrix are arrays and may be unpacked, as in `key, other = split(key)`
            self._refuse_number("iteration over the values")
        return super().__iter__()

    def __format__(self, spec: str) -> str:
        return f"<{describe(self)}, recorded by {self.level.name}>"


class Recorder(Level):
    """The level that writes down all operations on its tracers, and the constants that they meet."""

    shows_values = False
    __slots__ = ("captures", "constants", "contents", "example_of", "instructions", "outer", "silent", "trials")

    def __init__(self, name: str, example_of: Callable[[Any], Any] = example_of) -> None:
        """`example_of` gives a plain value for a value that another level traces."""
        super().__init__(name)
        self.example_of = example_of
        self.instructions: list[Instruction] = []
        self.constants: dict[int, tuple[Any, Constant]] = {}  # by the identity of the value, which stays alive here
        self.contents: dict[Any, Constant] = {}  # the arrays among them, by layout and bits
        self.captures: list[tuple[Tracer, Variable]] = []  # traced values of other levels, found in closures
        self.outer: Recorder | None = TALK.recorder  # that records the function which asked for this recording
        # Whether nobody reads the values of this run. Loops and branches within are recorded in silence, but what they hand to this run
        # (an operation on values of their closure) is a part of it.
        self.silent = TALK.silent
        self.trials: list[range] = []  # the positions of instructions that were only tried

    def input(self, value: Any) -> RecordTracer:
        return RecordTracer(self, value, variable_of(value))

    def atom(self, value: Any) -> Atom:
        """The name of `value` in the program: a variable if it was recorded, otherwise a constant."""
        if isinstance(value, Tracer):
            if self.owns(value):
                return cast(RecordTracer, value).atom
            for captured, variable in self.captures:
                if captured is value:
                    return variable
            variable = variable_of(example_of(value))
            self.captures.append((value, variable))
            return variable
        known = self.constants.get(id(value))
        if known is None:
            # Later writes into an array of the closure must not reach the program, nor a derivative that is taken now.
            known = self.constants[id(value)] = value, self._constant(sealed(value))
        return known[1]

    def _constant(self, value: Any) -> Constant:
        """One constant for all arrays with the same bits and layout: each array less is a pass over memory less in every call."""
        if value.__class__ is not np.ndarray or not 0 < value.nbytes <= COMPARED or value.dtype.hasobject:
            return Constant(value)
        bits = value.tobytes()
        alike = self.contents.setdefault((value.shape, value.strides, value.dtype, hash(bits)), Constant(value))
        return alike if alike.value.tobytes() == bits else Constant(value)

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        atoms = tuple([self.atom(arg) for arg in args])
        values = [self.example(arg) for arg in args]
        y = primitive(*values, **params)
        output = variable_of(y)
        line = user_line()
        self.instructions.append(Instruction(primitive, atoms, params, (output,), line, alias_of(y, values)))
        return RecordTracer(self, y, output, line)

    def process_region(self, region: Region, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        values = [self.example(leaf) for leaf in leaves]
        if not region.composed:
            with recording(None), silence(self.silent):  # what runs for an example is not part of the program
                outputs = region(*values)
        else:
            with silence(self.silent):
                made = record(region.run, values, region.name)
            if made.captures:  # the closure holds traced values, which belong to this run; so does the region's rule
                region, leaves = _Closed(region.name, made.graph), (*leaves, *made.captures)
            else:
                region = _Composed(region, made.graph)
            outputs = made.outputs
        atoms = tuple([self.atom(leaf) for leaf in leaves])
        variables = tuple([variable_of(y) for y in outputs])
        self.instructions.append(Instruction(region, atoms, {}, variables, user_line()))
        return tuple([RecordTracer(self, y, v) for y, v in zip(outputs, variables, strict=True)])

    def example(self, arg: Any) -> Any:
        """The value of the first run. For a value that another level traces, a plain example of it."""
        return arg.value if self.owns(arg) else self.example_of(arg)


class _Composed(Region):
    """A region with its own rules, and the program that computes its results."""

    def __init__(self, region: Region, graph: Graph) -> None:
        self.name, self.graph = region.name, graph
        self.save, self.pull = region.save, region.pull  # type: ignore[method-assign]
        self.push, self.batched = region.push, region.batched  # type: ignore[method-assign]

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return evaluate(self.graph, leaves)

    steps = run


class _Closed(Region):
    """The program of a region whose rule depends on traced values in its closure: it runs and batches, but has no derivative."""

    def __init__(self, name: str, graph: Graph) -> None:
        self.name, self.graph = name, graph

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return evaluate(self.graph, leaves)

    steps = run

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> NoReturn:
        raise TraceError(
            f"{self.name} uses a recorded value from its closure, which its custom rule cannot differentiate. Pass the value as an "
            "argument, or differentiate inside the compiled function: compile(grad(f)) instead of grad(compile(f))."
        )

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> NoReturn:
        self.save((), leaves)

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        mapped = vmap(self.run, in_axes_of(is_batched))

        def run(*leaves: Any) -> tuple[Any, ...]:
            with silence():
                made = record(mapped, map(example_of, leaves), self.name)
            return _Closed(self.name, made.graph)(*leaves)

        return run


def owned(results: Sequence[Any], leaves: Sequence[Any]) -> tuple[Any, ...]:
    """Results of a loop or a branch, each with memory of its own.

    Views of the leaves are copied, because that memory is written again, and so are constants and results that share memory.
    """
    taken = {id(_owner(leaf)) for leaf in leaves if hasattr(leaf, "strides") and not isinstance(leaf, np.generic)}
    own: list[Any] = []
    for y in results:
        if isinstance(y, np.ndarray):
            if id(_owner(y)) in taken or not y.flags.writeable:
                y = y.copy("K")
            taken.add(id(_owner(y)))
        own.append(y)
    return tuple(own)


def is_recorded(leaf: Any) -> bool:
    """Whether a value is being recorded, at any level."""
    return any(isinstance(tracer, RecordTracer) for tracer in tracers_of(leaf))


def is_structured(leaf: Any) -> bool:
    """Whether the truth of a value is unknown while the function runs: it is recorded or batched."""
    return any(isinstance(tracer, BatchTracer | RecordTracer) for tracer in tracers_of(leaf))


def runs_as_written(leaf: Any) -> bool:
    """Whether a compiled function runs operation by operation when it meets this value: it is recorded, or debugged."""
    return any(isinstance(tracer, RecordTracer) or tracer.level.sees_all for tracer in tracers_of(leaf))


def alias_of(y: Any, values: Sequence[Any]) -> int | None:
    """The position of the value that the array `y` is a view of, if any."""
    if not hasattr(y, "strides") or isinstance(y, np.generic):
        return None
    for i, value in enumerate(values):
        if value is y:
            return i
        if y.base is not None and hasattr(value, "strides") and y.size and _owner(value) is _owner(y):
            return i
    return None


def _owner(array: Any) -> Any:
    while getattr(array, "base", None) is not None and hasattr(array.base, "strides"):
        array = array.base
    return array


def unheard(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, whose values nobody reads: collectives return examples.

    Where the function refuses these, it runs again on harmless ones. The sum of the matrices of all ranks, for example, may have an
    inverse where the matrix of one rank does not have any.
    """
    count = TALK.examples
    with silence():
        try:
            return function(*args)
        except Exception as error:
            if TALK.examples == count:
                raise
            try:
                with harmless_examples(harmless):
                    return function(*args)
            except Exception:
                raise error from None


def tried(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`, a round that tells whether a loop is recorded. If so, the round runs again: this one is no part of it."""
    recorder = TALK.recorder
    if recorder is None:
        return function(*args)
    before = []
    while recorder is not None:
        before.append((recorder, recorder.silent, len(recorder.instructions)))
        recorder.silent, recorder = True, recorder.outer
    try:
        return unheard(function, *args)
    finally:
        for recorder, silent, start in before:
            recorder.silent = silent
            recorder.trials.append(range(start, len(recorder.instructions)))


def _without_trials(
    instructions: Sequence[Instruction], outputs: Sequence[Atom], trials: Sequence[range]
) -> tuple[Instruction, ...]:
    """The instructions without those that were only tried, unless something reads their results."""
    tried = {position for positions in trials for position in positions}
    needed, kept = set(outputs), []
    for position in range(len(instructions) - 1, -1, -1) if tried else ():
        step = instructions[position]
        if position not in tried or any(y in needed for y in step.outputs):
            needed.update(step.inputs)
            kept.append(step)
    return tuple(reversed(kept)) if tried else tuple(instructions)


@attrs.frozen(eq=False)
class Record:
    """The result of a recording: the program, and the values of its first run.

    `captures` are traced values of outer transforms. Their variables follow those of the leaves among the inputs.
    """

    graph: Graph
    outputs: tuple[Any, ...]
    captures: tuple[Tracer, ...] = ()


def record_unrun(function: Callable[..., Any], leaves: Iterable[Any], name: str, names: tuple[str, ...] = ()) -> Record:
    """Like `record`, for a program that may never run on such values, as a branch that is not taken.

    Where the function refuses the examples, it is recorded on harmless ones, so only a run raises the error. Other processes are
    not asked: nobody reads the values.
    """
    leaves = list(leaves)
    try:
        return cast(Record, unheard(record, function, leaves, name, names))
    except Exception as error:
        try:
            with np.errstate(all="ignore"), silence(), harmless_examples(harmless):
                return record(function, map(harmless, leaves), name, names, _harmless_if_traced)
        except Exception:
            raise error from None


def evaluated(function: Callable[..., Any], examples: list[Any]) -> tuple[list[Any], Any]:
    """Examples and the results for them. Harmless examples take the place of those that the function refuses."""
    with recording(None):
        try:
            return examples, unheard(function, *examples)
        except Exception as error:
            examples = list(map(harmless, examples))
            try:
                return examples, unheard(function, *examples)
            except Exception:
                raise error from None


def _harmless_if_traced(value: Any) -> Any:
    return harmless(example_of(value)) if isinstance(value, Tracer) else value


def record(
    function: Callable[..., Any],
    leaves: Iterable[Any],
    name: str,
    names: tuple[str, ...] = (),
    example: Callable[[Any], Any] = example_of,
) -> Record:
    """Run `function(*leaves)`, which returns a sequence of leaves, on plain arrays and numbers, and write the program down.

    `example` gives a plain value for a value from a closure that another level traces.
    """
    recorder = Recorder(name, example)
    traced = [recorder.input(leaf) for leaf in leaves]
    try:
        with recording(recorder):
            outputs = tuple(function(*traced))
        atoms = tuple([recorder.atom(y) for y in outputs])
        values = tuple([recorder.example(y) for y in outputs])
    finally:
        recorder.alive = False
    inputs = [cast(Variable, t.atom) for t in traced]
    captured = [variable for _, variable in recorder.captures]
    graph = Graph(
        identifier(name),
        (*inputs, *captured),
        _without_trials(recorder.instructions, atoms, recorder.trials),
        atoms,
        (*(names or [f"x{i}" for i in range(len(inputs))]), *[f"captured{i}" for i in range(len(captured))]),
    )
    return Record(graph, values, tuple([tracer for tracer, _ in recorder.captures]))
