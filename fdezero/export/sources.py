"""`source`: the compiled program of a function as one Python file that needs NumPy alone."""

import base64
import keyword
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import tree as trees
from ..compiler.graph import Instruction
from ..compiler.planning.fuse import Fused
from ..compiler.planning.regions import Reduced
from ..compiler.program import Executable, Options, Program
from ..control.cond import Cond
from ..control.scan import Scan
from ..control.while_loop import While
from ..core import Region
from ..core.pieces import Views
from ..devices import CPU
from ..errors import ExportError
from ..io.files import write_whole
from .prepared import Call, arguments_of, call_of, recorded
from .standalone import runtime
from .standalone.bundle import Bundle, RefusedError

__all__ = ["source"]

LIMIT = 1 << 16  # bytes of arrays that are written into the text; more go to a file beside it


def source(f: Any, *examples: Any, path: str | os.PathLike[str] | None = None) -> str:
    """The compiled program of `f(*examples)` as the text of one Python file, with the same bits. It needs NumPy alone.

    The file defines a function with f's name and arguments, for the shapes and dtypes of the examples. What is bound to f (a model that is
    called, its bound method, `functools.partial`) is stored with the file. All other arguments stay arguments. Trees among them, and in the
    results, are dicts of arrays by path, with the keys of `fd.save`: `{"layers/0/W": ...}`. A result that is a tuple stays one.
    With `path` the file is written there; more than 64 kB of arrays lie beside it: `mlp.py` has `mlp.data.npz`. A program with special
    functions of SciPy needs SciPy as well, and its first line says so.

    Raises ExportError, naming your line, for an operation that a file cannot hold: a collective, or a solver with a rule of its own.
    """
    call = call_of(f, examples)
    graph, places, structure = recorded(call, call.args)
    writer = _File(call, Path(path) if path is not None else None)
    leaves = trees.leaves(call.args)
    given = [leaves[i] for i in places]
    text = writer.text(Program(graph, Options()), given, places, structure)
    if path is not None:
        arrays: dict[str, Any] = writer.arrays
        if arrays and writer.beside:
            write_whole(writer.beside, lambda file: np.savez(file, **arrays))
        write_whole(path, lambda file: file.write(text.encode()))
    return text


