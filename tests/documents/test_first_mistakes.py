"""What people do in their first hour, from whichever library they come: the errors say what to write instead."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import fdezero as fd
from fdezero import nn, optim
from fdezero import numpy as fnp
from fdezero.errors import ImmutableError, RangeError, ShapeError, StaticError, StructureError, TraceError
from fdezero.testing import arrays, check_grads, given_gradients

X = np.ones(3)

MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "jit": (lambda: fd.jit, AttributeError, "has no attribute 'jit': use fd.compile"),  # type: ignore[attr-defined]
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
    "no strategy": (lambda: given_gradients(np.sin, X), TypeError, r"got float64\[3\]: say arrays"),  # type: ignore[arg-type]
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
    "static": (lambda: fd.compile(np.sum, static=(1,)), StaticError, "names of arguments, not their positions; got 1"),  # type: ignore[list-item]
    "sizes": (lambda: nn.Linear(4, 3)(np.ones(4)), StructureError, r"got int 4: nn\.Linear\.init"),
    "activation": (lambda: nn.MLP.init(fd.random.key(0), (4, 3), activation="relu"), StructureError, "got 'relu'"),  # type: ignore[arg-type]
    "state": (lambda: optim.adam().step(X, X, optim.sgd(0.1).init(X)), StructureError, "this chain of 2 parts got the state of another"),
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


def test_a_layer_is_declared() -> None:
    class Plain(fd.Module):
        W: np.ndarray

    with pytest.raises(StructureError, match="write @fd.module above `class Plain`"):
        Plain(X)

    @fd.module
    class Own(fd.Module):
        def __init__(self) -> None:
            self.W = X

    with pytest.raises(ImmutableError, match=r"has no field W: declare it in the class body.*cls\(W=\.\.\.\)"):
        Own()

    @fd.module
    class Declared(Plain):
        W: np.ndarray

    assert fd.tree.paths(Declared(X)) == ["W"]

    class Doubled(Declared):
        """With the fields of its base: a tree as that is."""

    assert fd.tree.map(lambda x: 2 * x, Doubled(X)).W[0] == 2


def test_what_is_right_stays_right() -> None:
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
    assert state[1][0].square.dtype == np.zeros(1, dtype).real.dtype
