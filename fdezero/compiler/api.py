"""`fd.compile` for users: when a function is recorded, why it is recorded again, and which source runs."""

import contextlib
import functools
import inspect
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy as np

from .. import tree as trees
from ..core import Tracer
from ..core.lines import user_line
from ..core.wrapping import Wrapper, is_lasting, received, sendable
from ..devices import CPU, device_of_array
from ..errors import StaticError, StormError
from ..foreign import is_foreign
from ..messages import called, describe
from ..native import compiler
from ..native.workers import available_threads
from .passes.views import lent_by_inputs
from .program import Options, Program
from .recording.examples import example_of, identifier, of_leaves, steady_strides, unhashable_static
from .recording.record import Record, record, runs_as_written, unheard
from .recordings import Recording, Recordings
from .running.errors import telling_of_sizes, without_warnings
from .running.store import Recent

# Python integers beyond 64 bits, for which NumPy chooses other dtypes: True for those that uint64 holds
LARGE = {True: type("int of uint64", (), {}), False: type("int beyond 64 bits", (), {})}
# By what they were made of: the recordings of compiled functions that came from other processes
ARRIVED: Recent[tuple[Any, ...], Recordings] = Recent(64)
P = ParamSpec("P")
T = TypeVar("T")

_layout = operator.attrgetter("__class__", "shape", "dtype", "strides")


