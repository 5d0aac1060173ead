"""`nn.capture` against models cut in two by hand: outputs, derivatives by them, values put in their place, and errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.errors import StructureError, TraceError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

from .test_state import Center, Model

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((5, 3))


def network() -> nn.Sequential:
    keys = fd.random.split(KEY, 3)
    linear = [nn.Linear.init(k, 3, 3, dtype=np.float64) for k in keys]
    return nn.Sequential([linear[0], F.tanh, nn.Sequential([linear[1], F.softplus]), linear[2]])


def test_outputs_are_those_of_the_first_layers() -> None:
    model = network()
    y, outputs = nn.capture(model, X, paths=("layers/1", "layers/2/layers/0", "layers/2", ""))
    first = np.tanh(model.layers[0](X))
    inner = model.layers[2].layers[0](first)
    expected = {"layers/1": first, "layers/2/layers/0": inner, "layers/2": np.logaddexp(inner, 0), "": model(X)}
    assert_trees_close(outputs, expected, 1e-14)
    assert_trees_equal(y, model(X), bits=True)


def test_a_derivative_by_an_output_is_that_of_the_last_layers() -> None:
    model = network()
    _, outputs = nn.capture(model, X, paths="layers/1")

    def last(a: Any) -> Any:
        return model.layers[3](model.layers[2](a))

    def replaced(a: Any) -> Any:
        return nn.capture(model, X, replace={"layers/1": a})[0]

    a = outputs["layers/1"]
    assert_trees_close(replaced(a + 1), last(a + 1), 1e-14)
    check_grads(replaced, (a,), order=2)
    for transform in (lambda f: f, fd.compile):
        ours, theirs = (transform(fd.grad(lambda a, f=f: f(a)[:, 1].sum()))(a) for f in (replaced, last))
        assert_trees_close(ours, theirs, 1e-14)


def test_derivatives_of_outputs() -> None:
    """As style transfer needs them: the gradient by the input of what layers give."""
    model = network()

    def captured(x: Any) -> Any:
        _, outputs = nn.capture(model, x, paths="layers/*")
        return outputs["layers/1"].sum() + (outputs["layers/2"] ** 2).sum()

    def cut(x: Any) -> Any:
        first = F.tanh(model.layers[0](x))
        return first.sum() + (model.layers[2](first) ** 2).sum()

    assert_trees_close(fd.grad(captured)(X), fd.grad(cut)(X), 1e-13)
    assert_trees_close(fd.compile(fd.grad(captured))(X), fd.grad(cut)(X), 1e-13)
    assert_trees_close(fd.vmap(captured)(X[None])[0], cut(X), 1e-13)


def test_a_function_changes_an_output() -> None:
    model = network()
    shift = np.arange(15.0).reshape(5, 3)
    y, outputs = nn.capture(model, X, paths="layers/1", replace={"layers/1": lambda a: a + shift})
    first = np.tanh(model.layers[0](X)) + shift
    assert_trees_close((y, outputs), (model.layers[3](model.layers[2](first)), {"layers/1": first}), 1e-13)
    slope = fd.grad(lambda t: nn.capture(model, X, replace={"layers/1": lambda a: a + t})[0].sum())(np.zeros((5, 3)))
    rest = np.tanh(model.layers[0](X))
    assert_trees_close(slope, fd.grad(lambda a: model.layers[3](model.layers[2](a)).sum())(rest), 1e-14)


def test_a_layer_that_is_called_again_has_numbered_names() -> None:
    linear = nn.Linear.init(KEY, 3, 3, dtype=np.float64)
    model = Model([linear], lambda layers, x: layers[0](layers[0](layers[0](x))))
    y, outputs = nn.capture(model, X, paths="layer/0", replace={"layer/0#2": X})
    assert list(outputs) == ["layer/0", "layer/0#2", "layer/0#3"]
    assert_trees_close((y, outputs["layer/0"], outputs["layer/0#2"]), (linear(X), linear(X), X), 1e-14)


def test_a_layer_at_two_paths_is_found_by_both() -> None:
    linear = nn.Linear.init(KEY, 3, 3, dtype=np.float64)
    _, outputs = nn.capture(nn.Sequential([linear, linear]), X, paths="layers/1")
    assert_trees_close(outputs, {"layers/1": linear(X), "layers/1#2": linear(linear(X))}, 1e-14)


def test_patterns() -> None:
    model = {"a": network(), "b": {"c": network()}}

    def run(model: Any, x: Any) -> Any:
        return model["b"]["c"](model["a"](x))

    def found(*paths: str) -> list[str]:
        return sorted(nn.capture(model, X, paths=paths, call=run)[1])

    assert found("*") == ["a"]
    assert found("?") == ["a"]
    assert found("a/layers/*") == [f"a/layers/{i}" for i in range(4)]
    assert found("*/*") == ["b/c"]
    assert found("**/layers/0") == ["a/layers/0", "a/layers/2/layers/0", "b/c/layers/0", "b/c/layers/2/layers/0"]
    assert found("b/**/layers/2/*/1") == ["b/c/layers/2/layers/1"]
    assert len(found("b/**")) == 7


def test_capture_within_a_step_and_of_a_step() -> None:
    model = nn.Sequential([Center.of(), F.tanh, nn.Sequential([Center.of(), F.tanh])])

    def run(model: Any, x: Any, *, train: bool) -> Any:
        return nn.capture(model, x, paths=("layers/0", "layers/2", "layers/2/layers/0"), train=train)

    (y, outputs), successor = nn.step(model, X, call=run)
    expected, by = nn.step(model, X)
    assert_trees_equal((y, successor), (expected, by), bits=True)
    assert_trees_equal(outputs["layers/2"], y)
    assert_trees_equal(outputs["layers/0"], nn.step(model.layers[0], X)[0])


def test_outputs_behind_checkpoint() -> None:
    model = nn.Sequential([nn.Checkpoint(network()), F.tanh])
    y, outputs = nn.capture(model, X, paths=("layers/0", "layers/0/layer/layers/1"))
    assert_trees_equal((y, outputs["layers/0"]), (model(X), network()(X)))
    assert_trees_close(outputs["layers/0/layer/layers/1"], np.tanh(network().layers[0](X)), 1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paths": "layer/2"}, r"nothing matches 'layer/2'\. Paths like it: layers/2,"),
        ({"paths": ["layers/0/W"]}, "nothing matches 'layers/0/W'. Paths like it: layers/0"),
        ({"paths": "block/*"}, r"nothing matches 'block/\*'"),
        ({"replace": {"layers/9": 1.0}}, "nn.capture: replace: nothing matches 'layers/9'"),
        ({"replace": {"layers/0#2": X}}, r"did not call the layers at 'layers/0#2'"),
        ({"paths": "layers/3", "call": lambda model, x: model.layers[0](x)}, "did not call the layers at 'layers/3'"),
    ],
)
def test_paths_without_a_call_are_errors(options: Any, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        nn.capture(network(), X, **options)


@pytest.mark.parametrize(
    "function",
    [
        lambda layer, x: fd.vmap(lambda x: layer(x))(x[None])[0],
        lambda layer, x: fd.vmap(lambda layer, x: layer(x), (None, 0))(layer, x[None])[0],
        lambda layer, x: fd.checkpoint(lambda x: layer(x))(x),
        lambda layer, x: fd.checkpoint(lambda layer, x: layer(x))(layer, x),
        lambda layer, x: fd.compile(lambda layer, x: layer(x))(layer, x),
    ],
)
def test_an_output_within_a_transform_is_an_error(function: Any) -> None:
    with pytest.raises(TraceError, match=r"Capture what the model does with the result"):
        nn.capture(Model(network(), function), X, paths="layer/layers/0")
    y, _ = nn.capture(Model(network(), function), X, paths="")
    assert_trees_close(y, network()(X), 1e-14)


@given(st.lists(st.integers(0, 3), unique=True, max_size=4), st.integers(0, 3))
def test_any_layers_may_be_captured_together(chosen: list[int], cut: int) -> None:
    model = network()
    paths = [f"layers/{i}" for i in chosen]
    values = {}
    x = X
    for i, layer in enumerate(model.layers):
        x = values[f"layers/{i}"] = layer(x)
    y, outputs = nn.capture(model, X, paths=paths)
    assert_trees_equal((y, outputs), (x, {path: values[path] for path in paths}), bits=True)
    y, _ = nn.capture(model, X, paths=paths, replace={f"layers/{cut}": values[f"layers/{cut}"]})
    assert_trees_equal(y, x, bits=True)


def test_a_later_call_is_asked_for_by_its_number() -> None:
    layer = nn.Linear.init(fd.random.key(0), 3, 3)
    model, x = nn.Sequential(layer, layer), np.ones((2, 3), np.float32)
    assert list(nn.capture(model, x, paths="layers/0")[1]) == ["layers/0", "layers/0#2"]
    y, outputs = nn.capture(model, x, paths=("layers/0#2",))
    assert list(outputs) == ["layers/0#2"]
    assert_trees_equal(outputs["layers/0#2"], y)
    with pytest.raises(StructureError, match="the model did not call the layers at 'layers/0#3'"):
        nn.capture(model, x, paths=("layers/0#3",))
