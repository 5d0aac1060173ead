"""`x += y` of a traced value: the result that NumPy gives, or an error where another name would show the old value."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, ImmutableError, ShapeError
from fdezero.numpy.protocol import ASSIGNING

X = np.linspace(0.5, 1.5, 3)

TRANSFORMS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "grad": lambda f: lambda x: fd.grad(lambda x: fnp.sum(f(x)))(x),
    "vjp": lambda f: lambda x: fd.vjp(f, x)[0],
    "jvp": lambda f: lambda x: fd.jvp(f, (x,), (x,)),
    "vmap": lambda f: lambda x: fd.vmap(f)(np.stack([x, x])),
    "compile": fd.compile,
    "debug": fd.debug,
    "checkpoint": lambda f: lambda x: fd.vjp(fd.checkpoint(f), x)[0],
    "grad of grad": lambda f: lambda x: fd.grad(lambda x: fd.grad(lambda x: fnp.sum(f(x)))(x).sum())(x),
    "compile of vmap": lambda f: lambda x: fd.compile(fd.vmap(f))(np.stack([x, x])),
}


def aliased(x: Any) -> Any:
    y = x
    y += 1
    return x * y


def returned(x: Any) -> Any:
    y = x
    y *= 2
    return x


def in_a_function(x: Any) -> Any:
    def centred(h: Any) -> Any:
        h -= h.mean()
        return h

    h = x * 2
    centred(h)
    return h * h


def in_a_container(x: Any) -> Any:
    kept = [x * 1]
    h = kept[0]
    h /= 2
    return kept[0] * h


def by_two_names_of_a_view(x: Any) -> Any:
    y = fnp.reshape(x, x.shape)
    x += 1
    return y * x if y is not x else x + y


WRONG = {"aliased": aliased, "returned": returned, "in a function": in_a_function, "in a container": in_a_container}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", WRONG)
def test_the_use_of_another_name_is_an_error_that_names_the_line(name: str, transform: str) -> None:
    with pytest.raises(ImmutableError, match=r"is used after `(\+|\*|-|/)=` at .*test_assignment\.py, line \d+\. NumPy writes"):
        TRANSFORMS[transform](WRONG[name])(X)


def one_name(x: Any) -> Any:
    h = x * 2
    h += 1
    h *= h
    h -= x
    h /= 3
    h **= 2
    return h


def rebound(x: Any) -> Any:
    def centred(h: Any) -> Any:
        h -= h.mean()
        return h

    h = x * 2
    h = centred(h)
    return h * h


def copies(x: Any) -> Any:
    total = x * 0
    for part in (x.copy(), x.flatten(), x.astype(float), np.copy(x), fnp.array(x), +x, np.conj(x), np.roll(x, 0), np.positive(x)):
        h = part
        h += 1
        total += h * x
    return total


def numbers(x: Any) -> Any:
    total = 0.0
    for i in range(3):
        total += x[i]
    a = x.sum()
    b = a
    b += 1
    return total * a * b + x


def looped(x: Any) -> Any:
    def step(h: Any, row: Any) -> Any:
        h += row
        return h, None

    start = x * 1
    return fd.scan(step, start, np.ones((4, 3)))[0] + start * 0


def in_a_rule(x: Any) -> Any:
    scaled = fd.custom_vjp(lambda x: x * 3)

    def forward(x: Any) -> Any:
        y = x * 3
        x *= 0
        return y, None

    scaled.defvjp(forward, lambda kept, t: (t * 3,))
    return scaled(x) * x


RIGHT: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "one name": (one_name, one_name),
    "rebound": (rebound, rebound),
    "copies": (copies, lambda x: 9 * (x + 1) * x),
    "numbers": (numbers, lambda x: x.sum() ** 2 * (x.sum() + 1) + x),
    "looped": (looped, lambda x: x + 4),
    "in a rule": (in_a_rule, lambda x: 3 * x * x),
}


@pytest.mark.parametrize("transform", [name for name in TRANSFORMS if name not in ("debug",)])
@pytest.mark.parametrize("name", RIGHT)
def test_what_numpy_computes_right_is_right(name: str, transform: str) -> None:
    function, wanted = RIGHT[name]
    found, expected = TRANSFORMS[transform](function)(X), TRANSFORMS[transform](wanted)(X)
    for a, b in zip(fd.tree.leaves(found), fd.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize("name", ["one name", "rebound", "copies", "numbers"])
def test_debug_accepts_what_is_right(name: str) -> None:
    function, wanted = RIGHT[name]
    total = lambda x: fnp.sum(function(x))
    np.testing.assert_allclose(fd.debug(fd.grad(total))(X), fd.grad(lambda x: fnp.sum(wanted(x)))(X), rtol=1e-13)


def test_debug_finds_views_of_what_was_overwritten() -> None:
    def f(x: Any) -> Any:
        h = x * 1
        view = h[1:]
        h += 1
        return (view * view).sum()

    fd.grad(f)(X)  # the view shows the old value, where NumPy shows the new one
    for run in (fd.debug(f), fd.debug(fd.grad(f)), fd.debug(fd.compile(f))):
        with pytest.raises(ImmutableError, match=r"(?s)multiply uses float64\[2\], a view.*h \+= 1.*view \* view"):
            run(X)


@pytest.mark.parametrize("symbol", ASSIGNING.values())
def test_every_operator_assigns_what_numpy_computes(symbol: str) -> None:
    integers = symbol in ("&=", "|=", "^=", "<<=", ">>=")
    x = np.array([[3, 5], [6, 7]]) if integers else np.array([[0.5, 1.5], [2.0, 3.0]])
    y = np.array([[1, 2], [3, 1]]) if integers else np.array([[1.5, 0.5], [1.0, 2.0]])
    assign = getattr(operator, {name: f"i{name}" for name, other in ASSIGNING.items() if other == symbol}.popitem()[0].join(["__i", "__"]))
    expected = x.copy()
    assign(expected, y)
    assert np.array_equal(fd.compile(lambda x: assign(x, y))(x), expected)
    assert np.array_equal(fd.vmap(lambda x: assign(x, y))(x[None])[0], expected)


def test_an_array_keeps_its_shape_and_dtype() -> None:
    def widened(x: Any) -> Any:
        x += np.ones(3)
        return x

    assert fd.vjp(widened, X.astype(np.float32))[0].dtype == np.float32
    with pytest.raises(ShapeError, match=r"`\+=` cannot write float64\[2,3\] into float64\[3\]"):
        fd.vjp(lambda x: operator.iadd(x, np.ones((2, 3))), X)
    with pytest.raises(DTypeError, match=r"`\*=` cannot write complex128\[3\] into float64\[3\]"):
        fd.vjp(lambda x: operator.imul(x, 1j), X)
