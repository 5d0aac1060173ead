"""Optimisers: against their formulas and PyTorch's, what they keep and leave alone, learning rates, errors."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import nn, optim
from fdezero.errors import DTypeError, ShapeError, StructureError
from fdezero.testing import arrays, assert_trees_close, assert_trees_equal, keys, pytrees

OPTIMISERS: dict[str, Callable[[Any], optim.GradientTransformation]] = {
    "scale": lambda lr: optim.scale(-lr),
    "sgd": optim.sgd,
    "momentum": optim.momentum,
    "nesterov": lambda lr: optim.momentum(lr, 0.8, nesterov=True),
    "adam": optim.adam,
    "clipped": lambda lr: optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(lr)),
    "decayed": lambda lr: optim.chain(optim.weight_decay(0.01), optim.momentum(lr)),
    "adamw": lambda lr: optim.chain(optim.moments(), optim.weight_decay(0.01), optim.descend(lr)),
}
SCHEDULED = [name for name in OPTIMISERS if name != "scale"]


def mixed() -> Any:
    """Parameters of every kind."""
    return {
        "w": np.ones((2, 3), np.float32),
        "half": np.ones(3, np.float16),
        "double": [np.ones(2), (np.full((), 2.0),)],
        "count": np.arange(3),
        "mask": np.array([True, False]),
        "nothing": None,
        "frozen": fd.Frozen({"w": np.ones(2, np.float32)}),
        "number": 1.5,
    }


def loss(params: Any) -> Any:
    leaves = fd.tree.leaves(fd.tree.trainable(params))
    return sum(fd.numpy.sum(fd.numpy.square(fd.numpy.astype(leaf, np.float64))) for leaf in leaves)


def kinds(tree: Any) -> Any:
    return [(path, str(getattr(leaf, "dtype", type(leaf))), np.shape(leaf)) for path, leaf in fd.tree.flatten_with_path(tree)]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_keep_kinds_descend_and_touch_nothing_else(name: str) -> None:
    opt, start = OPTIMISERS[name](0.05), mixed()
    params, state, losses = start, opt.init(start), [loss(start)]
    for _ in range(5):
        gradient = fd.grad(loss)(params)
        after, later = opt.step(params, gradient, state)
        assert kinds(after) == kinds(params)
        assert kinds(later) == kinds(state)
        assert after["count"] is start["count"]
        assert after["mask"] is start["mask"]
        assert after["frozen"].value["w"] is start["frozen"].value["w"]
        params, state = after, later
        losses.append(loss(params))
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_inputs_are_not_changed(name: str) -> None:
    opt = OPTIMISERS[name](0.1)
    params = {"w": np.ones(3, np.float32)}
    gradient = {"w": np.full(3, 2, np.float32)}
    _, state = opt.step(params, gradient, opt.init(params))
    arguments = (params, gradient, state)
    for leaf in fd.tree.leaves(arguments):
        if isinstance(leaf, np.ndarray):
            leaf.flags.writeable = False
    before = fd.tree.map(np.copy, arguments)
    opt.step(*arguments)
    assert_trees_equal(arguments, before)


class Pair(NamedTuple):
    a: Any
    b: Any


@attrs.frozen
class Holder:
    a: Any
    b: Any


@pytest.mark.parametrize("name", OPTIMISERS)
def test_all_containers_agree(name: str) -> None:
    a, b = np.float32([1, 2]), np.float32([[3]])
    results = []
    for make in (lambda a, b: {"b": b, "a": a}, lambda a, b: (a, b), lambda a, b: [a, [b]], Pair, Holder, nn.Linear):
        opt, params = OPTIMISERS[name](0.1), make(a, b)
        state = opt.init(params)
        for _ in range(3):
            params, state = opt.step(params, make(a / 2, b * 3), state)
        assert type(params) is type(make(a, b))
        results.append(tuple(fd.tree.leaves(params)))
    for result in results[1:]:
        assert_trees_equal(result, results[0])


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
    """Adam; with `decay` AdamW."""
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


# Learning rates
@pytest.mark.parametrize("name", OPTIMISERS)
def test_rates_of_any_kind_keep_float32_and_agree(name: str) -> None:
    expected = run(OPTIMISERS[name](0.01), np.float32)
    for lr in (np.asarray(0.01), np.float64(0.01), np.float32(0.01)):
        got = run(OPTIMISERS[name](lr), np.float32)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [float, np.float64, np.asarray, np.float32])
@pytest.mark.parametrize("name", SCHEDULED)
def test_schedules_are_asked_at_every_step(name: str, kind: Any) -> None:
    asked: list[int] = []

    def schedule(step: Any) -> Any:
        asked.append(int(step))
        return kind(0.01)

    got = run(OPTIMISERS[name](schedule), np.float32)
    assert asked == list(range(len(GRADIENTS)))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, run(OPTIMISERS[name](0.01), np.float32), rtol=1e-5, atol=1e-6)


def test_a_schedule_sets_the_rate_of_its_step() -> None:
    rates = [0.1 / (1 + k) for k in range(len(GRADIENTS))]
    expected = START - sum(rate * g for rate, g in zip(rates, GRADIENTS, strict=True))
    np.testing.assert_allclose(run(optim.sgd(lambda step: 0.1 / (1 + step))), expected)


def test_a_step_is_differentiable_in_its_rate() -> None:
    gradient = {"w": np.array([1.0, 2.0])}

    def after(lr: Any) -> Any:
        return fd.numpy.sum(optim.apply_updates(gradient, optim.sgd(lr).update(gradient, (), gradient)[0])["w"])

    assert fd.grad(after)(0.1) == -3


@given(keys())
def test_steps_map_over_an_ensemble(key: np.ndarray) -> None:
    opt = optim.adam(0.1)
    params = fd.random.normal(key, (4, 3))
    together = fd.vmap(lambda p: opt.step({"w": p}, {"w": 2 * p}, opt.init({"w": p}))[0]["w"])(params)
    for row, p in zip(together, params, strict=True):
        assert_trees_close(row, opt.step({"w": p}, {"w": 2 * p}, opt.init({"w": p}))[0]["w"])


# Clipping and the global norm
def clipped(max_norm: float, gradient: Any) -> Any:
    return optim.clip_by_global_norm(max_norm).update(gradient, (), gradient)[0]


def test_global_norm_is_over_all_leaves() -> None:
    assert optim.global_norm({"a": np.float32([3]), "b": (np.float32([[4]]), None)}) == 5
    assert optim.global_norm({"a": np.float32([3])}).dtype == np.float32
    assert optim.global_norm({"a": np.full(4, 300, np.float16)}) == 600
    assert optim.global_norm({"number": 3.0}) == 3
    assert optim.global_norm({}) == 0


@given(arrays(np.float64, (5,)), st.floats(0.01, 10))
def test_clipping_bounds_the_norm_and_keeps_the_direction(gradient: np.ndarray, max_norm: float) -> None:
    norm, result = np.linalg.norm(gradient), clipped(max_norm, {"w": gradient})["w"]
    np.testing.assert_allclose(result, gradient * min(1, max_norm / norm) if norm else gradient, rtol=1e-12)


def test_clipping_at_norm_0_and_of_every_dtype() -> None:
    zeros = {"a": np.zeros(3, np.float32), "b": np.zeros((), np.float16), "n": None}
    assert_trees_equal(clipped(1.0, zeros), zeros)
    assert_trees_equal(clipped(0.0, {"w": np.ones(2, np.float32)}), {"w": np.zeros(2, np.float32)})
    mixed_gradient = {"a": np.full(3, 2, np.float32), "b": np.full(1, 2, np.float16)}
    result = clipped(2.0, mixed_gradient)
    assert_trees_equal(result, {"a": np.ones(3, np.float32), "b": np.ones(1, np.float16)})
    np.testing.assert_allclose(optim.global_norm(clipped(1.0, {"number": 3.0})), 1)


def test_chain_applies_from_left_to_right() -> None:
    gradient = {"w": np.array([3.0, 4.0])}
    first = optim.chain(optim.clip_by_global_norm(1.0), optim.scale(10.0))
    last = optim.chain(optim.scale(10.0), optim.clip_by_global_norm(1.0))
    np.testing.assert_allclose(first.update(gradient, first.init(gradient), gradient)[0]["w"], [6, 8])
    np.testing.assert_allclose(last.update(gradient, last.init(gradient), gradient)[0]["w"], [0.6, 0.8])


def test_step_is_update_and_apply() -> None:
    params = {"w": START}
    for make in OPTIMISERS.values():
        opt = make(0.1)
        updates, state = opt.update({"w": GRADIENTS[1]}, opt.init(params), params)
        assert_trees_equal(opt.step(params, {"w": GRADIENTS[1]}, opt.init(params)), (optim.apply_updates(params, updates), state))


# Errors
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_gradient_that_does_not_fit_is_named(name: str) -> None:
    opt = OPTIMISERS[name](0.1)
    params = {"layers": [{"W": np.ones((2, 3), np.float32)}, {"b": np.ones(3, np.float32)}]}
    state = opt.init(params)
    with pytest.raises(ShapeError, match=r"layers/1/b is float32\[4\], the parameter float32\[3\]"):
        opt.step(params, {"layers": [{"W": np.ones((2, 3), np.float32)}, {"b": np.ones(4, np.float32)}]}, state)
    with pytest.raises(ShapeError, match="layers/1/b"):
        opt.step(params, {"layers": [{"W": np.ones((2, 3), np.float32)}, {"b": np.float32(1)}]}, state)
    with pytest.raises(DTypeError, match=r"layers/0/W is float64\[2,3\], the parameter float32\[2,3\]"):
        opt.step(params, {"layers": [{"W": np.ones((2, 3))}, {"b": np.ones(3, np.float32)}]}, state)
    with pytest.raises(StructureError, match=r"differ at 'layers/1/b'"):
        opt.step(params, {"layers": [{"W": np.ones((2, 3), np.float32)}, {"c": np.ones(3, np.float32)}]}, state)
    with pytest.raises(StructureError, match="layers/0/W"):
        opt.step(params, np.float32(1), state)


def test_updates_that_do_not_fit_are_named() -> None:
    with pytest.raises(StructureError, match="differ at 'w'"):
        optim.apply_updates({"w": START}, {"v": START})
    with pytest.raises(ShapeError, match=r"the update of w is float64\[3\]"):
        optim.apply_updates({"w": START}, {"w": np.ones(3)})


def test_a_state_of_other_parameters_is_named() -> None:
    opt = optim.adam()
    with pytest.raises(StructureError, match="the state's moments differ at 'w'"):
        opt.step({"w": START}, {"w": START}, opt.init({"v": START}))
