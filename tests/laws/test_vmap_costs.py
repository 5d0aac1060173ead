"""`vmap` of a function costs what its batched form costs: as many operations, and per example as many bytes and multiply-adds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.ops import products

from .cases import Case
from .costs import Cost, cost, program, repeated_products, steps_of
from .folding import folded
from .functions import CASES
from .layer_row import Row, called
from .layers import LAYERS

SIZE = 8  # examples of a batch
MOST = 1.2  # times the cost of one example
MAPPED = [case for case in CASES if "vmap" in case.claims]


def assert_costs_a_batch(mapped: Cost, one: Cost, sums: int = 0) -> None:
    """`sums` gradients of shared arguments may be added up over the batch."""
    assert mapped.operations <= MOST * one.operations + sums, f"{mapped} against {one}"
    assert mapped.nbytes <= MOST * SIZE * one.nbytes, f"{mapped} against {one}"
    assert mapped.multiply_adds <= SIZE * one.multiply_adds, f"{mapped} against {one}"


def batch(x: np.ndarray) -> np.ndarray:
    return np.stack([x] * SIZE)


@folded("case", MAPPED, lambda case: f"{case.module}-{case.name}")
def test_functions(case: Case) -> None:
    function, inputs = case.of_inputs(), case.inputs
    one = cost(program(function, *inputs))
    for count in {1, len(inputs)}:
        axes = (0,) * count + (None,) * (len(inputs) - count)
        args = [batch(x) if axis == 0 else x for x, axis in zip(inputs, axes, strict=True)]
        mapped = program(fd.vmap(function, axes), *args)
        assert_costs_a_batch(cost(mapped), one)
        if count == 1 < len(inputs):
            assert repeated_products(mapped) == []


def squares(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: sum(np.sum(np.square(y)) for y in fd.tree.leaves(call(*args)) if y.dtype.kind == "f")


@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_layers_and_their_gradients(row: Row) -> None:
    layer, xs, call = row.layer(), row.xs(), called(False)
    axes = (None, *[0 if hasattr(x, "dtype") else None for x in xs])
    args = [batch(x) if axis == 0 else x for x, axis in zip(xs, axes[1:], strict=True)]
    mapped = program(fd.vmap(call, axes), layer, *args)
    assert_costs_a_batch(cost(mapped), cost(program(call, layer, *xs)))
    assert repeated_products(mapped) == []
    if parameters := [x for x in fd.tree.leaves(fd.tree.trainable(layer)) if hasattr(x, "dtype") and x.dtype.kind == "f"]:
        loss = squares(call)
        gradient = program(fd.grad(lambda layer, *xs: np.sum(fd.vmap(loss, axes)(layer, *xs))), layer, *args)
        assert_costs_a_batch(cost(gradient), cost(program(fd.grad(loss), layer, *xs)), len(parameters))
        assert repeated_products(gradient) == []


def residual(model: nn.MLP, t: Any, x: Any) -> Any:
    u = lambda t, x: model(np.stack([t, x]))[0]
    u_x = fd.grad(u, 1)
    return fd.grad(u)(t, x) + u(t, x) * u_x(t, x) - 0.01 * fd.grad(u_x, 1)(t, x)


def network_gradient() -> Any:
    """The gradient of a physics-informed network: gradients of gradients, mapped over points."""
    model = nn.MLP.init(fd.random.key(0), (2, 4, 4, 1), activation=F.tanh)
    points = np.linspace(0, 1, SIZE), np.linspace(-1, 1, SIZE)
    return program(fd.grad(lambda model: np.mean(fd.vmap(residual, (None, 0, 0))(model, *points) ** 2)), model)


def test_a_physics_informed_network_has_no_product_for_each_point() -> None:
    graph = network_gradient()
    shapes = [step.output.shape for step in steps_of(graph) if step.name == "matmul"]
    assert {len(shape) for shape in shapes} == {2}
    assert not any(step.output.shape == (SIZE, 4, 4) for step in steps_of(graph))


def test_the_laws_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(0, 1, 5)
    one = cost(program(np.sin, x))
    assert_costs_a_batch(cost(program(fd.vmap(np.sin), batch(x))), one)
    with pytest.raises(AssertionError):
        assert_costs_a_batch(cost(program(lambda xs: np.stack([np.sin(x) for x in xs]), batch(x))), one)
    with pytest.raises(AssertionError):
        assert_costs_a_batch(cost(program(lambda xs: np.sin(xs + np.zeros((3, SIZE, 5)))[0], batch(x))), one)
    monkeypatch.setattr(products.matmul, "batched", None)
    with pytest.raises(AssertionError):
        test_a_physics_informed_network_has_no_product_for_each_point()
    w = np.ones((5, 3))
    assert repeated_products(program(fd.vmap(lambda x: x @ w), batch(x))) != []
