"""`compile(graph=True)` captures a program on a GPU and launches it; as far as the stand-in for CuPy can tell."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp

from ..devices.strict_cupy_graph import NULL, streams

X = np.cos(np.arange(12.0)).reshape(3, 4)


def there(*values: Any) -> Any:
    moved = fd.to_device(values, "gpu")
    return moved[0] if len(moved) == 1 else moved


def step(x: Any, w: Any) -> tuple[Any, ...]:
    y = fnp.tanh(x * w) + fnp.take(x, fnp.argmax(x, axis=1), axis=1)[:, :1]
    return y, fnp.sum(y * y, axis=0) / 3, fnp.exp(w), x


def captured(function: Any) -> Any:
    """The one captured instance of a compiled function."""
    (instance,) = function._recordings.kept()[-1].program.executable.instances
    return instance


def test_a_program_is_captured_once_and_launched_in_every_call(strict_cupy: Any) -> None:
    compiled, kept = fd.compile(step, graph=True), []
    for k in range(5):
        x, w = there(X + k, X[0] - k)
        for y, expected in zip(compiled(x, w), step(x, w), strict=True):
            np.testing.assert_allclose(y.get(), expected.get(), rtol=1e-14)
        kept.append((compiled(x, w), step(x, w)))
    instance = captured(compiled)
    assert (instance.captures, instance.why_not) == (1, "")
    assert instance.graph.launches == 9  # the first call records
    for results, expected in kept:  # later calls do not write into what was handed out
        for y, e in zip(results, expected, strict=True):
            np.testing.assert_allclose(y.get(), e.get(), rtol=1e-14)
    assert compiled(x, w)[3] is x  # an input comes back itself
    assert "not captured" not in compiled.explain()


def test_the_streams_wait_for_each_other(strict_cupy: Any) -> None:
    compiled = fd.compile(lambda x: x * 2 + 1, graph=True)
    x = there(X)
    compiled(x)
    NULL.waited.clear()
    compiled(x)
    own = captured(compiled).stream
    assert own.waited == [("event of", NULL)]
    assert NULL.waited == [("event of", own)]
    assert streams.entered == []


def test_gradients_are_captured(strict_cupy: Any) -> None:
    loss = lambda x: fnp.sum(fnp.sin(x) ** 2)
    compiled = fd.compile(fd.value_and_grad(loss), graph=True)
    for k in range(3):
        x = there(X * k)
        for y, expected in zip(compiled(x), fd.value_and_grad(loss)(x), strict=True):
            np.testing.assert_allclose(y.get(), expected.get(), rtol=1e-14)
    assert captured(compiled).captures == 1


def test_numbers_are_part_of_a_graph(strict_cupy: Any) -> None:
    compiled = fd.compile(lambda x, rate: x * rate - 1, graph=True)
    x = there(X)
    for rate in (0.5, 0.5, 0.25, 0.25, 2.0, 3.0, 4.0):
        np.testing.assert_array_equal(compiled(x, rate).get(), X * rate - 1)
    assert "numbers change from call to call" in compiled.explain()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: fnp.matmul(x, x.T) + 1, "calling cuBLAS API during stream capture is currently unsupported"),
        (lambda x: fd.cond(fnp.sum(x) > 0, lambda x: x + 1, lambda x: x - 1, x), "operation not permitted when stream is capturing"),
    ],
)
def test_what_cannot_be_captured_runs_as_without(function: Any, said: str, strict_cupy: Any) -> None:
    compiled = fd.compile(function, graph=True)
    for k in range(4):
        x = there(X - k)
        np.testing.assert_array_equal(compiled(x).get(), function(x).get())
    assert f"not captured as a CUDA graph: {said}" in compiled.explain().replace("cudaErrorStreamCaptureUnsupported: ", "")


def test_the_cpu_knows_no_graphs() -> None:
    compiled = fd.compile(lambda x: x * 2, graph=True)
    for _ in range(3):
        assert compiled(X).tolist() == (X * 2).tolist()
    assert "CUDA" not in compiled.explain()
