"""`custom_jvp` and `custom_vjp` under every transform, with rules that visibly differ from the derivative."""

import functools
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, ShapeError, StructureError, TraceError
from fdezero.testing import assert_trees_close, assert_trees_equal, check_grads

X = np.array([0.1, 0.5, -0.3])


@pytest.fixture
def doubled() -> Any:
    """{"y": exp(x) scale, "n": 3}, with twice its tangent."""

    @fd.custom_jvp
    def f(x: Any, scale: Any) -> Any:
        return {"y": fnp.exp(x) * scale, "n": 3}

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x, scale), (dx, dscale) = primals, tangents
        y = f(x, scale)
        moved = 2 * y["y"] * dx
        return y, {"y": moved if dscale is None else moved + 2 * fnp.exp(x) * dscale, "n": None}

    return f


def test_custom_jvp_under_every_transform(doubled: Any) -> None:
    def f(x: Any) -> Any:
        return doubled(x, 3)["y"]

    assert_trees_equal(f(X), 3 * np.exp(X))
    expected, total = 6 * np.exp(X), lambda x: fnp.sum(f(x))
    assert_trees_close(fd.jvp(f, (X,), (np.ones(3),)), (3 * np.exp(X), expected), 1e-14)
    assert_trees_close(fd.grad(total)(X), expected, 1e-14)
    assert_trees_close(fd.vmap(fd.grad(f))(X), expected, 1e-14)
    assert_trees_close(fd.grad(lambda x: fnp.sum(fd.vmap(f)(x)))(X), expected, 1e-14)
    assert_trees_close(fd.vmap(fd.grad(fd.grad(f)))(X), 2 * expected, 1e-14)  # the rule's own value has the rule
    assert_trees_close(fd.hessian(total)(X), np.diag(2 * expected), 1e-14)
    for compiled in (fd.compile(fd.grad(total)), fd.grad(fd.compile(total)), fd.compile(fd.vmap(fd.grad(f)))):
        for _ in range(2):
            assert_trees_equal(compiled(X), fd.grad(total)(X))


def test_custom_jvp_sums_over_what_is_not_batched(doubled: Any) -> None:
    scales = np.array([3.0, 1.0, 0.5])
    f = lambda x, s: doubled(x, s)["y"]
    of_x = fd.grad(lambda x: fnp.sum(fd.vmap(f, (None, 0))(x, scales)))(X)
    assert_trees_close(of_x, 2 * np.exp(X) * scales.sum(), 1e-14)
    of_s = fd.grad(lambda s: fnp.sum(fd.vmap(f, (0, None))(X, s)))(2.0)
    assert_trees_close(of_s, 2 * np.exp(X).sum(), 1e-14)
    moved = fd.jvp(lambda x, s: fd.vmap(f, (None, 0))(x, s), (X, scales), (np.ones(3), np.zeros(3)))[1]
    assert_trees_close(moved, 2 * np.exp(X) * scales[:, None], 1e-14)
    assert fd.vmap(lambda x: doubled(x, 2)["n"])(X).tolist() == [3, 3, 3]


def test_a_true_rule_passes_check_grads() -> None:
    @fd.custom_jvp
    def log1pexp(x: Any) -> Any:
        return fnp.where(x > 30, x, fnp.log1p(fnp.exp(fnp.minimum(x, 30))))

    log1pexp.defjvp(lambda primals, tangents: (log1pexp(*primals), tangents[0] / (1 + fnp.exp(-primals[0]))))
    check_grads(log1pexp, (X,), order=3)
    assert fd.grad(log1pexp)(1000.0) == 1.0
    assert fd.grad(log1pexp)(np.float32(1)).dtype == np.float32


def test_nondiff_argnums() -> None:
    seen: list[Any] = []

    def power_jvp(function: Any, axis: Any, primals: Any, tangents: Any) -> Any:
        seen.append((axis, function))
        (x,), (t,) = primals, tangents
        return reduced(function, x, axis), 10 * fnp.sum(t, axis=axis)

    @functools.partial(fd.custom_jvp, nondiff_argnums=(0, 2))
    def reduced(function: Any, x: Any, axis: int = 0) -> Any:
        return fnp.sum(function(x), axis=axis)

    reduced.defjvp(power_jvp)
    x = np.arange(6.0).reshape(2, 3)
    for call in (lambda x: reduced(fnp.sin, x, 1), lambda x: reduced(fnp.sin, x, axis=1)):
        assert_trees_close(fd.grad(lambda x: fnp.sum(call(x)))(x), np.full((2, 3), 10.0), 0)
        assert_trees_close(fd.jvp(call, (x,), (x,))[1], 10 * x.sum(1), 0)
    batched = fd.vmap(fd.grad(lambda x: fnp.sum(reduced(fnp.sin, x, 1))))(np.stack([x, x]))
    assert_trees_close(batched, np.full((2, 2, 3), 10.0), 0)
    total = lambda x: fnp.sum(reduced(fnp.sin, x, 1))
    for compiled in (fd.compile(fd.grad(total)), fd.grad(fd.compile(total)), fd.grad(fd.checkpoint(total))):
        assert_trees_close(compiled(x), np.full((2, 3), 10.0), 0)
    assert all(axis == 1 and type(axis) is int and function is fnp.sin for axis, function in seen)


