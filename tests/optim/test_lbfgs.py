"""L-BFGS: its search meets the strong Wolfe conditions, minima are those of SciPy, a step is a pure function that is recorded once."""

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, RangeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(23)
X = RNG.standard_normal((60, 4))
T = (X @ RNG.standard_normal((4, 3))).argmax(1)
START = {"x": np.array([-1.2, 1.0, 0.5, -0.3]), "rest": (None, np.arange(2), fd.Frozen(np.ones(2)))}
MIXED = {"half": np.float16([3, 2]), "z": np.array([1 + 2j, 0]), "number": 1.5, "single": np.float32([[2.0]])}


def rosenbrock(p: Any) -> Any:
    x = p["x"]
    return fnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def mixed(p: Any) -> Any:
    half, z = p["half"].astype(np.float32), p["z"]
    return fnp.sum((half - 1) ** 2) + fnp.sum(fnp.absolute(z - 1j) ** 2) + (p["number"] - 2) ** 4 + 3 * fnp.sum(p["single"] ** 2)


def classifier(model: Any) -> Any:
    return F.softmax_cross_entropy(model(X), T) + 0.01 * fnp.sum(model.W**2)


def run(opt: optim.lbfgs, loss: Any, params: Any, steps: int, state: Any = None) -> Any:
    state = opt.init(params) if state is None else state
    for _ in range(steps):
        params, state = opt.step(loss, params, state)
    return params, state


def test_rosenbrocks_valley_is_followed_to_its_end() -> None:
    params, state = run(optim.lbfgs(), rosenbrock, {"x": np.array([-1.2, 1.0])}, 60)
    np.testing.assert_allclose(params["x"], 1, rtol=1e-8)
    assert state["step"] == 60
    assert state["evaluations"] < 120
    assert state["value"] < 1e-18


@pytest.mark.parametrize("c2", [0.9, 0.1])
def test_every_step_meets_the_strong_wolfe_conditions(c2: float) -> None:
    opt = optim.lbfgs(c2=c2)
    params, state = START, opt.init(START)
    for _ in range(30):
        before, slopes = params["x"], fd.value_and_grad(rosenbrock)(params)
        params, state = opt.step(rosenbrock, params, state)
        move = params["x"] - before
        value, gradient = fd.value_and_grad(rosenbrock)(params)
        start = slopes[1]["x"] @ move
        assert start < 0
        assert value <= slopes[0] + opt.c1 * start
        assert abs(gradient["x"] @ move) <= -c2 * start * (1 + 1e-12)
        assert state["value"] == value
        assert_trees_equal(state["gradient"], gradient, bits=True)


def test_a_quadratic_of_n_numbers_takes_about_n_steps() -> None:
    A = np.diag([1.0, 10.0, 100.0, 1000.0])
    params, state = run(optim.lbfgs(c2=0.1), lambda x: 0.5 * x @ A @ x, np.ones(4), 12)
    assert abs(params).max() < 1e-5
    assert state["evaluations"] < 40


def test_minima_are_those_of_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    model = nn.Linear.init(fd.random.key(0), 4, 3, dtype=np.float64)
    found, state = run(optim.lbfgs(), classifier, model, 40)
    vector, back = fd.ravel(model)
    jac = lambda v: fd.ravel(fd.grad(classifier)(back(v)))[0]
    theirs = optimize.minimize(lambda v: float(classifier(back(v))), vector, jac=jac, method="BFGS", tol=1e-10)
    np.testing.assert_allclose(state["value"], theirs.fun, rtol=1e-12)
    np.testing.assert_allclose(found.W, back(theirs.x).W, rtol=1e-5, atol=1e-7)


