"""`profile` tells where time and memory go: every operation, its line, forward and backward, eager and compiled."""

import json
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.compiler.graph import Instruction
from fdezero.compiler.planning.regions import members
from fdezero.errors import DTypeError, EscapedTracerError, RangeError, StructureError, TraceError

from ..native.compilers import HAS_COMPILER
from .debugged import bits, line_of

HERE = Path(__file__)
X = np.linspace(-1, 1, 12).reshape(3, 4)
native = pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")


def loss(w: Any, x: Any) -> Any:
    h = np.tanh(x @ w)  # the product
    return (h * h).sum()  # the sum


def names(profile: Any) -> set[str]:
    return {row.name for row in profile.operations}


def lines(profile: Any) -> dict[str, Any]:
    return {row.name: row for row in profile.lines}


def at(mark: str) -> str:
    return f"{HERE}:{line_of(HERE, mark)}"


W = X.T.copy()


def test_each_operation_has_a_row_and_each_line_its_forward_and_backward_time() -> None:
    profile = fd.profile(fd.grad(loss))(W, X)
    assert {"matmul", "tanh", "multiply", "sum"} <= names(profile)
    product, total = lines(profile)[at("the product")], lines(profile)[at("the sum")]
    assert 0 < product.backward < product.seconds
    assert total.seconds > 0
    assert sum(row.seconds for row in profile.operations) == pytest.approx(sum(row.seconds for row in profile.lines))
    assert sum(row.calls for row in profile.operations) == len(profile.spans)
    assert profile.seconds > 0
    assert bits(profile.result) == bits(fd.grad(loss)(W, X))




def test_time_goes_to_the_operation_that_takes_it() -> None:
    large = np.ones((400, 400))

    def f(x: Any) -> Any:
        y = x @ large @ large  # two products
        return y + 1.0  # one sum

    rows = lines(fd.profile(f)(large))
    assert rows[at("two products")].seconds > 5 * rows[at("one sum")].seconds


@pytest.mark.parametrize("settings", [{}, pytest.param({"native": True}, marks=native)])
def test_a_compiled_program_tells_each_of_its_steps(settings: dict[str, Any]) -> None:
    step = fd.compile(fd.value_and_grad(loss), **settings)
    profile = fd.profile(step)(W, X)
    (recording,) = step.recordings
    graph = recording.program.executable.graph
    assert len(profile.spans) == len(graph.instructions)
    assert [span.name for span in profile.spans if "group" not in span.name] == [i.name for i in graph.instructions if len(members(i)) == 1]
    assert {at("the product"), at("the sum")} <= set(lines(profile))
    assert profile.kept == recording.program.executable.nbytes
    assert bits(profile.result) == bits(step(W, X))
    assert len(recording.program.executable.free) >= 1, "the program keeps an instance for the next call"


@pytest.mark.parametrize("settings", [{}, pytest.param({"native": True}, marks=native)])
def test_the_table_of_steps_of_a_program_names_the_line_where_each_begins(settings: dict[str, Any]) -> None:
    model = nn.LSTM.init(fd.random.key(0), 2, 3)
    step = fd.compile(fd.grad(lambda model, x: (model(x)[0] ** 2).sum()), **settings)
    step(model, np.ones((2, 4, 2), np.float32))
    executable = step.recordings[0].program.executable
    text = executable.source.splitlines()
    begins = [line for line, _ in executable.steps]
    assert begins == sorted(begins)
    assert len(begins) == len(executable.graph.instructions)
    for line, step_ in executable.steps:
        assert isinstance(step_, Instruction)
        assert not text[line - 1].lstrip().startswith(("def", "outputs", "return"))


def test_the_rounds_of_a_loop_are_seen_one_by_one() -> None:
    def f(x: Any) -> Any:
        return fd.scan(lambda carry, row: (np.tanh(carry + row), carry), np.zeros(4), x)[0].sum()

    profile = fd.profile(fd.compile(f))(X)
    rows = {row.name: row for row in profile.operations}
    assert rows["tanh"].calls == len(X)
    assert rows["scan"].calls == 1
    (scan,) = [span for span in profile.spans if span.name == "scan"]
    assert scan.own < scan.seconds


def test_a_training_step_that_calls_compiled_parts() -> None:
    model = nn.MLP.init(fd.random.key(0), (4, 8, 3), dropout=0.5)
    opt = optim.adam(1e-3)
    state, t, key = opt.init(model), np.array([0, 1, 2]), fd.random.key(1)
    gradient = fd.compile(fd.grad(lambda model, x, key: F.softmax_cross_entropy(model(x, key=key, train=True), t)))

    def step(model: Any, state: Any, x: Any, key: Any) -> Any:
        return opt.step(model, gradient(model, x, key), state)

    args = (model, state, X.astype(np.float32), key)
    profile = fd.profile(step)(*args)
    assert bits(profile.result) == bits(step(*args))
    assert {"matmul", "random_bits", "root_of_mean"} <= names(profile)
    assert gradient.explain().count("\n") == 1, "profiling records nothing more"


