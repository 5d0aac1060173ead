"""The laws that every optimiser obeys, over the table of optimisers."""

import inspect
import itertools
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero import nn, optim
from fdezero.errors import DTypeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

from .folding import all_of
from .optimisers import OPTIMISERS, SCHEDULED
from .optimisers_wrapped import PARTIAL, WAITING, WITHOUT_A_ROW

law = pytest.mark.parametrize("name", OPTIMISERS)


def test_the_table_has_every_transformation() -> None:
    made = {name for name in optim.__all__ if makes_one(getattr(optim, name))}
    assert {name.split()[0] for name in OPTIMISERS} | set(WITHOUT_A_ROW) == made
    assert len(made) > 5


def makes_one(make: Any) -> bool:
    if inspect.isclass(make):
        return issubclass(make, optim.GradientTransformation) and make is not optim.GradientTransformation
    return inspect.isfunction(make) and inspect.signature(make).return_annotation is optim.GradientTransformation


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


@law
@all_of("rate", [0.05, np.float64(0.05)])
def test_steps_keep_kinds_descend_and_touch_nothing_else(name: str, rate: Any) -> None:
    opt, start = OPTIMISERS[name](rate), mixed()
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
    assert all(later < earlier for earlier, later in itertools.pairwise(losses[:: WAITING.get(name, 1)]))


@law
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


@law
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


# A step is a pure function of trees


@law
def test_a_run_that_was_saved_goes_on_with_the_same_bits(name: str, tmp_path: Path) -> None:
    whole = after(OPTIMISERS[name](0.1), start(), 5)
    fd.save(tmp_path / "run.npz", after(OPTIMISERS[name](0.1), start(), 2))
    opt = OPTIMISERS[name](0.1)
    resumed = fd.load(tmp_path / "run.npz", like=(start(), opt.init(start())))
    assert_trees_equal(after(opt, *resumed[:1], 3, resumed[1]), whole, bits=True)


def start() -> Any:
    return {"w": np.linspace(-2, 3, 6, dtype=np.float32).reshape(2, 3), "half": np.float16([0.5, -2]), "double": [np.ones(2)], "z": np.array([1 - 2j])}


def gradient_of(params: Any) -> Any:
    return fd.tree.map(lambda p: p * (1 + abs(p)), params)


def after(opt: optim.GradientTransformation, params: Any, steps: int, state: Any = None) -> Any:
    state = opt.init(params) if state is None else state
    for _ in range(steps):
        params, state = opt.step(params, gradient_of(params), state)
    return params, state


@law
def test_compiled_steps_have_the_bits_of_eager_ones_and_are_recorded_once(name: str) -> None:
    opt, params = OPTIMISERS[name](0.1), start()
    step = fd.compile(lambda params, state: opt.step(params, gradient_of(params), state), max_recordings=1)
    compiled = eager = (params, opt.init(params))
    for _ in range(4):
        compiled, eager = step(*compiled), after(opt, eager[0], 1, eager[1])
        assert_trees_equal(compiled, eager, bits=True)


@law
def test_steps_keep_memory_orders_and_are_recorded_once_for_any(name: str) -> None:
    params = {"t": np.ones((3, 4), np.float32).T, "kernel": np.ones((5, 2, 3, 4)).transpose(3, 0, 1, 2), "row": np.ones((1, 5))}
    opt = OPTIMISERS[name](0.1)
    step = fd.compile(lambda params, state: opt.step(params, gradient_of(params), state), max_recordings=1)
    moved = (params, opt.init(params))
    for _ in range(3):
        moved = step(*moved)
    assert fd.tree.map(lambda p: p.strides, moved[0]) == fd.tree.map(lambda p: p.strides, params)


@law
def test_optimisers_pickle_and_show_their_settings(name: str) -> None:
    opt = OPTIMISERS[name](0.125)
    if "<lambda>" in repr(opt):  # a function without a name does not pickle
        return
    again = pickle.loads(pickle.dumps(opt))
    assert repr(again) == repr(opt)
    assert_trees_equal(after(again, start(), 2), after(opt, start(), 2), bits=True)
    assert any(f"={rate}" in repr(opt) for rate in (0.125, -0.125, 0.0625, 0.375, 2.5))  # times the factor of the row


@pytest.mark.parametrize("name", [name for name in OPTIMISERS if name not in PARTIAL])
def test_a_quadratic_is_minimised(name: str) -> None:
    scales = {"w": np.array([1.0, 0.5, 2.0]), "v": (np.array([[1.5]]),)}
    opt, params = OPTIMISERS[name](0.05), fd.tree.map(lambda a: a * 0 + 1, scales)
    state = opt.init(params)
    for _ in range(400):
        params, state = opt.step(params, fd.tree.map(lambda p, a: a * p, params, scales), state)
    assert max(abs(leaf).max() for leaf in fd.tree.leaves(params)) < 0.02


