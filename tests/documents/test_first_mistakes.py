"""Mistakes of the first hour, whatever library people come from: the errors say what to write instead."""

import dataclasses
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import strategies as st

import fdezero as fd
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.errors import ImmutableError, RangeError, ShapeError, StaticError, StructureError, TraceError
from fdezero.testing import arrays, check_grads, given_gradients

X = np.ones(3)



class Forward(fd.Module):
    """A layer written by habit."""

    W: Any

    def forward(self, x: Any) -> Any:
        return x @ self.W


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "jit": (lambda: fd.jit, AttributeError, "has no attribute 'jit': use fd.compile"),  # type: ignore[attr-defined]
    "the old decorator": (lambda: fd.module, AttributeError, r"use `class Layer\(fd\.Module\)` without a decorator"),  # type: ignore[attr-defined]
    "no such name": (lambda: fd.nothing, AttributeError, "has no attribute 'nothing'$"),  # type: ignore[attr-defined]
    "argnums by name": (lambda: fd.grad(np.sum, argnums="x")(X), TypeError, r"argnums='x', but 1 positional argument was given\. Positions count"),
    "argnums too large": (lambda: fd.hessian(np.sum, argnums=(0, 3))(X), TypeError, r"argnums=\(0, 3\), but 1 positional"),
    "called too early": (lambda: fd.vmap(np.sin(X))(X), TypeError, r"vmap takes a function, got float64\[3\]. Write vmap\(f\)"),
    "text": (lambda: fd.grad(np.sum)("x"), TypeError, "got str.*Give a float, an array"),
    "an int": (lambda: fd.grad(np.sum)(3), TypeError, r"Say 3\.0"),
    "three results": (lambda: fd.grad(lambda x: (x, 1, 2), has_aux=True)(1.0), StructureError, r"\(value, aux\), got a tuple of 3"),
    "jvp": (lambda: fd.jvp(np.sin, X, X), TypeError, r"primals are a tuple.*Write \(x,\) instead of x"),
    "hvp": (lambda: fd.hvp(np.sum, (X,), X), TypeError, "tangents are a tuple"),
    "check_grads": (lambda: check_grads(np.sin, X), TypeError, "arguments are a tuple"),
    "modes": (lambda: check_grads(np.sin, (X,), modes="forward"), RangeError, "got 'forward'"),
    "no strategy": (lambda: given_gradients(np.sin, X), TypeError, r"got float64\[3\]. Pass, for example, arrays"),  # type: ignore[arg-type]
    "if under vmap": (lambda: fd.vmap(lambda x: x if x > 0 else -x)(X), TraceError, r"the truth .* whole batch.*fd\.numpy\.where"),
    "float under vmap": (lambda: fd.vmap(lambda x: float(x))(X), TraceError, r"float\(\) of .* whole batch"),
    "PyTorch's method": (lambda: fd.grad(lambda x: x.detach().sum())(X), AttributeError, r"write fd\.stop_gradient\(x\)"),
    "JAX's method": (lambda: fd.grad(lambda x: x.at[0].set(1.0).sum())(X), AttributeError, r"fd\.at\(x\)"),
    "axis": (lambda: fnp.sum(X, axis="rows"), TypeError, "an axis must be an integer, .* got 'rows'"),
    "a power": (lambda: fnp.linalg.matrix_power(np.eye(2), 0.5), TypeError, r"n must be an integer, got float 0\.5"),
    "at": (lambda: fd.at(X).__setitem__(0, 1.0), ImmutableError, r"fd\.at\(x\)\[index\]\.set\(y\)"),
    "concatenate": (lambda: fnp.concatenate([X, np.ones((2, 3))]), ShapeError, r"all axes but axis 0 must agree, got float64\[3\], float64\[2,3\]"),
    "a vector in a product": (lambda: fnp.matmul(np.ones((3, 4)), X), ShapeError, r"\(3, 4\) and \(3,\).*the only axis of the second \(3\)"),
    "while_loop": (lambda: fd.while_loop(lambda x: x > 0, lambda x: x - 1, X), ShapeError, r"the condition must be a scalar.*\.any\(\)"),
    "backward rule": (lambda: fd.grad(ruled(lambda r, t: (t,)))(1.0, 2.0), StructureError, "a tuple of 2 gradients, one per argument, got a tuple of 1"),
    "forward": (lambda: Forward(X)(X), TypeError, r"^Forward defines forward, which nobody calls here\. Name the method __call__"),
    "the model in the optimiser": (lambda: optim.adam(nn.Linear.init(fd.random.key(0), 2, 3)), TypeError, r"^adam: lr is a number .* got a Linear\. .* state = opt\.init\(model\)"),
    "static": (lambda: fd.compile(np.sum, static=(1,)), StaticError, "names of arguments, not their positions; got 1"),  # type: ignore[list-item]
    "sizes": (lambda: nn.Linear(4, 3)(np.ones(4)), StructureError, r"write nn\.Linear\.init\(key, 4, 3\)"),
    "activation": (lambda: nn.MLP.init(fd.random.key(0), (4, 3), activation="relu"), StructureError, "got 'relu'"),  # type: ignore[arg-type]
    "state": (lambda: optim.adam().step(X, X, optim.sgd(0.1).init(X)), StructureError, "adam got the state of another optimiser"),
    "save": (lambda: fd.save({"x": X}, "x.npz"), TypeError, "the path comes first"),  # type: ignore[arg-type]
}



