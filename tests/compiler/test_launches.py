"""Programs on a GPU launch few kernels: values are computed where they are needed, reductions take their operands along."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.compiler.planning import expressions
from fdezero.testing import assert_trees_close

X = np.cos(np.arange(60.0)).reshape(4, 5, 3)


def kernels(source: str) -> list[str]:
    """The calls of a program that launch kernels: "kernel" for ours, the name of the function for others."""
    body = source[source.index("    def ") :]
    calls = re.findall(r"= (?:cp\.)?(kernel|\w+)\d*\(|= \w+\.(\w+)\(|= \w+ [-+*/] (\w+)", body)
    return [found for call in calls if (found := next(filter(None, call))) not in ("labels", "reshape", "transpose")]


def check(function: Callable[..., Any], *args: Any, count: int | None = None, tolerance: float = 1e-12) -> str:
    """Compare three calls of the compiled function with eager code, and its launches with `count`; the source."""
    there = fd.to_device(args, "gpu")
    compiled, expected = fd.compile(function), fd.to_numpy(function(*there))
    for _ in range(3):
        found = fd.to_numpy(compiled(*there))
        assert [(x.dtype, x.shape) for x in fd.tree.leaves(found)] == [
            (x.dtype, x.shape) for x in fd.tree.leaves(expected)
        ]
        assert_trees_close(found, expected, tolerance)
    made = kernels(compiled.source)
    assert count is None or len(made) == count, compiled.source
    return compiled.source


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)], ids=str)
@pytest.mark.parametrize("keepdims", [True, False])
def test_a_reduction_takes_its_operand_along(dtype: str, axis: Any, keepdims: bool, gpu: Any) -> None:
    def function(x: Any) -> tuple[Any, ...]:
        options = {"axis": axis, "keepdims": keepdims}
        return fnp.sum(x * x + 1, **options), fnp.max(2 - x, **options), fnp.min(abs(x), **options)

    source = check(
        function, X.astype(dtype), count=3, tolerance={"float64": 1e-13, "float32": 1e-6, "float16": 1e-2}[dtype]
    )
    assert source.count("ReductionKernel(") == 3


def test_extremes_keep_nan_and_infinities(gpu: Any) -> None:
    x = np.array([[1.0, np.nan, 3.0], [-np.inf, -np.inf, -np.inf], [np.inf, 0.0, -np.inf]])
    with np.errstate(invalid="ignore"):
        check(lambda x: (fnp.max(x + 0.0, axis=1), fnp.min(x * 1.0, axis=1), fnp.sum(x * 2, axis=1)), x, count=3)


def test_operations_after_a_sum_join_its_kernel(gpu: Any) -> None:
    check(lambda x: fnp.sum(x * x) / 60, X, count=1)
    check(lambda x: fnp.sqrt(fnp.sum(x, axis=0)) + 1, abs(X), count=1)
    check(lambda x: (s := fnp.sum(x * x, axis=0), s + 1), X, count=2)  # whose sum is also a result
    check(lambda x, y: fnp.sum(x * x, axis=0) + y, X, X[0], count=2)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_operations_after_a_sum_may_change_its_dtype(dtype: str, gpu: Any) -> None:
    x = (X - 5).astype(dtype)  # whose sum is negative, and no truth value or integer
    check(lambda x: fnp.sum(x * 1, axis=0) > 0, x, count=1)
    check(lambda x: fnp.sum(x, axis=0).astype("int32"), x, count=1)
    check(lambda x: fnp.sum(x, axis=0).astype("float16"), x, count=1, tolerance=1e-3)
    check(lambda x: fnp.max(x + 1, axis=0).astype("float64") * 2, x, count=1)


def test_a_value_that_two_sums_need_is_computed_in_both(gpu: Any) -> None:
    check(lambda x: (fnp.sum(fnp.exp(x), axis=0), fnp.max(fnp.exp(x), axis=1)), X, count=2)


def test_a_value_of_many_operations_is_computed_once(gpu: Any) -> None:
    def function(x: Any) -> tuple[Any, ...]:
        y = x
        for k in range(20):
            y = fnp.sin(y) * k
        return fnp.sum(y), fnp.max(y)

    source = check(function, X, count=3)
    assert "ReductionKernel" not in source


def test_a_value_that_is_needed_anyway_is_computed_once(gpu: Any) -> None:
    check(lambda x: (y := fnp.tanh(x) * 2, fnp.sum(y, axis=1)), X, count=2)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - fnp.log(fnp.sum(fnp.exp(x), axis=-1))[..., None],  # (4, 5) and (4, 5, 1) are one shape
        lambda x: fnp.reshape(fnp.sin(x[:, 0]) * 2, (4, 1, 3)) + x,
        lambda x: fnp.reshape(fnp.reshape(fnp.sin(x[0]) * 2 + x[1, :, :1], (1, 5, 3)) * x, (4, 5, 1, 3)) + 1,
        lambda x: fnp.squeeze(fnp.expand_dims(x * 2, (0, 2)) + 1, (0, 2)) * x,
    ],
)
def test_axes_of_length_one_do_not_part_kernels(function: Callable[[Any], Any], gpu: Any) -> None:
    source = check(function, X)
    assert len(kernels(source)) <= 2, source
    check(fd.grad(lambda x: fnp.sum(function(x) ** 2)), X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, b: fnp.tanh((x * 2 + b)[..., :2]) * fnp.exp((x * 2 + b)[..., 1:]),
        lambda x, b: (x + b)[1:, ::2] * 2 + (x - b)[:-1, ::2],
        lambda x, b: fnp.sin(x[:, :1] + b)[:, 0] + (x + b)[:, 2],  # an axis of length 1, and an integer
        lambda x, b: fnp.sin(fnp.sin(fnp.sin(x + b)[1:])[..., :2])[:, 1:],
        lambda x, b: ((y := fnp.cos(x * b)), y[1:] * 3, fnp.sum(y[..., :1])),  # whose whole is a result
    ],
)
def test_slices_of_a_value_are_computed_from_slices(function: Callable[..., Any], gpu: Any) -> None:
    b = np.linspace(0.5, 1.5, 3)
    check(function, X, b)
    check(fd.grad(lambda x, b: sum(fnp.sum(leaf * leaf) for leaf in fd.tree.leaves(function(x, b))), (0, 1)), X, b)


def test_a_cell_of_a_recurrent_network_is_one_kernel_beside_its_products(gpu: Any) -> None:
    x, h, c = X[:, 0], X[:, 1], X[:, 2]
    lstm = [np.cos(np.arange(36.0) + k).reshape(3, 12) for k in range(2)]
    check(lambda x, h, c, Wx, Wh, b: F.lstm_cell(x, (h, c), Wx, Wh, b), x, h, c, *lstm, lstm[0][0], count=3)
    check(lambda x, h, Wx, Wh, b: F.gru_cell(x, h, Wx, Wh, b), x, h, *[w[:, :9] for w in lstm], lstm[0][0, :9], count=3)


def test_smaller_shapes_are_computed_inside(gpu: Any) -> None:
    check(lambda x, m, b: fnp.exp(x - fnp.where(fnp.isfinite(m), m, 0)) * (b + 1), X, X[:, :1, :1], X[0, 0], count=1)


def test_results_of_several_shapes(gpu: Any) -> None:
    check(lambda x, m: (m * 2 + 1, x * (m * 2 + 1), fnp.sum(x * (m * 2 + 1), axis=0)), X, X[0], count=2)


def test_many_operands_are_parted(gpu: Any) -> None:
    arrays = [X + k for k in range(60)]
    rows = [X[0] - k for k in range(50)]

    def function(*xs: Any) -> tuple[Any, ...]:
        total = xs[0] * 1
        for x in xs[1:]:
            total = fnp.sin(total) + x
        return total, fnp.sum(total * xs[1], axis=0), total + 1

    for args in (arrays, [*arrays[:5], *rows], [*rows, arrays[0]]):
        source = check(function, *args)
        made = [line for line in source.splitlines() if "Kernel(" in line]
        assert all(line.count("float64") <= expressions.MOST_OPERANDS + 1 for line in made)


@pytest.mark.parametrize(
    "labels", [np.array([[0, 2], [1, 0]]), np.array([[2, 1], [0, 0]], np.uint8)], ids=["int64", "uint8"]
)
def test_a_loss_of_labels_is_the_one_of_the_cpu(labels: np.ndarray, gpu: Any) -> None:
    logits = np.cos(np.arange(12.0)).reshape(2, 2, 3) * 50
    for function in (F.softmax_cross_entropy, fd.grad(F.softmax_cross_entropy), fd.hessian(F.softmax_cross_entropy)):
        expected = function(logits, labels)
        assert_trees_close(fd.to_numpy(function(*fd.to_device((logits, labels), "gpu"))), expected, 1e-13)
        check(function, logits, labels)
    many = np.cos(np.arange(4.0 * 2000)).reshape(2, 2, 2000)  # so many classes are gathered
    assert_trees_close(
        fd.to_numpy(fd.grad(F.softmax_cross_entropy)(*fd.to_device((many, labels), "gpu"))),
        fd.grad(F.softmax_cross_entropy)(many, labels),
        1e-13,
    )


def test_loops_and_branches_have_few_launches_within(gpu: Any) -> None:
    def rolled(x: Any) -> Any:
        carry, rows = fd.scan(lambda h, row: (fnp.tanh(h * row + fnp.sum(h * 2)), fnp.max(h + row)), x[0] * 1.0, x)
        return fnp.sum(carry) + fnp.sum(rows * rows)

    check(rolled, X[0])
    check(fd.grad(rolled), X[0])
    check(lambda x: fd.cond(fnp.sum(x) > 0, lambda x: fnp.sum(x * x), lambda x: fnp.sum(x + 1), x), X)


def test_a_kernel_keeps_the_order_of_axes_of_its_operands(gpu: Any) -> None:
    x = fd.to_device(np.ascontiguousarray(X.transpose(0, 2, 1)).transpose(0, 2, 1), "gpu")
    assert not x.flags.c_contiguous
    compiled = fd.compile(lambda x, b: (fnp.tanh(x * 2 + b), x.transpose((0, 2, 1)) * 2 + 1))
    b = fd.to_device(np.arange(3.0), "gpu")
    compiled(x, b)  # by CuPy's functions, which make arrays in C order
    for _ in range(2):
        y, turned = compiled(x, b)
        assert y.strides == x.strides
        assert turned.flags.c_contiguous


@pytest.mark.parametrize("first", [(0, False), (1, True), ((0, 2), False)], ids=str)
@pytest.mark.parametrize("second", [(-1, False), (0, True), (None, False)], ids=str)
def test_a_sum_of_a_sum_is_one_launch(first: Any, second: Any, gpu: Any) -> None:
    def function(x: Any) -> Any:
        y = fnp.sum(x, axis=first[0], keepdims=first[1])
        return fnp.sum(y, axis=second[0], keepdims=second[1])

    source = check(function, X)
    assert source.count("sum(") == 1, source
    check(lambda x: (y := fnp.sum(x, axis=0), fnp.sum(y)), X, count=2)  # the first is also a result


def test_the_gradient_of_a_bias_is_one_sum(gpu: Any) -> None:
    kernel, bias = np.ones((2, 5, 1, 1)), np.arange(2.0)
    images = X.reshape(2, 2, 5, 3).transpose(0, 2, 1, 3)
    source = check(fd.grad(lambda b, x, w: fnp.sum(fnp.tanh(F.conv2d(x, w, b))), 0), bias, images, kernel)
    assert source.count("sum(") + source.count("ReductionKernel(") == 1, source
