"""`nn.summary`: shapes, parameters and multiply-adds against formulas, without a computation on the input."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.errors import ShapeError

from .test_state import Center, Model

KEY = fd.random.key(0)


def network() -> nn.Sequential:
    linear = [nn.Linear.init(KEY, 128, 10), nn.Linear.init(KEY, 10, 10)]
    inner = nn.Sequential([linear[1], F.relu])
    return nn.Sequential([nn.Conv2d.init(KEY, 3, 8, 3, padding=1), F.relu, nn.Flatten(), linear[0], inner, inner])


def test_the_table() -> None:
    summary = nn.summary(network(), nn.Shape((32, 3, 4, 4)))
    assert f"\n{summary}\n" == """
layer                   output             parameters   bytes  multiply-adds
----------------------------------------------------------------------------
Sequential              float32[32,10]          1,624  6.5 KB        157,952
  layers/0: Conv2d      float32[32,8,4,4]         224   896 B        110,592
  layers/1: relu        float32[32,8,4,4]
  layers/2: Flatten     float32[32,128]
  layers/3: Linear      float32[32,10]          1,290  5.2 KB         40,960
  layers/4: Sequential  float32[32,10] x2         110   440 B          6,400
    layers/0: Linear    float32[32,10] x2         110   440 B          6,400
    layers/1: relu      float32[32,10] x2
----------------------------------------------------------------------------
1,624 parameters; 6.5 KB; 157,952 multiply-adds
"""
    text = summary._repr_html_()
    assert text.count("<tr>") == 9
    assert "110,592" in text
    assert str(nn.summary(network(), nn.Shape((32, 3, 4, 4)), depth=1)).count("layers/") == 5
    assert (summary.parameters, summary.nbytes, summary.multiply_adds) == (1624, 6496, 157952)
    assert [row.path for row in summary.rows][4:7] == ["layers/3", "layers/4", "layers/4/layers/0"]


def test_a_name_is_escaped_in_html() -> None:
    text = nn.summary({"<b>": nn.Linear.init(KEY, 2, 2)}, nn.Shape((2,)), call=lambda model, x: model["<b>"](x))._repr_html_()
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


def macs(model: Any, *xs: Any) -> int:
    return nn.summary(model, *xs).multiply_adds


def called(function: Any) -> Model:
    return Model(None, lambda _, x: function(x))


W = np.zeros((4, 5), np.float32)


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (nn.Linear.init(KEY, 4, 5), (4,), 20),
        (nn.Linear.init(KEY, 4, 5), (2, 3, 4), 120),
        (nn.Conv1d.init(KEY, 4, 6, 3, stride=2, groups=2), (2, 4, 9), 2 * 6 * 4 * 2 * 3),
        (nn.Conv2d.init(KEY, 2, 3, (3, 2), padding=1, dilation=2), (1, 2, 6, 6), 3 * 4 * 6 * 2 * 6),
        (nn.ConvTranspose2d.init(KEY, 2, 3, 3, stride=2), (5, 2, 4, 4), 5 * 2 * 16 * 3 * 9),
        (called(lambda x: fd.numpy.einsum("ij,jk,k->i", x, W, W[0])), (3, 4), 3 * 4 * 5 * 2),
        (called(lambda x: x @ W), (7, 3, 4), 7 * 3 * 20),
        (called(lambda x: fd.numpy.tensordot(x, W, 1)), (3, 4), 60),
        (called(fd.compile(lambda x: x @ W + 1)), (3, 4), 60),
        (called(fd.checkpoint(lambda x: x @ W)), (3, 4), 60),
        (called(lambda x: fd.vmap(lambda x: x @ W)(x)), (3, 4), 60),
        (called(lambda x: fd.scan(lambda c, x: (c, x @ W), 0.0, x)[1]), (3, 4), 60),
        (called(lambda x: x * 2), (3, 4), 0),
        (nn.LSTM.init(KEY, 4, 6), (2, 3, 4), 2 * 3 * (4 + 6) * 24),
        (nn.MultiHeadAttention.init(KEY, 8, 2), (3, 5, 8), 3 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8)),
        (nn.MultiHeadAttention.init(KEY, 8, 2), (300, 8), 4 * 300 * 8 * 8 + 2 * 300 * 300 * 8),
        (nn.WeightNorm.init(nn.Linear.init(KEY, 4, 5)), (3, 4), 60),
        (fd.models.LeNet.init(KEY), (1, 1, 28, 28), 416_520),  # as published, with 61,706 parameters
    ],
)  # fmt: skip
def test_multiply_adds(model: Any, shape: tuple[int, ...], expected: int) -> None:
    assert macs(model, nn.Shape(shape)) == expected
    assert macs(model, np.ones(shape, np.float32)) == expected


def test_parameters_are_counted_as_published() -> None:
    assert nn.summary(fd.models.LeNet.init(KEY), nn.Shape((1, 1, 28, 28))).parameters == 61_706


def test_nothing_is_computed_on_the_input() -> None:
    huge = nn.Shape((2**20, 2**20, 4))
    assert nn.summary(nn.Linear.init(KEY, 4, 5), huge).rows[0].output == "float32[1048576,1048576,5]"


def test_statistics_frozen_parts_and_what_is_not_called() -> None:
    model = {"a": nn.freeze(nn.Linear.init(KEY, 3, 3)), "b": [Center.of(), nn.Dropout(0.5), nn.Linear.init(KEY, 3, 2)]}
    summary = nn.summary(model, np.ones((4, 3)), call=lambda model, x: model["b"][1](model["b"][0](model["a"](x))))
    assert [row.output for row in summary.rows] == ["float64[4,3]"] * 4 + [""]
    assert [row.parameters for row in summary.rows] == [23, 12, 3, 0, 8]
    assert "not called" in str(summary)
    assert str(summary).endswith("11 parameters, 12 frozen, 3 statistics; 128 B; 36 multiply-adds")


def test_results_of_several_arrays_and_integers() -> None:
    model = called(lambda ids: {"a": ids + 1, "b": F.one_hot(ids, 5)})
    assert nn.summary(model, nn.Shape((3,), np.int64)).rows[0].output.startswith("int64[3], float")


def test_code_that_refuses_an_empty_batch_runs_on_ones() -> None:
    def function(x: Any) -> Any:
        return x @ W if x.sum() > 0 else x

    assert macs(called(function), nn.Shape((3, 4))) == 60
    assert macs(called(function), np.ones((3, 4), np.float32)) == 60


def test_an_input_that_does_not_fit_is_the_layers_own_error() -> None:
    with pytest.raises(ShapeError, match="layers/3"):
        nn.summary(network(), nn.Shape((32, 3, 5, 5)))
