"""Optimisers: formulas, PyTorch, schedules, clipping, chains, errors; laws/test_optimiser_laws.py has the laws for all of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import optim
from fdezero.errors import ShapeError, StructureError
from fdezero.testing import arrays, assert_trees_equal, pytrees


@given(pytrees(arrays(np.float32)))
def test_sgd_on_any_tree(params: Any) -> None:
    opt = optim.sgd(0.5)
    stepped, state = opt.step(params, params, opt.init(params))
    assert_trees_equal(stepped, fd.tree.map(lambda p: p - np.float32(0.5) * p, params))
    assert fd.tree.leaves(state) == []


# Formulas
def plain_sgd(gradients: list[np.ndarray], p: np.ndarray, lr: float) -> np.ndarray:
    for g in gradients:
        p = p - lr * g
    return p


def plain_momentum(gradients: list[np.ndarray], p: np.ndarray, lr: float, decay: float, nesterov: bool) -> np.ndarray:
    v = np.zeros_like(p)
    for g in gradients:
        v = decay * v + g
        p = p - lr * (g + decay * v if nesterov else v)
    return p


def plain_adam(
    gradients: list[np.ndarray], p: np.ndarray, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, decay: float = 0.0
) -> np.ndarray:
    """Adam, or AdamW if `decay` is given."""
    m, s = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients, start=1):
        m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2
        p = p - lr * ((m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps) + decay * p)
    return p


RNG = np.random.default_rng(0)
START = RNG.standard_normal((3, 4))
GRADIENTS = [RNG.standard_normal((3, 4)) * 10.0**k for k in (-3, 0, 1, -1, 2, -5, 0, 0)]


def run(opt: optim.GradientTransformation, dtype: Any = np.float64) -> np.ndarray:
    params = {"w": START.astype(dtype)}
    state = opt.init(params)
    for gradient in GRADIENTS:
        params, state = opt.step(params, {"w": gradient.astype(dtype)}, state)
    result: np.ndarray = params["w"]
    return result


@pytest.mark.parametrize(
    ("opt", "expected"),
    [
        (optim.sgd(0.1), plain_sgd(GRADIENTS, START, 0.1)),
        (optim.scale(-0.1), plain_sgd(GRADIENTS, START, 0.1)),
        (optim.momentum(0.01), plain_momentum(GRADIENTS, START, 0.01, 0.9, False)),
        (optim.momentum(0.01, 0.5, nesterov=True), plain_momentum(GRADIENTS, START, 0.01, 0.5, True)),
        (optim.adam(), plain_adam(GRADIENTS, START, 1e-3)),
        (optim.adam(0.1, 0.8, 0.95, 1e-3), plain_adam(GRADIENTS, START, 0.1, 0.8, 0.95, 1e-3)),
        (optim.chain(optim.moments(), optim.weight_decay(0.1), optim.descend(0.01)), plain_adam(GRADIENTS, START, 0.01, decay=0.1)),
        (optim.chain(optim.adam(1.0), optim.weight_decay(-0.1), optim.scale(0.01)), plain_adam(GRADIENTS, START, 0.01, decay=0.1)),
    ],
    ids=["sgd", "scale", "momentum", "nesterov", "adam", "adam with other constants", "adamw", "adamw after adam"],
)
def test_methods_are_their_formulas(opt: optim.GradientTransformation, expected: np.ndarray) -> None:
    np.testing.assert_allclose(run(opt), expected, rtol=1e-12, atol=1e-12)
    single = run(opt, np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-3, atol=1e-4)


def test_adam_divides_a_complex_gradient_by_its_length() -> None:
    gradient = np.array([3 + 4j, -2.0, 5j])
    opt, params = optim.adam(0.1, eps=0.0), np.zeros(3, complex)
    moved, state = opt.step(params, gradient, opt.init(params))
    np.testing.assert_allclose(moved, -0.1 * gradient / abs(gradient), rtol=1e-14)
    moved, _ = opt.step(moved, gradient, state)
    np.testing.assert_allclose(moved, -0.2 * gradient / abs(gradient), rtol=1e-14)


def test_methods_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    made = {
        "sgd": (optim.sgd(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        "momentum": (optim.momentum(0.01), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
        "nesterov": (optim.momentum(0.01, nesterov=True), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True)),
        "adam": (optim.adam(0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
        "decay": (optim.chain(optim.weight_decay(0.1), optim.sgd(0.1)), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1)),
        "adam with decay": (
            optim.chain(optim.weight_decay(0.1), optim.adam(0.01)),
            lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
        ),
        "adamw": (
            optim.chain(optim.moments(), optim.weight_decay(0.1), optim.descend(0.01)),
            lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        ),
    }
    for name, (opt, make) in made.items():
        p = torch.tensor(START, requires_grad=True)
        theirs = make([p])
        for gradient in GRADIENTS:
            p.grad = torch.tensor(gradient)
            theirs.step()
        np.testing.assert_allclose(run(opt), p.detach().numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_schedule_sets_the_rate_of_its_step() -> None:
    rates = [0.1 / (1 + k) for k in range(len(GRADIENTS))]
    expected = START - sum(rate * g for rate, g in zip(rates, GRADIENTS, strict=True))
    np.testing.assert_allclose(run(optim.sgd(lambda step: 0.1 / (1 + step))), expected)


def test_a_step_is_differentiable_in_its_rate() -> None:
    gradient = {"w": np.array([1.0, 2.0])}

    def after(lr: Any) -> Any:
        return fd.numpy.sum(optim.apply_updates(gradient, optim.sgd(lr).update(gradient, (), gradient)[0])["w"])

    assert fd.grad(after)(0.1) == -3


# Clipping and the global norm
def clipped(max_norm: float, gradient: Any) -> Any:
    return optim.clip_by_global_norm(max_norm).update(gradient, (), gradient)[0]


def test_global_norm_is_over_all_leaves() -> None:
    assert optim.global_norm({"a": np.float32([3]), "b": (np.float32([[4]]), None)}) == 5
    assert optim.global_norm({"a": np.float32([3])}).dtype == np.float32
    assert optim.global_norm({"a": np.full(4, 300, np.float16)}) == 600
    assert optim.global_norm({"number": 3.0}) == 3
    assert optim.global_norm({"z": np.array([3 + 4j]), "w": np.float32([12])}) == 13
    assert optim.global_norm({}) == 0


@given(arrays(np.float64, (5,)), st.floats(0.01, 10))
def test_clipping_bounds_the_norm_and_keeps_the_direction(gradient: np.ndarray, max_norm: float) -> None:
    norm, result = np.linalg.norm(gradient), clipped(max_norm, {"w": gradient})["w"]
    np.testing.assert_allclose(result, gradient * min(1, max_norm / norm) if norm else gradient, rtol=1e-12)


def test_clipping_at_norm_0_and_of_every_dtype() -> None:
    zeros = {"a": np.zeros(3, np.float32), "b": np.zeros((), np.float16), "n": None}
    assert_trees_equal(clipped(1.0, zeros), {**zeros, "b": np.zeros((), np.float32)})  # the updates of float16 are float32
    assert_trees_equal(clipped(0.0, {"w": np.ones(2, np.float32)}), {"w": np.zeros(2, np.float32)})
    mixed_gradient = {"a": np.full(3, 2, np.float32), "b": np.full(1, 2, np.float16)}
    result = clipped(2.0, mixed_gradient)
    assert_trees_equal(result, {"a": np.ones(3, np.float32), "b": np.ones(1, np.float32)})
    np.testing.assert_allclose(optim.global_norm(clipped(1.0, {"number": 3.0})), 1)


def test_chain_applies_from_left_to_right() -> None:
    gradient = {"w": np.array([3.0, 4.0])}
    first = optim.chain(optim.clip_by_global_norm(1.0), optim.scale(10.0))
    last = optim.chain(optim.scale(10.0), optim.clip_by_global_norm(1.0))
    np.testing.assert_allclose(first.update(gradient, first.init(gradient), gradient)[0]["w"], [6, 8])
    np.testing.assert_allclose(last.update(gradient, last.init(gradient), gradient)[0]["w"], [0.6, 0.8])


# Errors
def test_updates_that_do_not_fit_are_named() -> None:
    with pytest.raises(StructureError, match="differ at 'w'"):
        optim.apply_updates({"w": START}, {"v": START})
    with pytest.raises(ShapeError, match=r"the update of w is float64\[3\]"):
        optim.apply_updates({"w": START}, {"w": np.ones(3)})


def test_a_state_of_other_parameters_is_named() -> None:
    opt = optim.adam()
    with pytest.raises(StructureError, match="grads and the state's mean differ at 'w'"):
        opt.step({"w": START}, {"w": START}, opt.init({"v": START}))