class _Exactly:
    """A static argument. It equals only an argument of the same type and value: 1 is not 1.0, and 0.0 is not -0.0."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = (type(value), value, repr(value) if isinstance(value, float | complex | tuple | frozenset) else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Exactly) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class Compiled(Wrapper, Generic[P, T]):
    """A compiled function. Call it like the function itself; `source` shows what runs, `explain()` what was recorded and why."""

    __slots__ = (
        "_last", "_recordings", "_settings", "max_recordings", "name", "options", "parameters", "positions", "static"
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        static: Sequence[str],
        max_recordings: int | None,
        threads: int | None,
        native: bool | str,
        graph: bool,
    ) -> None:
        self._wrap(function, "compile")
        self.name = called(function)
        if native not in (False, True, "winograd"):
            raise StaticError(
                'compile expects native=True, False or "winograd" (native code whose 3x3 convolutions take Winograd\'s form), '
                f"got {native!r}."
            )
        if native:
            compiler()  # a missing compiler is an error now, not in the second call
        self.max_recordings, self.options = max_recordings, Options(threads or available_threads(), native, graph)
        parameters = _parameters(function)
        self.parameters = [p.name for p in parameters or () if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.static = _static_names(self.name, parameters, static)
        self.positions = frozenset(i for i, p in enumerate(self.parameters) if p in self.static)
        self._settings = (tuple(static), max_recordings, threads, native, graph)
        self.clear()

    def clear(self) -> None:
        """Forget all recordings, and give back the memory that they keep. The next call is the first one again."""
        for recipe in [recipe for recipe, kept in list(ARRIVED.items()) if kept is getattr(self, "_recordings", None)]:
            ARRIVED.pop(recipe, None)
        self._recordings = Recordings(self.max_recordings)
        self._last: tuple[Any, Any, Recording] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        constants, given, named = self._set_aside(args, kwargs) if self.static else ((), args, kwargs)
        leaves, treedef = trees.flatten((given, named) if named else given)
        try:
            layouts = list(map(_layout, leaves))
        except AttributeError:  # some leaves are numbers, settings or traced values
            layouts = [self._layout_of(i, leaf, given, named) for i, leaf in enumerate(leaves)]
            if any(isinstance(leaf, Tracer) for leaf in leaves):
                return self._traced(leaves, treedef, constants, layouts, given, named)
        last = self._last
        if last is not None and last[0] == (treedef, constants) and last[1] == layouts:
            recording = last[2]
        else:
            signature = (treedef, constants, tuple(map(_steady, layouts)))
            recordings = self._recordings
            found = recordings.by_signature.find(signature)
            if found is None:
                return self._first(leaves, signature, given, named)
            recording = found
            self._last = (treedef, constants), layouts, recording
            if recordings is not self._recordings:  # another thread has cleared them meanwhile
                self._last = None
        inputs = leaves if recording.whole else [leaves[i] for i in recording.places]
        executable = recording.program.executable
        outputs = executable.handed_out(*inputs) if executable.shared else executable(*inputs)
        return trees.unflatten(recording.treedef, outputs)

    def _recipe(self) -> tuple[Any, ...]:  # without recordings
        return sendable(self.function), *self._settings

    def _make(self, recipe: tuple[Any, ...]) -> None:
        function, *settings = recipe
        Compiled.__init__(self, received(function), *settings)
        if is_lasting(function):  # executors send a function along with every task: it need not be recorded for each
            with contextlib.suppress(TypeError):  # a partial function that holds an array cannot be looked up
                self._recordings = ARRIVED.find(recipe) or ARRIVED.keep(recipe, self._recordings)

    def __repr__(self) -> str:
        return f"<compiled {self.name}, {self._recordings.made} recordings>"

    def trace(self, *args: Any, **kwargs: Any) -> Any:
        """The program for these arguments, as recorded. Nothing is compiled or kept."""
        constants, args, kwargs = self._set_aside(args, kwargs) if self.static else ((), args, kwargs)
        leaves, treedef = trees.flatten((args, kwargs) if kwargs else args)
        layouts = [self._layout_of(i, leaf, args, kwargs) for i, leaf in enumerate(leaves)]
        with np.errstate(all="ignore"):  # the numbers of a trace do not matter
            return self._recorded(leaves, (treedef, constants, tuple(layouts)), args, kwargs)[0].graph

    @property
    def graph(self) -> Any:
        """The program of the last recording, as recorded: `print(f.graph)`, `f.graph.to_dot()`."""
        return self._last_recording().program.graph

    @property
    def source(self) -> str:
        """The Python source of the last recording."""
        return self._last_recording().program.executable.source

    @property
    def recordings(self) -> list[Recording]:
        """The recordings that are kept, in the order in which they were made."""
        return self._recordings.kept()

    def _last_recording(self) -> Recording:
        last = self._recordings.last
        if last is None:
            raise StaticError(f"{self.name} has not been recorded yet: call it once.")
        return last

    def explain(self) -> str:
        """Every recording: the line that asked for it, how long it took, and what had changed since the one before."""
        return self._recordings.explain(self.name)

    # The rare calls: the first one, and those that differ from the last

    def _first(self, leaves: list[Any], signature: Any, args: Any, kwargs: Any) -> Any:
        recording, outputs, captures = self._in_turn(leaves, signature, args, kwargs)
        if outputs is None:
            outputs = recording.program.executable.handed_out(*[leaves[i] for i in recording.places])
            return trees.unflatten(recording.treedef, outputs)
        if captures:  # the closure holds traced values, so every call is another program
            inputs = [leaves[i] for i in recording.places]
            return trees.unflatten(recording.treedef, recording.program(*inputs, *captures))
        handed = [
            y.copy("K") if not lent and hasattr(y, "strides") and not isinstance(y, np.generic) else y
            for y, lent in zip(outputs, lent_by_inputs(recording.program.graph), strict=True)
        ]
        return trees.unflatten(recording.treedef, handed)

    def _traced(self, leaves: list[Any], treedef: Any, constants: Any, layouts: Any, args: Any, kwargs: Any) -> Any:
        if any(
            runs_as_written(leaf) for leaf in leaves
        ):  # compile inside compile: the outer program takes in the operations
            return self._call(args, kwargs, constants=constants)
        signature = (treedef, constants, tuple(map(_steady, layouts)))
        recording, captures = self._recordings.by_signature.find(signature), ()
        if recording is None:
            recording, _, captures = unheard(self._in_turn, leaves, signature, args, kwargs)
        inputs = [leaves[i] for i in recording.places]
        return trees.unflatten(recording.treedef, recording.program(*inputs, *captures))

    def _in_turn(
        self, leaves: list[Any], signature: Any, args: Any, kwargs: Any
    ) -> tuple[Recording, tuple[Any, ...] | None, tuple[Any, ...]]:
        """What `_record` returns. If another thread has made the recording meanwhile, there are no results yet."""
        recordings = self._recordings  # a recording that `clear` overtakes goes to those that are forgotten
        with recordings.turn():
            found = recordings.by_signature.find(signature)
            return self._record(recordings, leaves, signature, args, kwargs) if found is None else (found, None, ())

    def _record(
        self, recordings: Recordings, leaves: list[Any], signature: Any, args: Any, kwargs: Any
    ) -> tuple[Recording, tuple[Any, ...], tuple[Any, ...]]:
        names = self._paths(args, kwargs)
        if found := unhashable_static((args, kwargs)):
            raise StaticError(
                f"{self.name}: the static field {found}. Static values are compared and hashed: leave out fd.static() there."
            )
        reason = recordings.reason(signature, names)
        if self.max_recordings is not None and recordings.made >= self.max_recordings:
            raise StormError(
                f"{self.name} has been recorded {self.max_recordings} times, the limit set by max_recordings. This call needs another "
                f"recording: {reason}. Keep shapes and dtypes the same (pad the last batch, or use drop_last=True), "
                "and pass changing values as numbers or arrays."
            )
        line, start = user_line(), time.perf_counter()
        made, places, structure = self._recorded(leaves, signature, args, kwargs)
        program = Program(made.graph, self.options)
        if not any(isinstance(leaf, Tracer) for leaf in (*leaves, *made.captures)):
            program.executable  # noqa: B018, compile now, so that the second call is as fast as the tenth
        milliseconds = 1e3 * (time.perf_counter() - start)
        number = recordings.made + 1
        recording = Recording(number, line, milliseconds, reason, program, signature, places, structure, tuple(names))
        recordings.add(recording, captures=bool(made.captures))
        self._last = None  # whose next call must count as a use after this one
        return recording, made.outputs, made.captures

    def _recorded(
        self, leaves: list[Any], signature: Any, args: Any, kwargs: Any
    ) -> tuple[Record, tuple[int, ...], Any]:
        """The record, the positions of its inputs among the leaves, and the structure of the results."""
        treedef, constants, _ = signature
        places = tuple([i for i, leaf in enumerate(leaves) if is_input(leaf)])
        call = functools.partial(self._call, constants=constants)
        flat, structure = of_leaves(lambda tree: call(*tree) if kwargs else call(tree, {}), treedef, leaves, places)
        names = self._paths(args, kwargs)
        called = tuple([identifier(names[i]) for i in places])
        examples = [example_of(leaves[i]) for i in places]
        with without_warnings(), telling_of_sizes():
            return record(flat, examples, self.name, called), places, structure[0]

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, constants: Any) -> Any:
        if not self.static:
            return self.function(*args, **kwargs)
        named = {name: exact.value for name, exact in constants}
        full = [
            named.pop(self.parameters[i]) if i in self.positions and self.parameters[i] in named else x
            for i, x in enumerate(args)
        ]
        return self.function(*full, **kwargs, **named)

    def _set_aside(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The static arguments by name, and the other arguments with None in the places of static ones."""
        given = [(self.parameters[i], args[i]) for i in sorted(self.positions) if i < len(args)]
        given += [(name, kwargs[name]) for name in sorted(self.static) if name in kwargs]
        for name, value in given:
            try:
                hash(value)
            except TypeError:
                raise StaticError(
                    f"{self.name}: the static argument {name!r} is {describe(value)}, which cannot be hashed, so a call cannot tell "
                    "whether it has changed. Pass a tuple or a frozen attrs class, or make the argument an input (not static)."
                ) from None
        args = tuple([None if i in self.positions else x for i, x in enumerate(args)])
        constants = tuple([(name, _Exactly(value)) for name, value in given])
        return constants, args, {k: v for k, v in kwargs.items() if k not in self.static}

    def _layout_of(self, place: int, leaf: Any, args: Any, kwargs: Any) -> Any:
        """The part of a leaf that a recording depends on."""
        leaf = example_of(leaf)
        if not is_input(leaf):
            if is_foreign(leaf):
                place_of = (
                    f"{self.name}: {self._paths(args, kwargs)[place]} is {describe(leaf)}, an array of another library"
                )
                raise StaticError(
                    f"{place_of}. Pass the array of numbers that it holds, such as x.to_numpy(float) or np.asarray(x)."
                )
            try:
                hash(leaf)
            except TypeError:
                raise StaticError(
                    f"{self.name}: {self._paths(args, kwargs)[place]} is {describe(leaf)}: it is not an array or a number, and it cannot "
                    "be hashed, so a call cannot tell whether it has changed. Leave it out, or make it a static field of a module."
                ) from None
            return (type(leaf), leaf)
        if not hasattr(leaf, "dtype"):
            return type(leaf) if type(leaf) is not int or -(2**63) <= leaf < 2**63 else LARGE[-(2**63) < leaf < 2**64]
        device = device_of_array(leaf)
        return _layout(leaf) if device == CPU.name else (*_layout(leaf), device)

    def _paths(self, args: Any, kwargs: Any) -> list[str]:
        names = [*self.parameters, *[f"argument{i}" for i in range(len(self.parameters), len(args))]]
        found = []
        for path, _ in trees.flatten_with_path(args):
            number, _, rest = path.partition("/")
            found.append("/".join(filter(None, [names[int(number)], rest])))
        return found + (trees.paths(kwargs) if kwargs else [])


