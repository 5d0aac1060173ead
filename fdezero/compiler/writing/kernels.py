"""Writes CUDA kernels: a group of elementwise operations on the GPU becomes the text of one `cupy.ElementwiseKernel`."""

from collections import Counter
from collections.abc import Sequence, Set

import numpy as np

from ...core import Region
from ...devices import backend_named
from ...ops.kernels import C_TYPES, HALVES, OPTIONS, Own, implementation
from ..graph import Atom, Graph, Instruction, Variable, ufunc_of
from ..planning.expressions import expression_of, operands_of
from ..planning.fuse import Fused
from ..planning.regions import Joint, Reduced, entries_of, is_turned
from ..planning.waiting import is_lazy


def write(body: Graph) -> tuple[list[Atom], tuple[str, ...]]:
    """The operands of a group's kernel, and the kernel's text: its parameters, then its lines."""
    operands = operands_of(body)
    local: dict[Atom, str] = {atom: f"x{i}" for i, atom in enumerate(operands)}
    lines = write_steps(body.instructions, local)
    # All operands are read before anything is written, because a result may share an operand's memory.
    lines += [f"out{i} = {local[y]};" for i, y in enumerate(body.outputs)]
    outputs = ", ".join([f"{y.dtype.name} out{i}" for i, y in enumerate(body.outputs)])
    return operands, (f'"{_parameters(operands)}", "{outputs}"', *lines)


def _parameters(operands: Sequence[Atom]) -> str:
    return ", ".join([f"{atom.dtype.name} x{i}" for i, atom in enumerate(operands)])


def write_steps(steps: Sequence[Instruction], local: dict[Atom, str]) -> list[str]:
    """A line for each operation. Its value gets the next name t0, t1, ... in `local`."""
    lines = []
    for i, step in enumerate(steps):
        names = [local.get(atom, "") for atom in step.inputs]
        lines.append(f"{C_TYPES[step.output.dtype.name]} t{i} = {expression_of(step, names)};{comment_of(step)}")
        local[step.output] = f"t{i}"
    return lines


def write_joint(joint: Joint) -> tuple[list[Atom], tuple[str, ...]]:
    """The operands of the kernel of independent programs, and its text: its parameters, then its lines.

    Each thread finds its program by halves. The arrays are raw, that is, they are read by the number of an entry in C order.
    """
    operands = list(dict.fromkeys([atom for part in joint.parts for atom in operands_of(part)]))
    names: dict[Atom, str] = {atom: f"{'a' if atom.kind == 'array' else 's'}{i}" for i, atom in enumerate(operands)}
    outputs: dict[Atom, str] = {y: f"r{i}" for i, y in enumerate([y for part in joint.parts for y in part.outputs])}
    lines = _halves([(part, _part(part, names, outputs)) for part in joint.parts], 0)
    given = [f"{'raw ' if atom.kind == 'array' else ''}{atom.dtype.name} {names[atom]}" for atom in operands]
    made = [f"raw {y.dtype.name} {name}" for y, name in outputs.items()]
    return operands, (f'"{", ".join(given)}", "{", ".join(made)}"', *lines)


def _halves(parts: Sequence[tuple[Graph, list[str]]], start: int) -> list[str]:
    """Lines that choose one of the programs by the number i, the first of whose entries is `start`."""
    if len(parts) == 1:
        return [f"long long j = i - {start};", *parts[0][1]]
    half = len(parts) // 2
    middle = start + sum([entries_of(part) for part, _ in parts[:half]])
    lower, upper = _halves(parts[:half], start), _halves(parts[half:], middle)
    return [
        f"if (i < {middle}) {{",
        *[f"    {line}" for line in lower],
        "} else {",
        *[f"    {line}" for line in upper],
        "}",
    ]


def _part(part: Graph, names: dict[Atom, str], outputs: dict[Atom, str]) -> list[str]:
    """The lines of one program of several, for its entry j."""
    operands = operands_of(part)
    local: dict[Atom, str] = {atom: f"x{i}" for i, atom in enumerate(operands)}
    lines = []
    for atom in operands:
        value = names[atom] + (f"[{_entry(atom.shape, part.outputs[0].shape)}]" if atom.kind == "array" else "")
        lines.append(f"const {C_TYPES[atom.dtype.name]} {local[atom]} = {value};")
    lines += write_steps(part.instructions, local)
    return [*lines, *[f"{outputs[y]}[j] = {local[y]};" for y in part.outputs]]