def test_custom_vjp_with_nondiff_argnums() -> None:
    def scaled(x: Any, mode: str, bound: Any) -> Any:
        return x * bound

    f = fd.custom_vjp(scaled, nondiff_argnums=(1, 2))
    f.defvjp(
        lambda x, mode, bound: (x * bound, None),
        lambda mode, bound, residuals, t: (fnp.clip(t, -bound, bound) if mode == "clip" else t,),
    )
    bound = np.array(0.5)
    total = lambda mode: lambda x, b: fnp.sum(3 * f(x, mode, b))
    assert_trees_close(fd.grad(total("clip"))(X, bound), np.full(3, 0.5), 0)
    assert_trees_close(fd.grad(total("none"))(X, bound), np.full(3, 3.0), 0)
    by_bound = fd.vmap(fd.grad(total("clip")), (None, 0))(X, np.array([0.5, 1.0]))
    assert_trees_close(by_bound, np.array([[0.5] * 3, [1.0] * 3]), 0)
    compiled = fd.compile(fd.grad(total("clip")))
    for b in (bound, np.array(0.25), bound):
        assert_trees_equal(compiled(X, b), np.full(3, float(b)))
    with pytest.raises(TraceError, match=r"scaled: argument 2 is in nondiff_argnums .* grad\(<lambda>\) differentiates with respect to it.*stop_gradient"):
        fd.grad(total("clip"), argnums=1)(X, bound)
    assert_trees_close(fd.grad(lambda x: fnp.sum(f(x, "clip", fd.stop_gradient(fnp.sum(x)))))(X), np.full(3, X.sum()), 1e-15)
    with pytest.raises(StructureError, match=r"nondiff_argnums=\(4,\), but 1 arguments"):
        fd.custom_vjp(lambda x: x, nondiff_argnums=(4,))(1.0)


def test_compiled_code_runs_the_function_and_not_its_forward_rule() -> None:
    f = fd.custom_vjp(lambda x: fnp.sin(x))
    f.defvjp(lambda x: (fnp.sin(x) + 0.0 * fnp.exp(x), x), lambda x, t: (t * fnp.cos(x),))
    compiled = fd.compile(f)
    assert_trees_equal(compiled(X), np.sin(X))
    assert "exp" not in str(compiled.graph)


@pytest.mark.parametrize("transform", [fd.grad, lambda f: lambda a: fd.jvp(f, (a,), (1.0,))], ids=["grad", "jvp"])
def test_a_rule_that_cannot_see_a_traced_value_is_an_error(transform: Any) -> None:
    """The derivative by `a` would be lost silently through the closure."""

    def of_jvp(a: Any) -> Any:
        f = fd.custom_jvp(lambda x: x * a)
        f.defjvp(lambda primals, tangents: (primals[0] * a, tangents[0] * 5))
        return f(a * 2)

    def of_vjp(a: Any) -> Any:
        f = fd.custom_vjp(lambda x: x * a)
        f.defvjp(lambda x: (x * a, None), lambda residuals, t: (t * 5,))
        return f(a * 2)

    for function in (of_jvp, of_vjp):
        with pytest.raises(TraceError, match=r"from its closure.*Pass the value as an argument"):
            transform(function)(1.5)
        with pytest.raises(TraceError, match=r"from its closure.*Pass the value as an argument"):
            fd.vmap(function)(X)


def test_what_an_outer_level_traces_goes_its_own_way() -> None:
    def inner(a: Any) -> Any:
        f = fd.custom_jvp(lambda x: x * a)
        f.defjvp(lambda primals, tangents: (primals[0] * a, 5 * a * tangents[0]))
        return fd.grad(f)(2.0)

    assert inner(1.5) == 7.5
    assert fd.grad(inner)(1.5) == 5.0


def test_rules_within_loops() -> None:
    f = fd.custom_jvp(fnp.sin)
    f.defjvp(lambda primals, tangents: (f(*primals), 2 * tangents[0] * fnp.cos(primals[0])))
    loss = lambda x: fnp.sum(fd.scan(lambda carry, row: (f(carry) + row, carry), x, np.ones((3, 3)))[0])
    expected = fd.grad(lambda x: fnp.sum(f(f(f(x) + 1) + 1) + 1))(X)
    assert_trees_close(fd.grad(loss)(X), expected, 1e-15)
    assert_trees_equal(fd.compile(fd.grad(loss))(X), fd.grad(loss)(X))
    assert_trees_close(fd.grad(fd.compile(loss))(X), expected, 1e-15)
    assert_trees_close(fd.compile(fd.hessian(loss))(X), fd.hessian(loss)(X), 1e-13)


