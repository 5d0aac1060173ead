"""The transformations: nesting, trees, dtypes, custom rules, and the errors for the classic mistakes."""

import gc
import math
import threading
import weakref
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.core.owners import SMALL
from fdezero.errors import DTypeError, EscapedTracerError, ImmutableError, ShapeError, StructureError, TraceError
from fdezero.testing import arrays, assert_trees_close, check_grads, pytrees


class Point(NamedTuple):
    x: Any
    y: Any


@attrs.frozen
class Plain:
    w: Any
    n: int


def test_derivatives_of_tanh_to_the_fifth() -> None:
    f = np.tanh
    expected = [math.tanh(0.3)]
    for _ in range(5):
        f = fd.grad(f)
        expected.append(float(f(0.3)))
    y = expected[0]
    assert expected[1] == pytest.approx(1 - y**2)
    assert expected[5] == pytest.approx(16 - 136 * y**2 + 240 * y**4 - 120 * y**6)


def test_every_nesting_of_two_agrees() -> None:
    x, v = np.array([0.4, -0.7]), np.array([1.0, 0.5])

    def f(x: Any) -> Any:
        return np.sum(np.sin(x) * np.exp(x[::-1]))

    forward_reverse = fd.jvp(fd.grad(f), (x,), (v,))[1]
    reverse_forward = fd.grad(lambda x: fd.jvp(f, (x,), (v,))[1])(x)
    reverse_reverse = fd.grad(lambda x: np.sum(fd.grad(f)(x) * v))(x)
    basis = fd.vmap(lambda e: fd.jvp(fd.grad(f), (x,), (e,))[1])(np.eye(2))
    inside = fd.grad(lambda x: np.sum(fd.vmap(lambda a: np.sin(a) * a)(x)))(x)
    for other in (reverse_forward, reverse_reverse, basis @ v):
        assert_trees_close(other, forward_reverse, 1e-12)
    assert_trees_close(inside, np.cos(x) * x + np.sin(x), 1e-12)


def test_perturbations_are_not_confused() -> None:
    assert fd.grad(lambda x: x * fd.grad(lambda y: x + y)(1.0))(2.0) == 1.0
    assert fd.jvp(lambda x: x * fd.jvp(lambda y: x * y, (3.0,), (1.0,))[1], (2.0,), (1.0,))[1] == 4.0


@given(pytrees(arrays(min_value=-1, max_value=1)))
def test_gradients_have_the_structure_of_any_tree(tree: Any) -> None:
    def f(tree: Any) -> Any:
        return sum(np.sum(np.sin(leaf)) for leaf in fd.tree.leaves(tree))

    gradient = fd.grad(f)(tree)
    assert_trees_close(gradient, fd.tree.map(np.cos, tree), 1e-12)


def test_leaves_without_gradient_get_none() -> None:
    tree = {"p": Point(np.ones(2), 3), "a": Plain(np.ones(2, np.float32), 4), "frozen": fd.Frozen(np.ones(2)), "none": None, "flag": True}

    def f(tree: Any) -> Any:
        assert isinstance(tree["p"], Point)
        assert isinstance(tree["a"], Plain)
        assert tree["p"].y == 3
        return np.sum(tree["p"].x * tree["frozen"].value) + 2 * np.sum(tree["a"].w)

    gradient = fd.grad(f)(tree)
    assert gradient["p"].y is None
    assert gradient["a"].n is None
    assert gradient["frozen"] is gradient["none"] is gradient["flag"] is None
    assert gradient["a"].w.dtype == np.float32
    assert_trees_close(gradient["p"].x, np.ones(2), 0)


def test_argnums_and_aux() -> None:
    def f(x: Any, y: Any) -> Any:
        return x * y**2, {"y": y, "twice": 2 * x}

    (value, aux), gradients = fd.value_and_grad(f, argnums=(0, 1), has_aux=True)(2.0, 3.0)
    assert (value, gradients) == (18.0, (9.0, 12.0))
    assert aux == {"y": 3.0, "twice": 4.0}
    assert fd.grad(f, argnums=-1, has_aux=True)(2.0, 3.0)[0] == 12.0
    with pytest.raises(TypeError, match=r"argnums=2, but 1 positional"):
        fd.grad(lambda x: x, argnums=2)(1.0)


def test_an_unused_argument_has_gradient_zero() -> None:
    assert_trees_close(fd.grad(lambda x, y: y, argnums=0)(np.ones(2), 1.0), np.zeros(2), 0)
    assert fd.jvp(lambda x: 3.0, (1.0,), (1.0,))[1] == 0.0


def test_vjp_can_be_pulled_more_than_once_and_mapped() -> None:
    x = np.array([1.0, 2.0])
    y, pull = fd.vjp(lambda x: np.outer(x, x), x)
    assert y.shape == (2, 2)
    first = pull(np.eye(2))
    assert_trees_close(first, pull(np.eye(2)), 0)
    jacobian = fd.vmap(lambda t: pull(t)[0])(np.eye(4).reshape(4, 2, 2))
    assert_trees_close(jacobian, np.array([[2, 0], [2, 1], [2, 1], [0, 4]], float), 0)
    with pytest.raises(ShapeError, match=r"cotangent is float64\[2\]"):
        pull(np.ones(2))
    with pytest.raises(StructureError, match="cotangent tree"):
        pull((np.eye(2),))


