"""Complex numbers: the gradient has its convention, descends, and is the same in every transform and region."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero import optim
from fdezero.errors import DTypeError
from fdezero.testing import assert_trees_close, assert_trees_equal

Z = np.array([1 + 2j, -0.5 + 0.3j, 0.7 - 1.1j])
REAL_VALUED: dict[str, Callable[[Any], Any]] = {
    "squared modulus": lambda z: np.sum(abs(z) ** 2),
    "modulus": lambda z: np.sum(np.abs(np.exp(z) * z + 1 / z)),
    "real part": lambda z: np.sum(np.real(np.sin(z) * np.conj(z))),
    "angle": lambda z: np.sum(np.angle(z) * np.imag(z * z)),
    "powers": lambda z: np.sum(np.abs(z**2.5 + z**3 + 2.5**z)),
    "sign": lambda z: np.sum(np.real(fnp.sign(z) * (1 + 2j))),
    "variance": lambda z: np.var(z) + np.std(z.imag),
    "product": lambda z: np.vdot(z, z[::-1] * z).real,
}
real_valued = pytest.mark.parametrize("f", REAL_VALUED.values(), ids=REAL_VALUED.keys())


def numeric_gradient(f: Callable[[Any], Any], z: Any) -> Any:
    """df/dx + i df/dy by central differences."""
    gradient = np.zeros_like(z)
    for i in range(len(z)):
        for unit in (1, 1j):
            step = np.zeros_like(z)
            step[i] = 1e-6 * unit
            gradient[i] += unit * (f(z + step) - f(z - step)) / 2e-6
    return gradient


@real_valued
def test_the_gradient_is_df_dx_plus_i_df_dy_in_every_transform(f: Callable[[Any], Any]) -> None:
    expected = numeric_gradient(f, Z)
    gradient = fd.grad(f)
    assert_trees_close(gradient(Z), expected, 1e-8)
    for same in (fd.compile(gradient), fd.grad(fd.compile(f)), fd.grad(fd.checkpoint(f))):
        assert_trees_equal(same(Z), gradient(Z))
        assert_trees_equal(same(Z), gradient(Z))
    assert_trees_close(fd.vmap(gradient)(np.stack([Z, 2 * Z]))[1], gradient(2 * Z), 1e-12)
    tangent = np.array([0.3 - 0.2j, 1j, -1 + 0j])
    assert_trees_close(fd.jvp(f, (Z,), (tangent,))[1], np.vdot(expected, tangent).real, 1e-8)


@real_valued
def test_a_step_against_the_gradient_descends(f: Callable[[Any], Any]) -> None:
    before, gradient = f(Z), fd.grad(f)(Z)
    assert f(Z - 1e-4 * gradient) < before


@real_valued
def test_second_derivatives_are_differences_of_first_ones_and_symmetric(f: Callable[[Any], Any]) -> None:
    v, w = np.array([0.3 - 0.2j, 1j, -1 + 0j]), np.array([1 + 1j, 0.2 + 0j, -0.4j])
    gradient = fd.grad(f)
    expected = (gradient(Z + 1e-6 * v) - gradient(Z - 1e-6 * v)) / 2e-6
    forward = fd.jvp(gradient, (Z,), (v,))[1]
    reverse = fd.grad(lambda z: np.real(np.vdot(v, gradient(z))))(Z)
    assert_trees_close(forward, expected, 1e-7)
    assert_trees_close(reverse, expected, 1e-7)
    other = fd.jvp(gradient, (Z,), (w,))[1]
    assert_trees_close(np.vdot(w, forward).real, np.vdot(v, other).real, 1e-10)


def test_training_on_complex_parameters_finds_the_least_squares_solution() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((6, 3)) + 1j * rng.standard_normal((6, 3))
    b = rng.standard_normal(6) + 1j * rng.standard_normal(6)
    opt = optim.sgd(0.02)
    params = {"x": np.zeros(3, complex)}
    state = opt.init(params)

    @fd.compile
    def step(params: Any, state: Any) -> Any:
        grads = fd.grad(lambda p: np.sum(np.abs(a @ p["x"] - b) ** 2))(params)
        return opt.step(params, grads, state)

    for _ in range(800):
        params, state = step(params, state)
    assert_trees_close(params["x"], np.linalg.lstsq(a, b, rcond=None)[0], 1e-6)


def test_holomorphic_gives_the_complex_derivative() -> None:
    assert fd.grad(lambda z: z**3, holomorphic=True)(1 + 1j) == pytest.approx(6j)
    value, derivative = fd.value_and_grad(lambda z: np.exp(1j * z), holomorphic=True)(0.3 - 0.1j)
    assert derivative == pytest.approx(1j * value)
    assert fd.grad(fd.grad(np.sin, holomorphic=True), holomorphic=True)(0.5 + 0.5j) == pytest.approx(-np.sin(0.5 + 0.5j))


def test_what_is_real_gets_a_real_gradient_and_what_is_single_a_single_one() -> None:
    assert fd.grad(lambda x: abs(np.exp(1j * x) + 2))(np.float32(3)).dtype == np.float32
    assert fd.grad(lambda x: abs(x * 1j + 2))(3.0) == pytest.approx(3 / abs(2 + 3j))
    w, z = np.ones((2, 3)), np.array([1j, 2, 3 - 1j])
    gradient = fd.grad(lambda w: np.sum(np.abs(w @ z) ** 2))(w)
    assert gradient.dtype == np.float64
    assert_trees_close(gradient, np.real(2 * np.conj(w @ z)[:, None] * z), 1e-12)
    assert fd.grad(lambda z: np.sum(np.abs(z)))(Z.astype(np.complex64)).dtype == np.complex64


def test_python_numbers_may_be_complex() -> None:
    gradient = fd.grad(lambda z: abs(z) ** 2 + np.imag(z))
    assert gradient(3 + 4j) == pytest.approx(6 + 9j)
    assert fd.compile(gradient)(3 + 4j) == pytest.approx(6 + 9j)


def test_a_custom_rule_speaks_of_the_gradients_of_users() -> None:
    @fd.custom_vjp
    def squared(z: Any) -> Any:
        return z * z

    squared.defvjp(lambda z: (z * z, z), lambda z, t: (2 * np.conj(z) * t,))

    def f(z: Any) -> Any:
        return np.sum(np.imag(squared(z) * (1 + 1j)))

    def plain(z: Any) -> Any:
        return np.sum(np.imag(z * z * (1 + 1j)))

    expected = fd.grad(plain)(Z)
    for gradient in (fd.grad(f), fd.compile(fd.grad(f)), fd.grad(fd.compile(f)), fd.compile(fd.grad(fd.compile(f)))):
        assert_trees_close(gradient(Z), expected, 1e-12)
    v = np.array([0.3 - 0.2j, 1j, -1 + 0j])
    assert_trees_close(fd.jvp(f, (Z,), (v,))[1], fd.jvp(plain, (Z,), (v,))[1], 1e-12)
    assert_trees_close(fd.grad(lambda z: fd.jvp(f, (z,), (v,))[1])(Z), fd.grad(lambda z: fd.jvp(plain, (z,), (v,))[1])(Z), 1e-12)


def test_loops_and_branches_keep_to_the_convention() -> None:
    def looped(z: Any) -> Any:
        last, column = fd.scan(lambda c, x: (c * x + 1j, c * c), z[0], z[1:])
        return np.abs(last) + np.sum(np.imag(column))

    def branched(z: Any) -> Any:
        return np.sum(np.abs(fd.cond(np.real(z[0]) > 0, lambda z: z * z, lambda z: 1 / z, z)))

    for f in (looped, branched):
        expected = numeric_gradient(f, Z)
        for gradient in (fd.grad(f), fd.compile(fd.grad(f)), fd.grad(fd.compile(f))):
            assert_trees_close(gradient(Z), expected, 1e-7)


def test_the_pullback_is_the_adjoint_in_the_real_inner_product() -> None:
    a = np.array([[1 + 1j, 2], [0.5j, -1]])
    _, pullback = fd.vjp(lambda z: a @ z, Z[:2])
    assert_trees_close(pullback(Z[1:])[0], a.conj().T @ Z[1:], 1e-12)


REFUSED: dict[str, Callable[[], Any]] = {
    "jvp": lambda: fd.jvp(np.sin, (Z.real,), (Z,)),
    "jvp of a number": lambda: fd.jvp(np.sin, (1.0,), (1j,)),
    "compiled jvp": lambda: fd.compile(lambda x, t: fd.jvp(np.sin, (x,), (t,)))(Z.real, Z),
    "vjp": lambda: fd.vjp(np.sin, Z.real)[1](Z),
    "linearize": lambda: fd.linearize(np.sin, Z.real)[1](Z),
    "linear_transpose": lambda: fd.linear_transpose(lambda x: 2 * x, Z.real)(Z),
    "hvp": lambda: fd.hvp(lambda x: np.sum(x**3), (Z.real,), (Z,)),
    "vjp of a real value": lambda: fd.vjp(np.abs, Z)[1](Z),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_complex_direction_of_real_numbers_is_refused(name: str) -> None:
    with pytest.raises(DTypeError, match=r"no tangent or cotangent of real numbers.*fd.numpy.real\(t\)"):
        REFUSED[name]()


def test_errors_say_what_to_do_with_a_complex_value() -> None:
    with pytest.raises(DTypeError, match=r"must return a real number, got complex128\[\]. Use fd.numpy.real"):
        fd.grad(np.sum)(Z)
    with pytest.raises(DTypeError, match=r"holomorphic=True is for complex values, got float64\[\]"):
        fd.grad(lambda z: np.sum(np.abs(z)), holomorphic=True)(Z)


def test_parts_of_real_arrays_are_what_numpy_makes_of_them() -> None:
    x = np.array([1.0, -2.0])
    for name in ("real", "imag", "conj", "angle", "absolute", "sign"):
        assert_trees_equal(getattr(fnp, name)(x), getattr(np, name)(x))
        assert_trees_close(getattr(fnp, name)(Z), getattr(np, name)(Z), 1e-15)


def test_complex_trees_go_to_files_and_back(tmp_path: Any) -> None:
    fd.save(tmp_path / "z.npz", {"z": Z, "w": Z.astype(np.complex64)})
    assert_trees_equal(fd.load(tmp_path / "z.npz", like={"z": Z, "w": Z.astype(np.complex64)}), {"z": Z, "w": Z.astype(np.complex64)})


HOLOMORPHIC = {
    "grad": fd.grad, "value_and_grad": fd.value_and_grad, "jacfwd": fd.jacfwd, "jacrev": fd.jacrev, "jacobian": fd.jacobian,
    "hessian": fd.hessian, "elementwise_grad": fd.elementwise_grad,
}  # fmt: skip


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_a_real_argument_or_value_is_not_holomorphic(name: str) -> None:
    transform = HOLOMORPHIC[name]
    for x, hint in ((1.0, r"Pass complex\(1.0\)"), (np.array(1.0), r"Pass x.astype\(np.complex128\)"), (np.float32(1), "np.complex64")):
        with pytest.raises(DTypeError, match=rf"{name}\(<lambda>\): holomorphic=True .* the argument is float.*{hint}"):
            transform(lambda z: (z + 1j) ** 2, holomorphic=True)(x)
    with pytest.raises(DTypeError, match="argument at '1/w' is"):
        transform(lambda z: z[0] * z[1]["w"], holomorphic=True)((1j, {"w": 2.0}))
    with pytest.raises(DTypeError, match="holomorphic=True"):
        transform(lambda z: fnp.abs(z) ** 2, holomorphic=True)(1j)
    for real in (lambda x: (x + 1j) ** 2, lambda x: 2.0 * x):  # the sum of a real and an integer leaf is fine
        found = transform(lambda z: real(z["z"]) * z["n"] * (1 + 0j), holomorphic=True)({"z": 1 + 0j, "n": 1})
        assert found is not None
    assert fd.jvp(lambda x: (x + 1j) ** 2, (1.0,), (1.0,))[1] == 2 + 2j  # a real direction of a complex function
    assert fd.jacfwd(lambda x: (x + 1j) ** 2)(1.0) == 2 + 2j


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_signs_and_moduli_of_any_size_have_their_slopes(scale: float) -> None:
    z = np.complex64(3 + 4j) * np.float32(scale)
    for f, slope in ((lambda z: np.real(fnp.sign(z)), (16 - 12j) / 125 / scale), (np.abs, (3 + 4j) / 5), (np.angle, (-4 + 3j) / 25 / scale)):
        for gradient in (fd.grad(f)(z), fd.compile(fd.grad(f))(z)):
            assert abs(complex(gradient) - slope) <= 1e-6 * abs(slope)