def _steady(layout: Any) -> Any:
    """The layout without strides that mean nothing: results have other ones than the arguments."""
    if not isinstance(layout, tuple) or len(layout) < 4 or not (1 in layout[1] or 0 in layout[1]):
        return layout
    return (*layout[:3], steady_strides(layout[1], layout[3]), *layout[4:])


def is_input(leaf: Any) -> bool:
    """Whether a leaf is an input of the program: an array or a number, but not a boolean or a string."""
    return (isinstance(leaf, int | float | complex | Tracer) and not isinstance(leaf, bool)) or hasattr(leaf, "strides")


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """The parameters of a function; None where Python cannot tell, as for some functions written in C."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _static_names(name: str, parameters: list[inspect.Parameter] | None, static: Sequence[str]) -> frozenset[str]:
    if isinstance(static, str):
        raise StaticError(f'compile({name}): static is a tuple of names: say static=("{static}",).')
    if numbers := [word for word in static if not isinstance(word, str)]:
        raise StaticError(
            f"compile({name}): static takes the names of arguments, not their positions; got {numbers[0]!r}."
        )
    if parameters is not None and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        names = [p.name for p in parameters]
        if unknown := [word for word in static if word not in names]:
            raise StaticError(
                f"compile({name}): static names {', '.join(unknown)}, but the arguments are {', '.join(names)}."
            )
    return frozenset(static)


@overload
def compile(  # noqa: A001, the field's word
    function: np.ufunc,
    *,
    static: Sequence[str] = (),
    max_recordings: int | None = None,
    threads: int | None = None,
    native: bool | str = False,
    graph: bool = False,
) -> Compiled[..., Any]: ...
@overload
def compile(  # noqa: A001, the field's word
    function: Callable[P, T],
    *,
    static: Sequence[str] = (),
    max_recordings: int | None = None,
    threads: int | None = None,
    native: bool | str = False,
    graph: bool = False,
) -> Compiled[P, T]: ...
@overload
def compile(  # noqa: A001, the field's word
    *,
    static: Sequence[str] = (),
    max_recordings: int | None = None,
    threads: int | None = None,
    native: bool | str = False,
    graph: bool = False,
) -> Callable[[Callable[P, T]], Compiled[P, T]]: ...
def compile(  # noqa: A001, the field's word
    function: Callable[..., Any] | None = None,
    *,
    static: Sequence[str] = (),
    max_recordings: int | None = None,
    threads: int | None = None,
    native: bool | str = False,
    graph: bool = False,
) -> Any:
    """`function`, recorded once for each kind of arguments; later calls run generated in-place source, with the same bits.

    Arrays and numbers in the arguments, in trees of any kind, are inputs. Strings, booleans, None and callables are static, and so
    are the arguments named in `static`. You get a new recording for another static value, structure, shape, dtype, layout or device.
    Arrays in the closure are constants, copied when the function is recorded. You may write into a result. Inputs and their views come
    back as they are. `max_recordings` is the largest number of recordings allowed. `threads` is the number of threads for large
    elementwise groups (None: one for each processor). With `native`, a C++ compiler turns each elementwise group into one loop:
    faster, equal only to rounding, and a few tenths of a second longer to compile. `native="winograd"` also lets 3x3 convolutions take
    Winograd's form, which rounds ten times as much. With `graph`, a program on a GPU is captured as a CUDA graph, if it can be; this
    has not yet run on a device.

    Raises TraceError, naming your line, where the program would depend on values (`if`, `float()`, `for`); StaticError for an
    argument that cannot be hashed; StormError when a call needs more than `max_recordings`; MissingExtraError when `native` finds
    no compiler.
    """
    if function is None:
        return functools.partial(
            compile, static=static, max_recordings=max_recordings, threads=threads, native=native, graph=graph
        )
    return Compiled(function, static, max_recordings, threads, native, graph)
