"""All transformations compose: pairs and triples of them agree with nested forward mode in Python loops.

Every entry of the table turns a function (3,) -> (3,) into another one, once by the transformation and once plainly: by `jvp` along
one direction at a time, or by the same mathematics without the transformation.
"""

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.testing import assert_trees_close

from ..profiles import NIGHTLY, nightly
from .folding import folded

Map = Callable[[Any], Any]

X = np.array([0.3, -0.4, 0.7])
V = np.array([0.5, -1.0, 0.25])
T = np.array([-0.5, 0.75, 1.0])
M = np.array([[0.5, 0.1, 0.0], [0.2, -0.3, 0.4], [0.0, 0.6, 0.2]])
D = np.array([[2.0, 0.5, 0.0], [0.25, 1.5, 0.0], [0.0, 0.25, 1.0]])
EYE = np.eye(3)


class Law(NamedTuple):
    """A transformation, its plain counterpart, and the order of its derivative."""

    fast: Callable[[Map], Map]
    plain: Callable[[Map], Map]
    order: int


def example(x: Any) -> Any:
    return fnp.sin(x) * x[::-1] + M @ x


def along(f: Map, x: Any, v: Any) -> Any:
    return fd.jvp(f, (x,), (v,))[1]


def pushed(f: Map) -> Map:
    return lambda x: along(f, x, V)


def pulled(f: Map, t: Any = T) -> Map:
    return lambda x: fnp.stack([fnp.sum(t * along(f, x, e)) for e in EYE])


def curved(f: Map) -> Map:
    """H v of the sum of T f."""
    return lambda x: fnp.stack([fnp.sum(T * along(lambda y: along(f, y, e), x, V)) for e in EYE])


def same(f: Map) -> Map:
    return f


def weighed(f: Map) -> Map:
    return lambda x: fnp.sum(T * f(x))


def by_rule_of_jvp(f: Map) -> Map:
    g = fd.custom_jvp(f)
    g.defjvp(lambda primals, tangents: fd.jvp(f, primals, tangents))
    return g


def by_rule_of_vjp(f: Map) -> Map:
    g = fd.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, t: fd.vjp(f, x)[1](t))
    return g


def settled(matvec: Map, b: Any) -> Any:
    """Linear equations with a diagonally dominant matrix, by a fixed number of Gauss's steps."""
    A = fd.vmap(matvec, out_axes=1)(EYE)
    rows, right = [A[i] for i in range(3)], [b[i] for i in range(3)]
    for i, j in itertools.permutations(range(3), 2):
        factor = rows[j][i] / rows[i][i]
        rows[j], right[j] = rows[j] - factor * rows[i], right[j] - factor * right[i]
    return fnp.stack([right[i] / rows[i][i] for i in range(3)])


def newton(f: Map, x: Any) -> Any:
    for _ in range(2):
        x = x - settled(lambda v: along(f, x, v), f(x))
    return x


def as_root(f: Map) -> Map:
    def root(x: Any) -> Any:
        target = f(x)
        return fd.custom_root(lambda y: D @ y - target, np.zeros(3), newton, settled)

    return root


def divided(f: Map) -> Map:
    inverse = np.linalg.inv(D)
    return lambda x: inverse @ f(x)


def flowed(f: Map) -> Map:
    """f(x) as the end of a path from zero at constant speed."""
    return lambda x: fd.odeint(lambda y, t, speed: speed + 0 * y, np.zeros(3), np.array([0.0, 1.0]), f(x), rtol=1e-2)[1]


def raveled(f: Map) -> Map:
    def through(x: Any) -> Any:
        vector, unravel = fd.ravel({"a": x[:1], "rest": (x[1], x[2:])})
        tree = unravel(vector)
        return f(fnp.concatenate([tree["a"], tree["rest"][0].reshape(1), tree["rest"][1]]))

    return through



def stopped(f: Map) -> Map:
    return lambda x: f(x) * fd.stop_gradient(fnp.cos(x))


