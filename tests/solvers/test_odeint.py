"""`odeint`: solutions, and derivatives by the adjoint equation."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, ShapeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

from ..profiles import NIGHTLY

TS = np.array([0.0, 0.3, 0.5, 1.1])
EXACT = {"rtol": 1e-10, "atol": 1e-12}
NEAR = {"rtol": 1e-8, "atol": 1e-10}  # enough beside finite differences


def pendulum(state: Any, t: Any, p: Any) -> Any:
    return {"angle": state["speed"], "speed": -p["g"] * fnp.sin(state["angle"]) - p["drag"][0] * state["speed"] * fnp.cos(t)}


STATE = {"angle": np.array([0.5, 1.0]), "speed": np.array([0.1, -0.2])}
P = {"g": 1.5, "drag": (np.array(0.3), "unit", 2)}


def test_solutions_are_known_ones() -> None:
    for rtol in (1e-3, 1e-6, 1e-9):
        y = fd.odeint(lambda y, t: -y, np.array([1.0, 2.0]), TS, rtol=rtol, atol=rtol / 10)
        assert_trees_close(y, np.exp(-TS)[:, None] * [1.0, 2.0], 20 * rtol)
    y = fd.odeint(lambda y, t: fnp.cos(t) * y, 2.0, TS, **EXACT)
    assert_trees_close(y, 2 * np.exp(np.sin(TS)), 1e-9)
    back = fd.odeint(lambda y, t: fnp.cos(t) * y, y[-1], TS[::-1], **EXACT)
    assert_trees_close(back[::-1], y, 1e-9)
    stiff = fd.odeint(lambda y, t: -1000 * (y - fnp.cos(t)), 0.0, np.array([0.0, 1.0]))
    assert stiff[1] == pytest.approx(np.cos(1), abs=1e-2)


def test_dtypes_are_kept() -> None:
    y = fd.odeint(lambda y, t: {"a": -y["a"], "b": y["b"] * t}, {"a": np.ones(2, np.float32), "b": np.ones((), np.float64)}, TS)
    assert (y["a"].dtype, y["b"].dtype) == (np.float32, np.float64)
    assert fd.odeint(lambda y, t: -y * t, np.ones(2, np.float32), TS).dtype == np.float32
    gradient = fd.grad(lambda y: fd.odeint(lambda y, t: -y * t, y, TS, rtol=1e-4)[-1].sum())(np.ones(2, np.float32))
    assert gradient.dtype == np.float32
    assert_trees_close(gradient, np.full(2, np.exp(-(1.1**2) / 2), np.float32), 1e-4)


def test_derivatives_are_finite_differences() -> None:
    check_grads(lambda y, p: fd.odeint(pendulum, y, TS, p, **NEAR), (STATE, P), order=1)
    check_grads(lambda ts: fd.odeint(pendulum, STATE, ts, P, **NEAR), (TS,), order=1)


def test_second_derivatives() -> None:
    modes = ("fwd", "rev") if NIGHTLY else ("rev",)  # test_transform_laws has the other orders of the two
    check_grads(lambda k: fd.odeint(lambda y, t, k: -k * y**2, 1.0, TS[:2], k, **NEAR), (0.8,), order=2, modes=modes, tolerance=1e-5)
    f = lambda k: fd.odeint(lambda y, t: -k * y, 0.5, TS, **NEAR)[-1]  # k by the closure
    assert_trees_close(fd.hessian(f)(0.7), np.array(0.5 * 1.21 * np.exp(-0.77)), 1e-7)


@settings(max_examples=5)
@given(st.floats(0.2, 2), st.floats(-1, 1))
def test_linear_equations_have_exponential_derivatives(k: float, y0: float) -> None:
    of_y, of_k = fd.grad(lambda y, k: fd.odeint(lambda y, t, k: -k * y, y, TS, k, **EXACT)[-1], argnums=(0, 1))(y0, k)
    assert of_y == pytest.approx(np.exp(-1.1 * k), rel=1e-8)
    assert of_k == pytest.approx(-1.1 * y0 * np.exp(-1.1 * k), rel=1e-7, abs=1e-9)


def test_batched_and_compiled() -> None:
    solve = lambda y, k: fd.odeint(lambda y, t, k: -k * y * fnp.cos(t), y, TS, k)
    last = lambda y, k: solve(y, k)[-1].sum()
    y, k = np.array([0.5, 1.0]), np.array([0.3, 0.7])
    assert_trees_close(fd.vmap(solve, (None, 0))(y, k), np.stack([solve(y, c) for c in k]), 1e-7)
    assert_trees_close(fd.vmap(fd.grad(last, 1), (None, 0))(y, k), np.stack([fd.grad(last, 1)(y, c) for c in k]), 1e-7)
    for function in (solve, fd.grad(last, argnums=(0, 1))) if NIGHTLY else (fd.grad(last, argnums=(0, 1)),):
        compiled = fd.compile(function)
        for _ in range(2):
            assert_trees_equal(compiled(y, k[0]), function(y, k[0]))
    assert_trees_equal(fd.grad(fd.compile(last), argnums=(0, 1))(y, k[0]), fd.grad(last, argnums=(0, 1))(y, k[0]))


def test_memory_does_not_grow_with_the_steps() -> None:
    """The tape of a solution grows with its times, not its steps: a hundred times the steps give the same nodes."""
    sizes = []
    for rate in (1.0, 1000.0):
        nodes: list[Any] = []

        def last(y: Any) -> Any:
            nodes.append(y.level.nodes)
            return fd.odeint(lambda y, t: -rate * (y - fnp.cos(t)), y, np.array([0.0, 1.0]))[-1]

        _, pullback = fd.vjp(last, 0.5)
        sizes.append(len(nodes[0]))
        pullback.release()
    assert sizes[0] == sizes[1]


def test_mistakes() -> None:
    with pytest.raises(ShapeError, match=r"ts is float64\[\]; pass the times as one axis"):
        fd.odeint(lambda y, t: y, 1.0, 1.0)
    with pytest.raises(ShapeError, match=r"the function returns float64\[1\] at 'a', but y0 is float64\[2\]"):
        fd.odeint(lambda y, t: {"a": y["a"][:1]}, {"a": np.ones(2)}, TS)
    with pytest.raises(ShapeError, match=r"returns float64\[2\], but y0 is float32\[2\]: shapes and dtypes"):
        fd.odeint(lambda y, t: np.ones(2) * y, np.ones(2, np.float32), TS)
    with pytest.raises(StructureError, match=r"odeint: y0 and the result of the function differ at 'a'"):
        fd.odeint(lambda y, t: y["a"], {"a": np.ones(2)}, TS)
    with pytest.raises(DTypeError, match="no floating numbers"):
        fd.odeint(lambda y, t: y, np.array([1, 2]), TS)
    with np.errstate(all="ignore"):
        assert np.isnan(fd.odeint(lambda y, t: y**2, 1.0, np.array([0.0, 2.0]))[-1])


def test_complex_states() -> None:
    f = lambda y, k, ts, to=NEAR: fd.odeint(lambda y, t, k: {"z": 1j * k * y["z"], "x": -abs(y["z"]) ** 2 * y["x"]}, y, ts, k, **to)
    y, k = {"z": np.array([0.5 + 0.2j, 1j]), "x": np.array([0.3, 1.0])}, 0.7 - 0.1j
    assert_trees_close(f(y, k, TS, EXACT)["z"], y["z"] * np.exp(1j * k * TS)[:, None], 1e-9)
    check_grads(f, (y, np.array(k), TS), order=1)


def counted(field: Any) -> tuple[Any, list[int]]:
    calls = [0]

    def counting(y: Any, t: Any) -> Any:
        calls[0] += 1
        return field(y, t)

    return counting, calls


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("field", "y0", "known", "most"),
    [
        (lambda y, t: y * np.nan, 1.0, 1, 40),
        (lambda y, t: y * np.inf, 1.0, 1, 40),
        (lambda y, t: y, np.nan, 0, 40),
        (lambda y, t: fnp.where(t < 0.45, y, np.nan), 1.0, 5, 3000),
        (lambda y, t: y * y, 2.0, 5, 5000),  # infinite at t = 0.5
        (lambda y, t: fnp.sqrt(0.45 - t) + 0 * y, 1.0, 5, 3000),  # leaves its domain
    ],
)
def test_a_solution_that_ends_is_nan_soon(field: Any, y0: float, known: int, most: int) -> None:
    field, calls = counted(field)
    y = fd.odeint(field, y0, np.linspace(0, 1, 11))
    assert np.isfinite(y[:known]).all()
    assert np.isnan(y[-4:]).all()
    assert calls[0] < most
    assert np.isnan(fd.compile(lambda y0: fd.odeint(field, y0, np.linspace(0, 1, 11)))(y0)[-1])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_gradients_of_a_solution_that_ends_are_nan_soon() -> None:
    field, calls = counted(lambda y, t: y * np.nan)
    assert np.isnan(fd.grad(lambda y: fd.odeint(field, y, np.linspace(0, 1, 5))[-1])(1.0))
    assert calls[0] < 200


@pytest.mark.parametrize("span", [1e-9, 1e-2, 1.0, 50.0])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_slope_of_zero_at_the_start_says_little_about_the_first_step(span: float, start: float) -> None:
    ts = np.array([0.0, span])
    for sign in (1, -1):
        y = fd.odeint(lambda y, t: 0.5 * fnp.sqrt(abs(t)) + 0 * y, start, sign * ts)
        expected = start + sign * ts**1.5 / 3
        assert_trees_close(y, expected, 1e-6)
    steep = fd.odeint(lambda y, t: 5 * (t / span) ** 4 / span + 0 * y, start, ts)
    assert_trees_close(steep, start + (ts / span) ** 5, 1e-9)
    flat = fd.odeint(lambda y, t: 0 * y, start, ts)
    assert_trees_close(flat, np.full(2, start), 0)


def test_equal_times_give_equal_rows() -> None:
    y = fd.odeint(lambda y, t: y, 1.0, np.array([0.0, 0.0, 1.0, 1.0]), **EXACT)
    assert_trees_close(y, np.exp([0.0, 0.0, 1.0, 1.0]), 1e-8)


