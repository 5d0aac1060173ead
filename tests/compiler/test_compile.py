"""`fd.compile` for users: new recordings, errors that name the line, texts, passes, and transforms around it."""

import gc
import inspect
import linecache
import re
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.compiler import program
from fdezero.compiler.graph import Graph, Instruction, validate
from fdezero.compiler.passes import order
from fdezero.compiler.passes.order import optimise
from fdezero.compiler.planning.fuse import fuse
from fdezero.compiler.recording.record import record
from fdezero.errors import StaticError, StormError, TraceError

from .program_checks import assert_same_bits

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((3, 4)), rng.standard_normal(4)


def recordings(f: Any, *calls: Any) -> list[int]:
    """The number of recordings after each of the calls."""
    found = []
    for args in calls:
        f(*args)
        found.append(len(f.recordings))
    return found


# Recording again
CHANGES: dict[str, tuple[Any, Any, str]] = {
    "shape": (X, X[:2], r"x was float64\[3,4\] and is float64\[2,4\]"),
    "rank": (X, X[0], r"x was float64\[3,4\] and is float64\[4\]"),
    "dtype": (X, X.astype(np.float32), r"x was float64\[3,4\] and is float32\[3,4\]"),
    "byte order": (X, X.astype(">f8"), "x was .* and is "),
    "strides": (X, np.asfortranarray(X), r"x was float64\[3,4\] with strides \(32, 8\) and is float64\[3,4\] with strides \(8, 24\)"),
    "an array or a scalar": (np.ones(()), np.float64(1), r"x was float64\[\] of ndarray and is float64\[\] of float64"),
    "an array or a number": (X, 1.0, r"x was float64\[3,4\] and is a Python float"),
    "int or float": (1, 1.0, "x was a Python int and is a Python float"),
    "text": ("a", "b", "x was 'a' and is 'b'"),
    "truth": (True, False, "x was True and is False"),
    "truth or number": (True, 1, "x was True and is a Python int"),
    "None or number": (None, 1.0, "x is new"),
    "a function": (np.sin, np.cos, "x was <ufunc 'sin'> and is <ufunc 'cos'>"),
    "the length of a list": ([X], [X, X], "x/1 is new"),
    "a list or a tuple": ([X], (X,), "the containers of the arguments"),
    "a key": ({"a": X}, {"b": X}, "x/a is gone; x/b is new"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_new_recordings_and_their_reasons(name: str) -> None:
    old, new, reason = CHANGES[name]
    f = fd.compile(lambda x: (x, 1.0))
    assert recordings(f, [old], [old], [new], [new], [old], [new]) == [1, 1, 2, 2, 2, 2]
    first, second = f.explain().splitlines()[1:]
    assert re.search(r"1\. at test_compile\.py:\d+, \d+\.\d ms: the first call$", first)
    assert re.search(rf"2\. at test_compile\.py:\d+, \d+\.\d ms: .*{reason}", second), second


def test_values_do_not_record_anew() -> None:
    f = fd.compile(lambda x, y: x * y)
    assert recordings(f, [X, 2.0], [X + 1, 3.0], [X * 2, float("nan")], [X, 2], [X, 3], [X, 10**6]) == [1, 1, 1, 2, 2, 2]
    assert_same_bits((f(X, 7.0), f(X, -3)), (X * 7.0, X * -3), "numbers are inputs")


def test_explain_counts_and_shortens() -> None:
    f = fd.compile(lambda a, b, c, d, e: a)
    assert f.explain() == "<lambda>: 0 recordings"
    f(1, 1, 1, 1, 1)
    assert f.explain().startswith("<lambda>: 1 recording\n")
    f(1.0, 1.0, 1.0, 1.0, 1.0)
    assert f.explain().endswith("a was a Python int and is a Python float; b was a Python int and is a Python float; c was a Python int and is a Python float, and 2 more")


def test_static_arguments() -> None:
    @fd.compile(static=("n", "mode"))
    def f(x: Any, n: Any = 2, *, mode: str = "up") -> Any:
        for _ in range(n):
            x = x * 2 if mode == "up" else x / 2
        return x

    for _ in range(2):
        assert_same_bits(f(Y), Y * 4, "by default")
        assert_same_bits(f(Y, 3), Y * 8, "by position")
        assert_same_bits(f(Y, n=1), Y * 2, "by name")
        assert_same_bits(f(x=Y, n=1, mode="down"), Y / 2, "all by name")
    assert len(f.recordings) == 4
    assert recordings(f, [Y, 4], [Y, 5]) == [5, 6]
    assert "the static argument n was 4 and is 5" in f.explain()


def test_keyword_arguments_are_inputs() -> None:
    f = fd.compile(lambda x, *, scale, offset=0.0: x * scale + offset)
    for scale in (1.0, 2.0, 3.0):
        assert_same_bits(f(Y, scale=scale), Y * scale + 0.0, "one")
        assert_same_bits(f(Y, offset=Y, scale=scale), Y * scale + Y, "both, in another order")
    assert len(f.recordings) == 2
    assert "offset is new" in f.explain()


def test_methods() -> None:
    class Model:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @fd.compile
        def __call__(self, x: Any) -> Any:
            return x * self.factor

    two, three = Model(2.0), Model(3.0)
    for _ in range(3):
        assert_same_bits((two(Y), three(Y)), (Y * 2.0, Y * 3.0), "two instances")
    assert len(Model.__call__.recordings) == 2


def test_the_function_shows_through() -> None:
    @fd.compile
    def named(x: Any, *, y: int = 1) -> Any:
        """What it does."""
        return x

    assert (named.__name__, named.__doc__) == ("named", "What it does.")
    assert list(inspect.signature(named).parameters) == ["x", "y"]
    named(X)
    assert repr(named) == "<compiled named, 1 recordings>"


# Errors
def test_errors_of_static_arguments() -> None:
    with pytest.raises(StaticError, match=r"static=\(\"n\",\)"):
        fd.compile(lambda n: n, static="n")
    with pytest.raises(StaticError, match="the static argument 'n' is .*list.* cannot be hashed"):
        fd.compile(lambda x, n: x, static=("n",))(X, [1])
    with pytest.raises(StaticError, match="s is .*set.* cannot be hashed"):
        fd.compile(lambda x, s: x)(X, {1})
    for ask in ("graph", "source"):
        with pytest.raises(StaticError, match="has not been recorded yet"):
            getattr(fd.compile(lambda x: x), ask)


def test_too_many_recordings() -> None:
    f = fd.compile(lambda x: x * 2, max_recordings=2)
    assert recordings(f, [X], [X[:2]]) == [1, 2]
    for _ in range(2):
        with pytest.raises(StormError, match=r"recorded 2 times, .*max_recordings.*: x was float64\[2,4\] and is float64\[1,4\].*drop_last"):
            f(X[:1])
    assert_same_bits(f(X), X * 2, "what is known goes on")
    assert len(f.recordings) == 2


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "if": (lambda x: x if fnp.sum(x) > 0 else -x, "the truth"),
    "and": (lambda x: fnp.sum(x) > 0 and x, "the truth"),
    "bool": (lambda x: bool(x[0, 0]), "the truth"),
    "int": (lambda x: int(x[0, 0]), "int"),
    "float": (lambda x: float(x[0, 0]), "float"),
    "item": (lambda x: x[0, 0].item(), r"\.item\(\)"),
    "range": (lambda x: list(range(fnp.argmax(x))), r"range\(\)"),
    "for": (lambda x: [y * 2 for y in x[0]], "iteration"),
    "unpacking": (lambda x: [*x[0]], "iteration"),
    "an index of a list": (lambda x: [1, 2, 3][fnp.argmax(x[0, :3])], "an index of a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_code_that_depends_on_values_is_refused_with_the_line(name: str) -> None:
    function, words = REFUSED[name]
    line = function.__code__.co_firstlineno
    with pytest.raises(TraceError, match=rf"{words}.* <lambda> records, at {re.escape(__file__)}, line {line}:.*fd\.cond.*static="):
        fd.compile(function)(X)
    if words != "iteration":  # also within a transform
        with pytest.raises(TraceError, match=words):
            fd.compile(fd.grad(lambda x: (function(x), fnp.sum(x))[1]))(X)


def test_rows_may_be_unpacked() -> None:
    f = fd.compile(lambda x: [row * 2 for row in x])
    assert_same_bits([f(X), f(-X)], [[row * 2 for row in X], [row * 2 for row in -X]], "rows")


# Texts
def test_graph_source_and_dot() -> None:
    def affine(x: Any, W: Any) -> Any:
        y = np.tanh(x @ W)
        return y * 2, fnp.sum(y)

    f = fd.compile(affine)
    f(X, np.eye(4))
    text = str(f.graph)
    assert text.startswith("def affine(x: float64[3,4], W: float64[4,4]):\n    v0: float64[3,4] = matmul(x, W)  # test_compile.py:")
    assert text.endswith("    return v2, v3")
    assert "multiply(v1, 2)" in text
    assert "np.tanh(" in f.source
    assert "def affine(x, W):" in f.source
    dot = f.graph.to_dot()
    assert dot.startswith('digraph "affine" {')
    assert dot.endswith("}")
    assert dot.count("shape=box") == len(f.graph.instructions)
    assert all(edge in dot for edge in ('"x" -> "op0"', '"W" -> "op0"', '"op0" -> "v0"', '"v0" -> "op1"'))


def test_tracebacks_show_the_generated_line() -> None:
    f = fd.compile(lambda x, i: fnp.take(np.exp(x) * 2, i, axis=0) + 1)
    f(X, np.array([0, 2]))
    with pytest.raises(IndexError) as caught:
        f(X, np.array([0, 7]))
    frames = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename.startswith("<fdezero: ")]
    assert len(frames) == 1
    assert "test_compile.py:" in (frames[0].line or "")
    assert frames[0].line in f.source


def test_sources_are_forgotten_with_their_function() -> None:
    f = fd.compile(lambda x: x * 2)
    f(X)
    filename = f.recordings[-1].program.executable.filename
    assert "".join(linecache.getlines(filename)) == f.source
    del f
    gc.collect()
    assert filename not in linecache.cache


# Outputs
def test_outputs_that_are_inputs_views_and_constants() -> None:
    def f(x: Any, n: Any) -> Any:
        return {"x": x, "n": n, "view": x[1:], "T": x.T, "again": (x * 2, x * 2), "constant": Y, "number": 3, "none": None, "empty": []}

    compiled = fd.compile(f)
    for _ in range(3):
        x = rng.standard_normal((3, 4))
        result = compiled(x, 5)
        assert_same_bits(result, f(x, 5), "a call")
        assert np.shares_memory(result["view"], x)
        assert not np.shares_memory(result["again"][0], x)
        assert result["constant"].flags.writeable
        assert not np.shares_memory(result["constant"], Y)


def test_closure_arrays_are_constants() -> None:
    f = fd.compile(lambda x: x + BIG)
    for x in (BIG * 2, BIG, -BIG):
        assert_same_bits(f(x), x + BIG, "a constant")
    assert "constant float64[300,400]" in str(f.graph)


# Passes
def recorded(function: Callable[..., Any], *args: Any) -> Graph:
    return validate(record(lambda *xs: fd.tree.leaves(function(*xs)), args, "f").graph)


def optimised(function: Callable[..., Any], *args: Any) -> list[str]:
    """The names of the operations that are left."""
    return [i.name for i in optimise(recorded(function, *args), check=validate).instructions]


BIG = rng.standard_normal((300, 400))
SMALL: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "common": (lambda x: np.sin(x) * 2 + np.sin(x) * 2, ["sin", "multiply", "add"]),
    "common, equal constants": (lambda x: (x + np.float64(4.0)) * (x + np.float64(4.0)), ["add", "multiply"]),
    "common, other numbers": (lambda x: (x * 2) + (x * 2.5), ["multiply", "multiply", "add"]),
    "not common: 0.0 and -0.0": (lambda x: (x + 0.0) * (x + -0.0), ["add", "add", "multiply"]),
    "not common: 1 and True": (lambda x: (x.astype(int) + 1) * (x.astype(int) + True), ["astype_discrete", "add", "add", "multiply"]),
    "dead": (lambda x: (np.exp(x), np.sin(x))[1], ["sin"]),
    "constants": (lambda x: x * np.sin(np.ones(4)) * np.exp(2.0), ["multiply", "multiply"]),
    "times 1": (lambda x: np.sin(1 * (x * 1.0)), ["sin"]),
    "divided by 1": (lambda x: np.sin(x / 1), ["sin"]),
    "minus 0": (lambda x: np.sin(x - 0), ["sin"]),
    "plus 0 changes -0.0": (lambda x: np.sin(x + 0), ["add", "sin"]),
    "times 1 changes the shape": (lambda x: np.sin(x * np.ones((2, 3, 4))), ["multiply", "sin"]),
    "square": (lambda x: x**2, ["square"]),
    "two transposes": (lambda x: np.sin(x.T.T), ["sin"]),
    "two transposes in one": (lambda x: np.sin(np.transpose(np.transpose(fnp.reshape(x, (3, 2, 2)), (1, 2, 0)), (1, 2, 0))), ["reshape", "permute", "sin"]),
    "a broadcast": (lambda x: np.broadcast_to(np.sin(x[0]), (3, 4)) * x, ["slice", "sin", "reshape", "multiply"]),
    "a broadcast that is needed": (lambda x: np.broadcast_to(np.sin(x), (2, 3, 4)) * 2, ["sin", "reshape", "broadcast", "multiply"]),
    "stop_gradient": (lambda x: np.sin(fd.stop_gradient(x)), ["sin"]),
    "a result of its own": (lambda x: x * 1, ["copy"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_each_pass_on_a_small_graph(name: str) -> None:
    function, expected = SMALL[name]
    assert optimised(function, X) == expected
    compiled = fd.compile(function)
    for x in (X, -X * 0.0, X * np.inf):
        with np.errstate(all="ignore"):
            assert_same_bits(compiled(x), function(x), name)


def _mlp(x: Any, W: Any) -> Any:
    return fd.value_and_grad(lambda W: F.softmax_cross_entropy(F.sigmoid(x @ W) @ W.T, np.zeros(len(x), int)))(W)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "gradient": (_mlp, (X, rng.standard_normal((4, 4)))),
    "second derivative": (lambda x: fd.grad(lambda x: fnp.sum(fd.grad(lambda x: fnp.sum(np.sin(x) ** 3))(x) ** 2))(x), (X,)),
    "batched": (lambda x: fd.vmap(lambda r: fnp.cumsum(F.softmax(r)) @ X.T)(x), (X,)),
    "large": (lambda x: (fnp.sum(np.tanh(x) * 2 + x), np.exp(-x * x) + x[0]), (BIG,)),
    "large in rows": (lambda x: fd.grad(lambda x: fnp.sum(np.tanh(x + x[:, :1]) * x))(x), (BIG,)),
    "loop": (lambda x: fd.scan(lambda c, r: (c * 2 + r, np.sin(c)), x[0], x), (X,)),
    "inlined": (lambda x: fd.compile(lambda x: fd.checkpoint(lambda x: np.sin(x) * 2)(x) + 1)(x * 3), (X,)),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_pass_keeps_a_program_a_program(name: str) -> None:
    function, args = PROGRAMS[name]
    graph, seen = recorded(function, *args), []
    check = lambda graph: (seen.append(graph), validate(graph))[1]  # type: ignore[func-returns-value]
    fused = validate(fuse(optimise(graph, check=check), large=16))
    assert len(seen) == len(order.PASSES) + 1
    for body in [i.operation.body for i in fused.instructions if i.name == "fused"]:
        validate(body)
    compiled = fd.compile(function)
    for _ in range(3):
        assert_same_bits(compiled(*args), function(*args), name)


def test_validate_finds_mistakes() -> None:
    graph = recorded(lambda x: np.sin(x) * 2, X)
    first, second = graph.instructions
    for instructions, words in [((second, first), "not yet computed"), ((first, first, second), "twice"), ((second,), "not yet computed"), ((first,), "output is not computed")]:
        with pytest.raises(AssertionError, match=words):
            validate(Graph("f", graph.inputs, instructions, graph.outputs))
    wrong = Instruction(second.operation, second.inputs, {}, (graph.inputs[0].__class__((7,), np.dtype(float), (8,)),))
    with pytest.raises(AssertionError, match=r"\(3, 4\) is not \(7,\)"):
        validate(Graph("f", graph.inputs, (first, wrong), ()))


def test_compile_inside_compile_is_inlined() -> None:
    inner = fd.compile(lambda x: np.sin(x) * 2)
    outer = fd.compile(lambda x: inner(x) + inner(x))
    assert_same_bits(outer(X), np.sin(X) * 2 + np.sin(X) * 2, "a call")
    assert [i.name for i in optimise(outer.graph).instructions] == ["sin", "multiply", "add"]
    assert len(inner.recordings) == 0


# Transforms
def loss(x: Any, W: Any) -> Any:
    return fnp.sum(np.tanh(x @ W) * np.exp(-x))


AROUND: dict[str, Callable[[Any], Any]] = {
    "grad": lambda f: fd.grad(f, argnums=(0, 1)),
    "value_and_grad": fd.value_and_grad,
    "jvp": lambda f: lambda x, W: fd.jvp(f, (x, W), (np.sin(x), W)),
    "vjp": lambda f: lambda x, W: fd.vjp(f, x, W)[1](np.float64(2)),
    "vmap": lambda f: lambda x, W: fd.vmap(f, (0, None))(np.stack([x, 2 * x]), W),
    "vmap of grad": lambda f: lambda x, W: fd.vmap(fd.grad(f), (0, None))(np.stack([x, 2 * x]), W),
}


@pytest.mark.parametrize("name", AROUND)
def test_transforms_around_run_programs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    call = program.Executable.__call__
    monkeypatch.setattr(program.Executable, "__call__", lambda self, *leaves: (ran.append(self.graph.name), call(self, *leaves))[1])
    compiled, W = fd.compile(loss), rng.standard_normal((4, 4))
    for number in range(3):
        result = AROUND[name](compiled)(X + number, W)
        assert ran, f"call {number} has run no program"
        ran.clear()
        assert_same_bits(result, AROUND[name](loss)(X + number, W), name)
        assert not ran
    assert len(compiled.recordings) == 1


def test_custom_vjp_inside_compile() -> None:
    clipped = fd.custom_vjp(lambda x: np.sin(x))
    clipped.defvjp(lambda x: (np.sin(x), x), lambda r, t: (fnp.clip(t, -1, 1) * np.cos(r) * 3,))
    f = lambda x: fnp.sum(clipped(x * 2) * 5)
    expected = np.cos(Y * 2) * 3 * 2
    for g in (fd.grad(f), fd.grad(fd.compile(f)), fd.compile(fd.grad(f))):
        for _ in range(3):
            np.testing.assert_allclose(g(Y), expected, rtol=1e-15)


def test_keys_are_inputs() -> None:
    def f(key: Any, x: Any) -> Any:
        first, second = fd.random.split(key)
        return F.dropout(x, 0.5, key=first, train=True), fd.random.normal(second, (3,))

    compiled = fd.compile(f)
    seen = [compiled(fd.random.key(seed), X) for seed in range(5)]
    for seed, result in enumerate(seen):
        assert_same_bits(result, f(fd.random.key(seed), X), f"seed {seed}")
    assert len({result[1].tobytes() for result in seen}) == 5
    assert len(compiled.recordings) == 1