@law
def test_steps_run_on_the_device_of_the_parameters(name: str, gpu: Any) -> None:
    opt, params = OPTIMISERS[name](0.1), start()
    there = fd.to_device(params, "gpu")
    moved, state = after(opt, there, 3)
    assert {fd.device_of(leaf) for leaf in fd.tree.leaves(moved)} == {"gpu:0"}
    assert_trees_close(fd.to_numpy((moved, state)), after(opt, params, 3), 1e-3)


@law
def test_steps_map_over_an_ensemble(name: str) -> None:
    opt = OPTIMISERS[name](0.1)
    params = fd.random.normal(fd.random.key(0), (4, 3), np.float64)
    together = fd.vmap(lambda p: after(opt, {"w": p}, 2)[0]["w"])(params)
    for row, p in zip(together, params, strict=True):
        assert_trees_close(row, after(opt, {"w": p}, 2)[0]["w"], 1e-13)


@law
def test_step_is_update_and_apply(name: str) -> None:
    opt, params = OPTIMISERS[name](0.1), start()
    updates, state = opt.update(gradient_of(params), opt.init(params), params)
    assert_trees_equal(opt.step(params, gradient_of(params), opt.init(params)), (optim.apply_updates(params, updates), state))


# Learning rates


def weights(opt: optim.GradientTransformation) -> Any:
    return after(opt, {"w": start()["w"]}, 6)[0]["w"]


@law
def test_rates_of_any_kind_keep_float32_and_agree(name: str) -> None:
    expected = weights(OPTIMISERS[name](0.01))
    for lr in (np.asarray(0.01), np.float64(0.01), np.float32(0.01)):
        got = weights(OPTIMISERS[name](lr))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


CONSTANTS: dict[str, Any] = {  # what else may be a number that a transformation computes
    "weight decay": lambda rate: optim.weight_decay(rate),
    "decay of velocity": lambda decay: optim.velocity(decay),
    "decays of moments": lambda b: optim.moments(b, b),
    "bound": optim.clip_by_global_norm,
}


@pytest.mark.parametrize("make", [*OPTIMISERS.values(), *CONSTANTS.values()], ids=[*OPTIMISERS, *CONSTANTS])
def test_steps_map_over_rates_and_keep_float32(make: Any) -> None:
    rates = np.array([0.1, 0.3])
    together = fd.vmap(lambda rate: after(make(rate), {"w": start()["w"]}, 3)[0]["w"])(rates)
    assert together.dtype == np.float32
    for row, rate in zip(together, rates, strict=True):
        assert_trees_close(row, after(make(float(rate)), {"w": start()["w"]}, 3)[0]["w"], 1e-5)


@all_of("kind", [float, np.float64, np.asarray, np.float32])
@pytest.mark.parametrize("name", SCHEDULED)
def test_schedules_are_asked_at_every_step(name: str, kind: Any) -> None:
    asked: list[int] = []

    def schedule(step: Any) -> Any:
        assert step.dtype == np.int64
        asked.append(int(step))
        return kind(0.01)

    got = weights(OPTIMISERS[name](schedule))
    assert asked == [0, *range(6)]  # init asks for the rate that counts at the start
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, weights(OPTIMISERS[name](0.01)), rtol=1e-5, atol=1e-6)


# Errors


@law
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


# A law that cannot fail proves nothing


drawn = itertools.count(1)


def _wrong(update: Any) -> Any:
    return lambda lr: optim.GradientTransformation(lambda params: (), lambda grads, state, params: (update(grads), state))


def _each_time_another(grads: Any) -> Any:
    number = next(drawn)
    return fd.tree.map(lambda x: x * (-0.01 * number), grads)


PLANTED = {
    test_a_run_that_was_saved_goes_on_with_the_same_bits: _wrong(_each_time_another),
    test_compiled_steps_have_the_bits_of_eager_ones_and_are_recorded_once: _wrong(_each_time_another),
    test_a_quadratic_is_minimised: _wrong(lambda g: fd.tree.map(lambda x: 0.005 * x, g)),
    test_steps_run_on_the_device_of_the_parameters: _wrong(lambda g: fd.tree.map(lambda x: x * np.ones(x.shape, x.dtype), g)),
    test_steps_keep_kinds_descend_and_touch_nothing_else: _wrong(lambda g: fd.tree.map(lambda x: x * np.float64(-0.1), g)),
    test_inputs_are_not_changed: _wrong(lambda g: fd.tree.map(lambda x: np.multiply(x, 2, out=x), g)),
}


@pytest.mark.parametrize("test", PLANTED, ids=lambda test: test.__name__)
def test_a_planted_wrong_optimiser_is_caught(test: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    fixtures = {"tmp_path": "tmp_path", "gpu": "strict_cupy"}
    options = {name: request.getfixturevalue(fixtures[name]) for name in inspect.signature(test).parameters if name in fixtures}
    if "rate" in inspect.signature(test).parameters:
        options["rate"] = 0.05
    monkeypatch.setitem(OPTIMISERS, "wrong", PLANTED[test])
    test("sgd", **options)
    with pytest.raises((AssertionError, TypeError, ValueError)):
        test("wrong", **options)
