"""Groups of elementwise operations on the CPU: the place of intermediate values, and the state that blocks leave behind."""

import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.compiler.graph import evaluate, validate
from fdezero.compiler.planning import fuse
from fdezero.compiler.planning.sinking import sunk
from fdezero.compiler.running import blocks
from fdezero.testing import assert_trees_close

rng = np.random.default_rng(0)
x, a, b = rng.standard_normal((3, 24, 24))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of small arrays, in the smallest blocks."""
    monkeypatch.setattr(fuse, "LARGE", 64)
    monkeypatch.setattr(blocks, "CACHE", 0)


def temporaries(function: Callable[..., Any], *args: Any) -> list[int]:
    """The number of temporaries in each group of the compiled function; also checks that the bits are those of the eager run."""
    compiled, expected = fd.compile(function), fd.tree.leaves(function(*args))
    before = [arg.copy() for arg in args]
    for _ in range(3):
        assert [y.tobytes() for y in fd.tree.leaves(compiled(*args))] == [y.tobytes() for y in expected]
    assert all(np.array_equal(arg, copy) for arg, copy in zip(args, before, strict=True))
    return [len(re.findall(r"\bt\d+", arguments)) for arguments in re.findall(r"def fused\d+\((.*)\):", compiled.source)]


CHAINS: dict[str, Callable[..., Any]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "an operand read again where the output is written": lambda x: x * (1 - np.tanh(x * 2)),
    "an output over an operand of the arena": lambda x: 1 / (1 + np.exp(-(x @ a))),
    "two outputs": lambda x: (1 / (1 + np.exp(-x)), np.sin(x) * 2 - x),
    "one output that another step reads": lambda x: [y := np.exp(-x), 1 / (1 + y)],
    "a choice of what lies under the output": lambda x: np.maximum(np.exp(x @ a) - 1, 0) * 2,
    "rows": lambda x: np.exp(x + a[0]) * 2 - a[:, :1],
}


@pytest.mark.parametrize("f", CHAINS.values(), ids=CHAINS.keys())
def test_a_chain_lives_in_the_memory_of_its_outputs(f: Callable[..., Any]) -> None:
    assert sum(temporaries(f, x)) == 0


CROSSINGS: dict[str, Callable[..., Any]] = {
    "the operand under the output is read last": lambda x: [z := x @ a, np.exp(np.sin(x) * 2) + z][1],
    "read again by the step after": lambda x: [z := x @ a, (np.exp(z) + x) * z][1],
    "two values at once": lambda x: np.sin(x) * np.cos(x),
    "a condition, which is read twice": lambda x: [z := x @ a, np.where(np.exp(x) > z, np.sin(x), z)][1],
    "a choice by the value that the output would hold": lambda x: np.where(np.exp(x), x, np.sin(x * 2)),
    "another dtype": lambda x: (np.exp(x.astype(np.float32)) * 2).astype(np.float64) + x,
    "a value that is summed up at the end": lambda x: fnp.sum(np.exp(x) * 2),
}


@pytest.mark.parametrize("f", CROSSINGS.values(), ids=CROSSINGS.keys())
def test_a_value_that_would_be_in_the_way_takes_a_temporary(f: Callable[..., Any]) -> None:
    assert sum(temporaries(f, x)) >= 1


IMAGES: dict[str, Callable[..., Any]] = {
    "a bias and a slope": lambda x: np.maximum(x + a[:2, :1, None], 0),
    "operands read again": lambda x: [z := np.tanh(x * a[:2, :1, None]), z * np.exp(z) + a[:4, :5]][1],
    "an image that serves all": lambda x: np.exp(np.sin(x + a[:2, :20].reshape(2, 4, 5)) * 3),
    "in both orders": lambda x: np.sin(x) + np.cos(x.reshape(-1).reshape(x.shape)) * b[:2, :1, None],
    "a gradient": fd.grad(lambda x: fnp.sum(np.tanh(x * a[:2, :1, None] + 1) ** 2)),
}


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("f", IMAGES.values(), ids=IMAGES.keys())
def test_images_with_channels_last_in_memory_are_worked_on_a_few_at_a_time(f: Callable[..., Any], count: int) -> None:
    images = np.moveaxis(rng.standard_normal((count, 4, 5, 2)), -1, 1)
    temporaries(f, images)
    compiled = fd.compile(f)
    assert np.moveaxis(compiled(images), 1, -1).flags.c_contiguous == np.moveaxis(f(images), 1, -1).flags.c_contiguous
    assert "in blocks" in compiled.source or count == 1


def test_no_thread_writes_any_more_when_a_call_has_failed() -> None:
    """After an exception in the caller's blocks, such as an interrupt, no block runs during the next call."""
    may_run, ended = threading.Event(), []

    def block(x: Any) -> None:
        if x[0] == 0:
            may_run.set()
            raise KeyboardInterrupt
        assert may_run.wait(9)
        threading.Event().wait(0.05)
        ended.append(x[0])

    size = 1 << 10
    grouped = blocks.Blocks(block, (size,), [True], [], 8, 1, (0,))
    grouped.parts = [grouped.bounds[:1], grouped.bounds[-1:]]
    grouped.temporaries = [[], []]
    with pytest.raises(KeyboardInterrupt):
        grouped(np.arange(float(size)))
    assert len(ended) == 1


def test_numbers_that_are_moved_down_keep_their_order() -> None:
    def f(x: Any, s: Any) -> Any:
        t = s * 2.0
        u = t * 3.0
        return x * (t + u), x.T[::-1] + x.T

    x = np.arange(9.0).reshape(3, 3)
    graph = validate(sunk(fd.compile(f).trace(x, np.float32(0.5))))
    assert_trees_close(list(evaluate(graph, [x, np.float32(0.5)])), list(f(x, np.float32(0.5))), 1e-12)