def test_methods_have_rules_too() -> None:
    class Model:
        @fd.custom_jvp
        def call(self, x: Any) -> Any:
            return x * 2

        call.nondiff_argnums = (0,)
        call.defjvp(lambda self, primals, tangents: (primals[0] * 2, tangents[0] * 7))

    assert fd.grad(Model().call)(1.0) == 7.0


def test_mistakes_in_rules(doubled: Any) -> None:
    doubled.rule = None
    with pytest.raises(StructureError, match=r"has no rule yet: call f.defjvp\(rule\)"):
        fd.grad(lambda x: doubled(x, 1.0)["y"])(1.0)

    def gradient(rule: Any) -> Any:
        f = fd.custom_jvp(lambda x: {"y": x})
        f.defjvp(rule)
        return fd.grad(lambda x: fnp.sum(f(x)["y"]))(X)

    with pytest.raises(StructureError, match=r"must return \(output, tangent\), got dict"):
        gradient(lambda p, t: {"y": p[0]})
    with pytest.raises(StructureError, match=r"output and tangent differ at 'y'"):
        gradient(lambda p, t: ({"y": p[0]}, {"z": t[0]}))
    with pytest.raises(ShapeError, match=r"tangent at 'y' is float64\[\], but the output is float64\[3\]"):
        gradient(lambda p, t: ({"y": p[0]}, {"y": t[0].sum()}))
    assert_trees_equal(gradient(lambda p, t: ({"y": p[0]}, None)), np.zeros(3))

    def backward(pull: Any) -> Any:
        f = fd.custom_vjp(lambda tree: tree["a"] * 2)
        f.defvjp(lambda tree: (tree["a"] * 2, None), lambda residuals, t: pull(t))
        return fd.grad(lambda a: fnp.sum(f({"a": a})))(X)

    with pytest.raises(StructureError, match=r"argument 0 and its gradient differ at 'a'"):
        backward(lambda t: ({"b": t},))
    with pytest.raises(ShapeError, match=r"argument 0/a is float64\[3\], but its gradient is float64\[\]"):
        backward(lambda t: ({"a": t.sum()},))
    with pytest.raises(StructureError, match="must return a tuple of 1 gradients"):
        backward(lambda t: {"a": t})
    f = fd.custom_vjp(lambda x: x)
    f.defvjp(lambda x: x, lambda r, t: (t,))
    with pytest.raises(StructureError, match=r"forward rule of .* must return \(output, residuals\)"):
        fd.grad(f)(1.0)


def test_complex_rules_are_adjoints_of_each_other() -> None:
    """Correct rules of one function, holomorphic in z but not in w, in both modes."""
    z, w = X + 1j, 0.5 * X - 0.3j
    function = lambda z, w: fnp.exp(z) * fnp.conj(w)
    by_jvp = fd.custom_jvp(function)
    by_jvp.defjvp(lambda p, t: (by_jvp(*p), fnp.exp(p[0]) * (t[0] * fnp.conj(p[1]) + fnp.conj(t[1]))))
    by_vjp = fd.custom_vjp(function)
    by_vjp.defvjp(lambda z, w: (by_vjp(z, w), (z, w)), lambda r, t: (t * fnp.conj(fnp.exp(r[0])) * r[1], fnp.conj(t) * fnp.exp(r[0])))
    for f in (by_jvp, by_vjp):
        check_grads(f, (z, w), order=2)
        loss, plain = lambda z, w: fnp.sum(abs(f(z, w)) ** 2), lambda z, w: fnp.sum(abs(function(z, w)) ** 2)
        expected = fd.grad(plain, argnums=(0, 1))(z, w)
        assert_trees_close(fd.grad(loss, argnums=(0, 1))(z, w), expected, 1e-13)
        assert_trees_close(fd.grad(fd.compile(loss), argnums=(0, 1))(z, w), expected, 1e-13)
        assert_trees_close(fd.vmap(fd.grad(loss, argnums=(0, 1)))(z[:, None], w[:, None])[0][:, 0], expected[0], 1e-13)


def test_a_complex_tangent_of_a_real_output_is_refused() -> None:
    function = fd.custom_jvp(lambda x: x * 2)
    function.defjvp(lambda primals, tangents: (function(*primals), tangents[0] * (2 + 1j)))
    with pytest.raises(DTypeError, match=r"the tangent is complex128\[3\], but the output is float64\[3\]"):
        fd.jvp(function, (X[:3],), (X[:3],))