LAWS: dict[str, Law] = {
    "grad": Law(lambda f: fd.grad(weighed(f)), pulled, 1),
    "value_and_grad": Law(lambda f: lambda x: operator.mul(*fd.value_and_grad(weighed(f))(x)), lambda f: lambda x: weighed(f)(x) * pulled(f)(x), 1),
    "grad_and_aux": Law(lambda f: lambda x: sum(fd.grad_and_aux(lambda x: (weighed(f)(x), x * x))(x)), lambda f: lambda x: pulled(f)(x) + x * x, 1),
    "vjp": Law(lambda f: lambda x: fd.vjp(f, x)[1](T)[0], pulled, 1),
    "jvp": Law(lambda f: lambda x: fd.jvp(f, (x,), (V,))[1], pushed, 1),
    "elementwise_grad": Law(fd.elementwise_grad, lambda f: pulled(f, np.ones(3)), 1),
    "jacobian": Law(lambda f: lambda x: fd.jacobian(f)(x) @ V, pushed, 1),
    "jacfwd": Law(lambda f: lambda x: T @ fd.jacfwd(f)(x), pulled, 1),
    "jacrev": Law(lambda f: lambda x: fd.jacrev(f)(x) @ V, pushed, 1),
    "hessian": Law(lambda f: lambda x: fd.hessian(weighed(f))(x) @ V, curved, 2),
    "hvp": Law(lambda f: lambda x: fd.hvp(weighed(f), (x,), (V,))[0], curved, 2),
    "linearize": Law(lambda f: lambda x: fd.linearize(f, x)[1](V), pushed, 1),
    "linear_transpose": Law(lambda f: lambda x: fd.linear_transpose(lambda v: along(f, x, v), x)(T)[0], pulled, 1),
    "vmap": Law(lambda f: lambda x: fd.vmap(f)(fnp.stack([x, 0.5 * x])).sum(0), lambda f: lambda x: f(x) + f(0.5 * x), 0),
    "vmap(grad)": Law(
        lambda f: lambda x: fd.vmap(fd.grad(weighed(f)), in_axes=1, out_axes=1)(fnp.stack([x, 0.5 * x], 1)).sum(1),
        lambda f: lambda x: pulled(f)(x) + pulled(f)(0.5 * x),
        1,
    ),
    "custom_jvp": Law(by_rule_of_jvp, same, 0),
    "custom_vjp": Law(by_rule_of_vjp, same, 0),
    "checkpoint": Law(fd.checkpoint, same, 0),
    "compile": Law(fd.compile, same, 0),
    "stop_gradient": Law(stopped, stopped, 0),
    "ravel": Law(raveled, same, 0),
    "custom_root": Law(as_root, divided, 0),
    "custom_linear_solve": Law(lambda f: lambda x: fd.custom_linear_solve(lambda y: D @ y, f(x), settled, settled), divided, 0),
    "odeint": Law(flowed, same, 0),
}
PAIRS = list(itertools.product(LAWS, LAWS))
FEW = ["grad", "jvp", "jacobian", "hvp", "linearize", "vmap", "custom_jvp", "compile", "custom_root"]
TRIPLES = [names for names in itertools.product(FEW, repeat=3) if sum(LAWS[n].order for n in names) <= 4]


def composed(names: tuple[str, ...]) -> tuple[Map, Map]:
    fast = functools.reduce(lambda f, name: LAWS[name].fast(f), reversed(names), example)
    plain = functools.reduce(lambda f, name: LAWS[name].plain(f), reversed(names), example)
    return fast, plain


def outer(names: tuple[str, ...]) -> str:
    """The outermost transformation: its combinations share a report."""
    return names[0]


def chosen(names: tuple[str, ...]) -> bool:
    """Whether the names are among the third of all pairs that runs by default: each transformation with every third one."""
    return len(names) == 1 or sum(map(list(LAWS).index, names)) % 3 == 0


def tolerance(names: tuple[str, ...]) -> float:
    return 1e-5 if "odeint" in names else 1e-11


