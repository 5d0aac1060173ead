"""Writes Python source: a planned graph as the in-place program that a careful person would write by hand."""

import itertools
import keyword
import re
from typing import Any

import numpy as np

from ...core import Primitive, Region
from ...devices import CPU, Backend, backend_named
from ...ops import python_numbers
from ...ops.kernels import OPTIONS, Own, implementation
from ..graph import Atom, Constant, Graph, Instruction, Variable, ufunc_of
from ..passes.views import is_repeated
from ..planning.fuse import Fused, is_number
from ..planning.launches import Reduced
from ..planning.plan import Places, Plan, Storage, is_written, written_outputs
from ..running import blocks
from . import kernels, loops
from .texts import SYMBOLS, VIEWS, Texts

# The program's names for memory and helpers.
OWN_NAMES = re.compile(r"([bckmov]|run|fused|blocks|kernel)\d+|outputs|results|build|cp")
SMALL = 1 << 9  # below this many entries the calls themselves take most of the time
LARGE = 1 << 16  # bytes of a result outside the arena that is deleted after its last use
EXACT = 1 << 11  # every floating dtype holds the integers below this number exactly


class Emitter(Texts):
    """Writes one program. `build` are the lines that run once, `body` those that run in every call; `namespace` is what they use."""

    def __init__(self, graph: Graph, plan: Plan, threads: int) -> None:
        super().__init__()
        self.graph, self.plan, self.threads = graph, plan, threads
        self.backend = backend_of_graph(graph)
        self.over = kernels.written_over(graph) if self.backend.fuses_into_kernels else {}
        self.kernels: dict[tuple[str, ...], str] = {}  # the name of each kernel, by its text
        self.body: list[str] = []
        self.loops: list[str] = []  # C++ functions
        self.groups = itertools.count()
        self.static: set[Atom] = set()  # values that exist once, before any call
        self.outputs: list[Storage] = []
        self.unused = "_"  # the name for results that are written into given memory

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
            self._instruction(instruction)
            if names := [self.names[v] for v in dying.get(number, []) if v not in self.static]:
                self.body.append(f"del {', '.join(names)}")
        self.current = CPU
        arguments = ", ".join(self.names[v] for v in graph.inputs)
        returned = ", ".join([self._returned(atom) for atom in graph.outputs])
        if self.loops:
            self.build[:0] = [f'library = {self.keep("compiled", loops.compiled, "")}("""', *self.loops, '""")']
        called = f"{graph.name}_" if OWN_NAMES.fullmatch(graph.name) else graph.name
        called = self.fresh(
            called, {*self.namespace, CPU.alias, self.backend.alias}
        )  # a user's function named tanh may call np.tanh
        lines = [f"def build({self.backend.alias}):", *[f"    {line}" for line in self.build]]
        lines += ["", f"    def {called}({arguments}):"]
        if self.outputs:
            lines.append("        outputs = results.take()")
            lines.append(f"        {', '.join(f'o{i}' for i in range(len(self.outputs)))}, = outputs.written")
            self.build_outputs(lines)
        lines += [f"        {line}" for line in self.body]
        lines += [
            f"        return ({returned}{',' if len(graph.outputs) == 1 else ''})",
            "",
            f"    return {called}",
            "",
        ]
        return "\n".join(lines)

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
        for variable, number in last.items():
            kept = variable in self.graph.inputs or variable in self.graph.outputs
            if not isinstance(variable, Variable) or kept or variable.kind != "array":
                continue
            root = self.plan.roots.get(variable, variable)
            planned = not isinstance(root, Variable) or root in self.plan.storages or root in self.graph.inputs
            if not self.backend.plans_memory or (
                not planned and (root in from_regions or root.nbytes >= LARGE)  # type: ignore[union-attr]  # not planned: a variable
            ):
                dying.setdefault(number, []).append(variable)
        return dying

    def build_outputs(self, lines: list[str]) -> None:
        specs = [f"({s.like.shape}, {self.type_of(s.like.dtype)}, {s.like.strides})," for s in self.outputs]
        where = lines.index("")
        lines[where:where] = [
            "    results = Outputs([",
            *[f"        {spec}  # o{i}" for i, spec in enumerate(specs)],
            "    ])",
        ]

    def _arrays(self) -> None:
        """Name the memory that results are written into."""
        for slot, size in enumerate(self.plan.slots):
            self.build.append(f"m{slot} = memory({size})")
        made: dict[Any, str] = {}
        for variable, storage in self.plan.storages.items():
            if storage.output:
                if storage not in self.outputs:
                    self.outputs.append(storage)
                self.names[variable] = f"o{self.outputs.index(storage)}"
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
        handed = f"o{self.outputs.index(storage)}"
        chain = []
        while atom is not root:
            maker = next(i for i in self.graph.instructions if atom in i.outputs)
            chain.append(maker)
            atom = maker.inputs[maker.alias or 0]
        for maker in reversed(chain):
            handed = self._call(
                maker, None, [handed if i == maker.alias else self.name(a) for i, a in enumerate(maker.inputs)]
            )
        return handed if chain else f"{handed}.view()"

    def shared(self) -> tuple[int, ...]:
        """The positions of outputs that callers must get as copies: constants, and all but the last view of one array."""
        roots = [self.plan.roots.get(atom, atom) for atom in self.graph.outputs]
        return tuple(
            i
            for i, (atom, root) in enumerate(zip(self.graph.outputs, roots, strict=True))
            if atom.kind == "array"
            and root not in self.graph.inputs
            and (isinstance(root, Constant) or root in roots[i + 1 :] or is_repeated(atom))
        )

    def _instruction(self, instruction: Instruction) -> None:
        if isinstance(instruction.operation, Reduced):
            self._reduction(instruction, instruction.operation)
            return
        if isinstance(instruction.operation, Fused) and instruction.operation.mode == "kernel":
            self._kernel(instruction, instruction.operation)
            return
        if isinstance(instruction.operation, Fused) and instruction.operation.mode == "loops":
            self._loops(instruction, instruction.operation)
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
            self.body.append(self._call(instruction, self.names[y], names) + comment)
        elif (
            instruction.alias is not None
            and not instruction.operation.raises  # a check looks at the numbers of every call
            and all(isinstance(a, Constant) or a in self.static for a in instruction.inputs)
        ):
            self.static.add(y)
            self.build.append(f"{self.names[y]} = {self._call(instruction, None, names)}{comment}")
        else:
            self.body.append(f"{self.names[y]} = {self._call(instruction, None, names)}{comment}")

    def _operands(self, instruction: Instruction) -> list[str]:
        """The names of the operands. Beside small arrays, a number becomes an array once, because NumPy's conversion costs the most."""
        y, names = instruction.output, [self.name(atom) for atom in instruction.inputs]
        ufunc = ufunc_of(instruction.operation) if is_written(instruction) else None
        if ufunc is None or ufunc.nin != 2 or ufunc is np.ldexp or y.size >= SMALL:
            return names
        dtypes = {atom.dtype for atom in instruction.inputs if atom.kind != "number"}
        for i, atom in enumerate(instruction.inputs):
            if (
                isinstance(atom, Constant)
                and type(atom.value) in (int, float)
                and abs(atom.value) < EXACT
                and len(dtypes) == 1
            ):
                dtype = next(iter(dtypes))
                if dtype.kind == "f" and dtype.isnative:
                    names[i] = self._number(atom.value, dtype)
        return names

    def _number(self, value: float, dtype: np.dtype[Any]) -> str:
        """The name of a number that is kept as an array without axes."""
        key = ("number", repr(value), dtype)
        if key not in self.shown:
            self.shown[key] = f"k{sum(isinstance(k, tuple) and k[0] == 'number' for k in self.shown)}"
            self.build.append(f"{self.shown[key]} = np.array({value!r}, {self.type_of(dtype)})")
        return self.shown[key]

    def _call(self, instruction: Instruction, out: str | None, names: list[str]) -> str:
        """The text of an operation on operands with these names, written into the array `out` if there is one."""
        operation, params = instruction.operation, instruction.params
        assert isinstance(operation, Primitive)
        impl, ufunc = implementation(operation, self.current), ufunc_of(operation)
        if out is not None and ufunc is not None:
            return f"{self.xp}.{ufunc.__name__}({', '.join(names)}, out={out})"
        if (
            self.current is not CPU
            and ufunc is not None
            and not isinstance(impl, Own)
            and impl not in SYMBOLS
            and hasattr(self.current.module, ufunc.__name__)
        ):
            return f"{self.xp}.{ufunc.__name__}({', '.join(names)})"
        keywords = {name: self.literal(value) for name, value in params.items()}
        is_call = self.current is not CPU and not isinstance(impl, Own)
        if isinstance(operation.write, str) and (out is not None or (is_call and ", out={out}" in operation.write)):
            form = operation.write if out is not None else operation.write.replace(", out={out}", "")
            return form.format(*names, args=", ".join(names), out=out, **keywords).replace("xp.", f"{self.xp}.")
        if out is not None:
            function = self.keep(f"write_{operation.name}", operation.write, "")
            return f"{function}({', '.join([out, *names, *[f'{k}={v}' for k, v in keywords.items()]])})"
        if instruction.alias is not None and operation in VIEWS:
            return VIEWS[operation](names[0], params, instruction.output).replace("xp.", f"{self.xp}.")
        numbers = impl in python_numbers.OPERATORS and all(atom.kind == "number" for atom in instruction.inputs)
        if impl in SYMBOLS and len(names) == 2 and not numbers:  # Python would refuse 1.0 / 0.0
            return f" {SYMBOLS[impl]} ".join(names)
        function = self.keep(operation.name, impl, "")
        return f"{function}({', '.join([*names, *[f'{k}={v}' for k, v in keywords.items()]])})"

    def _region(self, instruction: Instruction) -> None:
        function = self.keep(instruction.name, instruction.operation.run, "")  # type: ignore[union-attr]
        filled = written_outputs(instruction)
        left = "".join(f"{self.unused if v in filled else self.names[v]}, " for v in instruction.outputs)
        given = [*map(self.name, instruction.inputs)]
        if filled:
            given.append(f"into=[{', '.join(self.names[v] if v in filled else 'None' for v in instruction.outputs)}]")
        self.body.append(f"{left}{'= ' * bool(left)}{function}({', '.join(given)})  # {instruction.line}")

    def _kernel(self, instruction: Instruction, fused: Fused) -> None:
        operands, text = kernels.write(fused.body)
        if text not in self.kernels:
            name = self.kernels[text] = f"kernel{len(self.kernels)}"
            call = f'{name} = {self.backend.alias}.ElementwiseKernel({text[0]}, """'
            self.build += [
                call,
                *[f"    {line}" for line in text[1:]],
                f'""", "fdezero_{name}", {kernels.options_of(fused.body)})',
            ]
        into = [self.names[self.over[y]] for y in instruction.outputs if y in self.over]
        left = ", ".join(self.names[y] for y in instruction.outputs)
        call = f"{self.kernels[text]}({', '.join([*map(self.name, operands), *into])})"
        self.body.append(f"{left} = {call}  # {fused.shape}, {instruction.line}")

    def _reduction(self, instruction: Instruction, reduced: Reduced) -> None:
        operands, text = kernels.write_reduction(reduced)
        if text not in self.kernels:
            name = self.kernels[text] = f"kernel{len(self.kernels)}"
            self.build += [
                f'{name} = {self.backend.alias}.ReductionKernel({text[0]}, name="fdezero_{name}", options={OPTIONS}, preamble="""',
                *[f"    {line}" for line in text[1:]],
                '""")',
            ]
        params, ndim = reduced.reduction.params, len(reduced.shape)
        axes = tuple([axis % ndim for axis in params["axes"]])
        given = ", ".join(
            [*map(self.name, operands), f"axis={axes}", *(["keepdims=True"] if params["keepdims"] else [])]
        )
        call = f"{self.names[instruction.output]} = {self.kernels[text]}({given})"
        self.body.append(f"{call}  # {reduced.shape}, {instruction.line}")

    def _loops(self, instruction: Instruction, fused: Fused) -> None:
        name = f"fused{next(self.groups)}"
        written = loops.write(name, fused, self._is_steady)
        self.loops += written.lines
        function, total = self.keep("function", loops.function, ""), fused.total
        threads = min(self.threads, max(1, fused.body.instructions[0].output.size // blocks.SHARE))
        dtype = self.type_of(total.output.dtype) if total is not None else None
        self.build.append(
            f"{name} = {function}(library, {name!r}, {written.kinds}, {written.length}, {threads}, {dtype})"
        )
        left = f"{self.names[total.output]} = " if total is not None else ""
        forms = {"u": "int({})", "b": "bool({})", "array": "np.ascontiguousarray({})"}
        if "i" in written.kinds:
            forms["i"] = f"{self.keep('whole', loops.whole, '')}({{}})"
        given = []
        for kind, atom in zip(written.kinds, written.operands, strict=True):
            form = "{}" if kind == "array" and self._is_steady(atom) else forms.get(kind, "{}")
            given.append(form.format(self.name(atom)))
        self.body.append(f"{left}{name}({', '.join(given)})  # {fused.shape}, {instruction.line or ''}")

    def _is_steady(self, atom: Atom) -> bool:
        """Whether an array has its recorded layout in every call: an input, a constant, the program's memory, or a view of these.

        The result of a branch is not steady, and neither are its views: another branch may return another layout, or a number.
        """
        root = self.plan.roots.get(atom, atom)
        return isinstance(root, Constant) or root in self.graph.inputs or root in self.plan.storages

    def _fused(self, instruction: Instruction, fused: Fused) -> None:
        body, number = fused.body, next(self.groups)
        held = dict.fromkeys(
            a for step in body.instructions for a in step.inputs if isinstance(a, Constant) and a.shape
        )
        whole = [v for v in body.inputs if is_number(v)]
        sliced: list[Atom] = [*[v for v in body.inputs if not is_number(v)], *held]
        flat = fused.mode == "flat"
        cut = [flat or (len(v.shape) == len(fused.shape) and v.shape[0] == fused.shape[0]) for v in sliced]
        local: dict[Atom, str] = {v: f"x{i}" for i, v in enumerate([*sliced, *whole])}
        local.update({v: f"y{i}" for i, v in enumerate(body.outputs)})
        temporaries, lines = self._block(fused, local)
        operands: list[Atom] = [*sliced, *body.outputs, *whole]
        arguments = ", ".join([*[local[v] for v in operands], *[f"t{i}" for i in range(len(temporaries))]])
        name = f"fused{number}"
        self.build += [f"def {name}({arguments}):", *[f"    {line}" for line in lines]]
        like = body.instructions[0].output
        axes = tuple(sorted(range(len(like.shape)), key=lambda axis: (-(like.strides or ())[axis], axis)))
        order, inner = (axes, None) if flat else (None, None if like.contiguous else axes)
        group = self.keep(f"blocks{number}", blocks.Blocks, "")
        cuts = [*cut, *[True for _ in body.outputs], *[False for _ in whole]]
        dtypes = f"[{', '.join(map(self.type_of, temporaries))}]"
        distinct = {self.name(v): v.dtype for v, is_cut in zip(operands, cuts, strict=True) if is_cut}
        width = sum(dtype.itemsize for dtype in [*distinct.values(), *temporaries])
        self.build.append(
            f"run{number} = {group}({name}, {like.shape}, {cuts}, {dtypes}, {width}, {self.threads}, "
            f"{order}, {fused.total is not None}{f', {inner}' if inner else ''})"
        )
        left = f"{self.names[fused.total.output]} = " if fused.total is not None else ""
        self.body.append(
            f"{left}run{number}({', '.join(map(self.name, operands))})  # {like.shape} in blocks, {instruction.line or ''}"
        )

    def _block(self, fused: Fused, local: dict[Atom, str]) -> tuple[list[Any], list[str]]:
        """The lines that compute one block, and the dtypes of the temporaries that they use."""
        steps, total = fused.body.instructions, fused.total
        places = Places(fused, self.plan, local)
        lines = []
        for i, step in enumerate(steps):
            if step.output not in local:
                local[step.output] = places.take(i)
            names = [local[a] if a in local else self.name(a) for a in step.inputs]
            lines.append(self._call(step, local[step.output], names) + (f"  # {step.line}" if step.line else ""))
        if total is not None:
            lines.append(f"return np.add.reduce({local[total.inputs[0]]})")
        return places.temporaries, lines


def backend_of_graph(graph: Graph) -> Backend:
    """The back end of the first instruction that does not run on the CPU; the CPU if there is none."""
    devices = [variable.device for instruction in graph.instructions for variable in instruction.outputs]
    return next((backend for device in devices if (backend := backend_named(device)) is not CPU), CPU)
