"""Every method is the loop of its paper, and that of torch.optim and optax where they have it, for 200 steps in float64."""

from typing import Any

import attrs
import numpy as np
import pytest

import fdezero as fd
from fdezero import optim
from fdezero.errors import DTypeError, RangeError

from .methods import METHODS, Method

STEPS = 200
RNG = np.random.default_rng(11)
SHAPES = {"w": (3, 4), "b": (4,), "k": (2, 3, 5)}
START = {name: RNG.standard_normal(shape) for name, shape in SHAPES.items()}
CURVATURES = {name: 10.0 ** RNG.uniform(-2, 0.5, shape) for name, shape in SHAPES.items()}
NOISE = {name: RNG.standard_normal((STEPS, *shape)) for name, shape in SHAPES.items()}
law = pytest.mark.parametrize("row", METHODS.values(), ids=METHODS)


def gradient_of(name: str) -> Any:
    """The gradient of a quadratic function with noise that shrinks, at step t = 1, 2, ..."""
    return lambda p, t: CURVATURES[name] * p + NOISE[name][t - 1] / t**0.5


def test_the_table_has_every_method() -> None:
    with_rates = {
        name for name in optim.__all__
        if isinstance(make := getattr(optim, name), type) and attrs.has(make) and "lr" in attrs.fields_dict(make)
    }  # fmt: skip
    assert {name.split()[0] for name in METHODS} == with_rates - {"descend", "lbfgs"}


@pytest.fixture(scope="module")
def _ours() -> dict[str, Any]:
    """What each method of the table has made of the start."""
    found = {}
    for name, row in METHODS.items():
        params, state = START, row.ours.init(START)
        for t in range(1, STEPS + 1):
            params, state = row.ours.step(params, {name: gradient_of(name)(p, t) for name, p in params.items()}, state)
        found[name] = params
    return found


@pytest.fixture
def ours(row: Method, _ours: dict[str, Any]) -> Any:
    """What the method of the row has made of the start."""
    return next(_ours[name] for name, each in METHODS.items() if each is row)


def assert_close(got: Any, expected: Any) -> None:
    for name, p in expected.items():
        np.testing.assert_allclose(got[name], p, rtol=1e-8, atol=1e-10, err_msg=name)


@law
def test_a_method_is_the_loop_of_its_paper(row: Method, ours: Any) -> None:
    assert_close(ours, {name: row.reference(gradient_of(name), p, STEPS, **row.settings) for name, p in START.items()})


@law
def test_a_method_is_that_of_torch(row: Method, ours: Any) -> None:
    torch = pytest.importorskip("torch")
    if row.torch is None:
        pytest.skip("torch.optim does not have it")
    params = {name: torch.tensor(p, requires_grad=True) for name, p in START.items()}
    theirs = row.torch(torch.optim, list(params.values()))
    for t in range(1, STEPS + 1):
        for name, p in params.items():
            p.grad = torch.tensor(gradient_of(name)(p.detach().numpy(), t))
        theirs.step()
    assert_close(ours, {name: p.detach().numpy() for name, p in params.items()})


@law
def test_a_method_is_that_of_optax(row: Method, ours: Any) -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    if row.optax is None:
        pytest.skip("optax does not have it")
    with jax.enable_x64(True):
        theirs, params = row.optax(optax), {name: jax.numpy.asarray(p) for name, p in START.items()}
        update, state = jax.jit(theirs.update), theirs.init(params)
        for t in range(1, STEPS + 1):
            grads = {name: jax.numpy.asarray(gradient_of(name)(np.asarray(p), t)) for name, p in params.items()}
            updates, state = update(grads, state, params)
            params = {name: p + updates[name] for name, p in params.items()}
        assert_close(ours, {name: np.asarray(p) for name, p in params.items()})


