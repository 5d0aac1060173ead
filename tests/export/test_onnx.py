"""Models as ONNX: networks by onnxruntime, names, sizes of batches, loops and branches, files, and errors."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import models, nn
from fdezero.errors import ExportError, RangeError, ShapeError
from fdezero.export import protobuf

from .sessions import assert_alike, exported, onnx, run

KEY, RNG = fd.random.key(0), np.random.default_rng(0)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def names(model: Any) -> list[str]:
    return [tensor.name for tensor in model.graph.initializer]


MLP = nn.MLP.init(KEY, (5, 7, 3))
IMAGES = normal(2, 3, 8, 8)
CNN = nn.init(
    nn.Sequential(nn.Conv2d.lazy(4, 3, padding=1), nn.BatchNorm.lazy(), F.relu, nn.MaxPool2d(2), nn.Flatten(), nn.Linear.lazy(5)), KEY, IMAGES
)


# Networks


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_perceptron_of_any_batch(dtype: Any) -> None:
    model = fd.tree.map(lambda leaf: leaf.astype(dtype), MLP)
    made = exported(model, normal(4, 5, dtype=dtype), batch_axis=0, sizes=(1, 7))
    assert names(made) == fd.tree.paths(MLP) == ["layers/0/W", "layers/0/b", "layers/1/W", "layers/1/b"]
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [made.graph.input[0].name, made.graph.output[0].name] == ["x", "output"]
    assert made.opset_import[0].version == 18


def test_float16_keeps_its_dtype() -> None:
    model, x = fd.tree.map(lambda leaf: leaf.astype(np.float16), MLP), normal(4, 5, dtype=np.float16)
    (got,) = run(fd.export.onnx(model, x), x)
    assert got.dtype == np.float16
    assert_alike(got, model(x), 2e-3)


def test_a_convolutional_network() -> None:
    made = exported(CNN, IMAGES, batch_axis=0, sizes=(1, 5))
    assert {"Conv", "MaxPool"} <= {node.op_type for node in made.graph.node}


def test_resnet18() -> None:
    model = models.resnet18(KEY) if hasattr(models, "resnet18") else models.ResNet18.init(KEY, 10, width=8)
    exported(model, normal(1, 3, 32, 32))


def test_a_recurrent_network() -> None:
    made = exported(nn.LSTM.init(KEY, 3, 4), normal(2, 5, 3), batch_axis=0, sizes=(1, 3))
    assert "Scan" in {node.op_type for node in made.graph.node}
    assert [y.name for y in made.graph.output] == ["output/0", "output/1/0", "output/1/1"]


def test_a_transformer() -> None:
    model = models.Transformer.init(KEY, 11, size=16, heads=2, layers=2, length=12)
    exported(model, RNG.integers(0, 11, (2, 9)), batch_axis=0, sizes=(1, 3))


def test_a_step_of_training() -> None:
    def step(model: Any, x: Any, t: Any) -> Any:
        loss, grads = fd.value_and_grad(lambda m: F.softmax_cross_entropy(m(x), t))(model)
        return fd.tree.map(lambda p, g: p - 0.1 * g, model, grads), loss

    exported(step, MLP, normal(4, 5), np.array([0, 2, 1, 1]), batch_axis=0, sizes=(6,))


def test_a_step_of_training_with_images() -> None:
    def step(model: Any, x: Any, t: Any) -> Any:
        def loss_fn(model: Any) -> Any:
            y, model = nn.step(model, x, train=True)
            return F.softmax_cross_entropy(y, t), model

        return fd.value_and_grad(loss_fn, has_aux=True)(model)

    exported(step, CNN, IMAGES, np.array([3, 1]), batch_axis=0, sizes=(5,))


# What is a parameter, and what is an input


@pytest.mark.parametrize(
    ("function", "args", "wanted"),
    [
        (MLP, (), fd.tree.paths(MLP)),
        (MLP.__call__, (), fd.tree.paths(MLP)),
        (lambda m, x: m(x), (MLP,), fd.tree.paths(MLP)),
        (functools.partial(lambda m, x: m(x), MLP), (), fd.tree.paths(MLP)),
        (functools.partial(lambda x, *, m: m(x), m=MLP), (), fd.tree.paths(MLP)),
        (fd.compile(lambda m, x: m(x)), (MLP,), fd.tree.paths(MLP)),
    ],
)
def test_parameters_are_initialisers_by_path(function: Any, args: Any, wanted: list[str]) -> None:
    x = normal(2, 5)
    made = fd.export.onnx(function, *args, x)
    assert names(made) == wanted
    assert_alike(run(made, x)[0], MLP(x))


def test_numbers_that_are_bound_are_settings() -> None:
    def f(x: Any, *, rounds: int, factor: float) -> Any:
        for _ in range(rounds):
            x = x * factor
        return x

    bound, x = functools.partial(f, rounds=3, factor=2.0), normal(2, 5)
    made = fd.export.onnx(bound, x)
    assert [y.name for y in made.graph.input] == ["x"]
    assert_alike(run(made, x)[0], bound(x))


def test_arguments_may_be_named_as_parameters() -> None:
    def f(w: Any, batch: Any) -> Any:
        return {"y": batch["x"] @ w["W"], "z": [batch["x"], w["b"] + w["b"]]}

    w, batch = {"W": normal(3, 2), "b": normal(2)}, {"x": normal(4, 3)}
    made = fd.export.onnx(f, w, batch, parameters=("w",))
    assert names(made) == ["W", "b"]
    assert [x.name for x in made.graph.input] == ["batch/x"]
    assert [y.name for y in made.graph.output] == ["y", "z/0", "z/1"]
    assert [x.name for x in fd.export.onnx(f, w, batch).graph.input] == ["w/W", "w/b", "batch/x"]
    with pytest.raises(ExportError, match=r"parameters names v, but the arguments are w, batch"):
        fd.export.onnx(f, w, batch, parameters=("v",))


def test_two_models_have_their_arguments_in_front() -> None:
    made = fd.export.onnx(lambda first, second, x: first(x) + second(x), MLP, MLP, normal(2, 5))
    assert names(made)[0] == "first/layers/0/W"


# Batches of any size


def test_the_size_of_the_batch_may_be_anywhere() -> None:
    def f(x: Any, shift: Any) -> Any:
        n = x.shape[0]
        zeros, places = np.zeros((n, 2), np.float32), np.arange(n, dtype=np.float32)
        flat = x.reshape(n * 3, 2)
        unbiased = np.var(x, axis=0, ddof=1) if n > 1 else np.full((3, 2), np.nan, np.float32)
        return (unbiased, np.full((n, 1), 2 / (n + 1), np.float32), flat.T.reshape(2, n, 3) + shift, fd.numpy.mean(x), x.sum(axis=0) / n, zeros + x[:, 0], places * x[:, 0, 0], x * n)

    exported(f, normal(1, 3, 2), 2.0, batch_axis=(0, None))
    made = fd.export.onnx(f, normal(1, 3, 2), 2.0, batch_axis=(0, None))
    for n in (1, 4, 9):
        x = normal(n, 3, 2)
        for got, wanted in zip(run(made, x, np.float64(2.0)), f(x, 2.0), strict=True):
            assert_alike(got, wanted)


def test_a_program_that_depends_on_the_batch_otherwise_is_an_error() -> None:
    def by_square(x: Any) -> Any:
        return np.reshape(x[:, None] * x, (x.shape[0] ** 2,))

    def by_length(x: Any) -> Any:
        return x[0] if x.shape[0] < 4 else x[0] + 1

    for function in (by_square, by_length):
        with pytest.raises(ExportError, match=r"export.onnx: .*batch.*batches of 2, 4, 6"):
            fd.export.onnx(function, normal(2), batch_axis=0)
    with pytest.raises(ExportError, match=r"the entries of an array depend on the batch's size .*test_onnx.py, line \d+"):
        fd.export.onnx(lambda x: F.dropout(x, 0.5, key=KEY, train=True), normal(2, 3), batch_axis=0)
    with pytest.raises(ShapeError, match=r"the sizes of the batch differ: x has 2 .*y has 3 "):
        fd.export.onnx(lambda x, y: x.sum() + y, normal(2), normal(3), batch_axis=0)
    with pytest.raises(ShapeError, match=r"batch_axis is 1, but x is float32\[2\]"):
        fd.export.onnx(lambda x: x, normal(2), batch_axis=1)
    with pytest.raises(ShapeError, match="batch_axis has 1 entries for 2 inputs"):
        fd.export.onnx(lambda x, y: x + y, normal(2), normal(2), batch_axis=(0,))


# Loops and branches


def test_loops_and_branches() -> None:
    def f(x: Any, flag: Any) -> Any:
        total, rows = fd.scan(lambda c, row: (c + row * x[0], c), np.zeros(3, np.float32), x, reverse=True)
        counted, squares = fd.scan(lambda c, _: (c * 0.5, c), x[0], length=3)
        back, _ = fd.scan(lambda c, _: (c + 1, None), x[1], length=0)
        chosen = fd.cond(flag > 0, lambda y: y * 2, lambda y: y - total, x)
        grown = fd.while_loop(lambda c: np.sum(c) < 100, lambda c: c * 2 + abs(x[0]), abs(x[1]) + 1)
        return total, rows, counted, squares, back, chosen, grown

    x = normal(4, 3)
    made = fd.export.onnx(f, x, np.int64(1))
    for flag in (np.int64(1), np.int64(-1)):
        for got, wanted in zip(run(made, x, flag), f(x, flag), strict=True):
            assert_alike(got, wanted)
    assert {"Scan", "Loop", "If"} <= {node.op_type for node in made.graph.node}


def test_a_loop_over_the_batch() -> None:
    exported(lambda x: fd.scan(lambda c, row: (c + row, c * row), np.zeros(3, np.float32), x), normal(2, 3), batch_axis=0, sizes=(1, 5))


# Dtypes


def test_integers_and_truth_values_of_every_size() -> None:
    def f(x: Any) -> Any:
        return (x + x, x * 3, x // 2, x % 3, abs(x), x > 1, x.sum(), x.max(), np.where(x > 1, x, 0), x.astype(np.float32) / 2, (x > 0) & (x < 3))

    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4"):
        x = np.array([[0, 1, 2], [3, 100, 7]], kind)
        made = fd.export.onnx(f, x)
        for got, wanted in zip(run(made, x), f(x), strict=True):
            assert_alike(got, wanted)


# Files


def test_a_file_and_its_data(tmp_path: Path) -> None:
    wide = nn.Linear.init(KEY, 40, 20)
    x = normal(3, 40)
    fd.export.onnx(wide, x, path=tmp_path / "whole.onnx")
    fd.export.onnx(wide, x, path=tmp_path / "parted.onnx", external_data=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parted.onnx", "parted.onnx.data", "whole.onnx"]
    assert (tmp_path / "parted.onnx.data").stat().st_size == 4 * 40 * 20
    onnx.checker.check_model(str(tmp_path / "parted.onnx"))
    for name in ("whole", "parted"):
        assert_alike(run(str(tmp_path / f"{name}.onnx"), x)[0], wide(x))


def test_models_beyond_the_limit_have_their_data_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "LIMIT", 100)
    fd.export.onnx(nn.Linear.init(KEY, 40, 20), normal(3, 40), path=tmp_path / "large.onnx")
    assert (tmp_path / "large.onnx.data").exists()


# Mistakes


def test_mistakes_are_told() -> None:
    x = normal(2, 2)
    with pytest.raises(ExportError, match=r"inv at .*test_onnx.py, line \d+ has no form in ONNX\..*fd.export.source"):
        fd.export.onnx(lambda x: fd.numpy.linalg.inv(x), x)
    with pytest.raises(ExportError, match=r"dtype complex128, which ONNX has no operators for"):
        fd.export.onnx(lambda x: x * 1j, x)
    with pytest.raises(ExportError, match=r"random_bits at .* has no form"):
        fd.export.onnx(lambda key: fd.random.normal(key, (2,)), KEY)
    with pytest.raises(ExportError, match=r"expects a function or a model, got a dict|got dict"):
        fd.export.onnx({"W": x}, x)
    with pytest.raises(ExportError, match="the function returns nothing"):
        fd.export.onnx(lambda x: None, x)
    with pytest.raises(ExportError, match="export.onnx: the result 1 is "):
        fd.export.onnx(lambda x: (x, "text"), x)
    with pytest.raises(ShapeError, match="batch_axis is 'x', but it must be an integer"):
        fd.export.onnx(lambda x: x, x, batch_axis="x")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(RangeError, match="opset is 12, but models can have the opsets 18 to 22"):
        fd.export.onnx(lambda x: x, x, opset=12)
    with pytest.raises(ExportError, match="external_data needs a path"):
        fd.export.onnx(lambda x: x, x, external_data=True)
    with pytest.raises(ExportError, match="uses a value that is traced"):
        fd.grad(lambda y: fd.export.onnx(lambda x: x * y, x) and y)(1.0)


@pytest.mark.parametrize("opset", [18, 22])
def test_opsets(opset: int) -> None:
    exported(CNN, IMAGES, opset=opset)
