"""Mistakes in calls of `fd.export`, and arguments that compiled functions, models and settings have in common."""

import keyword
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn
from fdezero.errors import ExportError, RangeError, ShapeError

from .running import run

X = np.arange(10, dtype=np.float32).reshape(2, 5)
MLP = nn.MLP.init(fd.random.key(0), (5, 300, 100, 3))
BOTH = pytest.mark.parametrize("export", [fd.export.onnx, fd.export.source])


@pytest.fixture(autouse=True)
def _has_onnx() -> None:
    pytest.importorskip("onnx")


@BOTH
def test_examples_are_the_arguments_of_the_function(export: Any) -> None:
    with pytest.raises(TypeError, match=r"missing a required argument: 'x'. Give one example for each argument"):
        export(MLP)
    with pytest.raises(TypeError, match=r"too many positional arguments. .* options by name, such as path="):
        export(MLP, X, "mlp.onnx")
    with pytest.raises(ExportError, match=r"a model, got the class MLP. Make one first: MLP.init\(key, "):
        export(nn.MLP, X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_axis": True}, ShapeError, "batch_axis is True, but it must be an integer"),
        ({"batch_axis": 0.0}, ShapeError, "batch_axis is 0.0, but it must be"),
        ({"batch_axis": (0.5,)}, ShapeError, r"batch_axis is \(0.5,\), but it must be"),
        ({"batch_axis": {"x": 0}}, ShapeError, "batch_axis is {'x': 0}, but it must be"),
        ({"opset": "18"}, RangeError, "opset is '18', but"),
        ({"opset": 18.0}, RangeError, "opset is 18.0, but"),
        ({"parameters": "weights"}, ExportError, "parameters names weights, but the arguments are self, x"),
    ],
)
def test_options_of_onnx_are_checked(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fd.export.onnx(MLP, X, **options)


def test_an_empty_batch_is_no_example() -> None:
    with pytest.raises(ShapeError, match=r"x has 0 \(float32\[0,5\]\), an empty batch. Give examples with at least one"):
        fd.export.onnx(MLP, X[:0], batch_axis=0)


def test_a_compiled_function_is_exported_as_what_it_compiles() -> None:
    names = [tensor.name for tensor in fd.export.onnx(fd.compile(MLP), X).graph.initializer]
    assert names == fd.tree.paths(MLP)
    assert "\ndef mlp(x):" in fd.export.source(fd.compile(MLP), X)


def test_static_arguments_are_settings() -> None:
    def powers(x: Any, count: int) -> Any:
        return sum(x**i for i in range(count))

    compiled = fd.compile(powers, static=("count",))
    assert [x.name for x in fd.export.onnx(compiled, X, 3).graph.input] == ["x"]
    exported = run(fd.export.source(compiled, X, 3), "powers")
    np.testing.assert_array_equal(exported(X, 3), powers(X, 3))
    with pytest.raises(ValueError, match="count is 4, but this program was exported for 3"):
        exported(X, 4)


# The file of `source`


@pytest.mark.parametrize("name", ["np", "class", "INPUTS", "math", "answer", "taken"])
def test_a_function_may_have_any_name(name: str) -> None:
    def f(np: Any, INPUTS: Any, LOCK: Any = 2.0) -> Any:
        """Says "what"."""
        return np @ INPUTS.T * LOCK

    f.__name__ = name
    text = fd.export.source(f, X, X, 3.0)
    clashes = keyword.iskeyword(name) or name not in ("answer", "taken")
    exported: Callable[..., Any] = run(text, f"{name}_" if clashes else name)
    np.testing.assert_array_equal(exported(np=X, INPUTS=X, LOCK=3.0), f(X, X, 3.0))
    assert exported.__doc__ == "Says 'what'."


def test_a_file_of_parameters_with_the_same_name_stays(tmp_path: Path) -> None:
    fd.save(tmp_path / "mlp.npz", MLP)
    before = (tmp_path / "mlp.npz").read_bytes()
    fd.export.source(MLP, X, path=tmp_path / "mlp.py")
    assert (tmp_path / "mlp.npz").read_bytes() == before


def test_results_keep_none_and_lists() -> None:
    exported = run(fd.export.source(lambda x: [None, x, {"y": x}], X), "program")(X)
    assert type(exported) is list
    assert exported[0] is None
    assert list(exported[2]) == ["y"]