def test_memory_is_what_an_operation_takes_beyond_what_was_taken() -> None:
    n = 1 << 17

    def f(x: Any) -> Any:
        y = np.concatenate([x, x])  # twice as many
        return (y * 3.0).sum()

    profile = fd.profile(f)(np.ones(n))
    rows = {row.name: row for row in profile.operations}
    assert rows["concatenate"].nbytes == pytest.approx(16 * n, rel=0.01)
    assert rows["sum"].nbytes < 1e5
    assert profile.peak == pytest.approx(32 * n, rel=0.01)
    assert not tracemalloc.is_tracing()


def test_memory_is_counted_also_where_the_caller_counts_it() -> None:
    tracemalloc.start()
    try:
        assert fd.profile(lambda x: (x * 2.0).sum())(np.ones(1 << 15)).peak >= 8 << 15
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_a_file_for_perfetto_has_every_run_inside_the_one_around_it(tmp_path: Path) -> None:
    profile = fd.profile(fd.compile(lambda x: fd.scan(lambda c, row: (c + row, c), np.zeros(4), x)[0].sum()))(X)
    file = profile.save(tmp_path / "profile.json")
    events = json.loads(file.read_text("utf-8"))["traceEvents"]
    runs = [event for event in events if event["ph"] == "X"]
    assert len(runs) == len(profile.spans)
    (scan,) = [event for event in runs if event["name"] == "scan"]
    inner = [event for event in runs if event["name"] == "add"]
    assert len(inner) == 3
    for event in inner:
        assert scan["ts"] <= event["ts"]
        assert event["ts"] + event["dur"] <= scan["ts"] + scan["dur"]
    assert HERE.name in inner[0]["args"]["lines"][0]


def test_the_tables_show_the_source_and_fold_what_is_small() -> None:
    def f(x: Any) -> Any:
        for name in ("exp sin cos tan tanh sinh cosh arctan log1p expm1 square sqrt abs negative floor ceil sign cbrt exp2 deg2rad rad2deg arcsinh").split():
            x = getattr(np, name)(np.abs(x) / 10)
        return x

    text = str(fd.profile(f)(X))
    assert "x = getattr(np, name)" in text
    assert " more" in text
    assert text.startswith("f: ")
    assert "share" in text


def test_a_number_may_be_another_one_than_in_the_recording() -> None:
    power = fd.compile(lambda n, x: np.tanh(x) * 2**n)
    power(3, X)
    profile = fd.profile(power)(-3, X)  # 2 ** n is a float there
    assert bits(profile.result) == bits(np.tanh(X) * 2**-3)
    assert "tanh" in names(profile)


def test_errors_pass_through_and_leave_nothing_behind() -> None:
    step = fd.compile(lambda x, i: np.linalg.solve(x, i))
    good, singular = np.eye(3), np.zeros((3, 3))
    step(good, good)
    with pytest.raises(np.linalg.LinAlgError):
        fd.profile(step)(singular, good)
    assert bits(step(good, good)) == bits(good)
    assert not tracemalloc.is_tracing()


def test_another_thread_may_call_the_same_program_meanwhile() -> None:
    step = fd.compile(loss)
    want, found = step(W, X), []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            found.append(step(W, X))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for _ in range(5):
            assert fd.profile(step)(W, X).result == want
    finally:
        stop.set()
        thread.join()
    assert set(found) <= {want}


def test_methods_and_modules_are_profiled_with_their_parameters() -> None:
    model = nn.MLP.init(fd.random.key(0), (4, 3))
    assert "matmul" in names(fd.profile(model)(X.astype(np.float32)))


def test_mistakes_are_told() -> None:
    with pytest.raises(RangeError, match=r"profile: runs is 1 or more, got 0"):
        fd.profile(loss, runs=0)
    with pytest.raises(DTypeError, match=r"runs is a whole number"):
        fd.profile(loss, runs=1.5)  # type: ignore[arg-type]
    with pytest.raises(StructureError, match=r"profile\(<lambda>\) returns a generator, of which nothing has run yet"):
        fd.profile(lambda x: (v for v in x))(np.ones(3))
    with pytest.raises(StructureError, match=r"no argument has an array, and profile sees only values"):
        fd.profile(lambda: X.sum())()
    with pytest.raises(TraceError, match=r"Put profile outside: fd\.profile\(fd\.grad\(f\)\)"):
        fd.grad(lambda w: fd.profile(loss)(w, X).result)(W)
    kept: list[Any] = []
    fd.profile(lambda x: kept.append(x) or x * 2.0)(X)
    with pytest.raises(EscapedTracerError):
        kept[-1] + 1.0


def test_every_operation_is_waited_for_on_a_gpu(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdezero.devices.cuda import Cuda

    waits, usual = [], Cuda.wait
    monkeypatch.setattr(Cuda, "wait", lambda self: (waits.append(None), usual(self))[1])
    w, x = fd.to_device((W, X), "gpu")
    for f in (fd.grad(loss), fd.compile(fd.grad(loss))):
        waits.clear()
        profile = fd.profile(f, runs=1)(w, x)
        assert len(waits) > 3 * len(profile.spans) > 0
        assert fd.device_of(profile.result) == fd.device_of(w)
        np.testing.assert_allclose(fd.to_numpy(profile.result), fd.grad(loss)(W, X))
