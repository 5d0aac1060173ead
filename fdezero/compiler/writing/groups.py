"""Groups in a program's source: as a CUDA kernel, as a C++ loop, or as NumPy calls on blocks."""

import math
import re
from typing import Any

from ...devices import Backend
from ...native import How, library
from ...ops.kernels import OPTIONS
from ..graph import Atom, Constant, Graph, Instruction
from ..planning import streaming
from ..planning.fuse import Fused, is_number
from ..planning.places import Places
from ..planning.plan import Plan
from ..planning.regions import Joint, Reduced
from ..running import blocks, launching
from . import kernels, lines, loops, numbers
from .calls import Calls
from .texts import index_text


class Groups(Calls):
    """Writes groups of operations, and what they need once: kernels, C++ functions and blocks."""

    def __init__(self, graph: Graph, plan: Plan, threads: int, how: How | None, backend: Backend) -> None:
        super().__init__(graph, plan, threads, how)
        self.backend = backend
        orders = kernels.Orders(graph) if backend.fuses_into_kernels else None
        self.over = kernels.written_over(graph, orders.turned) if orders else {}
        self.alike = orders.alike if orders else {}
        self.kernels: dict[tuple[str, ...], str] = {}  # the name of each kernel, by its text
        self.body: list[str] = []
        self.loops: list[str] = []  # C++ functions
        self.streamed = streaming.streamed(graph, plan)
        self.has_helpers = False  # of reductions
        self.symbols: dict[str, str] = {}  # of C++ functions, by their text

    def _library(self) -> None:
        """Put the library of all C++ functions in front of the lines that use it."""
        if self.loops:
            self.build[:0] = [
                f'library = {self.keep("compiled", library, "")}("""',
                *self.loops,
                f'""", {", ".join(map(repr, loops.OPTIONS))})',
            ]

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
        into = into or self._laid(instruction)
        left = ", ".join(self.names[y] for y in instruction.outputs)
        call = f"{self.kernels[text]}({', '.join([*map(self.name, operands), *into])})"
        self.body.append(f"{left} = {call}  # {fused.shape}, {instruction.line}")

    def _laid(self, instruction: Instruction) -> list[str]:
        """New arrays for the results, where their axes have the order of the operands'; otherwise none."""
        if (like := self.alike.get(instruction)) is None:
            return []
        empty = f"{self.backend.alias}.empty_like({self.name(like)}"
        return [f"{empty}, {self.type_of(y.dtype)})" for y in instruction.outputs]

    def _joint(self, instruction: Instruction, fused: Joint) -> None:
        operands, text = kernels.write_joint(fused)
        name = f"kernel{len(self.kernels)}"
        self.kernels[(name, *text)] = name
        self.build += [
            f'{name} = {self.backend.alias}.ElementwiseKernel({text[0]}, """',
            *[f"    {line}" for line in text[1:]],
            f'""", "fdezero_{name}", {kernels.options_of(fused.body)})',
        ]
        made = []
        for part in fused.parts:
            alike = tuple([i for i, x in enumerate(operands) if x in part.inputs and x.shape == part.outputs[0].shape])
            for y in part.outputs:
                over = operands.index(self.over[y]) if y in self.over else None
                whole, index = fused.places.get(y, (None, ()))
                place = None if whole is None else f"({fused.wholes.index(whole)}, np.s_[{index_text(index)}])"
                made.append(f"({y.shape}, {self.type_of(y.dtype)}, {over}, {alike}, {place})")
        wholes = [f"({whole.shape}, {self.type_of(whole.dtype)})" for whole in fused.wholes]
        joint, alias = self.keep("Joint", launching.Joint, ""), self.backend.alias
        self.build.append(
            f"joint{name[6:]} = {joint}({alias}, {name}, {fused.entries}, [{', '.join(made)}], [{', '.join(wholes)}])"
        )
        left = "".join([f"{self.names[y]}, " for y in instruction.outputs])
        self.body.append(f"{left}= joint{name[6:]}({', '.join(map(self.name, operands))})  # {instruction.line}")

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
        name, total = f"fused{next(self.groups)}", fused.total
        threads = min(self.threads, max(1, math.prod(fused.shape) // blocks.SHARE))
        dtype = self.type_of(total.output.dtype) if total is not None else None
        given: list[Any]
        written: loops.Written | lines.Written
        if fused.schedule is None:
            written = loops.write(name, fused, self._is_steady, self.streamed)
            function, given = self.keep("function", loops.function, ""), [written.length, threads, dtype]
        else:
            written = lines.write(name, fused, self._is_steady)
            function, given = self.keep("lines", lines.function, ""), [written.length, threads, dtype, *written.memory]
            if not self.has_helpers:
                self.loops[:0], self.has_helpers = lines.HELPERS.splitlines(), True
        symbol = self._symbol(name, written.lines)
        self.build.append(f"{name} = {function}(library, {symbol!r}, {written.kinds}, {', '.join(map(str, given))})")
        left = f"{self.names[total.output]} = " if total is not None else ""
        forms = {"u": "int({})", "b": "bool({})", "array": "np.ascontiguousarray({})"}
        if "i" in written.kinds:
            forms["i"] = f"{self.keep('whole', loops.whole, '')}({{}})"
        given = []
        for kind, atom in zip(written.kinds, written.operands, strict=True):
            form = "{}" if kind == "array" and self._is_steady(atom) else forms.get(kind, "{}")
            given.append(form.format(self.name(atom)))
        self.body.append(f"{left}{name}({', '.join(given)})  # {fused.shape}, {instruction.line or ''}")

    def _symbol(self, name: str, text: list[str]) -> str:
        """The name of a C++ function. Layers that repeat have the same text but for comments, and are compiled once."""
        key = re.sub(r"  // .*", "", "\n".join(text)).replace(name, "")
        symbol = self.symbols.setdefault(key, name)
        if symbol == name:
            self.loops += text
        return symbol

    def _numbers(self, instruction: Instruction, fused: Fused) -> None:
        name = f"fused{next(self.groups)}"
        written = numbers.write(name, fused)
        self.loops += written.lines
        function = self.keep("numbers", numbers.function, "")
        self.build.append(f"{name} = {function}(library, {name!r}, {written.kinds}, {written.results})")
        given = [
            self.name(atom) if kind != "array" or self._is_steady(atom) else f"np.ascontiguousarray({self.name(atom)})"
            for kind, atom in zip(written.kinds, written.operands, strict=True)
        ]
        left = "".join([f"{self.names[y]}, " for y in instruction.outputs])
        self.body.append(f"{left}= {name}({', '.join(given)})  # {instruction.line or ''}")

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
        temporaries, text = self._block(fused, local)
        operands: list[Atom] = [*sliced, *body.outputs, *whole]
        arguments = ", ".join([*[local[v] for v in operands], *[f"t{i}" for i in range(len(temporaries))]])
        name = f"fused{number}"
        self.build += [f"def {name}({arguments}):", *[f"    {line}" for line in text]]
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
        text = []
        for i, step in enumerate(steps):
            if step.output not in local:
                local[step.output] = places.take(i)
            names = [local[a] if a in local else self.name(a) for a in step.inputs]
            text.append(self._call(step, local[step.output], names) + (f"  # {step.line}" if step.line else ""))
        if total is not None:
            text.append(f"return np.add.reduce({local[total.inputs[0]]})")
        return places.temporaries, text
