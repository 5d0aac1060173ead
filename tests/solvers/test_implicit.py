"""`custom_root`, `custom_linear_solve`: derivatives by the implicit function theorem, and never through the solver."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

A = np.array([[3.0, 1.0, 0.0], [0.5, 2.0, 1.0], [1.0, 0.0, 4.0]])
B = np.array([1.0, -2.0, 3.0])


def newton(f: Any, x: Any) -> Any:
    return fd.while_loop(lambda x: fnp.any(abs(f(x)) > 1e-13), lambda x: x - f(x) / fd.elementwise_grad(f)(x), x)


def divided(g: Any, y: Any) -> Any:
    return y / g(fnp.ones_like(y))


def cube_root(a: Any) -> Any:
    return fd.custom_root(lambda x: x**3 - a, 1.0, newton, divided)


def jacobi(matvec: Any, b: Any) -> Any:
    """x <- x + (b - A x) / diag(A), a hundred times; `stop_gradient` blocks any derivative through the loop."""
    diagonal = fnp.diagonal(fd.vmap(matvec, out_axes=1)(np.eye(3)))
    x = b / diagonal
    for _ in range(100):
        x = fd.stop_gradient(x + (b - matvec(x)) / diagonal)
    return x


def solved(A: Any, b: Any) -> Any:
    return fd.custom_linear_solve(lambda x: A @ x, b, jacobi, jacobi)


def test_derivatives_of_a_cube_root_are_analytic() -> None:
    f, expected = cube_root, 2.0
    for order in range(4):
        assert f(8.0) == pytest.approx(expected, rel=1e-12)
        expected *= (1 / 3 - order) / 8
        f = fd.grad(f)
    check_grads(cube_root, (np.array(8.0),), order=3, step=0.05)
    assert_trees_close(fd.jvp(cube_root, (8.0,), (1.0,)), (2.0, 1 / 12), 1e-14)


def test_a_root_under_every_transform() -> None:
    a = np.array([1.0, 8.0, 27.0])
    slope = a ** (-2 / 3) / 3
    total = lambda a: fnp.sum(fd.vmap(cube_root)(a))
    assert_trees_close(fd.vmap(cube_root)(a), a ** (1 / 3), 1e-12)
    assert_trees_close(fd.vmap(fd.grad(cube_root))(a), slope, 1e-12)
    assert_trees_close(fd.grad(total)(a), slope, 1e-12)
    assert_trees_close(fd.hessian(total)(a), np.diag(-2 / 9 * a ** (-5 / 3)), 1e-12)
    together = lambda a: fd.custom_root(lambda x: x**3 - a, np.ones(3), newton, divided)
    for transform in (fd.jacobian, fd.jacfwd, fd.jacrev):
        assert_trees_close(transform(together)(a), np.diag(slope), 1e-12)
    of_numbers = [(f, 8.0) for f in (cube_root, fd.grad(cube_root), fd.grad(fd.grad(cube_root)))]
    for transformed, at in [*of_numbers, (fd.vmap(cube_root), a), (fd.vmap(fd.grad(cube_root)), a)]:
        compiled = fd.compile(transformed)
        for _ in range(2):
            assert_trees_equal(compiled(at), transformed(at))
    assert fd.grad(fd.compile(cube_root))(8.0) == fd.grad(cube_root)(8.0)


def test_roots_are_trees_and_the_guess_has_no_derivative() -> None:
    def f(p: Any, guess: Any) -> Any:
        return fd.custom_root(
            lambda x: {"u": x["u"] ** 2 - p["a"] * x["v"], "v": x["v"] - p["a"] * p["n"]},
            guess,
            lambda f, x: {"u": fnp.sqrt(2 * p["a"] ** 2), "v": 2 * p["a"]},
            lambda g, y: dict(zip("uv", triangular(g, y), strict=True)),
        )

    def triangular(g: Any, y: Any) -> Any:
        J = fd.jacobian(g)(y)
        determinant = J["u"]["u"] * J["v"]["v"] - J["u"]["v"] * J["v"]["u"]
        u = (J["v"]["v"] * y["u"] - J["u"]["v"] * y["v"]) / determinant
        return u, (J["u"]["u"] * y["v"] - J["v"]["u"] * y["u"]) / determinant

    p, guess = {"a": np.array(0.7), "n": 2}, {"u": np.array(1.0), "v": np.array(1.0)}
    check_grads(lambda a: f({"a": a, "n": 2}, guess), (p["a"],), order=2)
    of_p, of_guess = fd.grad(lambda p, guess: f(p, guess)["u"], argnums=(0, 1))(p, guess)
    assert of_p["n"] is None
    assert of_p["a"] == pytest.approx(np.sqrt(2))
    assert_trees_equal(of_guess, {"u": np.array(0.0), "v": np.array(0.0)})


def test_linear_solve_in_both_modes_to_second_order() -> None:
    assert_trees_close(solved(A, B), np.linalg.solve(A, B), 1e-14)
    check_grads(solved, (A, B), order=2)
    weights = np.array([1.0, 0.5, -1.0])
    of_A, of_b = fd.grad(lambda A, b: weights @ solved(A, b), argnums=(0, 1))(A, B)
    multipliers = np.linalg.solve(A.T, weights)
    assert_trees_close(of_b, multipliers, 1e-13)
    assert_trees_close(of_A, -np.outer(multipliers, np.linalg.solve(A, B)), 1e-13)


def test_linear_solve_batched_and_compiled() -> None:
    matrices = np.stack([A, A.T, A + np.eye(3)])
    assert_trees_close(fd.vmap(solved, (0, None))(matrices, B), np.linalg.solve(matrices, B), 1e-13)
    check_grads(lambda A, b: fd.vmap(solved, (0, None))(A, b), (matrices, B), order=1)
    gradient = fd.grad(lambda A, b: fnp.sum(solved(A, b) ** 2), argnums=(0, 1))
    loop = [gradient(M, B) for M in matrices]
    assert_trees_close(fd.vmap(gradient, (0, None))(matrices, B), tuple(map(np.stack, zip(*loop, strict=True))), 1e-13)
    inside, around = fd.compile(gradient), fd.grad(fd.compile(lambda A, b: fnp.sum(solved(A, b) ** 2)), argnums=(0, 1))
    for _ in range(2):
        assert_trees_equal(inside(A, B), gradient(A, B))
        assert_trees_equal(around(A, B), gradient(A, B))


def test_a_symmetric_map_needs_no_transpose() -> None:
    S = A @ A.T
    f = lambda S, b: fd.custom_linear_solve(lambda x: (S + S.T) @ x / 2, b, lambda mv, b: _dense(mv, b), symmetric=True)
    check_grads(f, (S, B), order=2)


def _dense(matvec: Any, b: Any) -> Any:
    """Conjugate gradients, exact after three steps; the derivative of the loop itself is never used."""
    x, r = fnp.zeros_like(b), b
    p = r
    for _ in range(3):
        q = matvec(p)
        alpha = (r @ r) / (p @ q)
        x, new = x + alpha * p, r - alpha * q
        p = new + (new @ new) / (r @ r) * p
        r = new
    return fd.stop_gradient(x)


def test_solvers_may_be_numpy_alone() -> None:
    """The solver gets plain arrays, however many transforms are around it."""

    def numpys(matvec: Any, b: Any) -> Any:
        assert type(b) is np.ndarray
        return np.linalg.solve(np.stack([matvec(e) for e in np.eye(3)], axis=1), b)

    check_grads(lambda A, b: fd.custom_linear_solve(lambda x: A @ x, b, numpys, numpys), (A, B), order=2)


def test_mistakes() -> None:
    with pytest.raises(StructureError, match=r"there is no transpose_solve.*symmetric=True"):
        fd.grad(lambda b: fnp.sum(fd.custom_linear_solve(lambda x: A @ x, b, jacobi)))(B)
    with pytest.raises(StructureError, match=r"custom_linear_solve: matvec returned float64\[2\], but float64\[3\] was given"):
        fd.custom_linear_solve(lambda x: x[:2], B, jacobi)
    with pytest.raises(StructureError, match=r"custom_root: solve returned float64\[\], but float64\[3\] was given"):
        fd.custom_root(lambda x: x - B, B, lambda f, x: x.sum(), divided)
    with pytest.raises(StructureError, match=r"differ at 'a'"):
        fd.custom_root(lambda x: {"b": x["a"]}, {"a": B}, newton, divided)


def test_complex_solutions() -> None:
    C, c = A + 1j * A.T / 3, B + 2j
    check_grads(solved, (C, c), order=2)
    hermitian = lambda C, c: fd.custom_linear_solve(lambda x: (C + fnp.conj(C.T)) @ x, c, jacobi, symmetric=True)
    check_grads(hermitian, (C, c), order=2)
    root = lambda p: fd.custom_root(lambda x: x**2 - p, 1 + 1j, newton_steps, divided)
    check_grads(root, (np.array(0.5 + 2j),), order=2)
    assert fd.grad(root, holomorphic=True)(2j) == pytest.approx(1 / (2 * (1 + 1j)))


def newton_steps(f: Any, x: Any) -> Any:
    for _ in range(12):
        value, slope = fd.jvp(f, (x,), (fnp.ones_like(x),))
        x = x - value / slope
    return x
