"""Random programs as small data, which print, shrink and run: a hypothesis strategy, and inputs in varied memory layouts.

    program = Program(inputs=(Input("array", "float32", (3, 4)),), body=Body(1, steps=(Step("sin", (0,)),), outputs=(1,)))
    program.run(*program.arguments(seed=0))

Values are numbered: inputs first, then constants (which `run` closes over), then the results of the steps. While a program is
drawn it runs on an example, so every step is valid.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
from hypothesis import strategies as st

import fdezero as fd

from .program_choices import MOST, Choice, Impossible
from .program_operations import OPERATIONS, derived

LAYOUTS = ("C", "F", "reversed", "sliced", "offset", "broadcast", "readonly")
NUMBERS = (0.5, 2.0, 1.0, 0.0, -1.0, 3.0, -0.25, 1e-3)


@attrs.frozen
class Input:
    """An argument or constant of a program; `kind` is array, scalar (NumPy's), number (Python's) or key."""

    kind: str
    dtype: str = "float32"
    shape: tuple[int, ...] = ()
    layout: str = "C"
    fill: str = "normal"

    def make(self, rng: np.random.Generator, layout: str | None = None) -> Any:
        if self.kind == "key":
            return np.asarray(rng.integers(0, 2**63, 2)).astype(np.uint64)
        if self.kind == "number":
            number = float(rng.choice(NUMBERS))
            return {"float64": float, "int64": int, "bool": bool}[self.dtype](number)
        values = _filled(rng, np.dtype(self.dtype), self.shape, self.fill)
        return values[()] if self.kind == "scalar" else laid_out(values, layout or self.layout)


def _filled(rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...], fill: str) -> np.ndarray:
    if dtype.kind in "bi":
        return np.asarray(rng.integers(-4, 6, shape) if dtype.kind == "i" else rng.random(shape) < 0.5).astype(dtype)
    values = np.asarray(rng.standard_normal(shape))
    if fill == "ties":
        values = np.round(values * 2) / 2
    if fill == "wild":
        values = np.where(rng.random(shape) < 0.2, rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, 1e-40], shape), values)
    with np.errstate(all="ignore"):
        return np.asarray(values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def laid_out(values: np.ndarray, layout: str) -> np.ndarray:
    """An array of the same values (but for "broadcast", whose first axis repeats) in another memory layout."""
    if layout == "F":
        return values.copy(order="F")
    if layout == "reversed" and values.ndim:
        return np.flip(np.flip(values).copy())
    if layout == "sliced" and values.ndim:
        larger = np.zeros((*values.shape[:-1], 2 * values.shape[-1] + 1), values.dtype)
        larger[..., 1::2] = values
        return larger[..., 1::2]
    if layout == "offset":
        larger = np.zeros(values.size + 3, values.dtype)
        larger[3:] = values.ravel()
        return larger[3:].reshape(values.shape)
    if layout == "broadcast" and values.ndim and values.shape[0]:
        return np.broadcast_to(values[:1].copy(), values.shape)
    values = values.copy()
    values.flags.writeable = layout != "readonly"
    return values


@attrs.frozen
class Step:
    """One operation on the values numbered `operands`."""

    name: str
    operands: tuple[int, ...]
    params: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(slots=False)
class Body:
    """Steps from `count` inputs to the values numbered `outputs`."""

    count: int
    steps: tuple[Step, ...] = ()
    outputs: tuple[int, ...] = (0,)
    constants: tuple[Any, ...] = ()

    @functools.cached_property
    def closure(self) -> list[Any]:
        """The constants, the same objects in every run: specs by name made arrays, numbers as they are."""
        rng = np.random.default_rng(1234)
        return [c.make(rng) if isinstance(c, Input) else c for c in self.constants]

    def run(self, *inputs: Any) -> list[Any]:
        values = [*inputs, *self.closure]
        for step in self.steps:
            values += perform(step, values)
        return [values[i] for i in self.outputs]


def perform(step: Step, values: Sequence[Any]) -> list[Any]:
    """The results of a step: one value, or those of a tuple."""
    result = OPERATIONS[step.name].run(*[values[i] for i in step.operands], **step.params)
    return list(result) if isinstance(result, tuple | list) else [result]


@attrs.frozen
class Program:
    """A body, the descriptions of its inputs, and the form of its result: tuple, single (the first output) or dict."""

    inputs: tuple[Input, ...]
    body: Body
    form: str = "tuple"

    def run(self, *inputs: Any) -> Any:
        results = self.body.run(*inputs)
        if self.form == "dict":
            return {f"y{i}": result for i, result in enumerate(results)}
        return results[0] if self.form == "single" else tuple(results)

    def arguments(self, seed: int, layouts: str = "own", batch: int = 0) -> list[Any]:
        """Inputs with values of this seed, optionally in other memory layouts or stacked along a new first axis."""
        rng = np.random.default_rng(seed)
        if batch:
            rows = [self.arguments(seed + 1000 * k) for k in range(batch)]
            return [np.stack(column) if axis == 0 else column[0] for column, axis in zip(zip(*rows, strict=True), self.batch_axes, strict=True)]
        own = layouts == "own"
        return [spec.make(rng, None if own else LAYOUTS[(seed + k) % 5]) for k, spec in enumerate(self.inputs)]

    @property
    def batch_axes(self) -> tuple[int | None, ...]:
        return tuple(0 if spec.kind == "array" else None for spec in self.inputs)

    @property
    def differentiable(self) -> tuple[int, ...]:
        """The numbers of the inputs that have a derivative."""
        return tuple(i for i, spec in enumerate(self.inputs) if np.dtype(spec.dtype).kind == "f" and spec.kind != "key")

    def transformed(self, chain: Sequence[str], compile: Callable[[Any], Any]) -> Callable[..., Any]:  # noqa: A002, its usual name
        """The program under the transforms of `chain`, the innermost first; `compile` stands for itself."""

        def function(*args: Any) -> tuple[Any, ...]:
            return tuple(self.body.run(*args))

        for kind in chain:
            if kind == "compile":
                function = compile(function)
            elif kind == "vmap":
                function = fd.vmap(function, self.batch_axes)
            else:
                function = derived(kind, function, self.differentiable)
        return function


def _shapes(draw: Callable[[Any], Any], middling: bool = False) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes that broadcast to one shape, which sometimes is empty or larger than a block."""
    sizes = draw(st.sampled_from(["small"] * 20 + ["square"] * 8 + ["large"] * 6 + ["single"] * 3 + ["empty"]))
    if middling:
        base = draw(st.sampled_from([(1100,), (31, 35), (3, 18, 20), (60, 1, 17), (300, 4)]))
    elif sizes == "large":
        base = draw(st.sampled_from([(40000,), (170, 200), (3, 90, 130), (130, 1, 140)]))
    elif sizes == "single":  # one entry, for which NumPy takes other loops
        base = (1,) * draw(st.integers(1, 3))
    elif sizes == "square":
        base = (draw(st.integers(2, 4)),) * 2
    else:
        base = tuple(draw(st.sampled_from((2, 3, 1, 4, 5))) for _ in range(draw(st.sampled_from((1, 2, 2, 3, 3, 0)))))
        if sizes == "empty" and base:
            base = (0, *base[1:])

    def part(kept: int, ones: list[bool]) -> tuple[int, ...]:
        return tuple(1 if one else n for n, one in zip(base[len(base) - min(kept, len(base)) :], ones, strict=False))

    rarely = st.sampled_from([False, False, False, True])
    whole = st.just(base)
    return st.one_of(whole, whole, whole, st.builds(part, st.integers(0, 3), st.lists(rarely, min_size=3, max_size=3)))


