"""Derivatives of derivatives: a Hessian-vector product, the first five derivatives of tanh, a Jacobian and a Hessian."""

from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn

from .measure import FLOOR, JAX, TORCH, Legs, compared, jitted, ours, peer

ROWS, SIZES = 256, (784, 256, 10)
POINTS, ORDER = 10_000, 5
PARAMETERS = 200
Weights = list[np.ndarray]  # W1 (784, 256), b1, W2 (256, 10), b2


def product_floor(weights: Weights, directions: Weights, x: np.ndarray, t: np.ndarray) -> Callable[[], Weights]:
    """Forward over reverse: each line of the gradient, and beside it its derivative, written with a D."""
    (W1, b1, W2, b2), (DW1, Db1, DW2, Db2) = weights, directions
    rows = np.arange(ROWS)
    h, Dh, slope, g, Dg, scratch = (np.empty((ROWS, SIZES[1]), np.float32) for _ in range(6))
    z, Dz, narrow = (np.empty((ROWS, SIZES[2]), np.float32) for _ in range(3))
    column = np.empty((ROWS, 1), np.float32)
    DgW1, Dgb1, DgW2, Dgb2 = found = [np.empty_like(w) for w in weights]
    more = np.empty_like(W2)

    def product() -> Weights:
        np.matmul(x, W1, out=h)
        np.add(h, b1, out=h)
        np.tanh(h, out=h)
        np.multiply(h, h, out=slope)
        np.subtract(1, slope, out=slope)
        np.matmul(x, DW1, out=Dh)
        np.add(Dh, Db1, out=Dh)
        np.multiply(Dh, slope, out=Dh)
        np.matmul(h, W2, out=z)
        np.add(z, b2, out=z)
        np.matmul(Dh, W2, out=Dz)
        np.matmul(h, DW2, out=narrow)
        np.add(Dz, narrow, out=Dz)
        np.add(Dz, Db2, out=Dz)
        np.max(z, axis=1, keepdims=True, out=column)
        np.subtract(z, column, out=z)
        np.exp(z, out=z)
        np.sum(z, axis=1, keepdims=True, out=column)
        np.divide(z, column, out=z)
        np.multiply(z, Dz, out=narrow)
        np.sum(narrow, axis=1, keepdims=True, out=column)
        np.subtract(Dz, column, out=Dz)
        np.multiply(Dz, z, out=Dz)
        np.multiply(Dz, np.float32(1 / ROWS), out=Dz)
        z[rows, t] -= 1
        np.multiply(z, np.float32(1 / ROWS), out=z)
        np.matmul(z, W2.T, out=g)
        np.matmul(Dh.T, z, out=DgW2)
        np.matmul(h.T, Dz, out=more)
        np.add(DgW2, more, out=DgW2)
        np.sum(Dz, axis=0, out=Dgb2)
        np.matmul(Dz, W2.T, out=Dg)
        np.matmul(z, DW2.T, out=scratch)
        np.add(Dg, scratch, out=Dg)
        np.multiply(Dg, slope, out=Dg)
        np.multiply(g, h, out=g)  # and with it g dslope = -2 g h dh
        np.multiply(g, Dh, out=g)
        np.add(g, g, out=g)
        np.subtract(Dg, g, out=Dg)
        np.matmul(x.T, Dg, out=DgW1)
        np.sum(Dg, axis=0, out=Dgb1)
        return found

    return product


def product_legs() -> Legs:
    rng = np.random.default_rng(0)
    model = nn.MLP.init(fd.random.key(0), SIZES, activation=F.tanh)
    weights = fd.tree.leaves(model)
    directions = [rng.standard_normal(w.shape, np.float32) for w in weights]
    direction = fd.tree.unflatten(fd.tree.flatten(model)[1], directions)
    x, t = rng.random((ROWS, SIZES[0]), np.float32), rng.integers(0, SIZES[2], ROWS)

    def product(model: nn.MLP, direction: nn.MLP, x: Any, t: Any) -> Any:
        gradient = fd.grad(lambda model: F.softmax_cross_entropy(model(x), t))
        return fd.jvp(gradient, (model,), (direction,))[1]

    legs = {FLOOR: product_floor(weights, directions, x, t), **ours(product, model, direction, x, t)}
    if (jax := peer("jax")) is not None:

        def jax_product(weights: Any, directions: Any, x: Any, t: Any) -> Any:
            def loss(weights: Any) -> Any:
                W1, b1, W2, b2 = weights
                scores = jax.nn.log_softmax(jax.numpy.tanh(x @ W1 + b1) @ W2 + b2)
                return -jax.numpy.take_along_axis(scores, t[:, None], axis=1).mean()

            return jax.jvp(jax.grad(loss), (weights,), (directions,))[1]

        legs[JAX] = jitted(jax, jax_product, weights, directions, x, t)
    if (torch := peer("torch")) is not None:
        W1, b1, W2, b2 = parameters = [torch.tensor(w, requires_grad=True) for w in weights]
        others, x_torch, t_torch = [torch.tensor(w) for w in directions], torch.tensor(x), torch.tensor(t)

        def torch_product() -> Any:
            h = torch.tanh(torch.addmm(b1, x_torch, W1))
            loss = torch.nn.functional.cross_entropy(torch.addmm(b2, h, W2), t_torch)
            gradients = torch.autograd.grad(loss, parameters, create_graph=True)
            return torch.autograd.grad(gradients, parameters, others)

        legs[TORCH] = torch_product
    return legs


