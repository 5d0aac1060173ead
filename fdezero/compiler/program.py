"""`Program`: a recorded function. It runs as generated source; its graph is what transforms differentiate and batch."""

import copy
import itertools
import linecache
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from ..core import Region
from ..core.cotangents import chosen, merged, zeros_like
from ..messages import CURRENT_DEVICE, explain
from ..native import How
from ..transforms import jvp, vjp, vmap
from ..transforms.batching import in_axes_of
from ..values import is_differentiable
from .graph import Graph, Instruction, evaluate
from .passes.dead import drop_dead
from .passes.lifting import lift
from .passes.order import optimise
from .passes.pieces import in_pieces
from .passes.residuals import split
from .passes.sums import with_plain_sums
from .passes.talking import any_talks, talks
from .passes.views import lent_by_inputs, read_only
from .planning.fuse import fuse
from .planning.joint import joint
from .planning.launches import launches
from .planning.numbers import group_numbers
from .planning.parts import with_parts
from .planning.plan import plan
from .planning.sums import join_sums
from .recording.examples import example_of, layout_of
from .recording.record import evaluated, record, record_unrun, unheard
from .running.blocks import Blocks
from .running.errors import run_quietly
from .running.graphs import Captured
from .running.memory import Outputs
from .running.store import MEMORY, USES, Recent
from .writing import loops
from .writing.emit import Emitter, backend_of_graph

MOST_DERIVED = 64  # derivatives and batched forms that a program keeps, for each memory layout of the leaves
LARGE = 1 << 16  # bytes of a loop's memory that it gives back when it ends
_serials = itertools.count(1)
# By the name of their source.
EXECUTABLES: weakref.WeakValueDictionary[str, "Executable"] = weakref.WeakValueDictionary()


@attrs.frozen
class Options:
    """How a program runs: the number of threads, whether groups become native code, and whether a CUDA graph is captured."""

    threads: int = 1
    native: bool | str = False
    graph: bool = False

    @property
    def how(self) -> How | None:
        """How operations' native code runs; None if programs have none."""
        return How(self.threads, self.native == "winograd") if self.native else None