@pytest.mark.parametrize("name", LAWS)
def test_each_equals_its_plain_counterpart(name: str) -> None:
    fast, plain = composed((name,))
    assert_trees_close(fast(X), plain(X), tolerance((name,)), name)
    assert fast(X).dtype == np.float64


@folded("names", PAIRS, outer)
def test_each_composes_with_each(names: tuple[str, ...]) -> None:
    fast, plain = composed(names)
    assert_trees_close(fast(X), plain(X), tolerance(names), " of ".join(names))


@folded("names", TRIPLES if NIGHTLY else TRIPLES[::4], outer)  # nine transformations: each stands at each place
def test_three_compose(names: tuple[str, ...]) -> None:
    fast, plain = composed(names)
    assert_trees_close(fast(X), plain(X), tolerance(names), " of ".join(names))


# The second derivative of a solver's loop is a program of many thousand lines; compiling it takes half a minute.
OF_SOLVERS = [(name, "odeint") for name in LAWS if LAWS[name].order < 2]
# The other first derivatives are made of the same rules as grad and jvp.
LONG = [names for names in OF_SOLVERS if LAWS[names[0]].order and names[0] not in ("grad", "jvp")]
COMPILED = [(name,) for name in LAWS] + [names for names in PAIRS if names[1] != "odeint" or names in OF_SOLVERS]


@folded("names", [names for names in COMPILED if names not in LONG and (NIGHTLY or chosen(names))], outer)
def test_compiled_they_give_the_same_bits(names: tuple[str, ...]) -> None:
    same_bits(names)


@nightly
@pytest.mark.parametrize("names", LONG, ids="-".join)
def test_compiled_derivatives_of_solvers_give_the_same_bits(names: tuple[str, ...]) -> None:
    same_bits(names)


def same_bits(names: tuple[str, ...]) -> None:
    fast, _ = composed(names)
    compiled, expected = fd.compile(fast), np.asarray(fast(X))
    for _ in range(2):
        got = compiled(X)
        assert got.dtype == expected.dtype
        assert got.tobytes() == expected.tobytes()


def on_device(x: Any) -> Any:
    return fnp.sin(x) * x[::-1] + x @ x


@pytest.mark.parametrize(
    "transform",
    [
        fd.jacobian, fd.jacfwd, fd.jacrev, fd.hessian, fd.elementwise_grad,
        lambda f: lambda x: fd.hvp(lambda x: fnp.sum(f(x)), (x,), (x,))[0],
        lambda f: lambda x: fd.linearize(f, x)[1](x),
        lambda f: lambda x: fd.linear_transpose(lambda v: along(f, x, v), x)(x)[0],
        lambda f: lambda x: fd.ravel({"a": f(x), "n": 1, "c": 0.5})[0],
        lambda f: lambda x: fd.grad(lambda v: fnp.sum(fd.ravel({"a": x, "c": x[0]})[1](v)["a"] ** 3))(fd.ravel({"a": x, "c": x[0]})[0]),
        lambda f: lambda x: fd.grad(lambda x: fnp.sum(by_rule_of_jvp(f)(x)))(x),
        lambda f: lambda x: fd.grad(lambda x: fnp.sum(by_rule_of_vjp(f)(x)))(x),
        lambda f: lambda x: fd.grad(lambda x: fnp.sum(fd.custom_linear_solve(lambda y: 2 * y, f(x), lambda g, y: y / 2, symmetric=True)))(x),
        lambda f: lambda x: fd.grad(lambda x: fnp.sum(fd.odeint(lambda y, t, x: x - y, 0 * x, fnp.zeros_like(x[:2]) + x[1:], x)))(x),
    ],
)  # fmt: skip
def test_on_a_gpu_as_on_the_cpu(gpu: Any, transform: Callable[[Map], Map]) -> None:
    x = np.array([0.25, 0.5, 1.0])
    got = transform(on_device)(gpu.asarray(x))
    assert isinstance(got, gpu.ndarray)
    assert_trees_close(fd.to_numpy(got), transform(on_device)(x), 1e-9)
