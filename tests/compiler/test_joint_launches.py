"""Kernels that do not need each other are one launch on a GPU, each over its own shape and in its own order of axes."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.compiler.planning import joint, regions
from fdezero.testing import assert_trees_close

from .test_launches import check

RNG = np.random.default_rng(0)
TREE = {
    "W": RNG.standard_normal((3, 4)),
    "b": RNG.standard_normal(4),
    "scale": np.array(0.5),
    "kernel": RNG.standard_normal((2, 3, 3, 2)),
}


def moved(tree: Any, by: Any) -> Any:
    return fd.tree.map(lambda x: fnp.tanh(x) * by + x, tree)


def test_values_of_several_shapes_are_one_launch(gpu: Any) -> None:
    source = check(lambda tree: moved(tree, 0.1), TREE, count=1)
    assert "joint0 = Joint(" in source


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_values_keep_their_dtypes(dtype: str, gpu: Any) -> None:
    def function(x: Any, y: Any) -> Any:
        return x + x, fnp.sin(y) * 2, x & True if dtype in ("bool", "int64") else x * 0.5, y > 0

    check(function, (3 * TREE["W"]).astype(dtype), TREE["kernel"].astype("float32"), count=1, tolerance=1e-3)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (2, 1, 4), (1, 3, 1), (2, 3, 1), (2, 1, 1), (2, 3, 4)], ids=str)
def test_operands_broadcast(shape: tuple[int, ...], gpu: Any) -> None:
    x, y = RNG.standard_normal((2, 3, 4)), RNG.standard_normal(shape)
    source = check(lambda x, y, b: (fnp.sin(y) * x + y, b * 2 + 1, x[1:] * y * 2), x, y, TREE["b"], count=1)
    assert "Joint(" in source


def test_numbers_and_arrays_without_axes_serve_all_parts(gpu: Any) -> None:
    rates = np.array(0.25), np.array(3)
    source = check(lambda tree, rate, n, k: moved(tree, rate * n + k), TREE, *rates, 2, count=1)
    assert "raw float64 a" in source
    assert "int64 s" in source  # Python's number


def test_kernels_that_read_results_are_launched_later(gpu: Any) -> None:
    def function(x: Any, y: Any) -> Any:
        first, second = fnp.sin(x) * 2, fnp.cos(y) * 2
        return first @ first.T, second + 1, fnp.exp(y).sum(axis=0) @ fnp.exp(x[0, :2]), fnp.exp(x) + 1

    check(function, TREE["W"], TREE["kernel"])


@pytest.mark.parametrize("layouts", ["alike", "one turned", "all turned"])
def test_each_part_has_its_own_order_of_axes(layouts: str, gpu: Any) -> None:
    turned = np.ascontiguousarray(TREE["kernel"].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    x = turned if layouts == "all turned" else TREE["kernel"]
    y = TREE["kernel"] if layouts == "alike" else turned
    args = fd.to_device((x, y, TREE["W"]), "gpu")
    compiled = fd.compile(lambda x, y, W: (x + y * 2, W * W))
    for _ in range(3):
        found = compiled(*args)
        assert_trees_close(fd.to_numpy(found), (x + y * 2, TREE["W"] ** 2), 1e-15)
    assert "joint0(" in compiled.source
    assert found[0].flags.c_contiguous != (layouts == "all turned")


def test_a_result_is_written_over_an_operand_that_nobody_else_reads(gpu: Any) -> None:
    def function(x: Any, b: Any) -> Any:
        return fnp.sin(x @ x) * 2, fnp.cos(b @ x) * 3, fnp.tanh(b[:2]) * 2  # b @ x is a view of a product of matrices

    source = check(function, TREE["W"][:, :3], TREE["b"][:3])
    made = next(line for line in source.splitlines() if "Joint(" in line)
    assert "[((3, 3), np.float64, 0, (0,), None), ((3,), np.float64, None, (1,), None), ((2,), np.float64, None, (2,), None)]" in made, source
    both = check(lambda x, b: (fnp.sin(x @ x) * 2, (t := (b @ x).sum(), fnp.cos(t) * 3), fnp.tanh(b) * t), TREE["W"][:, :3], TREE["b"][:3])
    assert "((), np.float64, None" in both, both  # as others read that number


def test_more_arguments_than_a_launch_takes_are_several_launches(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = [RNG.standard_normal(n) for n in range(1, 30)]
    check(lambda tree: moved(tree, 0.1), tree, count=1)
    monkeypatch.setattr(joint, "MOST_BYTES", 10 * 2 * regions.LINE)
    check(lambda tree: moved(tree, 0.1), tree, count=3)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_a_step_of_an_optimiser_is_one_launch_for_all_parameters(name: str, gpu: Any) -> None:
    opt = getattr(optim, name)(0.1)
    params, grads = fd.to_device((TREE, fd.tree.map(np.sin, TREE)), "gpu")
    state = opt.init(params)
    compiled, expected = fd.compile(opt.step), fd.to_numpy(opt.step(params, grads, state))
    for _ in range(3):
        assert_trees_close(fd.to_numpy(compiled(params, grads, state)), expected, 1e-12)
    assert compiled.source.count("Joint(") == 1, compiled.source
    assert compiled.source.count(" = kernel") - compiled.source.count(" = kernels") <= 1, compiled.source


# Values side by side in one array


def halves(x: Any) -> Any:
    """The gradient of this puts pieces side by side."""
    a, b = x[..., :2], x[..., 2:]
    return fnp.sum(fnp.sin(a) * fnp.tanh(b[..., :1])) + fnp.sum(b * b * 3)


def test_pieces_are_written_where_they_are_to_lie(gpu: Any) -> None:
    x = RNG.standard_normal((3, 4))
    source = check(fd.grad(halves), x)
    assert "np.s_[" in source, source
    assert "unslice_all" not in source, source


@pytest.mark.parametrize("use", ["product", "elementwise", "both", "sum", "slices", "output", "join of joins"])
def test_a_join_serves_whatever_reads_it(use: str, gpu: Any) -> None:
    x, w = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 2))

    def function(x: Any, w: Any) -> Any:
        g = fd.grad(halves)(x)
        if use == "join of joins":
            return fd.grad(lambda z: fnp.sum(halves(fnp.exp(z[:, :4])) * z[0, 0]) + fnp.sum(fnp.cos(z[:, 4:])))(fnp.concatenate([x, g], axis=1))
        uses = {
            "product": lambda: g @ w, "elementwise": lambda: fnp.exp(g) * x + fnp.exp(g)[0], "both": lambda: ((g * 2) @ w, fnp.sin(g) + x),
            "sum": lambda: fnp.sum(g * x, axis=0), "slices": lambda: (g[:, :2] * 2, g[:, 1:3] + 1, g[:, 2:] @ w[:2]), "output": lambda: (g, g + 1),
        }  # fmt: skip
        return uses[use]()

    check(function, x, w)


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64"])
def test_joins_keep_their_dtype(dtype: str, gpu: Any) -> None:
    x = (RNG.standard_normal((3, 4)) + (1j if dtype == "complex64" else 0)).astype(dtype)
    both = lambda x: fd.vjp(lambda x: (fnp.exp(x[:, :1]), x[:, 1:] * x[:, 1:] * 2), x)[1]((x[:, :1], x[:, 1:]))
    check(both, x, tolerance={"float16": 2e-2}.get(dtype, 1e-5))


def test_a_join_makes_0_of_minus_0_as_a_sum_does(gpu: Any) -> None:
    x = fd.to_device(np.array([-0.0, -0.0, 1.0]), "gpu")
    compiled = fd.compile(lambda x: fd.vjp(lambda x: (x[:1] * 1.0, x[1:] * 1.0), x)[1]((x[:1], x[1:])))
    for _ in range(3):
        assert not np.signbit(fd.to_numpy(compiled(x))).any()


def test_rounds_of_a_recurrent_network_are_a_launch_beside_each_product(gpu: Any) -> None:
    x = RNG.standard_normal((4, 5, 3))
    for layer in (nn.LSTM, nn.GRU):
        model = layer.init(fd.random.key(0), 3, 2, dtype=np.float64)
        check(fd.value_and_grad(lambda model, x: fnp.sum(model(x)[0] ** 2), (0, 1)), model, x)


def test_slices_of_a_cheap_value_do_not_wait_for_the_whole(gpu: Any) -> None:
    source = check(lambda x: ((y := fnp.sin(x) * 2), fnp.cos(y[:, 1:]) + 1), TREE["W"], count=1)
    assert "joint0" in source