class Executable:
    """The source of a graph, and its instances. Each instance has its own memory and serves one call at a time."""

    rescued = 0  # how many calls of all programs failed where eager code does not; for the tests

    def __init__(self, graph: Graph, options: Options, rows: bool = False) -> None:
        """With `rows`, calls also pass memory for outputs: an array for each of `given`, the positions where an output stands."""
        self.recorded = graph
        self.filename = f"<fdezero: {graph.name} {next(_serials)}>"
        has_kernels = backend_of_graph(graph).fuses_into_kernels
        is_native = bool(options.native) and not has_kernels
        graph = lift(graph, free=is_native or has_kernels)
        self.talks = any_talks(graph)
        # A call that is done again must have the same messages, and loops that were lifted return other results.
        if self.talks:
            self.recorded = graph
        self.graph = optimise(with_plain_sums(graph) if is_native or has_kernels else graph, native=is_native)
        if has_kernels:
            self.graph = joint(launches(drop_dead(join_sums(self.graph))))
        elif options.native:
            grouped = with_parts(fuse(in_pieces(self.graph, loops.is_expressible), is_native=loops.is_expressible))
            self.graph = group_numbers(grouped, loops.is_expressible)
        else:
            self.graph = fuse(self.graph)
        if options.native:
            steps = [attrs.evolve(step, operation=_with(options, step.operation)) for step in self.graph.instructions]
            self.graph = attrs.evolve(self.graph, instructions=tuple(steps))
        emitter = Emitter(self.graph, plan(self.graph), options.threads, options.how, rows)
        self.source = emitter.write()
        self.given = tuple(emitter.given.values())
        self.shared = emitter.shared()
        self.steps = tuple(emitter.steps)  # the line at which each instruction begins, for the profile
        EXECUTABLES[self.filename] = self
        linecache.cache[self.filename] = (len(self.source), None, self.source.splitlines(keepends=True), self.filename)
        namespace = dict(emitter.namespace)
        exec(compile(self.source, self.filename, "exec"), namespace)
        # Popped, because a namespace that holds its own functions is freed only when Python looks for reference cycles.
        self.build: Callable[[Any], Callable[..., tuple[Any, ...]]] = namespace.pop("build")
        self.module = emitter.backend.module
        self.free: list[Callable[..., tuple[Any, ...]]] = []
        # With several devices: which one is current, and the idle instances of each. An instance's constants lie on one device.
        self.current: Callable[[], int] | None = emitter.backend.current_device
        self.free_on: dict[int, list[Callable[..., tuple[Any, ...]]]] = {}
        self.captures = options.graph and self.current is not None and not rows and not self.talks
        self.instances: weakref.WeakSet[Any] = weakref.WeakSet()  # also those that run now
        self.used = 0

    def __call__(self, *leaves: Any) -> tuple[Any, ...]:
        free, instance = self.taken()
        try:
            outputs = run_quietly(instance, leaves)
        except Exception as error:  # the instance is dropped, because the traceback may hold its arrays
            return self.after(error, leaves, instance)
        free.append(instance)
        return outputs if outputs is not None else self.as_recorded(leaves)

    def taken(self) -> tuple[list[Any], Callable[..., tuple[Any, ...]]]:
        """An instance for the caller alone, and the list that it goes back to."""
        free = self.free if self.current is None else self.free_on.setdefault(self.current(), [])
        try:
            instance = free.pop()
        except IndexError:
            instance = self._built()
        self.used = next(USES)
        return free, instance

    def as_recorded(self, leaves: Sequence[Any], heard: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The results, operation by operation, in the caller's error state: slow, but with the errors of eager code.

        `heard` are results that came from other processes already, in their order. These are not asked again.
        """
        said = iter(heard)

        def known(instruction: Instruction) -> Any:
            return next(said, None) if talks(instruction.operation) else None

        outputs = evaluate(self.recorded, leaves, known if self.talks else None)
        lent = lent_by_inputs(self.recorded)
        return tuple([y if given else read_only(y) for y, given in zip(outputs, lent, strict=True)])

    def after(self, error: Exception, leaves: Sequence[Any], instance: Any) -> tuple[Any, ...]:
        """What eager code does where the program failed: it explains its error, or it has a result.

        It has one, for example, where the type of a Python number depends on its value: 2 ** n is an integer, or a float for n < 0.
        """
        if CURRENT_DEVICE in str(error):
            raise explain(self.graph.name, leaves, error) from None
        heard = instance.heard if self.talks else ()
        if heard and heard[-1] is None:  # it failed while it talked to other processes, and what it has said stays said
            raise error
        try:
            with np.errstate(all="ignore"):
                outputs = self.as_recorded(leaves, heard)
        except Exception as eager:
            if (type(eager), str(eager)) == (type(error), str(error)):
                raise error from None  # the traceback shows the line of the program
            raise eager from error
        Executable.rescued += 1
        return outputs

    def handed_out(self, *leaves: Any) -> Any:
        """The outputs for a caller, who may write into all of them. Between programs, outputs may share memory."""
        outputs = self(*leaves)
        if not self.shared:
            return outputs
        own = list(outputs)
        for i in self.shared:
            own[i] = own[i].copy("K")
        return own

    def _built(self) -> Callable[..., tuple[Any, ...]]:
        instance: Any = self.build(self.module)
        kept = _memory_of(instance)
        if self.captures:
            instance = Captured(self.module, instance)
        instance.arena, instance.outputs = kept
        self.instances.add(instance)
        MEMORY.add(self)
        MEMORY.grow(instance.arena)
        return instance

    @property
    def why_not(self) -> str:
        """Why an instance is not launched as a CUDA graph, although that was asked for; empty if there is no reason."""
        return next((i.why_not for i in list(self.instances) if isinstance(i, Captured) and i.why_not), "")

    @property
    def nbytes(self) -> int:
        """The bytes of all instances: those that run, and those that keep their memory for the next calls."""
        return sum(i.arena + (i.outputs.nbytes if i.outputs else 0) for i in list(self.instances))

    def rest(self) -> None:
        """Give the memory of idle instances back if it is large."""
        if self.nbytes >= LARGE:
            self.release()

    def release(self) -> None:
        """Give the memory of idle instances back."""
        self.free.clear()
        self.free_on.clear()

    def __del__(self) -> None:
        linecache.cache.pop(self.filename, None)


def _memory_of(instance: Any) -> tuple[int, Outputs | None]:
    """What an instance of a program keeps between its calls: the bytes of its arena and its blocks, and its outputs."""
    kept = [cell.cell_contents for cell in instance.__closure__ or ()]
    blocks = [array for part in kept if isinstance(part, Blocks) for arrays in part.temporaries for array in arrays]
    owners: dict[int, int] = {}
    for array in [*kept, *blocks]:
        while isinstance(array, np.ndarray):
            owners[id(array)] = array.nbytes if array.base is None else 0
            array = array.base
    return sum(owners.values()), next((part for part in kept if isinstance(part, Outputs)), None)


def _with(options: Options, operation: Any) -> Any:
    """A loop or a branch with these options for its own programs; any other operation unchanged."""
    if not isinstance(operation, Region):
        return operation
    copied = copy.copy(operation)
    for name, value in vars(operation).items():
        if isinstance(value, Program):
            setattr(copied, name, Program(value.graph, options))
    return copied


class Program(Region):
    """A graph as an operation. Derived programs (the derivative, the batched form) are recorded on first use."""

    def __init__(self, graph: Graph, options: Options = Options()) -> None:
        self.name, self.graph, self.options = graph.name, graph, options
        self.layouts = tuple([layout_of(variable) for variable in graph.inputs])
        self._executable: Executable | None = None
        self._rows: Executable | None = None
        self._derived: Recent[Any, Any] = Recent(MOST_DERIVED)

    @property
    def executable(self) -> Executable:
        if self._executable is None:
            self._executable = Executable(self.graph, self.options)
        return self._executable

    @property
    def rows(self) -> Executable:
        """The executable for the rounds of a loop, which writes into memory that calls pass."""
        if self._rows is None:
            self._rows = Executable(self.graph, self.options, rows=True)
        return self._rows

    @property
    def executables(self) -> list[Executable]:
        """Those that have been made."""
        return [each for each in (self._executable, self._rows) if each is not None]

    @property
    def kept(self) -> list[Any]:
        """The derived programs that have been recorded."""
        return list(self._derived.values())

    @property
    def why_not(self) -> str:
        """Why the program does not run as a CUDA graph, although that was asked for; empty if there is no reason."""
        return self._executable.why_not if self._executable is not None else ""

    def run(self, *leaves: Any) -> tuple[Any, ...]:
        return self.planned_for(leaves).executable(*leaves)

    def planned_for(self, leaves: Sequence[Any]) -> "Program":
        """This program, or the same one planned for leaves that have another memory layout than those of the recording."""
        if tuple(map(layout_of, leaves)) == self.layouts:
            return self
        return self.derived("again", leaves, self.evaluate, self.name, self.graph.names)

    def evaluate(self, *leaves: Any) -> tuple[Any, ...]:
        return evaluate(self.graph, leaves)

    steps = evaluate

    def derived(
        self, key: Any, leaves: Sequence[Any], function: Callable[..., Any], name: str, names: tuple[str, ...]
    ) -> "Program":
        """The program of `function`, recorded on examples of the leaves on first use."""
        examples = list(map(example_of, leaves))
        key = (key, tuple(map(layout_of, examples)))
        found: Program | None = self._derived.find(key)
        if found is not None:
            return found
        with np.errstate(all="ignore"):
            return self._derived.keep(key, Program(record_unrun(function, examples, name, names).graph, self.options))

    def save(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
        out, back = self.reverse(is_traced, leaves)
        results = out(*leaves)
        count = len(self.graph.outputs)
        # Residuals that are leaves come from the leaves themselves, because a number must stay a number even if results are batched.
        known: dict[Any, Any] = dict(zip(out.graph.inputs, leaves, strict=True))
        saved = [known.get(v, y) for v, y in zip(out.graph.outputs[count:], results[count:], strict=True)]
        return results[:count], (saved, back)

    def pull(self, is_traced: tuple[bool, ...], residuals: Any, cotangents: Sequence[Any]) -> tuple[Any, ...]:
        saved, (back, is_active, is_floating) = residuals
        return tuple(merged(is_active, back(*saved, *chosen(cotangents, is_floating))))

    def reverse(self, is_traced: tuple[bool, ...], leaves: Sequence[Any]) -> tuple["Program", Any]:
        """Two programs: leaves to results and residuals; residuals and cotangents to gradients."""
        examples = list(map(example_of, leaves))
        key = ("reverse", is_traced, tuple(map(layout_of, examples)))
        found = self._derived.find(key)
        if found is not None:
            return found
        is_active = tuple(
            [traced and is_differentiable(leaf) for traced, leaf in zip(is_traced, examples, strict=True)]
        )
        n = len(leaves)
        is_floating: list[bool] = []

        def both(*given: Any) -> tuple[Any, ...]:
            inputs = given[:n]

            def of_active(*values: Any) -> tuple[Any, ...]:
                return self.evaluate(*merged(is_active, values, inputs))

            outputs, pullback = vjp(of_active, *chosen(inputs, is_active))
            cotangents = merged(is_floating, given[n:])
            gradients = pullback.transposed(
                tuple([zeros_like(y) if t is None else t for y, t in zip(outputs, cotangents, strict=True)])
            )
            pullback.release()
            return (*outputs, *gradients)

        with np.errstate(all="ignore"):
            examples, results = evaluated(self.evaluate, examples)
            is_floating = [is_differentiable(y) for y in results]
            seeds = [np.ones_like(y) for y in chosen(results, is_floating)]
            names = (*self.graph.names, *[f"t{i}" for i in range(len(seeds))])
            joint = unheard(record, both, [*examples, *seeds], self.name, names).graph
        out, back = split(joint, n, len(results))
        rule = Program(back, self.options), is_active, tuple(is_floating)
        return self._derived.keep(key, (Program(out, self.options), rule))

    def push(self, leaves: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        is_active = tuple([t is not None and is_differentiable(leaf) for leaf, t in zip(leaves, tangents, strict=True)])
        given = chosen(tangents, is_active)
        n = len(leaves)

        def moved(*both: Any) -> tuple[Any, ...]:
            values, derivative = jvp(self.evaluate, both[:n], tuple(merged(is_active, both[n:])))
            return (*values, *derivative)

        names = (*self.graph.names, *[f"t{i}" for i in range(len(given))])
        results = self.derived(("push", is_active), [*leaves, *given], moved, f"jvp_{self.name}", names)(
            *leaves, *given
        )
        count = len(self.graph.outputs)
        values = results[:count]
        return values, tuple(
            [t if is_differentiable(y) else None for y, t in zip(values, results[count:], strict=True)]
        )

    def batched(self, size: int, is_batched: tuple[bool, ...]) -> Callable[..., tuple[Any, ...]]:
        mapped = vmap(self.evaluate, in_axes_of(is_batched))

        def run(*leaves: Any) -> tuple[Any, ...]:
            return self.derived(("batched", is_batched), leaves, mapped, f"vmap_{self.name}", self.graph.names)(*leaves)

        return run


def program_of(function: Callable[..., Any], examples: Sequence[Any], name: str) -> Program:
    """The program of `function`, recorded on examples."""
    with np.errstate(all="ignore"):
        return Program(record_unrun(function, examples, name).graph)