DTYPES = ["float32"] * 8 + ["float64"] * 6 + ["int64"] * 3 + ["bool"] * 2 + ["float16"] + ["complex128"] * 2 + ["complex64"] * 2


@st.composite
def input_specs(draw: Callable[[Any], Any], shapes: Any, dtypes: Sequence[str] = DTYPES, fills: Sequence[str] = ("normal",)) -> Input:
    kind = draw(st.sampled_from(["array"] * 12 + ["number", "number", "scalar"]))
    if kind == "number":
        return Input(kind, draw(st.sampled_from(["float64", "int64"])))
    dtype, fill = draw(st.sampled_from(dtypes)), draw(st.sampled_from(fills))
    if kind == "scalar":
        return Input(kind, dtype, (), fill=fill)
    return Input(kind, dtype, draw(shapes), draw(st.sampled_from(("C",) * 3 + LAYOUTS)), fill)


RICH = [("int64", 2), ("bool", 2), ("float64", 0), ("int64", 0), ("float32", 1), ("int64", 1), ("float32", 2)]
NAMES = [name for name in OPERATIONS if not name.endswith("_of")]
NAMES += ["add", "multiply", "subtract", "tanh", "where", "matmul", "sum", "reshape", "transpose", "index", "at_set", "power", "mirrored", "folded"] * 4
NESTED = [name for name in OPERATIONS if name.endswith("_of")] + ["scan_of"] * 3