@law
def test_float32_follows_float64(row: Method, ours: Any) -> None:
    params = {name: p.astype(np.float32) for name, p in START.items()}
    state = row.ours.init(params)
    for t in range(1, 21):
        grads = {name: gradient_of(name)(p.astype(float), t).astype(np.float32) for name, p in params.items()}
        params, state = row.ours.step(params, grads, state)
    for name, p in START.items():
        np.testing.assert_allclose(params[name], row.reference(gradient_of(name), p, 20, **row.settings), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_may_be_an_argument_of_a_compiled_step(name: str) -> None:
    opt = METHODS[name].ours
    state = opt.init(START)
    found, after = fd.compile(lambda opt, p, g, s: opt.step(p, g, s))(opt, START, START, state)
    expected, _ = opt.step(START, START, state)
    assert fd.tree.paths(after) == fd.tree.paths(state)
    for key in START:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-12, atol=1e-12)


def test_a_wrong_method_is_caught() -> None:
    row = METHODS["adam"]
    for wrong in (optim.adam(b1=0.89), optim.adam(b2=0.998), optim.adam(eps=1e-3), optim.adamw()):
        params, state = {"b": START["b"]}, wrong.init({"b": START["b"]})
        for t in range(1, STEPS + 1):
            params, state = wrong.step(params, {"b": gradient_of("b")(params["b"], t)}, state)
        with pytest.raises(AssertionError):
            assert_close(params, {"b": row.reference(gradient_of("b"), START["b"], STEPS, **row.settings)})


DEZERO = {"SGD": optim.sgd(), "MomentumSGD": optim.momentum(), "AdaGrad": optim.adagrad(), "AdaDelta": optim.adadelta(), "Adam": optim.adam()}


@pytest.mark.parametrize("name", DEZERO)
def test_defaults_are_those_of_dezero(name: str) -> None:
    from ..nn.dezero_reference import dezero

    theirs, opt = getattr(dezero.optimizers, name)(), DEZERO[name]
    ps = {name: dezero.Parameter(p) for name, p in START.items()}
    theirs.target = type("Target", (), {"params": lambda self: ps.values()})()
    params, state = START, opt.init(START)
    for t in range(1, 51):
        grads = {name: gradient_of(name)(p, t) for name, p in params.items()}
        for key, p in ps.items():
            p.grad = dezero.Variable(grads[key])
        params, state = opt.step(params, grads, state)
        theirs.update()
    for key, p in ps.items():
        np.testing.assert_allclose(params[key], p.data, rtol=1e-6)  # DeZero's Adam adds eps to the root before its correction


@pytest.mark.parametrize("name", [name for name in optim.__all__ if name.endswith("_direction")])
def test_a_direction_has_the_defaults_of_its_method(name: str) -> None:
    method, direction = getattr(optim, name.removesuffix("_direction"))(), getattr(optim, name)()
    assert repr(method.parts[0]) == repr(direction)
    for field in attrs.fields(type(direction)):
        assert getattr(direction, field.name) == getattr(method, field.name)


def test_settings_out_of_range_are_errors_when_a_method_is_made() -> None:
    for name in {row.split()[0] for row in METHODS}:
        make = getattr(optim, name)
        for wrong in (-0.1, np.nan, np.inf, np.float64(-1), -3):
            with pytest.raises(RangeError, match=f"{name}: lr is a finite number >= 0"):
                make(wrong)
        for wrong in (None, "0.1", True, [0.1]):
            with pytest.raises(DTypeError, match=f"{name}: lr is a number or a schedule"):
                make(wrong)
        for decay in {"b1", "b2", "decay", "momentum"} & set(attrs.fields_dict(make)) - ({"decay"} if name == "momentum" else set()):
            for wrong in (1.0, 1, -0.1, np.nan):
                with pytest.raises(RangeError, match=f"{name}: {decay} is a number >= 0 and < 1"):
                    make(0.1, **{decay: wrong})
    for name in ("sign_sgd", "lars", "descend"):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'lr'"):
            getattr(optim, name)()
