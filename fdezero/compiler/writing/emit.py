"""Writes Python source: a planned graph as the in-place program that a careful person would write by hand."""

import keyword
import re
from typing import Any

from ...core import Region
from ...devices import CPU, Backend, backend_named
from ...native import How
from ..graph import Atom, Constant, Graph, Instruction, Variable
from ..passes.talking import any_talks, talks
from ..passes.views import is_repeated
from ..planning.fuse import Fused
from ..planning.plan import Plan, Storage, is_written
from ..planning.regions import Joint, Reduced
from .groups import Groups

# The program's names for memory and helpers.
OWN_NAMES = re.compile(r"([bckmov]|run|fused|blocks|kernel|native|make)\d+|outputs|results|heard|build|cp")
LARGE = 1 << 16  # bytes of a result outside the arena that is deleted after its last use
# Lines from which on a loop stands around what is built. Before the first jump of a function, Python 3.11 moves all its code once for
# each value that an inner function uses: 20,000 such lines took 1.6 s to compile, in a loop 0.5 s (time of `compile`).
LONG = 500


class Emitter(Groups):
    """Writes one program. `build` are the lines that run once, `body` those that run in every call; `namespace` is what they use.

    `how` is how native code runs; None if there is none. With `rows`, callers pass memory for the results: see `_given`.
    """

    def __init__(self, graph: Graph, plan: Plan, threads: int, how: How | None = None, rows: bool = False) -> None:
        super().__init__(graph, plan, threads, how, backend_of_graph(graph))
        self.static: set[Atom] = set()  # values that exist once, before any call
        self.outputs: dict[Storage, str] = {}  # the names of the memory of the results
        self.makers: dict[Atom, Instruction] = {y: step for step in graph.instructions for y in step.outputs}
        self.unused = "_"  # the name for results that are written into given memory
        self.given: dict[Storage, list[int]] = self._given() if rows else {}
        # Where each instruction begins: a position in `body`, later a line.
        self.steps: list[tuple[int, Instruction]] = []

    # The program

    def write(self) -> str:
        graph = self.graph
        taken = self.taken
        for variable, given in zip(graph.inputs, graph.names, strict=True):
            plain = given.isidentifier() and not keyword.iskeyword(given) and not OWN_NAMES.fullmatch(given)
            name = given if plain else f"x_{given}"
            while name in taken or name in self.namespace:
                name += "_"
            taken.add(name)
            self.names[variable] = name
        self.unused = self.fresh("_", taken)
        self._arrays()
        counter = 0
        for instruction in graph.instructions:
            for variable in instruction.outputs:
                self.names.setdefault(variable, self.fresh(f"v{counter}", taken))
                counter += 1
        dying = self._dying()
        for number, instruction in enumerate(graph.instructions):
            computed = not isinstance(instruction.operation, Region) or isinstance(instruction.operation, Fused)
            self.current = backend_named(instruction.output.device) if computed else CPU
            self.steps.append((len(self.body), instruction))
            self._instruction(instruction)
            if names := [self.names[v] for v in dying.get(number, []) if v not in self.static]:
                self.body.append(f"del {', '.join(names)}")
        self.current = CPU
        places = self.outputs
        own = [name for storage, name in places.items() if storage not in self.given]
        arguments = ", ".join([*[self.names[v] for v in graph.inputs], *[places[storage] for storage in self.given]])
        returned = ", ".join([self._returned(atom) for atom in graph.outputs])
        self._library()
        called = f"{graph.name}_" if OWN_NAMES.fullmatch(graph.name) else graph.name
        # A user's function named tanh may call np.tanh.
        called = self.fresh(called, {*self.namespace, CPU.alias, self.backend.alias})
        lines = [f"def build({self.backend.alias}):", *[f"    {line}" for line in self.build]]
        lines += ["", f"    def {called}({arguments}):"]
        if own:
            lines.append("        outputs = results.take()")
            lines.append(f"        {', '.join(own)}, = outputs.written")
            self.build_outputs(lines)
        hears = any_talks(graph)
        if hears:  # what the call has heard from other processes, for a call that fails and is done again
            lines.insert(lines.index(""), "    heard = []")
            lines.append("        heard.clear()")
        first = len(lines) + 1 + (len(self.build) > LONG)
        self.steps = [(first + position, instruction) for position, instruction in self.steps]
        lines += [f"        {line}" for line in self.body]
        if hears:
            lines.append("        heard.clear()")
        lines += [
            f"        return ({returned}{',' if len(graph.outputs) == 1 else ''})",
            "",
            *([f"    {called}.heard = heard"] * hears),
            f"    return {called}",
            "",
        ]
        text = "\n".join(lines)
        if len(self.build) > LONG:
            head, rest = text.split("\n", 1)
            text = "\n    ".join([head, "while True:  # which returns at once", *rest.split("\n")])
        return text

    def _dying(self) -> dict[int, list[Variable]]:
        """The arrays to delete, by the number of the instruction that uses them last.

        They are all arrays that the program makes on a GPU, where CuPy's pool reuses the memory for the next results. On the CPU they
        are those outside the arena: the results of loops and branches, and large results of calls.
        """
        from_regions = {y for i in self.graph.instructions if isinstance(i.operation, Region) for y in i.outputs}
        last: dict[Atom, int] = {}
        for number, instruction in enumerate(self.graph.instructions):
            last.update(dict.fromkeys((*instruction.inputs, *instruction.outputs), number))
        dying: dict[int, list[Variable]] = {}
        lasting = self.inputs.union(self.graph.outputs)
        for variable, number in last.items():
            if not isinstance(variable, Variable) or variable in lasting or variable.kind != "array":
                continue
            root = self.plan.roots.get(variable, variable)
            planned = not isinstance(root, Variable) or root in self.plan.storages or root in self.inputs
            if not self.backend.plans_memory or (
                not planned and (root in from_regions or root.nbytes >= LARGE)  # type: ignore[union-attr]  # not planned: a variable
            ):
                dying.setdefault(number, []).append(variable)
        return dying

    def build_outputs(self, lines: list[str]) -> None:
        specs = [
            f"({s.like.shape}, {self.type_of(s.like.dtype)}, {s.like.strides}),  # {name}"
            for s, name in self.outputs.items()
            if s not in self.given
        ]
        where = lines.index("")
        lines[where:where] = ["    results = Outputs([", *[f"        {spec}" for spec in specs], "    ])"]

    def _given(self) -> dict[Storage, list[int]]:
        """The memory that callers pass in every call, each with the positions of its output: for arrays in C order."""
        found: dict[Storage, list[int]] = {}
        for i, atom in enumerate(self.graph.outputs):
            storage = self.plan.storages.get(atom) if isinstance(atom, Variable) and atom.shape else None
            if storage is not None and atom.contiguous and storage.like.contiguous:  # type: ignore[union-attr]  # a variable
                found.setdefault(storage, []).append(i)
        return found

    def _arrays(self) -> None:
        """Name the memory that results are written into."""
        for slot, size in enumerate(self.plan.slots):
            self.build.append(f"m{slot} = memory({size})")
        made: dict[Any, str] = {}
        for variable, storage in self.plan.storages.items():
            if storage.output:
                self.names[variable] = self.outputs.setdefault(storage, f"o{len(self.outputs)}")
                continue
            like = storage.like
            key = (storage.slot, like.shape, like.dtype, like.strides)
            if key not in made:
                made[key] = f"b{len(made)}"
                self.build.append(
                    f"b{len(made) - 1} = array(m{storage.slot}, {like.shape}, {self.type_of(like.dtype)}, {like.strides})"
                )
            self.names[variable] = made[key]
            self.static.add(variable)

    def _returned(self, atom: Atom) -> str:
        """The expression that is returned for an output: a new view, if its memory is written again."""
        root = self.plan.roots.get(atom, atom)
        storage = self.plan.storages.get(root) if isinstance(root, Variable) else None
        if storage is None:
            return self.name(atom)
        handed = self.outputs[storage]
        chain = []
        while atom is not root:
            maker = self.makers[atom]
            chain.append(maker)
            atom = maker.inputs[maker.alias or 0]
        for maker in reversed(chain):
            handed = self._call(
                maker, None, [handed if i == maker.alias else self.name(a) for i, a in enumerate(maker.inputs)]
            )
        return handed if chain or storage in self.given else f"{handed}.view()"

    def shared(self) -> tuple[int, ...]:
        """The positions of outputs that callers must get as copies: constants, and all but the last view of one array."""
        roots = [self.plan.roots.get(atom, atom) for atom in self.graph.outputs]
        last = {root: i for i, root in enumerate(roots)}
        return tuple(
            i
            for i, (atom, root) in enumerate(zip(self.graph.outputs, roots, strict=True))
            if atom.kind == "array"
            and root not in self.inputs
            and (isinstance(root, Constant) or last[root] > i or is_repeated(atom))
        )

    def _instruction(self, instruction: Instruction) -> None:
        if isinstance(instruction.operation, Reduced):
            self._reduction(instruction, instruction.operation)
            return
        if isinstance(instruction.operation, Fused) and instruction.operation.mode == "kernel":
            self._kernel(instruction, instruction.operation)
            return
        if isinstance(instruction.operation, Joint):
            self._joint(instruction, instruction.operation)
            return
        if isinstance(instruction.operation, Fused) and instruction.operation.mode == "loops":
            self._loops(instruction, instruction.operation)
            return
        if isinstance(instruction.operation, Fused) and instruction.operation.mode == "numbers":
            self._numbers(instruction, instruction.operation)
            return
        if isinstance(instruction.operation, Fused):
            self._fused(instruction, instruction.operation)
            return
        if isinstance(instruction.operation, Region):
            self._region(instruction)
            return
        y, names = instruction.output, self._operands(instruction)
        comment = f"  # {y.shape} {y.dtype}" + (f", {instruction.line}" if instruction.line else "")
        if is_written(instruction):
            native = self._native(instruction)
            self.body.append((native or self._call(instruction, self.names[y], names)) + comment)
        elif (
            instruction.alias is not None
            and not instruction.operation.raises  # a check looks at the numbers of every call
            and all(isinstance(a, Constant) or a in self.static for a in instruction.inputs)
        ):
            self.static.add(y)
            self.build.append(f"{self.names[y]} = {self._call(instruction, None, names)}{comment}")
        else:
            laid = self._laid(instruction)
            self.body.append(f"{self.names[y]} = {self._call(instruction, laid[0] if laid else None, names)}{comment}")

    def _region(self, instruction: Instruction) -> None:
        function = self.keep(instruction.name, instruction.operation.run, "")  # type: ignore[union-attr]  # a region
        filled = [y for y in instruction.outputs if y in self.plan.storages]
        left = "".join(f"{self.unused if v in filled else self.names[v]}, " for v in instruction.outputs)
        given = [*map(self.name, instruction.inputs)]
        hears = talks(instruction.operation)
        if hears:
            self.body.append("heard.append(None)")
        if filled:
            given.append(f"into=[{', '.join(self.names[v] if v in filled else 'None' for v in instruction.outputs)}]")
        self.body.append(f"{left}{'= ' * bool(left)}{function}({', '.join(given)})  # {instruction.line}")
        if hears:
            self.body.append(f"heard[-1] = ({''.join(f'{self.names[v]}, ' for v in instruction.outputs)})")


def backend_of_graph(graph: Graph) -> Backend:
    """The back end of the first instruction that does not run on the CPU; the CPU if there is none."""
    devices = [variable.device for instruction in graph.instructions for variable in instruction.outputs]
    return next((backend for device in devices if (backend := backend_named(device)) is not CPU), CPU)