class Builder:
    """Draws steps one after the other and runs each on the examples immediately; a failing step is left out."""

    def __init__(self, draw: Callable[[Any], Any], examples: Sequence[Any], constants: Sequence[Any], names: Sequence[str], wild: bool) -> None:
        self.draw, self.names, self.wild = draw, names, wild
        self.count, self.constants = len(examples), tuple(constants)
        self.values = [*examples, *Body(0, constants=self.constants).closure]
        self.steps: list[Step] = []

    def add(self) -> bool:
        name = self.draw(st.sampled_from(self.names))
        nested = [n for n in self.names if n not in NESTED] if name in NESTED else []
        used = {i for step in self.steps for i in step.operands}
        fresh = [i for i in range(len(self.values)) if i not in used]
        choice = Choice(self.draw, self.values, fresh, lambda examples: self._inner(examples, nested or NAMES))
        try:
            operands, params = OPERATIONS[name].choose(choice)
        except Impossible:
            return False
        step = Step(name, operands, params)
        with np.errstate(all="ignore"):
            try:
                results = perform(step, self.values)
            except Exception:
                return False
        if not all(np.size(y) <= MOST and (self.wild or _tame(y)) for y in results):
            return False
        self.steps.append(step)
        self.values += results
        return True

    def _inner(self, examples: Sequence[Any], names: Sequence[str]) -> Body:
        return Builder(self.draw, examples, (0.5,), names, self.wild).body(1, 5)

    def body(self, least: int, most: int) -> Body:
        """Steps, then some of the values as outputs, usually those that no step has used."""
        for _ in range(self.draw(st.integers(least, most))):
            any(self.add() for _ in range(3))
        count = len(self.values)
        outputs = [count - 1, *self.draw(st.lists(st.integers(0, count - 1), max_size=4))]
        if self.draw(st.integers(0, 3)):
            used = {i for step in self.steps for i in step.operands}
            outputs += [i for i in range(self.count + len(self.constants), count - 1) if i not in used][-8:]
        return Body(self.count, tuple(self.steps), tuple(outputs), self.constants)


def _tame(y: Any) -> bool:
    return bool(np.all(np.isfinite(y)) and np.all(np.abs(y) < 1e4)) if np.asarray(y).dtype.kind in "fic" else True


@st.composite
def programs(
    draw: Callable[[Any], Any], *, most: int = 40, names: Sequence[str] | None = None, real: bool = False, rich: bool = False, middling: bool = False
) -> Program:
    """Random programs of 1 to `most` operations.

    `real` ones have an input to differentiate and no complex numbers, `rich` ones have operands for every operation, `middling`
    ones arrays of about a thousand entries.
    """
    shapes = _shapes(draw, middling)
    wild = not real and draw(st.integers(0, 9)) == 9
    fills = ("normal", "normal", "ties", "wild") if wild else ("normal", "normal", "ties")
    main = draw(st.sampled_from(["float32", "float64"] * 3 + ([] if real else ["complex64", "complex128"])))
    dtypes = [main] * 30 + [dtype for dtype in DTYPES if not (real and dtype.startswith("complex"))]
    first = Input("array", main, draw(shapes), draw(st.sampled_from(LAYOUTS)))
    key = (Input("key", "uint64", (2,)),) if rich or draw(st.integers(0, 2)) == 2 else ()
    if rich:
        n = draw(st.integers(1, 4))
        shapes = st.just((n, n))
        more = RICH if real else [*RICH, ("complex64", 1), ("complex128", 2)]
        key += (*[Input("array", dtype, (n,) * ndim) for dtype, ndim in more], Input("number", "float64"))
    inputs = (first, *draw(st.lists(input_specs(shapes, dtypes, fills), max_size=4)), *key)
    number = st.sampled_from((0.5, 2, 1.0, -1.5, 3, 0.0))
    held = input_specs(shapes, dtypes, fills).filter(lambda spec: spec.kind != "number")
    constants = draw(st.lists(number | held | held, max_size=3))
    blank = Program(inputs, Body(len(inputs)))
    usual = NAMES + NESTED * draw(st.integers(0, 3))
    builder = Builder(draw, blank.arguments(0), constants, names or usual, wild)
    least = draw(st.sampled_from((1, 5, 5, 14)))
    body = builder.body(min(least, most), min(3 * least, most))
    return Program(inputs, body, draw(st.sampled_from(("tuple", "single", "dict"))))