class _File:
    def __init__(self, call: Call, path: Path | None) -> None:
        self.call = call
        self.beside = None if path is None else path.parent / f"{path.stem}.data.npz"  # mlp.npz may be a checkpoint
        self.arrays: dict[str, np.ndarray] = {}  # those that lie beside the file
        self.written: dict[int, str] = {}
        self.bundle = Bundle(self.stored)
        self.programs: dict[int, str] = {}
        self.total = 0

    # Arrays

    def stored(self, value: np.ndarray, name: str = "") -> str:
        """The text that gives an array in C order."""
        if not value.dtype.isbuiltin or value.dtype.kind not in "biufc":
            raise RefusedError(f"an array of the dtype {value.dtype}")
        plain = np.ascontiguousarray(value).reshape(value.shape)
        self.total += plain.nbytes
        if self.beside is None or self.total <= LIMIT or plain.nbytes <= 1 << 10:
            data = base64.b64encode(plain.tobytes()).decode()
            return f"{self.bundle.text(runtime.decoded)}({plain.dtype.str!r}, {plain.shape}, {data!r})"
        key = name or f"constant{len(self.arrays)}"
        self.arrays[key] = plain
        return f"ARRAYS[{key!r}]"

    # Programs

    def program(self, executable: Executable, stem: str) -> str:
        """The name of the function that runs a program."""
        if id(executable) in self.programs:
            return self.programs[id(executable)]
        namespace: dict[str, Any] = executable.build.__globals__
        regions = {id(s.operation.run.__self__): s for s in executable.graph.instructions if _is_region(s)}  # type: ignore[union-attr]  # regions
        lines = []
        for key, value in namespace.items():
            if key in ("__builtins__", "np") or f"{key}" not in executable.source:
                continue
            owner = getattr(value, "__self__", None)
            is_region = isinstance(owner, Region)
            text = self.region(regions[id(owner)], owner) if is_region else self._value(value, key, executable)
            if text != key:
                lines.append(f"    {key} = {text}")
        name = self.programs[id(executable)] = self.bundle.fresh(stem)
        body = [f"    {line}" if line else "" for line in executable.source.rstrip().split("\n")]
        self.bundle.definitions.append(
            "\n".join([f"def make_{name}():", *lines, *body, "    return build(np)", "", "", f"{name} = make_{name}()"])
        )
        self.bundle.alive.append(executable)
        return name

    def _value(self, value: Any, key: str, executable: Executable) -> str:
        instead = {"Outputs": runtime.Outputs}
        try:
            if key.startswith("parameter") and isinstance(getattr(value, "piece", None), Views):
                return self.bundle.view(value)
            return self.bundle.text(instead.get(key, value), key)
        except RefusedError as what:
            stem = key.removeprefix("write_").rstrip("_")
            step = next((s for s in executable.recorded.instructions if s.name == stem), None)
            raise _refused(step, f"runs {what}, which a file of NumPy alone does not have") from None

    def region(self, step: Instruction, region: Any) -> str:
        """The text of a loop or a branch."""
        text = self.bundle.text
        if isinstance(region, Scan):
            made = [np.asarray(y) for y in region._no_rows()]
            empty = ", ".join(f"np.empty({y.shape}, {text(y.dtype)})" for y in made)
            how = f"{region.carries}, {region.columns}, {region.length}, {region.reverse}, [{empty}]"
            return f"{text(runtime.loop)}({self.layouts(region.body)}, {how})"
        if isinstance(region, Cond):
            return f"{text(runtime.branch)}({self.layouts(region.yes)}, {self.layouts(region.no)})"
        if isinstance(region, While):
            return f"{text(runtime.rounds)}({self.layouts(region.condition)}, {self.layouts(region.body)}, {region.carries})"
        raise _refused(step, "is an operation of its own, which a file cannot hold")

    def layouts(self, program: Program) -> str:
        """A program as it is planned for each layout in memory that came up: pairs of the layout and the function."""
        found = [program, *[each for key, each in program._derived.items() if key[0] == "again"]]
        pairs = [f"({self.bundle.text(each.layouts)}, {self.program(each.executable, each.name)})" for each in found]
        return f"[{', '.join(pairs)}]"

    # The file

    def text(self, program: Program, given: Sequence[Any], places: Sequence[int], structure: Any) -> str:
        call, graph = self.call, program.graph
        devices = [(v, s) for s in graph.instructions for v in s.outputs if v.device != CPU.name]
        if devices:
            raise _refused(devices[0][1], "runs on a GPU. Move the arguments to the CPU first: fd.to_device(x, 'cpu')")
        executable = program.executable
        executable(*given)  # so that loops have met all layouts of their carry
        name = call.function.__name__
        self.bundle.taken |= {name, "ARRAYS", "INPUTS", "LOCK", "NAMES", "PARAMETERS"}
        self.bundle.imports.add("threading")
        main = self.program(executable, f"run_{name}")
        numbers = self._arguments()
        entries: list[Any] = []
        parameters: list[str] = []
        order: list[str] = []
        names = [call.names[i] for i in numbers]
        arguments = arguments_of(call, places)
        for variable, (number, path, value), argument in zip(
            graph.inputs, self._leaves(places), arguments, strict=True
        ):
            if number not in numbers:
                order.append(f"PARAMETERS[{len(parameters)}]")
                parameters.append(self._parameter(value, argument.path))
                continue
            order.append(f"leaves[{len(entries)}]")
            entries.append(
                (numbers.index(number), path, variable.kind, variable.shape, variable.dtype, variable.strides)
            )
        for number in numbers:  # a setting is a part of the program
            if isinstance(call.args[number], bool | str) or call.names[number] in call.static:
                entries.append((numbers.index(number), "", "setting", call.args[number], None, None))
        taken = self.bundle.text(runtime.taken)
        self.bundle.taken |= set(names)
        answer = self.bundle.fresh("answer")  # in which no argument hides a name of the file, such as np
        documented = [f'    """{call.documentation}"""'] if call.documentation else []
        results = self._results(structure, executable.shared)
        rows = "".join(f"    {self.bundle.text(entry)},\n" for entry in entries)
        end = [
            f"NAMES = {tuple(names)}", f"INPUTS = [\n{rows}]  # argument, path, kind, shape, dtype, strides",
            *([f"PARAMETERS = [{', '.join(parameters)}]"] if parameters else []),
            "LOCK = threading.Lock()  # the program has memory of its own, for one call at a time",
            "", "", f"def {answer}(arguments):",
            f"    leaves = {taken}(NAMES, INPUTS, arguments)",
            '    with LOCK, np.errstate(all="ignore"):', f"        results = {main}({', '.join(order)})",
            f"    return {results}",
            "", "", f"def {self._public(name)}({', '.join(names)}):", *documented, f"    return {answer}([{', '.join(names)}])", "",
        ]  # fmt: skip
        return "\n".join([*self._head(name), *[f"\n\n{each}" for each in self.bundle.definitions], "", "", *end])

    def _head(self, name: str) -> list[str]:
        imports = sorted(
            {word.partition(".")[0] if word.startswith("numpy") else word for word in self.bundle.imports} - {"numpy"}
        )
        scipy = "importlib" in imports or any(
            "scipy" in word for word in imports
        )  # SciPy is imported by its name in a string
        needs = "NumPy and SciPy" if scipy else "NumPy alone"
        own = [f"import {word}" for word in imports if not word.startswith("scipy")]
        others = ["import numpy as np", *[f"import {word}" for word in imports if word.startswith("scipy")]]
        lines = [f'"""The program of `{name}`, exported by fdezero. It needs {needs}."""', "", *own, "", *others]
        if self.arrays and self.beside:
            lines[2:2] = ["import os"]
            place = f"os.path.join(os.path.dirname(os.path.abspath(__file__)), {self.beside.name!r})"
            lines += ["", f"ARRAYS = dict(np.load({place}))"]
        return lines

    def _public(self, name: str) -> str:
        """The name of the function, unless it is a word of Python, or a name that the file needs."""
        own = {"np", "ARRAYS", "INPUTS", "LOCK", "NAMES", "PARAMETERS"} | {
            word.partition(".")[0] for word in self.bundle.imports
        }
        return f"{name}_" if keyword.iskeyword(name) or name in own else name

    def _arguments(self) -> list[int]:
        """The numbers of the arguments that stay arguments: the examples."""
        return [number for number in range(len(self.call.args)) if not self.call.is_bound(number)]

    def _leaves(self, places: Sequence[int]) -> list[tuple[int, str, Any]]:
        found = [(i, path, leaf) for i, arg in enumerate(self.call.args) for path, leaf in trees.flatten_with_path(arg)]
        return [found[i] for i in places]

    def _parameter(self, value: Any, name: str) -> str:
        if not isinstance(value, np.ndarray):
            return self.bundle.text(value)
        text = self.stored(value, name)
        return text if value.flags.c_contiguous else f"{self.bundle.text(runtime.laid)}({text}, {value.strides})"

    def _results(self, structure: Any, shared: Sequence[int]) -> str:
        tree = trees.unflatten(structure, list(range(structure.num_leaves)))

        def one(part: Any) -> str:
            if part is None:
                return "None"
            if type(part) is int:
                return f"results[{part}]" + ".copy()" * (part in shared)
            return "{" + ", ".join(f"{path!r}: {one(leaf)}" for path, leaf in trees.flatten_with_path(part)) + "}"

        if type(tree) is list:
            return f"[{', '.join(map(one, tree))}]"
        if type(tree) is tuple:
            return f"({''.join(f'{one(part)}, ' for part in tree)})"
        return one(tree)


def _is_region(step: Instruction) -> bool:
    return isinstance(step.operation, Region) and not isinstance(step.operation, Fused | Reduced)


def _refused(step: Instruction | None, why: str) -> ExportError:
    line = step.line if step is not None else None
    place = f" at {line.path}, line {line.number}" if line else ""
    return ExportError(f"export.source: {step.name if step else 'the program'}{place} {why}.")