def _entry(shape: tuple[int, ...], whole: tuple[int, ...]) -> str:
    """The number of the entry of an operand that broadcasts to `whole`, for entry j there."""
    shape = (1,) * (len(whole) - len(shape)) + shape
    terms, row, below, axis = [], 1, 1, len(whole) - 1
    while axis >= 0:
        run, start = 1, below
        while axis >= 0 and shape[axis] == whole[axis]:  # neighbouring axes that both have
            run, axis = run * whole[axis], axis - 1
            below *= whole[axis + 1]
        if run > 1:
            place = f"j / {start}" if start > 1 else "j"
            place = f"{place} % {run}" if axis >= 0 else place
            terms.append(f"{place} * {row}" if row > 1 else place)
            row *= run
        while axis >= 0 and shape[axis] != whole[axis]:
            below, axis = below * whole[axis], axis - 1
    return " + ".join(terms) or "0"


# The identity of a reduction, and how it takes two values together. A NaN stays.
RULES = {
    "sum": ("0", "a + b"),
    "max": ("-CUDART_INF", "a > b || a != a ? a : b"),
    "min": ("CUDART_INF", "a < b || a != a ? a : b"),
}


def write_reduction(reduced: Reduced) -> tuple[list[Atom], tuple[str, ...]]:
    """The operands of the kernel of a reduction, and its text: its arguments, then the lines of its two functions.

    `taken` computes an entry of the operand, `made` the result from the reduced value.
    """
    body, after, reduction = reduced.body, reduced.after, reduced.reduction
    operands = operands_of(body)
    local: dict[Atom, str] = {atom: f"x{i}" for i, atom in enumerate(operands)}
    lines = write_steps(body.instructions, local)
    x, y = reduction.inputs[0], (after[-1] if after else reduction).output
    given = ", ".join([f"const {C_TYPES[atom.dtype.name]} x{i}" for i, atom in enumerate(operands)])
    called = ", ".join([f"x{i}" for i in range(len(operands))])
    functions = _function("taken", C_TYPES[x.dtype.name], given, [*lines, f"return {local[x]};"])
    if after:
        local = {reduction.output: "x"}
        lines = write_steps(after, local)
        text = [*lines, f"return {local[y]};"]
        functions += _function("made", C_TYPES[y.dtype.name], f"const {C_TYPES[reduction.output.dtype.name]} x", text)
    identity, rule = RULES[reduction.name]
    if x.dtype != np.float64:
        identity = identity.replace("INF", "INF_F")
    # A sum of halves is one of floats, as in CuPy. By default values are taken together in the type of the result.
    wide = "float" if x.dtype == np.float16 else C_TYPES[x.dtype.name]
    named = f', reduce_type="{wide}"' if x.dtype == np.float16 or y.dtype != x.dtype else ""
    value = "made(a)" if after else "a"
    if after and x.dtype == np.float16:
        value = "made(float16(a))"
    arguments = (
        f'"{_parameters(operands)}", "{y.dtype.name} out0", "taken({called})", "{rule}", "out0 = {value}", "{identity}"'
    )
    is_half = any(
        atom.dtype == np.float16 for atom in (*operands, *[step.output for step in (*body.instructions, *after)], y)
    )
    return operands, (arguments + named, *([HALVES] if is_half else []), *functions)


def _function(name: str, result: str, parameters: str, lines: Sequence[str]) -> list[str]:
    return [f"__device__ {result} {name}({parameters}) {{", *[f"    {line}" for line in lines], "}"]


def options_of(body: Graph) -> str:
    """The options that a group's kernel is compiled with."""
    is_local = any(step.output.dtype == np.float16 for step in body.instructions)
    is_given = any(atom.dtype == np.float16 for atom in (*operands_of(body), *body.outputs))
    return (f"preamble={HALVES!r}, " if is_local and not is_given else "") + f"options={OPTIONS}"


def comment_of(step: Instruction) -> str:
    """The line of the user's program, as a comment in C++."""
    line = str(step.line or "").encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
    return f"  // {line}" if line else ""


