"""An operation with native code: programs call it where all layouts are known, and the operation itself elsewhere."""

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import native
from fdezero.core import REGISTRY, Primitive, linear
from fdezero.native import libraries

from ..compiler.program_checks import assert_same_bits, check_calls
from ..compiler.test_compile_native import pytestmark  # noqa: F401, the mark also skips these without a compiler

SOURCE = """
extern "C" void add_rows(void *out_, void *x_, void *row_, long long width, long long start, long long stop) {
    float64_ *out = DATA(float64_, out_), *x = DATA(float64_, x_), *row = DATA(float64_, row_);
    for (long long i = start; i < stop; i++)
        for (long long j = 0; j < width; j++) out[i * width + j] = x[i * width + j] + row[j];
}
"""
X, ROW = np.arange(12.0).reshape(4, 3), np.array([0.25, -1.0, 8.0])


@pytest.fixture
def planted() -> Iterator[tuple[Primitive, list[Any]]]:
    """An operation x + row with native code for float64 in C order, and what happened: served, refused, built or called."""
    events: list[Any] = []

    def impl(x: Any, row: Any, *, scale: int) -> Any:
        events.append("called")
        return (x + row) * scale

    def in_cpp(inputs: Any, out: Any, params: dict[str, Any], how: native.How) -> Callable[[], Any] | None:
        (rows, width), orders = out.shape, [like.strides == np.empty(like.shape).strides for like in (*inputs, out)]
        if params["scale"] != 1 or not all(orders) or any(like.dtype != np.float64 for like in (*inputs, out)):
            events.append("refused")
            return None
        events.append(("served", how.threads))

        def make() -> Callable[..., None]:
            events.append("built")
            run = native.in_parts(native.function_of(native.library(SOURCE), "add_rows", ["array"] * 3 + ["i"] * 3), rows, how.threads)
            return lambda out, x, row: run(out, x, row, width)

        return make

    write = lambda out, x, row, *, scale: (events.append("called"), np.multiply(x + row, scale, out=out))[1]
    operation = linear("planted_add_rows", impl, lambda t, x, row, scale: t * scale, None, core=1, write=write, native=in_cpp)
    yield operation, events
    del REGISTRY[operation.name]


@pytest.mark.parametrize("threads", [1, 2, 9])
def test_a_native_program_calls_the_code(planted: Any, threads: int) -> None:
    operation, events = planted
    f = lambda x, row: np.sqrt(operation(x * 2, row * 3, scale=1) + 1)
    compiled = fd.compile(f, native=True, threads=threads)
    compiled(X, ROW)
    assert events[0] == "called", "the first call runs as written"
    for k in range(3):
        assert_same_bits(compiled(X + k, ROW), np.sqrt((X + k) * 2 + ROW * 3 + 1), f"call {k}")
    assert events == ["called", ("served", threads), "built"]
    assert "native0 = make0()" in compiled.source
    assert "planted_add_rows" not in compiled.source.replace("# planted", "")


def test_programs_without_native_loops_call_the_operation(planted: Any) -> None:
    operation, events = planted
    f = lambda x, row: operation(x, row, scale=1) * 2
    check_calls(f, fd.compile(f), [[X, ROW]] * 3)
    assert set(events) == {"called"}


def test_what_the_code_does_not_serve_is_an_ordinary_call(planted: Any) -> None:
    operation, events = planted
    cases = [(X, ROW, 3), (X.astype(np.float32), ROW.astype(np.float32), 1), (X[:, ::-1], ROW, 1), (np.asfortranarray(X), ROW, 1)]
    for x, row, scale in cases:
        f = lambda x, row: operation(x, row, scale=scale) * 2
        check_calls(f, fd.compile(f, native=True), [[x, row]] * 3)
    assert set(events) == {"called", "refused"}


def test_an_operand_whose_layout_may_change_is_an_ordinary_call(planted: Any) -> None:
    operation, events = planted
    f = lambda x, row, p: operation(fd.cond(p > 0, lambda x: x * 2, lambda x: (x.T * 3).T, x), row, scale=1) + 1
    check_calls(f, fd.compile(f, native=True), [[X, ROW, p] for p in (1.0, -1.0, 1.0, -1.0)])
    numbers = lambda x, n: operation(x, n, scale=1) * 2
    check_calls(numbers, fd.compile(numbers, native=True), [[X, 2.0]] * 3)
    assert set(events) == {"called"}


def test_derivatives_and_instances_have_code_of_their_own(planted: Any) -> None:
    operation, events = planted
    compiled = fd.compile(fd.grad(lambda x: np.sum(operation(x, ROW, scale=1) ** 2)), native=True, threads=1)
    for _ in range(3):
        assert_same_bits(compiled(X), 2 * (X + ROW), "a gradient")
    assert "built" in events
    compiled.clear()
    assert_same_bits([compiled(X) for _ in range(2)][1], 2 * (X + ROW), "a gradient after clear")
    assert events.count("built") == 2


def test_parts_cover_the_whole_length_once() -> None:
    for length in (0, 1, 2, 7):
        for threads in (1, 2, 3, 9):
            parts = native.in_parts(lambda name, start, stop: (name, *range(start, stop)), length, threads)("a")
            assert [i for _, *part in parts for i in part] == list(range(length))
            assert [name for name, *_ in parts] == ["a"] * max(1, min(length, threads))


def test_an_error_in_one_part_waits_for_the_others() -> None:
    done = []

    def work(start: int, stop: int) -> None:
        if start == 0:
            raise ValueError("first")
        done.append(start)

    with pytest.raises(ValueError, match="first"):
        native.in_parts(work, 4, 4)()
    assert sorted(done) == [1, 2, 3]


def test_sources_include_nothing() -> None:
    """A compiler may come without the headers of C and C++, whose library would take Zig a minute to build."""
    sources = list(libraries.SOURCES.glob("*.cpp"))
    assert sources
    for path in sources:
        source = native.source(path.stem)
        assert "#include" not in source, path
        assert "std::" not in source, path


def test_the_source_of_an_operation_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "rows.cpp").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(libraries, "SOURCES", tmp_path)
    assert isinstance(native.library(native.source("rows")), ctypes.CDLL)