def ruled(backward: Callable[..., Any]) -> Any:
    function = fd.custom_vjp(lambda x, y: x * y)
    function.defvjp(lambda x, y: (x * y, None), backward)
    return function


@pytest.mark.parametrize("name", MISTAKES)
def test_error_says_what_to_write(name: str) -> None:
    mistake, kind, text = MISTAKES[name]
    with pytest.raises(kind, match=text):
        mistake()


def test_a_layer_does_not_assign_its_parameters() -> None:
    class Own(fd.Module):
        def __init__(self) -> None:
            self.W = X

    with pytest.raises(ImmutableError, match=r"has no field W: declare it in the class body.*cls\(W=\.\.\.\)"):
        Own()


def unannotated(**body: Any) -> Callable[[], Any]:
    return lambda: type("Layer", (fd.Module,), body)


def annotated(*bases: Any, **body: Any) -> Callable[[], Any]:
    return lambda: type("Layer", bases or (fd.Module,), {"__annotations__": dict.fromkeys(body, Any), **body})


DECLARATIONS = {
    "None": (unannotated(W=None), r"Layer\.W has no annotation: `W: np\.ndarray = \.\.\.` makes it a field"),
    "an array": (unannotated(W=X), r"`W: ClassVar = \.\.\.` a constant of the class"),
    "a layer": (unannotated(inner=nn.Linear(X)), r"Layer\.inner has no annotation"),
    "a static field": (unannotated(size=fd.static(default=3)), r"Layer\.size has no annotation"),
    "another default": (lambda: type("Half", (nn.Dropout,), {"rate": 0.25}), r"Half\.rate has no annotation"),
    "a list": (annotated(layers=[]), r"Layer\.layers has a mutable default, list.*attrs\.field\(factory"),
    "an array as default": (annotated(W=attrs.field(default=X)), r"mutable default, float64\[3\]"),
    "attrs.frozen": (lambda: attrs.frozen(annotated(W=attrs.field())()), "Layer is an attrs class already.*remove the decorator"),
    "attrs.define": (lambda: attrs.define(annotated(W=attrs.field())()), "remove the decorator"),
    "attrs without slots": (lambda: attrs.frozen(slots=False)(annotated(W=attrs.field())()), "remove the decorator"),
    "dataclass": (lambda: dataclasses.dataclass(slots=True)(annotated(W=attrs.field())()), "remove the decorator"),
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARATIONS)
def test_a_wrong_declaration_says_what_to_write(name: str) -> None:
    declare, text = DECLARATIONS[name]
    with pytest.raises(StructureError, match=text):
        declare()


def test_a_field_without_default_comes_first() -> None:
    ours, of_attrs = r"Layer\.scale has no default, but follows b, .*kw_only=True", r"No mandatory attributes.*name='scale'"
    with pytest.raises(ValueError, match=f"{ours}|{of_attrs}"):  # attrs before 25.4 looks at the order itself
        annotated(nn.Linear, scale=attrs.field())()
    by_name = annotated(nn.Linear, scale=attrs.field(kw_only=True))()(X, scale=2.0)
    assert fd.tree.paths(by_name) == ["W", "scale"]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_dataclass_stays_a_module(frozen: bool) -> None:
    @dataclasses.dataclass(frozen=frozen)
    class Layer(fd.Module):
        W: Any
        size: int = fd.static(default=2)

    layer = fd.tree.map(lambda W: 2 * W, Layer(X))
    assert (fd.tree.paths(layer), layer.size, layer.replace(size=3).size, layer.W[0]) == (["W"], 2, 3, 2.0)
    with pytest.raises((ImmutableError, AttributeError), match="W"):
        layer.W = X


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(TypeError, match=r"Linear.__init__\(\) missing 1 required positional argument: 'W'"):
        nn.Linear()  # type: ignore[call-arg]


def test_correct_code_still_works() -> None:
    assert fd.grad(lambda x: x * x, np.int64(0))(2.0) == 4.0
    assert fd.grad(lambda x, y: x * y, [0, 1])(2.0, 3.0) == (3.0, 2.0)
    assert not hasattr(fd, "__wrapped__")
    assert fd.grad(lambda x: 0.0 if hasattr(x, "detach") else x * x)(2.0) == 4.0
    given_gradients(np.sin, arrays() | st.just(1.0), order=1)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_adam_descends_over_complex_numbers(dtype: Any) -> None:
    z, opt = np.array([3 + 4j, -1j], dtype), optim.chain(optim.clip_by_global_norm(1.0), optim.adam(0.1))
    state = opt.init(z)
    for _ in range(400):
        z, state = opt.step(z, fd.grad(lambda z: np.sum(np.abs(z - 1) ** 2))(z), state)
    assert z.dtype == dtype
    np.testing.assert_allclose(z, 1, atol=1e-2)
    assert optim.global_norm({"a": np.array([3j, 4.0], dtype)}) == 5
    assert state["root"].dtype == np.zeros(1, dtype).real.dtype