@settings(max_examples=max(10, settings().max_examples // 4))
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(1e-3, 1e3))
def test_the_value_never_rises(start: list[float], scale: float) -> None:
    loss = lambda x: scale * fnp.sum(fnp.log(fnp.cosh(x - 1)) + 0.01 * x**4)
    opt, params = optim.lbfgs(), np.array(start)
    state, values = opt.init(params), [float(loss(params))]
    for _ in range(8):
        params, state = opt.step(loss, params, state)
        values.append(float(state["value"]))
    assert all(b <= a * (1 + 1e-14) for a, b in itertools.pairwise(values))
    assert optim.global_norm(state["gradient"]) < 1e-2 * scale


@pytest.mark.parametrize(("loss", "start"), [(rosenbrock, START), (mixed, {**MIXED, "number": np.float64(1.5)})], ids=["rosenbrock", "mixed dtypes"])
def test_compiled_steps_have_the_bits_of_eager_ones_and_are_recorded_once(loss: Any, start: Any) -> None:
    opt = optim.lbfgs(memory_size=3)
    step = fd.compile(lambda params, state: opt.step(loss, params, state), max_recordings=1)
    of_pairs = fd.compile(lambda params, state: opt.step(fd.value_and_grad(loss), params, state), max_recordings=1)
    eager = compiled = pairs = (start, opt.init(start))
    for _ in range(12):
        eager, compiled, pairs = opt.step(loss, *eager), step(*compiled), of_pairs(*pairs)
        assert_trees_equal(compiled, eager, bits=True)
        assert_trees_equal(pairs, eager, bits=True)
    assert_trees_equal(opt.step(fd.value_and_grad(loss), *eager), opt.step(loss, *eager), bits=True)


def test_leaves_keep_their_kinds() -> None:
    params, state = run(optim.lbfgs(), mixed, MIXED, 25)
    assert fd.tree.map(lambda p: getattr(p, "dtype", type(p)), params) == fd.tree.map(lambda p: getattr(p, "dtype", type(p)), MIXED)
    np.testing.assert_allclose(params["z"], [1j, 1j], atol=1e-3)
    np.testing.assert_allclose(params["half"], 1, atol=1e-3)
    assert state["gradient"]["half"].dtype == np.float32
    moved, _ = run(optim.lbfgs(), rosenbrock, START, 2)
    assert moved["rest"] is not None
    assert_trees_equal(moved["rest"][1:], START["rest"][1:])


def test_float32_reaches_the_precision_of_its_values() -> None:
    single = fd.tree.map(lambda p: p.astype(np.float32), nn.Linear.init(fd.random.key(0), 4, 3))
    loss = lambda model: F.softmax_cross_entropy(model(X.astype(np.float32)), T) + 0.01 * fnp.sum(model.W**2)
    _, state = run(optim.lbfgs(), loss, single, 40)
    assert optim.global_norm(state["gradient"]) < 1e-5


def test_a_run_that_was_saved_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    opt = pickle.loads(pickle.dumps(optim.lbfgs(memory_size=4)))
    assert repr(opt) == "lbfgs(lr=1.0, memory_size=4, c1=0.0001, c2=0.9, max_evaluations=20)"
    whole = run(opt, rosenbrock, START, 9)
    fd.save(tmp_path / "run.npz", run(opt, rosenbrock, START, 5))
    assert {"optimiser/gradient/x", "optimiser/moves/x", "optimiser/step"} <= {*fd.tree.paths({"optimiser": opt.init(START)})}
    params, state = fd.load(tmp_path / "run.npz", like=(START, opt.init(START)))
    assert_trees_equal(run(opt, rosenbrock, params, 4, state), whole, bits=True)


def test_steps_run_on_the_device_of_the_params(gpu: Any) -> None:
    opt = optim.lbfgs(memory_size=3)
    there, state = run(opt, rosenbrock, fd.to_device(START, "gpu"), 5)
    assert fd.device_of(there["x"]) == "gpu:0"
    here, other = run(opt, rosenbrock, START, 5)
    assert_trees_close(fd.to_numpy(there["x"]), here["x"], 1e-9)
    assert_trees_close(fd.to_numpy(state["moves"]), other["moves"], 1e-6)


def test_a_search_without_success_leaves_the_params_and_forgets_the_memory() -> None:
    opt = optim.lbfgs(max_evaluations=1)
    params, state = run(optim.lbfgs(), rosenbrock, START, 3)
    uphill = lambda p: (rosenbrock(p), fd.tree.map(lambda g: -g, fd.grad(rosenbrock)(p)))  # a wrong gradient
    moved, after = opt.step(uphill, params, {**state, "gradient": fd.tree.map(lambda g: -g, state["gradient"])})
    assert_trees_equal(moved, params)
    assert not after["inverse"].any()
    flat, state = run(optim.lbfgs(), lambda x: 0 * fnp.sum(x), np.ones(2), 3)
    assert_trees_equal(flat, np.ones(2))
    with np.errstate(all="ignore"):
        edge, _ = run(optim.lbfgs(), lambda x: fnp.sum(x - fnp.log(x)), np.array([9.0]), 12)  # trials lie beyond the edge at 0
    np.testing.assert_allclose(edge, 1, rtol=1e-6)


def test_mistakes_are_told() -> None:
    opt, model = optim.lbfgs(), nn.Linear.init(fd.random.key(0), 4, 3, dtype=np.float64)
    state = opt.init(model)
    with pytest.raises(DTypeError, match="no floating leaf"):
        opt.init({"i": np.arange(3)})
    with pytest.raises(StructureError, match="lbfgs got the state of another optimiser, or no state: it has nothing, but lbfgs keeps step"):
        opt.step(classifier, model, {})
    with pytest.raises(StructureError, match="it has step, mean, root, but"):
        opt.step(classifier, model, optim.adam().init(model))
    with pytest.raises(StructureError, match="the state remembers 10 moves, memory_size is 2"):
        optim.lbfgs(memory_size=2).step(classifier, model, state)
    with pytest.raises(ShapeError, match=r"must return a scalar, got float64\[60,3\]"):
        opt.step(lambda model: model(X), model, state)
    with pytest.raises(StructureError, match="a tuple of 3"):
        opt.step(lambda model: (1.0, model, model), model, state)
    with pytest.raises(StructureError, match="differ at 'W'"):
        opt.step(lambda model: (1.0, {}), model, state)
    with pytest.raises(ShapeError, match="the state's gradient of W"):
        opt.step(classifier, model, opt.init(nn.Linear.init(fd.random.key(0), 4, 5)))
    with pytest.raises(TypeError, match="takes a function"):
        opt.step(1.0, model, state)  # type: ignore[arg-type]  # the mistake
    for options, words in (
        ({"memory_size": 0}, "memory_size is a whole number >= 1"), ({"lr": -1}, "lr is a number > 0"), ({"c1": 2}, "c1 is a number > 0 and < 1"),
        ({"c1": 0.9, "c2": 0.1}, "c1 is smaller than c2; got c1=0.9 and c2=0.1"), ({"max_evaluations": 0.5}, "max_evaluations is a whole number"),
    ):  # fmt: skip
        with pytest.raises(RangeError, match=words):
            optim.lbfgs(**options)  # type: ignore[arg-type]  # the mistakes