def test_vmap_axes_and_trees() -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert_trees_close(fd.vmap(lambda x: x * 2, in_axes=1, out_axes=1)(x), 2 * x, 0)
    out = fd.vmap(lambda d, y: {"s": d["a"] + y, "c": 1.0}, in_axes=({"a": 0, "b": None}, None))({"a": x, "b": 3.0}, 1.0)
    assert_trees_close(out, {"s": x + 1, "c": np.ones(2)}, 0)
    with pytest.raises(ShapeError, match=r"differ in size"):
        fd.vmap(lambda a, b: a + b)(np.ones(2), np.ones(3))
    with pytest.raises(ShapeError, match=r"no axis 0 to map over"):
        fd.vmap(lambda a, b: a * b)(np.ones(2), 3.0)
    with pytest.raises(TraceError, match=r"the truth"):
        fd.vmap(lambda a: 1.0 if a > 0 else 2.0)(np.ones(2))


def test_stop_gradient() -> None:
    assert fd.grad(lambda x: x * fd.stop_gradient({"a": x})["a"])(3.0) == 3.0
    assert fd.grad(lambda x: x * float(fd.stop_gradient(x)))(3.0) == 3.0
    assert fd.jvp(lambda x: x * fd.stop_gradient(x), (3.0,), (1.0,))[1] == 3.0


@pytest.fixture
def clipped() -> Any:
    """exp with a rule that doubles the gradient, so the rule differs from the derivative."""

    @fd.custom_vjp
    def f(x: Any, scale: Any) -> Any:
        return {"y": fnp.exp(x) * scale}

    f.defvjp(
        lambda x, scale: ({"y": fnp.exp(x) * scale}, (fnp.exp(x), scale)),
        lambda residuals, t: (2.0 * t["y"] * residuals[0] * residuals[1], None),
    )
    return f


def test_custom_vjp_under_every_transform(clipped: Any) -> None:
    x = np.array([0.1, 0.5])

    def f(x: Any) -> Any:
        return clipped(x, 3.0)["y"]

    assert_trees_close(f(x), 3 * np.exp(x), 0)
    expected = 6 * np.exp(x)
    assert_trees_close(fd.grad(lambda x: np.sum(f(x)))(x), expected, 1e-14)
    assert_trees_close(fd.jvp(f, (x,), (np.ones(2),))[1], expected, 1e-14)
    assert_trees_close(fd.vmap(fd.grad(f))(x), expected, 1e-14)
    assert_trees_close(fd.grad(lambda x: np.sum(fd.vmap(f)(x)))(x), expected, 1e-14)
    assert_trees_close(fd.grad(lambda x: np.sum(fd.vmap(lambda s: clipped(x, s)["y"])(np.array([3.0, 1.0]))))(x), expected * 4 / 3, 1e-14)
    assert_trees_close(fd.vmap(fd.grad(fd.grad(f)))(x), expected, 1e-14)


def test_custom_vjp_mistakes(clipped: Any) -> None:
    with pytest.raises(StructureError, match="has no rule yet"):
        fd.grad(fd.custom_vjp(lambda x: x))(1.0)
    clipped.defvjp(clipped.forward, lambda residuals, t: t["y"])
    with pytest.raises(StructureError, match="must return a tuple of 2 gradients"):
        fd.grad(lambda x: clipped(x, 1.0)["y"])(1.0)


# Mistakes and their messages


def test_integers() -> None:
    with pytest.raises(DTypeError, match=r"got int 2.*Say 2\.0"):
        fd.grad(lambda x: x * x)(2)
    with pytest.raises(DTypeError, match=r"int64\[2\].*at 'n'.*astype"):
        fd.grad(lambda x: x)({"n": np.array([1, 2])})


def test_losses_that_are_no_scalar() -> None:
    with pytest.raises(ShapeError, match=r"must return a scalar, got float64\[3\]"):
        fd.grad(lambda x: 2 * x)(np.ones(3))
    with pytest.raises(StructureError, match="has_aux=True"):
        fd.grad(lambda x: (x, x))(1.0)
    with pytest.raises(DTypeError, match="floating scalar"):
        fd.grad(lambda x: np.argmax(x))(np.ones(3))


def test_assignment_into_a_traced_value() -> None:
    def f(x: Any) -> Any:
        x[0] = 1.0
        return x

    with pytest.raises(ImmutableError, match=r"fd\.at\(x\)\[index\]\.set"):
        fd.grad(f)(np.ones(3))

    def g(x: Any) -> Any:
        y = np.zeros(3)
        y[0] = x[0]
        return np.sum(y)

    with pytest.raises((TraceError, ValueError), match=r"fd\.at|sequence"):
        fd.grad(g)(np.ones(3))

    def h(x: Any) -> Any:
        y = np.zeros(3)
        y += x
        return np.sum(y)

    with pytest.raises(ImmutableError, match="Write a = a"):
        fd.grad(h)(np.ones(3))


