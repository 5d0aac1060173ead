"""Errors call a transformation by the name the user wrote, whatever it consists of."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import transforms

WRAPPING = ("grad", "value_and_grad", "grad_and_aux", "elementwise_grad", "jacobian", "jacfwd", "jacrev", "hessian", "vmap")
APPLIED: dict[str, Callable[..., Any]] = {
    **{name: lambda f, x, name=name: getattr(fd, name)(f)(x) for name in WRAPPING},
    "jvp": lambda f, x: fd.jvp(f, (x,), (x,)),
    "vjp": lambda f, x: fd.vjp(f, x),
    "hvp": lambda f, x: fd.hvp(f, (x,), (x,)),
    "linearize": lambda f, x: fd.linearize(f, x),
    "linear_transpose": lambda f, x: fd.linear_transpose(f, x),
}
WITH_AUX: dict[str, Callable[..., Any]] = {
    **{name: lambda f, x, name=name: getattr(fd, name)(f, has_aux=True)(x) for name in ("grad", "value_and_grad", "jacobian", "jacfwd", "jacrev", "hessian")},
    "grad_and_aux": APPLIED["grad_and_aux"],
    "jvp": lambda f, x: fd.jvp(f, (x,), (x,), has_aux=True),
    "vjp": lambda f, x: fd.vjp(f, x, has_aux=True),
    "hvp": lambda f, x: fd.hvp(f, (x,), (x,), has_aux=True),
}


def message(function: Callable[[], Any]) -> str:
    with pytest.raises((fd.errors.FdezeroError, TypeError)) as caught:
        function()
    return str(caught.value)


def test_every_transformation_is_asked_for_its_name() -> None:
    made = {name for name in transforms.__all__ if name not in ("custom_jvp", "custom_vjp", "pmean", "psum", "ravel", "stop_gradient")}
    assert made == set(APPLIED)


@pytest.mark.parametrize("name", APPLIED)
def test_errors_name_the_transformation_that_was_called(name: str) -> None:
    def model(x: Any) -> Any:
        return x * float(x.sum())

    text = message(lambda: APPLIED[name](model, np.ones((2, 3))))
    assert f"traced by {name}(model):" in text, text
    assert f"{name} takes a function, got float64[3]. Write {name}(f)" in message(lambda: APPLIED[name](np.ones(3), np.ones(3)))


@pytest.mark.parametrize("name", WITH_AUX)
def test_errors_about_aux_name_the_transformation_that_was_called(name: str) -> None:
    def model(x: Any) -> Any:
        return x

    assert message(lambda: WITH_AUX[name](model, np.ones(3))).startswith(f"{name}(model) with has_aux=True: ")


@pytest.mark.parametrize("name", [name for name in WRAPPING if name != "vmap"])
def test_errors_about_arguments_name_the_transformation_that_was_called(name: str) -> None:
    def model(x: Any) -> Any:
        return x

    made = getattr(fd, name)
    assert message(lambda: made(model)(3)).startswith(f"{name}(model): argument 0 has nothing to differentiate")
    assert message(lambda: made(model, 1)(3.0)).startswith(f"{name}(model): argnums=1")


@pytest.mark.parametrize("name", ["grad", "value_and_grad", "grad_and_aux", "hvp"])
def test_errors_about_the_value_name_the_transformation_that_was_called(name: str) -> None:
    def model(x: Any) -> Any:
        return (x * 2, x) if name == "grad_and_aux" else x * 2

    assert message(lambda: APPLIED[name](model, np.ones(3))).startswith(f"{name}(model): the function must return a scalar")


def test_errors_within_a_rule_name_its_function() -> None:
    @fd.custom_vjp
    def clipped(x: Any) -> Any:
        return x

    clipped.defvjp(lambda x: (x, None), lambda _, t: (float(t) * t,))
    assert "traced by the rule of clipped:" in message(lambda: fd.jvp(clipped, (1.0,), (1.0,)))


def test_errors_name_operations_and_what_partial_functions_are_made_of() -> None:
    assert message(lambda: fd.grad(fd.numpy.sin)(np.ones(3))).startswith("grad(sin): ")
    assert message(lambda: fd.grad(functools.partial(np.multiply, 2.0))(np.ones(3))).startswith("grad(multiply): ")