class Orders:
    """The order of axes in memory of a GPU's arrays. CuPy would make the results of kernels in C order, whatever the operands have.

    Results have another order, channels last for example, where all operands of their shape have it: `turned` are such arrays.
    """

    def __init__(self, graph: Graph) -> None:
        self.turned: set[Atom] = {x for x in graph.inputs if is_turned(x)}
        self.alike: dict[Instruction, Atom] = {}  # for kernels with such results, an operand with their order
        for instruction in graph.instructions:
            operation, outputs = instruction.operation, instruction.outputs
            if isinstance(operation, Joint):
                for part in operation.parts:
                    if self._like(part.inputs, part.outputs[0].shape) is not None:
                        self.turned.update(part.outputs)
            elif (isinstance(operation, Fused) and operation.mode == "kernel") or _takes_out(instruction):
                if (found := self._like(instruction.inputs, instruction.output.shape)) is not None:
                    self.alike[instruction] = found
                    self.turned.update(outputs)
            elif instruction.alias is not None and instruction.inputs[instruction.alias] in self.turned:
                self.turned.add(instruction.output)
            else:
                self.turned.update(y for y in outputs if is_turned(y) or self._follows(instruction, y))

    def _follows(self, instruction: Instruction, y: Variable) -> bool:
        """Whether an operation, such as pooling, had an operand in C order when it was recorded, and now has one in another order."""
        operands = [x for x in instruction.inputs if isinstance(x, Variable) and x in self.turned and not is_turned(x)]
        return y.kind == "array" and any(len(x.shape) == len(y.shape) > 2 for x in operands)

    def _like(self, operands: Sequence[Atom], shape: tuple[int, ...]) -> Atom | None:
        """An operand of this shape, if all of them are turned."""
        whole = [x for x in operands if x.shape == shape and x.kind == "array"]
        return whole[0] if whole and self.turned.issuperset(whole) else None


def _takes_out(instruction: Instruction) -> bool:
    """Whether an operation that is no kernel of ours is one of CuPy's ufuncs, which write into a given array."""
    operation = instruction.operation
    if isinstance(operation, Region) or not is_lazy(instruction) or ufunc_of(operation) is None:
        return False
    backend = backend_named(instruction.output.device)
    return not isinstance(implementation(operation, backend), Own) and hasattr(backend.module, operation.name)


def written_over(graph: Graph, turned: Set[Atom]) -> dict[Variable, Variable]:
    """For results of kernels, the operand that each may be written over: same shape, dtype and order of axes, and no longer needed.

    The operand must come from an operation that makes fresh memory, and nothing else may have read it, because readers may be views.
    """
    fresh: set[Atom] = set()
    shared: set[Atom] = set(graph.outputs)
    last: dict[Atom, int] = {}
    for number, instruction in enumerate(graph.instructions):
        last.update(dict.fromkeys(instruction.inputs, number))
        if not instruction.operation.fresh:
            shared.update(instruction.inputs)
    over: dict[Variable, Variable] = {}
    for number, instruction in enumerate(graph.instructions):
        operation = instruction.operation
        if isinstance(operation, Joint):
            readers: Counter[Atom] = Counter([x for part in operation.parts for x in part.inputs])
            free = {
                x
                for x in instruction.inputs
                if x in fresh and x not in shared and last[x] == number and readers[x] == 1
            }
            for part in operation.parts:
                outputs = [y for y in part.outputs if y not in operation.places]
                over.update(_matched(outputs, [x for x in part.inputs if x in free], turned))
        elif isinstance(operation, Fused) and operation.mode == "kernel":
            found = _matched(
                instruction.outputs,
                [x for x in instruction.inputs if x in fresh and x not in shared and last[x] == number],
                turned,
            )
            if len(found) == len(instruction.outputs):  # a kernel takes memory for all of its outputs or for none
                over.update(found)
        if instruction.operation.fresh:
            fresh.update(y for y in instruction.outputs if backend_named(y.device).fuses_into_kernels)
    return over


def _matched(outputs: Sequence[Atom], free: Sequence[Atom], turned: Set[Atom]) -> dict[Variable, Variable]:
    """For each result an array of its shape, dtype and order, if there is one, and each for one result only."""
    found: dict[Variable, Variable] = {}
    for y in outputs:
        for x in free:
            same = (x.shape, x.dtype, x in turned) == (y.shape, y.dtype, y in turned)
            # Steps of axes of length 1 also count: parameters that change them from call to call would be recorded anew.
            same = same and (x in turned or getattr(x, "strides", None) == getattr(y, "strides", None))
            if same and isinstance(x, Variable) and isinstance(y, Variable) and x not in found.values():
                found[y] = x
                break
    return found
