"""Places where the library holds arrays, takes them in or hands them out: results that must not depend on a write."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp

from .owner_kinds import KINDS, Make
from .owner_writes import Write


def _square(v: Any) -> Any:
    return v * v * v


def _once(write: Write, *things: Any) -> float:
    """Writes inside a traced function, after the values were used."""
    write(things)
    return 0.0


# Each place takes a maker of arrays and a way to write, and returns results that must not depend on the write.


def argument_of_vjp(make: Make, write: Write) -> Any:
    made = make()
    ones = np.ones(made[0].shape)
    _, pullback = fd.vjp(_square, made[0])
    write(made)
    return pullback(ones)


def argument_of_linearize(make: Make, write: Write) -> Any:
    made = make()
    _, pushforward = fd.linearize(_square, np.asarray(made[0]))
    tangent = np.ones(made[0].shape)
    write(made[1:])
    return pushforward(tangent)


def argument_while_the_function_runs(make: Make, write: Write) -> Any:
    made = make()
    return fd.grad(lambda v: (_square(v).sum(), _once(write, *made))[0])(made[0])


def argument_that_is_not_differentiated(make: Make, write: Write) -> Any:
    made = make()
    return fd.grad(lambda v, w: ((v * w * w).sum(), _once(write, *made))[0])(np.ones(made[0].shape), made[0])


def closure_of_grad(make: Make, write: Write) -> Any:
    made = make()
    return fd.grad(lambda v: ((v * made[0]).sum(), _once(write, *made))[0])(np.ones(made[0].shape))


def _closure(transform: Callable[[Any], Any]) -> Callable[[Make, Write], Any]:
    def place(make: Make, write: Write) -> Any:
        made = make()
        ones = np.ones(made[0].shape)
        _, pullback = fd.vjp(transform(lambda v: np.sin(v * np.asarray(made[0]))), ones)
        write(made)
        return pullback(np.ones(ones.shape))

    return place


def residual_of_a_custom_rule(make: Make, write: Write) -> Any:
    made = make()
    scaled = fd.custom_vjp(lambda v: v * 2.0)
    scaled.defvjp(lambda v: (v * 2.0, (made[0], None)), lambda kept, t: (t * kept[0],))
    ones = np.ones(made[0].shape)
    _, pullback = fd.vjp(scaled, ones)
    write(made)
    return pullback(ones)


def arguments_of_a_custom_rule(make: Make, write: Write) -> Any:
    made = make()
    scaled = fd.custom_vjp(lambda v, w: v * w)

    def forward(v: Any, w: Any) -> Any:
        y = v * w
        write([v, w])
        return y, (v, w)

    def backward(kept: Any, t: Any) -> Any:
        gradients = t * kept[1], t * kept[0]
        write([*kept, t])
        return gradients

    scaled.defvjp(forward, backward)
    v, w = fd.vjp(lambda v: (np.exp(v), v), made[0])[0]
    _, pullback = fd.vjp(lambda v, w: scaled(v, w) + np.tanh(v), v, w)
    return pullback(np.ones(v.shape)), pullback(np.ones(v.shape))


def closure_of_a_custom_jvp(make: Make, write: Write) -> Any:
    made = make()
    scaled = fd.custom_jvp(lambda v: v * 2.0)
    scaled.defjvp(lambda primals, tangents: (primals[0] * 2.0, tangents[0] * made[0]))
    ones = np.ones(made[0].shape)
    _, pullback = fd.vjp(scaled, ones)
    write(made)
    return pullback(ones)


def cotangent(make: Make, write: Write) -> Any:
    made = make()
    functions = [lambda v: v, lambda v: v.reshape(-1, 1).reshape(-1), lambda v: v + 1.0, lambda v: v[::-1], lambda v: np.concatenate([v])]
    gradients = [fd.vjp(f, np.ones(made[0].shape))[1](made[0]) for f in functions]
    write(made)
    return gradients


def gradients_that_are_one_array(make: Make, write: Write) -> Any:
    x = np.asarray(make()[0])
    g = fd.grad(lambda p: np.sum((p["a"] + p["b"]) ** 2) + p["c"].sum())({"a": x, "b": x, "c": x})
    other = {"a": np.array(g["a"]), "b": np.array(g["b"]), "c": np.array(g["c"])}
    write([g["a"]])
    assert np.array_equal(g["b"], other["b"])
    write([g["b"]])
    return g["c"]


def _saved_by(function: Callable[[Any], Any]) -> Callable[[Make, Write], Any]:
    def place(make: Make, write: Write) -> Any:
        x = np.asarray(make()[0])
        (y, z), pullback, aux = fd.vjp(lambda v: ((function(v), v.sum()), function(v)), x, has_aux=True)
        write([y, aux, z])
        return pullback((np.ones(y.shape if y.ndim == 1 else x.shape), np.ones(())))

    return place


def value_of_stop_gradient(make: Make, write: Write) -> Any:
    def f(v: Any) -> Any:
        y = np.exp(v)
        write([fd.stop_gradient(y), fd.stop_gradient(v), fd.stop_gradient(y[:2])])
        return y.sum() + (v * v).sum()

    return fd.grad(f)(np.asarray(make()[0])), fd.jvp(f, (np.asarray(make()[0]),), (np.asarray(make()[0]),))


def results_of_jvp(make: Make, write: Write) -> Any:
    x, t = np.asarray(make()[0]), np.asarray(make()[0])
    results = fd.tree.leaves(fd.jvp(lambda v: (v, v, v.T, v * 2), (x,), (t,)))
    for i, y in enumerate(results[:-1]):
        write([y])
        assert np.array_equal(results[i + 1], np.asarray(make()[0]) * (2 if i % 4 == 2 else 1))
    return x, t


def results_of_vmap(make: Make, write: Write) -> Any:
    made = make()
    x = np.asarray(made[0])
    first, *others = fd.vmap(lambda v: (v, v, x[:3], v * 2), in_axes=(0,))(x)
    write([first])
    write([others[1]])
    return others[0], others[2], x


def aux_of_a_gradient(make: Make, write: Write) -> Any:
    x = np.asarray(make()[0])
    (value, aux), g = fd.value_and_grad(lambda v: ((v * np.exp(v)).sum(), {"y": np.exp(v), "v": v, "g": v}), has_aux=True)(x)
    write([aux["y"], aux["v"]])
    return value, g, aux["g"], x


def _compiled(**options: Any) -> Callable[[Make, Write], Any]:
    def place(make: Make, write: Write) -> Any:
        made = make()
        x, constant = np.asarray(made[0]), np.ones(3)
        f = fd.compile(lambda v: {"y": v * 2, "T": (v * 3).T, "same": v * 2, "c": constant, "part": (v * 3)[1:]}, **options)
        seen: list[Any] = []
        for _ in range(5):
            results = f(x)
            names = list(results)
            for name in names:
                write([results.pop(name)])
                seen.append({rest: np.array(y) for rest, y in results.items()})
            seen.append(fd.tree.map(np.array, f(x)))
        held = f(x)
        write(made)
        return seen, held

    return place


def compiled_derivatives(make: Make, write: Write) -> Any:
    made = make()
    x = np.asarray(made[0])
    f = fd.compile(lambda v: np.tanh(np.exp(v) * np.asarray(made[0])))
    seen: list[Any] = []
    ones = np.ones(x.shape)
    for _ in range(4):
        y, pullback = fd.vjp(f, x)
        write([y])
        (g,) = pullback(ones)
        seen.append(np.array(g))
        write([g])
        seen.append(pullback(ones))
    compiled = fd.compile(fd.grad(lambda p: ((p["a"] + p["b"]) ** 2).sum()))
    for _ in range(4):
        gradients = compiled({"a": x, "b": x})
        write([gradients["a"]])
        seen.append(gradients["b"])
    y, pullback = fd.vjp(f, x)
    write(made)
    return seen, pullback(ones)


def optimisers(make: Make, write: Write) -> Any:
    seen: list[Any] = []
    for method in (optim.sgd(0.1), optim.momentum(0.1), optim.velocity(0.9), optim.adam(0.1), optim.moments()):
        params = {"w": np.array(make()[0])}
        state = method.init(params)
        updates, state = method.update({"w": np.ones(params["w"].shape)}, state, params)
        write([updates["w"]])
        params, state = method.step(params, {"w": np.ones(params["w"].shape)}, state)
        write([params["w"]])
        seen.append(fd.tree.map(np.array, state))
    return seen


def vectors(make: Make, write: Write) -> Any:
    x = np.asarray(make()[0])
    vector, unravel = fd.ravel({"a": x, "b": x})
    tree = unravel(vector)
    write([tree["a"]])
    return vector, tree["b"], x


def batches(make: Make, write: Write) -> Any:
    x = np.array(make()[0])[:5]
    loader = fd.data.DataLoader({"x": x}, 2, shuffle=False)
    write([next(loader.epoch(0))["x"]])
    return list(loader.epoch(0)), x


def layers(make: Make, write: Write) -> Any:
    model = nn.Linear.init(fd.random.key(0), 3, 3)
    w = model.W.copy()
    _, pullback = fd.vjp(lambda model: model(np.ones((2, 3))), nn.Linear(w, model.b))
    write([w])
    return pullback(np.ones((2, 3)))


def _inverse(v: Any) -> Any:
    n = 3
    return np.linalg.inv(v[:n, None] * np.eye(n) + 1.0)


SAVING = {"exp": np.exp, "tanh": np.tanh, "sqrt": np.sqrt, "sigmoid": F.sigmoid, "softmax": F.softmax, "relu": F.relu,
          "logsumexp": lambda v: fnp.logsumexp(v) + v, "cumprod": np.cumprod, "max": lambda v: np.maximum(v, 1.0), "itself": lambda v: v,
          "a part": lambda v: np.exp(v)[:], "reciprocal": np.reciprocal, "cbrt": np.cbrt, "sort": np.sort}  # fmt: skip

PLACES: dict[str, Callable[[Make, Write], Any]] = {
    **{function.__name__: function for function in (
        argument_of_vjp, argument_of_linearize, argument_while_the_function_runs, argument_that_is_not_differentiated,
        closure_of_grad, residual_of_a_custom_rule, arguments_of_a_custom_rule, closure_of_a_custom_jvp, cotangent,
        gradients_that_are_one_array, value_of_stop_gradient, results_of_jvp, results_of_vmap, aux_of_a_gradient,
        compiled_derivatives, optimisers, vectors, batches, layers,
    )},
    "closure": _closure(lambda f: f),
    "closure of checkpoint": _closure(fd.checkpoint),
    "closure of compile": _closure(fd.compile),
    "closure of scan": _closure(lambda f: lambda v: fd.scan(lambda c, x: (f(c), x), v, np.ones(2))[0]),
    "closure of a compiled scan": _closure(
        lambda f: fd.compile(lambda v: fd.scan(lambda c, x: (f(c), x), v, np.ones(2))[0])
    ),
    "closure of cond": _closure(lambda f: lambda v: fd.cond(v.sum() > 0, f, f, v)),
    "closure of vmap": _closure(lambda f: lambda v: fd.vmap(f)(v[None])[0]),
    "closure of grad within": _closure(lambda f: fd.grad(lambda v: f(v * v).sum())),
    "compiled": _compiled(),
    **{f"saved by {name}": _saved_by(function) for name, function in SAVING.items()},
}  # fmt: skip


@functools.cache
def expected(place: str, kind: str) -> Any:
    """The result of a place without a write."""
    return fd.tree.map(np.array, PLACES[place](KINDS[kind], lambda things: None))
