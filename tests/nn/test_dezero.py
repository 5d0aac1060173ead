"""DeZero's functions and layers against their counterparts: values and gradients, with a factor where DeZero's mean divides by another number."""

import importlib
import inspect
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero import numpy as fnp

from .dezero_names import PAGE, rows
from .dezero_names import ROWS as NAMES
from .dezero_reference import dezero

RNG = np.random.default_rng(43)
X, Y = RNG.choice([-1.0, 1.0], (4, 3)) * RNG.uniform(0.2, 2.0, (4, 3)), RNG.uniform(0.3, 2.0, (4, 3))
W, B = RNG.standard_normal((3, 5)), RNG.standard_normal(5)
P = RNG.uniform(0.1, 0.9, (4, 3))
LABELS, TARGETS = np.array([2, 0, 1, 2]), np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]])
IMAGES = RNG.permutation(2 * 3 * 6 * 5).reshape(2, 3, 6, 5) / 40 - 2  # no ties
KERNEL, SHIFT = RNG.standard_normal((4, 3, 3, 2)), RNG.standard_normal(4)
BACKWARDS, SHIFT_BACK = RNG.standard_normal((3, 4, 3, 2)), RNG.standard_normal(4)
SCALES, SHIFTS = RNG.uniform(0.5, 2, 3), RNG.standard_normal(3)


class Row(NamedTuple):
    """DeZero's call and ours of the same floating arrays; ours is DeZero's divided by `factor`."""

    theirs: Callable[..., Any]
    ours: Callable[..., Any]
    arrays: Sequence[np.ndarray]
    factor: float = 1


def _both(name: str, *arrays: np.ndarray, **kwargs: Any) -> Row:
    """A name that is the same in fd.numpy, or in F."""
    ours = getattr(F, name, None) or getattr(fnp, name)
    return Row(lambda *a: getattr(dezero.functions, name)(*a, **kwargs), lambda *a: ours(*a, **kwargs), arrays)


def _theirs(name: str) -> Callable[..., Any]:
    """DeZero's function, looked up when it is called."""
    module, function = name.split(".")
    return lambda *args, **kwargs: getattr(getattr(dezero, module), function)(*args, **kwargs)


def _statistics() -> dict[str, Any]:
    return {"mean": np.zeros(3), "var": np.ones(3)}