def five_floor(x: np.ndarray) -> Callable[[], list[np.ndarray]]:
    """All are polynomials in y = tanh(x): f1 = 1 - y², f2 = -2 y f1, f3 = f1 (6 y² - 2), f4 = f1 y (16 - 24 y²), f5 = f1 (16 + 120 y² (y² - 1))."""
    y, square = np.empty_like(x), np.empty_like(x)
    f1, f2, f3, f4, f5 = found = [np.empty_like(x) for _ in range(ORDER)]

    def five() -> list[np.ndarray]:
        np.tanh(x, out=y)
        np.multiply(y, y, out=square)
        np.subtract(1, square, out=f1)
        np.multiply(y, f1, out=f2)
        np.multiply(square, -24, out=f4)
        np.add(f4, 16, out=f4)
        np.multiply(f4, f2, out=f4)
        np.multiply(f2, -2, out=f2)
        np.multiply(square, 6, out=f3)
        np.subtract(f3, 2, out=f3)
        np.multiply(f3, f1, out=f3)
        np.multiply(square, f1, out=f5)
        np.multiply(f5, -120, out=f5)
        np.add(f5, 16, out=f5)
        np.multiply(f5, f1, out=f5)
        return found

    return five


def five(grad: Any, np: Any) -> Callable[[Any], list[Any]]:
    def derivatives(x: Any) -> list[Any]:
        function, found = np.tanh, []
        for _ in range(ORDER):
            function = grad(lambda x, function=function: function(x).sum())
            found.append(function(x))
        return found

    return derivatives


def five_legs() -> Legs:
    x = np.linspace(-3, 3, POINTS)
    legs = {FLOOR: five_floor(x), **ours(five(fd.grad, np), x)}
    if (jax := peer("jax")) is not None:
        legs[JAX] = jitted(jax, five(jax.grad, jax.numpy), x)
    if (torch := peer("torch")) is not None:

        def torch_five() -> list[Any]:
            v = torch.tensor(x, requires_grad=True)
            y, found = torch.tanh(v), []
            for i in range(ORDER):
                (y,) = torch.autograd.grad(y.sum(), v, create_graph=i < ORDER - 1)
                found.append(y.detach())
            return found

        legs[TORCH] = torch_five
    return legs


def residuals(concatenate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def jacobian_floor(x: np.ndarray) -> Callable[[], np.ndarray]:
    n = x.size
    J = np.empty((2 * (n - 1), n))
    first, second = J.reshape(-1)[: n * (n - 1)], J.reshape(-1)[n * (n - 1) :]

    def jacobian() -> np.ndarray:
        J.fill(0)
        np.multiply(x[:-1], -20, out=first[:: n + 1])
        first[1 :: n + 1] = 10
        second[:: n + 1] = -1
        return J

    return jacobian


def hessian_floor(x: np.ndarray) -> Callable[[], np.ndarray]:
    n = x.size
    H = np.empty((n, n))
    diagonal, above, below = H.reshape(-1)[:: n + 1], H.reshape(-1)[1 :: n + 1], H.reshape(-1)[n :: n + 1]

    def hessian() -> np.ndarray:
        H.fill(0)
        np.multiply(x[:-1], -400, out=above)
        below[:] = above
        inner = diagonal[:-1]
        np.multiply(x[:-1], x[:-1], out=inner)
        np.multiply(inner, 3, out=inner)
        np.subtract(inner, x[1:], out=inner)
        np.multiply(inner, 400, out=inner)
        np.add(inner, 2, out=inner)
        np.add(diagonal[1:], 200, out=diagonal[1:])
        return H

    return hessian


def jacobian_legs(x: np.ndarray) -> Legs:
    r, columns = residuals(np.concatenate), np.eye(x.size)

    def jacobian(x: Any) -> Any:
        return fd.vmap(lambda v: fd.jvp(r, (x,), (v,))[1], out_axes=1)(columns)

    legs = {FLOOR: jacobian_floor(x), **ours(jacobian, x)}
    if (jax := peer("jax")) is not None:
        legs[JAX] = jitted(jax, jax.jacfwd(residuals(jax.numpy.concatenate)), x)
    if (torch := peer("torch")) is not None:
        legs[TORCH] = lambda: torch.func.jacfwd(residuals(torch.cat))(torch.tensor(x))
    return legs


def hessian_legs(x: np.ndarray) -> Legs:
    columns = np.eye(x.size)

    def hessian(x: Any) -> Any:
        return fd.vmap(lambda v: fd.jvp(fd.grad(rosenbrock), (x,), (v,))[1])(columns)

    legs = {FLOOR: hessian_floor(x), **ours(hessian, x)}
    if (jax := peer("jax")) is not None:
        legs[JAX] = jitted(jax, jax.hessian(rosenbrock), x)
    if (torch := peer("torch")) is not None:
        legs[TORCH] = lambda: torch.func.hessian(rosenbrock)(torch.tensor(x))
    return legs


def run_product() -> str:
    return compared("a Hessian-vector product", {"": product_legs()}, 15, rtol=1e-3, atol=1e-5)


def run_five() -> str:
    return compared("f' to f'''''", {"": five_legs()}, 31, unit="us", rtol=1e-9, atol=1e-12)


def run_matrices() -> str:
    x = np.random.default_rng(0).standard_normal(PARAMETERS)
    cases = {"Jacobian, 398 x 200": jacobian_legs(x), "Hessian, 200 x 200": hessian_legs(x)}
    return compared("Rosenbrock, 200 parameters", cases, 31, unit="us", rtol=1e-12, atol=1e-9)
