"""The operations of random programs: each has a way to run on values and a way to choose its operands.

A step brings its indices into range by a remainder, so it is valid for all values of the same shapes.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.ops import elementwise as operations

from . import program_choices as choose
from .program_choices import Choice


class Operation(NamedTuple):
    run: Callable[..., Any]
    choose: Callable[[Choice], tuple[tuple[int, ...], dict[str, Any]]]


def _take(x: Any, i: Any, *, axis: int) -> Any:
    return fnp.take(x, fnp.remainder(i, x.shape[axis]), axis)


def _take_along(x: Any, i: Any, *, axis: int) -> Any:
    return fnp.take_along_axis(x, fnp.remainder(i, x.shape[axis]), axis)


def _at(method: str) -> Callable[..., Any]:
    return lambda x, y, *, index: getattr(fd.at(x)[choose.to_index(index)], method)(y)


def _at_array(method: str) -> Callable[..., Any]:
    return lambda x, i, y: getattr(fd.at(x)[fnp.remainder(i, x.shape[0])], method)(y)


def _split(key: Any) -> tuple[Any, Any]:
    keys = fd.random.split(key)
    return fnp.getitem(keys, 0), fnp.getitem(keys, 1)


def _cross_entropy(x: Any, labels: Any) -> Any:
    return F.softmax_cross_entropy(x, fnp.remainder(labels, x.shape[-1]))


@fd.custom_vjp
def halved(x: Any) -> Any:
    return fnp.multiply(x, x)


halved.defvjp(lambda x: (fnp.multiply(x, x), x), lambda x, t: (fnp.multiply(t, x),))


# Transforms within a program
def floating(values: Any) -> tuple[Any, ...]:
    return tuple(v for v in values if choose.kind_of(v) == "f") or (fnp.sum(0.0),)


def total(values: Any) -> Any:
    """The sum of all floating entries."""
    y: Any = 0.0
    for value in floating(values):
        y = fnp.add(y, fnp.sum(value))
    return y


def _derive(kind: str) -> Callable[..., Any]:
    def run(*operands: Any, body: Any, wrt: tuple[int, ...]) -> Any:
        def function(*chosen: Any) -> Any:
            full = list(operands)  # The function captures the other operands.
            for place, value in zip(wrt, chosen, strict=True):
                full[place] = value
            return floating(body.run(*full))

        return derived(kind, function, tuple(range(len(wrt))))(*[operands[i] for i in wrt])

    return run


def derived(kind: str, function: Callable[..., Any], wrt: tuple[int, ...]) -> Callable[..., Any]:
    """The transform `kind` of a function from arguments to a tuple, as another such function."""
    if kind == "grad":
        return fd.grad(lambda *args: total(function(*args)), argnums=wrt)
    if kind == "value_and_grad":
        both = fd.value_and_grad(lambda *args: total(function(*args)), argnums=wrt)
        return lambda *args: tuple(fd.tree.leaves(both(*args)))

    def moved(*args: Any) -> Any:
        def inner(*chosen: Any) -> Any:
            full = dict(enumerate(args)) | dict(zip(wrt, chosen, strict=True))
            return floating(function(*[full[i] for i in range(len(args))]))

        chosen = tuple(args[i] for i in wrt)
        if kind == "jvp":
            return tuple(fd.tree.leaves(fd.jvp(inner, chosen, chosen)))
        value, pullback = fd.vjp(inner, *chosen)
        return (*value, *pullback(value))

    return moved


# Loops, branches and checkpoints within a program
def _scan(carry: Any, xs: Any, *constants: Any, body: Any, reverse: bool) -> Any:
    def step(carry: Any, x: Any) -> Any:
        ys = body.run(carry, x, *constants)
        alike = [y for y in ys if getattr(y, "shape", None) == carry.shape and y.dtype == carry.dtype]
        mixed = fnp.tanh(fnp.add(fnp.multiply(carry, 0.5), (alike or [total(ys)])[0]))
        return fnp.astype(mixed, carry.dtype), tuple(ys)

    last, ys = fd.scan(step, carry, xs, reverse=reverse)
    return (last, *ys)


def _cond(x: Any, *operands: Any, body: Any) -> Any:
    yes = lambda *args: tuple(fnp.asarray(y) for y in body.run(*args))
    no = lambda *args: tuple(fnp.astype(fnp.multiply(y, 2), y.dtype) for y in yes(*args))
    return fd.cond(fnp.sum(x) > 0, yes, no, *operands)


def _checkpoint(*operands: Any, body: Any) -> Any:
    return fd.checkpoint(lambda *args: tuple(body.run(*args)))(*operands)


def _vmap(*operands: Any, body: Any, axes: tuple[Any, ...]) -> Any:
    return fd.vmap(lambda *args: tuple(body.run(*args)), in_axes=axes)(*operands)


def _vmap_grad(*operands: Any, body: Any, axes: tuple[Any, ...]) -> Any:
    wrt = tuple(i for i, v in enumerate(operands) if v.dtype.kind == "f")
    if not wrt:
        raise choose.Impossible
    return fd.vmap(derived("grad", lambda *args: tuple(body.run(*args)), wrt), in_axes=axes)(*operands)


def _table() -> dict[str, Operation]:
    table: dict[str, Operation] = {}

    def declare(names: str, chooser: Callable[[Choice], Any], run: Any = None) -> None:
        for name in names.split():
            table[name] = Operation(run or getattr(fnp, name, None) or getattr(operations, name), chooser)

    declare(
        "positive exp exp2 expm1 sin cos sinh cosh tanh arctan arcsinh deg2rad rad2deg sigmoid relu log log2 log10 log1p sqrt cbrt "
        "reciprocal arcsin arccos arctanh arccosh tan isfinite rint spacing signbit floor", choose.one("f")
    )  # fmt: skip
    declare("negative square absolute stop_gradient", choose.one("fbic"))
    declare("sign isnan isinf logical_not ceil trunc", choose.one("fbi"))
    declare("conjugate real imag", choose.one("fc"))
    for name in ("exp", "sin", "tanh", "log", "sqrt", "reciprocal"):
        declare(f"complex_{name}", choose.one("c"), getattr(fnp, name))
    declare("invert", choose.one("bi"))
    declare("add subtract multiply", choose.two("fbic"))
    declare("complex_divide", choose.two("fc"), fnp.divide)
    declare("divide maximum minimum equal not_equal less less_equal greater greater_equal", choose.two("fbi"))
    declare("arctan2 hypot fmax fmin logaddexp logaddexp2 copysign remainder fmod floor_divide heaviside nextafter", choose.two("f"))
    declare("bitwise_and bitwise_or bitwise_xor logical_and logical_or logical_xor gcd lcm", choose.two("bi"))
    declare("power", choose.power)
    for sign, method in {"+": "add", "-": "sub", "*": "mul", "/": "truediv", "<": "lt", ">=": "ge", "==": "eq"}.items():
        declare(sign, choose.two("fi"), getattr(operator, method))
    declare("c*", choose.two("fc"), operator.mul)
    declare("where", choose.where)
    declare("clip", choose.clip, lambda x, *, low, high: fnp.clip(x, low, high))
    declare("clip_arrays", choose.clip_arrays, lambda x, low, high: fnp.clip(x, low, high))
    declare("round", lambda c: ((c.pick("f"),), {"decimals": c.integer(0, 2)}))
    declare("astype", lambda c: ((c.pick("fbi"),), {"dtype": c.among(("float32", "float64", "int64", "bool", "float16", "int32"))}))
    declare("np.sin", choose.one("f"), np.sin)
    declare("np.add", choose.two("fi"), np.add)
    declare("np.sum", choose.reduced("fic"), np.sum)
    declare("sum", choose.reduced("fbic", empty=True))
    declare("prod any all", choose.reduced("fbi", empty=True))
    declare("mean", choose.reduced("fc"))
    declare("var std logsumexp", choose.reduced("f"))
    declare("max min", choose.reduced("fbi"))
    declare("argmax argmin argsort", choose.along("fi"))
    declare("cumsum", choose.along("fbi"))
    declare("reshape", choose.reshape)
    declare("transpose", choose.transpose)
    declare("broadcast_to", choose.broadcast)
    declare("ravel", choose.one("fbic"))
    declare("squeeze", lambda c: ((c.pick(where=lambda v: not choose.is_number(v)),), {}))
    declare("expand_dims", lambda c: ((c.pick(where=lambda v: not choose.is_number(v) and np.ndim(v) < 3),), {"axis": 0}))
    declare("flip", lambda c: ((i := c.pick(ndim=1),), {"axis": c.axes(i)}))
    declare("roll", lambda c: ((i := c.pick(ndim=1),), {"shift": c.integer(-2, 2), "axis": c.axis(i)}))
    declare("repeat", lambda c: ((i := c.pick(ndim=1, where=choose.is_small),), {"repeats": 2, "axis": c.axis(i)}))
    declare("pad", lambda c: ((c.pick("fi", 1, choose.is_small),), {"pad_width": c.integer(0, 2), "mode": c.among(("constant", "edge"))}))
    declare("tile", lambda c: ((c.pick("fi", 1, choose.is_small),), {"reps": c.integer(1, 2)}))
    declare("mirrored", lambda c: ((c.pick("fib", 2, lambda v: v.shape == v.shape[::-1]),), {}), lambda x: fnp.add(x, fnp.transpose(x)))
    declare("folded", lambda c: ((c.pick("fib", 1),), {}), lambda x: fnp.multiply(fnp.flip(x), x))
    declare("index", choose.index, lambda x, *, index: fnp.getitem(x, choose.to_index(index)))
    declare("concatenate", choose.joined, lambda *arrays, axis: fnp.concatenate(arrays, axis))
    declare("stack", choose.stack, lambda *arrays, axis: fnp.stack(arrays, axis))
    declare("halves", lambda c: ((c.pick("fi", 1, lambda v: v.shape[0] > 1),), {}), lambda x: tuple(fnp.split(x, [1])))
    declare("take", choose.take, _take)
    declare("take_along_axis", choose.take_along, _take_along)
    for method in ("set", "add", "multiply", "min", "max"):
        declare(f"at_{method}", choose.at, _at(method))
        declare(f"at_array_{method}", choose.at_array, _at_array(method))
    declare("matmul", choose.matmul)
    declare("@", choose.matmul_to_array, operator.matmul)
    declare("dot", choose.matmul)
    declare("einsum", choose.einsum, lambda x, y, *, subscripts: fnp.einsum(subscripts, x, y))
    declare("outer", lambda c: ((c.pick("f", 1, lambda v: v.size < 200), c.pick("fi", 1, lambda v: v.size < 200)), {}))
    declare("split_key", lambda c: ((choose.a_key(c),), {}), _split)
    declare("fold_in", lambda c: ((choose.a_key(c),), {"data": c.integer(0, 9)}), lambda key, *, data: fd.random.fold_in(key, data))
    declare("uniform01", choose.draw, lambda key, **params: fd.random.uniform(key, **params))
    declare("uniform", choose.uniform, lambda key, low, high, *, shape, dtype: fd.random.uniform(key, shape, low, high, dtype))
    declare("normal", choose.draw, lambda key, **params: fd.random.normal(key, **params))
    declare("randint", lambda c: ((choose.a_key(c),), {"shape": choose.some_shape(c)}), lambda key, *, shape: fd.random.randint(key, shape, -3, 9))
    declare("bernoulli", choose.with_key("f"), lambda key, p: fd.random.bernoulli(key, F.sigmoid(fnp.nan_to_num(p))))
    declare("dropout", choose.with_key("f"), lambda key, x: F.dropout(x, 0.3, key=key, train=True))
    declare("dropout_rate", choose.rate, lambda key, x, r: F.dropout(x, fnp.multiply(F.sigmoid(fnp.nan_to_num(r)), 0.9), key=key, train=True))
    declare("permutation", choose.with_key("fbi", ndim=1), lambda key, x: fd.random.permutation(key, x))
    for activation in ("softmax", "log_softmax", "gelu", "leaky_relu", "softplus"):
        declare(activation, lambda c: ((c.pick("f", 1, lambda v: v.size > 0),), {}), getattr(F, activation))
    declare("softmax_cross_entropy", choose.labelled, _cross_entropy)
    declare("sigmoid_cross_entropy", choose.targets, F.sigmoid_cross_entropy)
    declare("mean_squared_error", choose.targets, F.mean_squared_error)
    declare("halved", lambda c: ((c.pick("f", where=lambda v: not choose.is_number(v)),), {}), halved)
    for kind in ("grad", "value_and_grad", "jvp", "vjp"):
        declare(f"{kind}_of", choose.derived, _derive(kind))
    declare("scan_of", choose.scan, _scan)
    declare("cond_of", choose.cond, _cond)
    declare("checkpoint_of", choose.checkpoint, _checkpoint)
    declare("vmap_of", choose.vmap, _vmap)
    declare("vmap_grad_of", choose.vmap, _vmap_grad)
    return table


OPERATIONS = _table()