core, functions, conv = (lambda name, m=m: _theirs(f"{m}.{name}") for m in ("core", "functions", "functions_conv"))
ROWS: dict[str, list[Row]] = {
    "core.add": [Row(core("add"), fnp.add, (X, Y)), Row(core("add"), fnp.add, (X, Y[:1]))], "core.sub": [Row(core("sub"), fnp.subtract, (X, Y))],
    "core.rsub": [Row(core("rsub"), lambda a, b: b - a, (X, Y))], "core.mul": [Row(core("mul"), fnp.multiply, (X, Y))],
    "core.div": [Row(core("div"), fnp.divide, (X, Y))], "core.rdiv": [Row(core("rdiv"), lambda a, b: b / a, (X, Y))],
    "core.neg": [Row(core("neg"), fnp.negative, (X,))], "core.pow": [Row(lambda x: core("pow")(x, 3), lambda x: x**3, (X,))],
    **{f"functions.{name}": [_both(name, X)] for name in ("sin", "cos", "exp", "tanh", "transpose", "sigmoid", "relu", "leaky_relu")},
    "functions.log": [_both("log", Y)], "functions.flatten": [_both("flatten", IMAGES)], "functions.expand_dims": [_both("expand_dims", X, axis=1)],
    "functions.reshape": [_both("reshape", X, shape=(2, 6))], "functions.broadcast_to": [_both("broadcast_to", X, shape=(2, 4, 3))],
    "functions.sum": [_both("sum", X), _both("sum", X, axis=0), _both("sum", X, axis=1, keepdims=True)],
    "functions.sum_to": [Row(lambda x: functions("sum_to")(x, (1, 3)), lambda x: x.sum(axis=0, keepdims=True), (X,))],
    "functions.max": [_both("max", X), _both("max", X, axis=1)], "functions.min": [_both("min", X), _both("min", X, axis=0, keepdims=True)],
    "functions.clip": [Row(lambda x: functions("clip")(x, -0.5, 1.0), lambda x: fnp.clip(x, -0.5, 1.0), (X,))],
    "functions.get_item": [Row(lambda x: functions("get_item")(x, ([0, 0, 2], slice(1, None))), lambda x: x[[0, 0, 2], 1:], (X,))],
    "functions.matmul": [_both("matmul", X, W)], "functions.linear": [_both("linear", X, W, B), _both("linear", X, W)],
    "functions.linear_simple": [Row(functions("linear_simple"), F.linear, (X, W, B))], "functions.sigmoid_simple": [Row(functions("sigmoid_simple"), F.sigmoid, (X,))],
    "functions.softmax": [Row(functions("softmax"), lambda x: F.softmax(x, axis=1), (X,)), Row(functions("softmax"), lambda x: F.softmax(x, axis=1), (IMAGES,))],
    "functions.softmax_simple": [Row(functions("softmax_simple"), lambda x: F.softmax(x, axis=1), (X,))],
    "functions.log_softmax": [Row(functions("log_softmax"), lambda x: F.log_softmax(x, axis=1), (X,))],
    # Losses of DeZero divide by len(x) alone, where the mean here divides by all entries: by the 3 columns more.
    **{f"functions.{name}": [Row(functions(name), F.mean_squared_error, (X, Y), factor=3), Row(functions(name), lambda x, t: F.mean_squared_error(x, t, reduction="sum") / len(x), (X, Y))]
       for name in ("mean_squared_error", "mean_squared_error_simple")},
    "functions.sigmoid_cross_entropy": [Row(lambda x: functions("sigmoid_cross_entropy")(x, TARGETS), lambda x: F.sigmoid_cross_entropy(x, TARGETS), (X,), factor=3)],
    "functions.binary_cross_entropy": [Row(lambda p: functions("binary_cross_entropy")(p, TARGETS), lambda p: F.binary_cross_entropy(p, TARGETS), (P,), factor=3)],
    **{f"functions.{name}": [Row(lambda x, n=name: functions(n)(x, LABELS), lambda x: F.softmax_cross_entropy(x, LABELS), (X,))]
       for name in ("softmax_cross_entropy", "softmax_cross_entropy_simple")},
    "functions.embed_id": [Row(lambda w: functions("embed_id")(LABELS, w), lambda w: F.embedding(LABELS, w), (X,))],
    "functions.batch_nrom": [Row(lambda *a: functions("batch_nrom")(*a, **_statistics()), lambda *a: F.batch_norm(*a, eps=2e-5), (x, SCALES, SHIFTS)) for x in (X, IMAGES)],
    **{f"functions_conv.{name}": [
        Row(lambda x, w, b, n=name, s=s, p=p: conv(n)(x, w, b, s, p), lambda x, w, b, s=s, p=p: F.conv2d(x, w, b, s, p), (IMAGES, KERNEL, SHIFT))
        for s, p in ((1, 0), (2, 1), ((2, 1), (0, 1)))
    ] for name in ("conv2d", "conv2d_simple")},
    "functions_conv.deconv2d": [
        Row(lambda x, w, b, s=s, p=p: conv("deconv2d")(x, w, b, s, p), lambda x, w, b, s=s, p=p: F.conv_transpose2d(x, w, b, s, p), (IMAGES, BACKWARDS, SHIFT_BACK))
        for s, p in ((1, 0), (2, 1), ((2, 1), (0, 1)))
    ],
    **{f"functions_conv.{name}": [Row(lambda x, n=name, a=a: conv(n)(x, *a), lambda x, o=ours, a=a: o(x, *a), (IMAGES,)) for a in ((2, 2), (3, 1), (2, 2, 1))]
       for name, ours in (("pooling", F.pooling), ("pooling_simple", F.pooling))},
    "functions_conv.average_pooling": [Row(lambda x, a=a: conv("average_pooling")(x, *a), lambda x, a=a: F.average_pooling(x, *a), (IMAGES,)) for a in ((2, 2), (3, 1), (2, 2, 1))],
    "functions_conv.im2col": [Row(lambda x, m=m: conv("im2col")(x, (3, 2), 2, 1, m), lambda x, m=m: F.im2col(x, (3, 2), 2, 1, to_matrix=m), (IMAGES,)) for m in (True, False)],
    "functions_conv.col2im": [Row(lambda x: conv("col2im")(x, (1, 1, 5, 4), (3, 3), 1, 0), lambda x: F.col2im(x, (1, 1, 5, 4), (3, 3)), (RNG.standard_normal((6, 9)),))],
}  # fmt: skip
# Names without a gradient to compare, and parts of others
ELSEWHERE = {
    "functions.mean": "only in some releases", "functions.average": "only in some releases",
    "functions.accuracy": "test_accuracy", "functions.dropout": "test_dropout_keeps_what_it_keeps_at_dezeros_scale",
    "functions_conv.im2col_array": "im2col without Variables", "functions_conv.col2im_array": "col2im without Variables",
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_values_and_gradients_are_dezeros(name: str) -> None:
    for theirs, ours, arrays, factor in ROWS[name]:
        variables = [dezero.Variable(x.copy()) for x in arrays]
        y = theirs(*variables)
        weights = np.cos(np.arange(y.size)).reshape(y.shape)
        dezero.functions.sum(y * weights).backward()
        value, pullback = fd.vjp(ours, *arrays)
        np.testing.assert_allclose(
            value * factor, y.data, rtol=1e-6 if "entropy" in name else 1e-12, atol=1e-12
        )  # they clip, and divide by a float32
        for ours_, variable in zip(pullback(np.asarray(weights * factor)[()]), variables, strict=True):
            np.testing.assert_allclose(ours_, variable.grad.data, rtol=1e-6 if "entropy" in name else 1e-11, atol=1e-11)


def test_accuracy() -> None:
    assert F.accuracy(X, LABELS) == dezero.functions.accuracy(X, LABELS).data


def test_dropout_keeps_what_it_keeps_at_dezeros_scale() -> None:
    x = np.random.default_rng(0).uniform(1, 2, (40, 50))  # many, because DeZero draws without a seed
    theirs = dezero.functions.dropout(x, 0.25).data
    ours = F.dropout(x, 0.25, key=fd.random.key(0), train=True)
    for y in (theirs, ours):
        assert 0 < (y != 0).sum() < y.size
        np.testing.assert_allclose(y[y != 0], x[y != 0] / 0.75)
    with dezero.test_mode():
        np.testing.assert_array_equal(dezero.functions.dropout(x, 0.25).data, F.dropout(x, 0.25, train=False))


# Layers: with DeZero's parameters


def _parameters(layer: Any) -> dict[str, Any]:
    """DeZero's parameters by path; its own order depends on a set."""
    found: dict[str, Any] = {}
    layer._flatten_params(found)
    return {
        path: parameter for path, parameter in found.items() if parameter is not None and parameter.data is not None
    }


def _check_layer(theirs: Any, inputs: Sequence[np.ndarray], ours: Callable[[dict[str, np.ndarray], Any], Any]) -> None:
    """Calls DeZero's layer on each input in turn and compares outputs, and the gradients of all parameters, with those of `ours`."""
    for x in inputs:
        theirs(x)  # makes the parameters
    if hasattr(theirs, "reset_state"):
        theirs.reset_state()
    for parameter in _parameters(theirs).values():
        parameter.data = parameter.data.astype(np.float64)
    weights = {path: parameter.data.copy() for path, parameter in _parameters(theirs).items()}
    theirs.cleargrads()
    ys = [theirs(x) for x in inputs]
    total = ys[0] * 0
    for k, y in enumerate(ys):
        total = total + y * np.cos(np.arange(y.size) + k).reshape(y.shape)
    dezero.functions.sum(total).backward()

    def loss(weights: dict[str, np.ndarray]) -> tuple[Any, Any]:
        outputs = ours(weights, inputs)
        return sum(fnp.sum(y * np.cos(np.arange(y.size) + k).reshape(y.shape)) for k, y in enumerate(outputs)), outputs

    (_, outputs), gradients = fd.value_and_grad(loss, has_aux=True)(weights)
    for got, y in zip(outputs, ys, strict=True):
        np.testing.assert_allclose(got, y.data, rtol=1e-10, atol=1e-12)
    for path, parameter in _parameters(theirs).items():
        if parameter.grad is not None:
            np.testing.assert_allclose(gradients[path], parameter.grad.data, rtol=1e-8, atol=1e-10, err_msg=path)


def _linear(w: dict[str, np.ndarray], inputs: Any) -> Any:
    return [nn.Linear(W=w["W"], b=w["b"])(x) for x in inputs]


def _rnn(w: dict[str, np.ndarray], inputs: Any) -> Any:
    y, _ = F.rnn(fnp.stack(inputs, axis=1), [(w["x2h/W"], w["h2h/W"], w["x2h/b"])])
    return [y[:, k] for k in range(len(inputs))]


def _lstm(w: dict[str, np.ndarray], inputs: Any) -> Any:
    state = None
    ys = []
    for x in inputs:
        state = F.lstm_cell(
            x,
            state,
            *[
                fnp.concatenate([w[f"{part}{gate}/{kind}"] for gate in "ifuo"], axis=-1)
                for part, kind in (("x2", "W"), ("h2", "W"), ("x2", "b"))
            ],
        )
        ys.append(state[0])
    return ys


LAYERS: dict[str, Callable[[], None]] = {
    "Linear": lambda: _check_layer(dezero.layers.Linear(5), [X], _linear),
    "Conv2d": lambda: _check_layer(dezero.layers.Conv2d(4, 3, 2, 1), [IMAGES], lambda w, xs: [F.conv2d(x, w["W"], w["b"], 2, 1) for x in xs]),
    "Deconv2d": lambda: _check_layer(dezero.layers.Deconv2d(4, 3, 2, 1), [IMAGES], lambda w, xs: [F.conv_transpose2d(x, w["W"], w["b"], 2, 1) for x in xs]),
    "RNN": lambda: _check_layer(dezero.layers.RNN(5), [X, Y, -X], _rnn),
    "LSTM": lambda: _check_layer(dezero.layers.LSTM(5), [X, Y, -X], _lstm),
    "EmbedID": lambda: _check_layer(dezero.layers.EmbedID(7, 3), [LABELS], lambda w, xs: [F.embedding(x, w["W"]) for x in xs]),
    "BatchNorm": lambda: _check_layer(dezero.layers.BatchNorm(), [X], lambda w, xs: [F.batch_norm(x, w["gamma"], w["beta"], eps=2e-5) for x in xs]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_with_dezeros_parameters_are_dezeros(name: str) -> None:
    LAYERS[name]()


# The table of names

OBJECTS: dict[str, Callable[[], Any]] = {  # what these hold is public as well
    "core.Variable": lambda: dezero.Variable(X),
    "layers.Layer": lambda: _called(dezero.layers.Linear(5)),
    "dataloaders.DataLoader": lambda: dezero.DataLoader([(0, 0)], 1),
}


def _called(layer: Any) -> Any:
    layer(dezero.Variable(X))
    return layer


def _held(module: str) -> set[str]:
    """Attributes of objects that users read; those of a layer that are its kind's own are not in the table."""
    held = {of: set(vars(make())) for of, make in OBJECTS.items() if of.startswith(f"{module}.")}
    return {
        f"{of.partition('.')[2]}.{name}" for of, names in held.items() for name in names if not name.startswith("_")
    } - {f"Layer.{name}" for name in ("W", "b", "in_size", "out_size", "dtype")}


def _public(module: str) -> set[str]:
    """What a module of DeZero defines and users call, with methods and settings; classes of operations are how it differentiates."""
    members = vars(importlib.import_module(f"dezero.{module}"))
    base = dezero.core.Function
    found = {name for name in ("cache_dir", "gpu_enable") if name in members and module in ("utils", "cuda")}
    for name, value in members.items():
        if (
            name.startswith("_")
            or not (inspect.isclass(value) or inspect.isfunction(value))
            or value.__module__ != f"dezero.{module}"
        ):
            continue
        if inspect.isclass(value) and issubclass(value, base) and value is not base:
            continue
        inherited = (
            {member for parent in inspect.getmro(value)[1:] for member in vars(parent)}
            if inspect.isclass(value)
            else set()
        )
        own = set(vars(value)) - inherited if inspect.isclass(value) else set()
        found |= {name, *(f"{name}.{member}" for member in own if not member.startswith("_"))}
    return found


@pytest.mark.parametrize("module", NAMES)
def test_every_name_of_dezero_has_a_row_in_the_migration_table(module: str) -> None:
    theirs = [name for row in NAMES[module] for name in row.theirs]
    assert len(set(theirs)) == len(theirs), "a name has two rows"
    missing = (_public(module) | _held(module)) - set(theirs)
    assert not missing, f"names without a row in {PAGE.name}"
    releases = {"mean", "average", "ToFloat"}  # in some releases of DeZero, or another name of a class there
    for name in set(theirs) - releases - _held(module):
        operator.attrgetter(name)(importlib.import_module(f"dezero.{module}"))


def test_names_at_the_top_of_dezero_have_a_row() -> None:
    top = {name for name, value in vars(dezero).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert top - {"is_simple_core"} <= {name for table in NAMES.values() for row in table for name in row.theirs}


@pytest.mark.parametrize("module", NAMES)
def test_every_name_of_ours_in_the_migration_table_exists(module: str) -> None:
    for row in NAMES[module]:
        assert row.names or row.notes or row.ours == "not there yet", f"{row.theirs}: neither a name nor a reason"
        assert row.ours == "not there yet" or not re.sub(r"`[^`]*`|, ", "", row.ours), (
            f"{row.theirs}: the second cell has names alone"
        )
        for name in row.names:
            _resolve(name)


def _resolve(name: str) -> Any:
    """The object of that name."""
    root, _, path = name.partition(".")
    return operator.attrgetter(path)({"fd": fd, "F": F, "nn": nn, "optim": optim, "np": np}[root])


def test_a_wrong_row_is_caught() -> None:
    table = rows(
        "## `dezero.cuda`\n\n| DeZero | fdezero | why |\n|---|---|---|\n| `a`, `b.c` | `F.conv9d` | `fd.numpy.sin(x)` |\n\n## More\n\n| `d` | | |\n"
    )
    assert list(table) == ["cuda"]
    assert table["cuda"][0].theirs == ["a", "b.c"]
    assert table["cuda"][0].names == ["F.conv9d", "fd.numpy.sin"]
    with pytest.raises(AttributeError):
        _resolve("F.conv9d")
    assert _resolve("fd.numpy.sin") is fnp.sin
    assert len(NAMES) == 11
    assert sum(len(row.names) for table in NAMES.values() for row in table) > 100


def _theirs_in(module: str) -> set[str]:
    return {name for row in NAMES[module] for name in row.theirs if "." not in name}


def test_every_function_and_layer_is_compared() -> None:
    functions_ = {f"{module}.{name}" for module in ("functions", "functions_conv") for name in _theirs_in(module)}
    arithmetic = {f"core.{name}" for name in "add sub rsub mul div rdiv neg pow".split()}
    assert functions_ | arithmetic == set(ROWS) | set(ELSEWHERE)
    assert set(LAYERS) == _theirs_in("layers") - {"Layer"}