@pytest.mark.parametrize("view", [False, True])
def test_mutation_of_what_the_tape_holds_is_harmless(view: bool) -> None:
    base = np.ones(4)
    w = base[:2] if view else np.ones(2)

    def f(x: Any) -> Any:
        y = w * x
        (base if view else w)[...] = 0.0
        return np.sum(y)

    assert_trees_close(fd.grad(f)(np.full(2, 3.0)), np.ones(2), 0)
    w[...] = 5.0
    base[...] = 6.0
    assert_trees_close(fd.grad(lambda x: np.sum(x * w))(np.ones(2)), w, 0)


def test_mutation_of_residuals_of_a_custom_rule_is_harmless() -> None:
    product = fd.custom_vjp(lambda x, w: x * w)
    product.defvjp(lambda x, w: (x * w, w), lambda w, t: (t * w, None))
    w = np.full(2, 3.0)

    def f(x: Any, changed: Any) -> Any:
        y = product(x, w)
        changed[...] = 0.0
        return np.sum(y)

    assert_trees_close(fd.grad(f)(np.ones(2), w), np.full(2, 3.0), 0)
    assert_trees_close(fd.grad(f)(np.ones(2), np.ones(2)), np.zeros(2), 0)


def test_a_large_array_is_writable_again_when_the_tape_lets_go() -> None:
    x = np.ones(SMALL)
    _, pull = fd.vjp(lambda x: x * x, x)
    fd.grad(lambda x: np.sum(x * x))(x)
    assert not x.flags.writeable
    del pull
    gc.collect()
    assert x.flags.writeable

    def fails(x: Any) -> Any:
        raise RuntimeError("stop")

    for transform in (fd.grad(fails), lambda x: fd.vjp(fails, x)):
        with pytest.raises(RuntimeError, match="stop"):
            transform(x)
        assert x.flags.writeable


def test_a_tape_keeps_what_the_rules_name_and_nothing_else() -> None:
    made = []

    def product_with(factor: Any) -> Any:
        def f(x: Any) -> Any:
            h = x + 1.0
            made.append(weakref.ref(h.value))
            return h * factor(x)

        return fd.vjp(f, np.ones(3))

    for factor, is_kept in ((lambda x: np.full(3, 2.0), False), (lambda x: x, True)):
        _, pull = product_with(factor)
        gc.collect()
        assert (made.pop()() is not None) is is_kept
        assert pull(np.ones(3))[0].shape == (3,)


def test_values_that_escape() -> None:
    kept = []
    for transform in (fd.grad, fd.vmap):
        transform(lambda x: kept.append(x) or x * 1.0)(np.ones(()) if transform is fd.grad else np.ones(2))
        with pytest.raises(EscapedTracerError, match=r"was used after .* had returned"):
            kept[-1] + 1


def test_numbers_of_traced_values() -> None:
    for number in (float, int, math.sin):
        with pytest.raises(TraceError, match=r"stop_gradient"):
            fd.grad(lambda x: x * number(x))(1.5)
    assert fd.grad(lambda x: x * 2 if x > 0 else x * 3)(1.5) == 2.0
    for x in (1.5, np.array(1.5)):
        assert fd.grad(lambda x: x * 2 if x else x * 3)(x) == 2.0
    assert fd.grad(lambda x: [x, f"{x:.2f}"][0])(1.5) == 1.0


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"matmul cannot multiply shapes \(2, 3\) and \(4, 5\)"):
        fd.grad(lambda x: np.sum(x @ np.ones((4, 5))))(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"add cannot broadcast shapes \(3,\) and \(4,\): axis -1 has sizes 3 and 4"):
        fd.grad(lambda x: np.sum(x + np.ones(4)))(np.ones(3))


def test_tangents_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"the tangent of primal 0 is float64\[2\]"):
        fd.jvp(lambda x: x, (np.ones(3),), (np.ones(2),))
    with pytest.raises(StructureError, match="primal tree of jvp.*tangent tree has nothing"):
        fd.jvp(lambda x: x["a"], ({"a": 1.0},), ({"b": 1.0},))


@given(st.integers(0, 3))
def test_threads_differentiate_at_once(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(5)
    found: list[Any] = []

    def work() -> None:
        for _ in range(20):
            found.append(fd.grad(lambda x: np.sum(np.sin(x) * fd.grad(lambda y: np.sum(y**3))(x)))(x))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60
    assert all(np.array_equal(other, found[0]) for other in found)
    assert x.flags.writeable


def test_a_long_chain_needs_no_recursion() -> None:
    def f(x: Any) -> Any:
        for _ in range(20_000):
            x = x * 1.0001
        return x

    assert fd.grad(f)(1.0) == pytest.approx(1.0001**20_000)


def test_check_grads_finds_a_wrong_custom_rule(clipped: Any) -> None:
    with pytest.raises(AssertionError, match="forward mode of order 1 is wrong"):
        check_grads(lambda x: clipped(x, 3.0), (np.array([0.1, 0.5]),))
