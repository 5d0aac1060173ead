"""Functions as files of NumPy alone: the bits of compiled code, arguments and results as dicts, arrays beside the file, and errors."""

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import models, nn, optim
from fdezero.core import Region
from fdezero.errors import ExportError

from .running import assert_same_bits, flat, run

KEY, RNG = fd.random.key(0), np.random.default_rng(1)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


MLP, X, T = nn.MLP.init(KEY, (5, 7, 3)), normal(4, 5), np.array([0, 2, 1, 1])
IMAGES = normal(2, 3, 8, 8)
CNN = nn.init(
    nn.Sequential(nn.Conv2d.lazy(4, 3, padding=1), nn.BatchNorm.lazy(), F.relu, nn.MaxPool2d(2), nn.Flatten(), nn.Linear.lazy(5)), KEY, IMAGES
)
OPT = optim.adam(0.01)


def step(model: Any, state: Any, x: Any, t: Any) -> Any:
    loss, grads = fd.value_and_grad(lambda m: F.softmax_cross_entropy(m(x), t))(model)
    model, state = OPT.step(model, grads, state)
    return model, state, loss


def of_images(model: Any, x: Any, t: Any) -> Any:
    def loss_fn(model: Any) -> Any:
        y, model = nn.step(model, x, train=True)
        return F.softmax_cross_entropy(y, t), model

    return fd.value_and_grad(loss_fn, has_aux=True)(model)


def of_ids(model: Any, ids: Any) -> Any:
    return fd.grad(lambda m: F.softmax_cross_entropy(m(ids[:, :-1]), ids[:, 1:]))(model)


def of_sequences(model: Any, x: Any) -> Any:
    return fd.grad(lambda m: m(x)[0].sum())(model)


def check(function: Any, *args: Any, name: str = "", calls: int = 2) -> str:
    """The text of the exported function, whose results have the bits of the compiled function."""
    compiled = fd.compile(lambda *xs: function(*xs))
    compiled(*args)
    text = fd.export.source(function, *args)
    assert "needs NumPy alone" in text.split("\n")[0]
    exported = run(text, name or function.__name__)
    for _ in range(calls):
        wanted, got = compiled(*args), exported(*map(flat, args))
        if type(wanted) is not tuple:
            wanted, got = (wanted,), (got,)
        for x, y in zip(got, wanted, strict=True):
            assert_same_bits(x, flat(y))
    return text


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (MLP, (X,), "mlp"),
        (CNN, (IMAGES,), "sequential"),
        (step, (MLP, OPT.init(MLP), X, T), "step"),
        (of_images, (CNN, IMAGES, np.array([3, 1])), "of_images"),
        (of_sequences, (nn.LSTM.init(KEY, 3, 4), normal(2, 5, 3)), "of_sequences"),
        (of_ids, (models.Transformer.init(KEY, 11, size=8, heads=2, layers=1, length=9), RNG.integers(0, 11, (2, 9))), "of_ids"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_and_steps_have_the_bits_of_compiled_code(function: Any, args: Any, name: str) -> None:
    check(function, *args, name=name)


def test_training_with_an_exported_step_is_training() -> None:
    text = fd.export.source(step, MLP, OPT.init(MLP), X, T)
    exported, compiled = run(text, "step"), fd.compile(step)
    model, state = MLP, OPT.init(MLP)
    flat_model, flat_state = flat(model), flat(state)
    for _ in range(5):
        model, state, loss = compiled(model, state, X, T)
        flat_model, flat_state, flat_loss = exported(flat_model, flat_state, X, T)
    assert_same_bits(flat_loss, loss)
    assert_same_bits(flat_model, flat(model))
    assert_same_bits(flat_state, flat(state))


def test_solutions_of_equations() -> None:
    def root(x: Any) -> Any:
        def newton(f: Any, y: Any) -> Any:
            return fd.while_loop(lambda y: abs(f(y)) > 1e-9, lambda y: y - f(y) / (2 * y), y)

        return fd.custom_root(lambda y: y * y - x, x, newton, lambda g, y: y / g(1.0))

    check(fd.grad(root), np.float64(2.0), name="root")


def test_loops_and_branches() -> None:
    def loops(x: Any, flag: Any, n: int) -> Any:
        total, rows = fd.scan(lambda c, row: (c + row * x[0], (c, row.T)), np.zeros(3, np.float32), x, reverse=True)
        turned, _ = fd.scan(lambda c, _: (c.T * 2 + x[:3], None), x[:3], length=3)  # another layout in each round
        none, rest = fd.scan(lambda c, _: (c, c), x[0], length=0)
        chosen = fd.cond(flag > 0, lambda y: y * n, lambda y: y - total, x)
        grown = fd.while_loop(lambda c: np.sum(c) < 100, lambda c: c * 2 + abs(x[0]), abs(x[1]) + 1)
        return total, rows[0], rows[1], turned, none, rest, chosen, grown

    for flag in (np.int64(1), np.int64(-1)):
        check(loops, normal(4, 3), flag, 3)


def test_what_is_bound_is_stored_and_the_rest_stays_an_argument() -> None:
    def f(w: Any, batch: Any, power: float) -> Any:
        return {"y": batch["x"] @ w["W"] ** power, "both": (batch["x"], 3)}

    w, batch = {"W": normal(3, 2)}, {"x": normal(4, 3)}
    wanted = fd.tree.flatten_to_dict(f(w, batch, 2.0))
    whole = run(fd.export.source(f, w, batch, 2.0), "f")
    bound = run(fd.export.source(functools.partial(f, w), batch, 2.0), "f")
    for got in (whole(flat(w), flat(batch), 2.0), bound(flat(batch), 2)):
        assert_same_bits(got, wanted)


def test_results_belong_to_the_caller() -> None:
    table = np.arange(3.0)
    exported = run(fd.export.source(lambda x: (x + 1, table, x[:2], x), np.ones(3)), "program")
    first = exported(np.ones(3))
    second = exported(np.zeros(3))
    np.testing.assert_array_equal(first[0], [2, 2, 2])
    first[1][...] = 7
    np.testing.assert_array_equal(second[1], table)
    assert exported(np.ones(3))[1].flags.writeable


def test_layouts_of_arguments_are_those_of_the_examples() -> None:
    x = np.asfortranarray(RNG.standard_normal((40, 30)))
    compiled = fd.compile(lambda x: np.sum(x * x))
    compiled(x)
    exported = run(fd.export.source(lambda x: np.sum(x * x), x), "program")
    for given in (x, np.ascontiguousarray(x), np.stack([x, x], axis=1)[:, 0]):
        assert_same_bits(exported(given), compiled(x))


def test_a_wrong_argument_is_named() -> None:
    exported = run(fd.export.source(step, MLP, OPT.init(MLP), X, T), "step")
    model, state = flat(MLP), flat(OPT.init(MLP))
    with pytest.raises(ValueError, match=r"x is float32\[2,5\], but this program was exported for float32\[4,5\]"):
        exported(model, state, X[:2], T)
    with pytest.raises(TypeError, match=r"model/layers/0/W is float64\[5,7\], but .* float32\[5,7\]"):
        exported({**model, "layers/0/W": np.ones((5, 7))}, state, X, T)
    with pytest.raises(KeyError, match="model must be a dict of arrays by path, with the key 'layers/0/W'"):
        exported({}, state, X, T)
    signed = run(fd.export.source(lambda x, flip: -x if flip else x, X, True), "program")
    assert_same_bits(signed(X, True), -X)
    with pytest.raises(ValueError, match="flip is False, but this program was exported for True"):
        signed(X, False)
    with pytest.raises(ValueError, match="labels lie between 0 and 9, but there are 3 classes"):
        exported(model, state, X, T * 3 + np.array([0, 3, 0, 0]))


def test_a_file_with_arrays_beside_it_runs_where_this_library_is_not(tmp_path: Path) -> None:
    wide = nn.MLP.init(KEY, (300, 100, 3))
    x = normal(2, 300)
    fd.export.source(wide, x, path=tmp_path / "wide.py")
    fd.export.source(MLP, X, path=tmp_path / "small.py")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.py", "wide.data.npz", "wide.py"]
    assert "layers/0/W" in np.load(tmp_path / "wide.data.npz")
    np.save(tmp_path / "x.npy", x)
    script = "import sys, numpy as np; sys.path.insert(0, '.'); import wide; np.save('y.npy', wide.mlp(np.load('x.npy'))); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "fdezero" not in ran.stdout.replace("\n", " ").split(" ")
    compiled = fd.compile(lambda model, x: model(x))
    compiled(wide, x)
    assert_same_bits(np.load(tmp_path / "y.npy"), compiled(wide, x))


def test_a_program_with_functions_of_scipy_says_so() -> None:
    text = fd.export.source(lambda x: fd.special.gammaln(x), np.ones(3))
    assert text.startswith('"""The program of `program`, exported by fdezero. It needs NumPy and SciPy."""')


def test_what_a_file_cannot_hold_is_named_by_line() -> None:
    class Talk(Region):  # as operations over several processes are
        name = "talk"

        def run(self, *leaves: Any) -> Any:
            return tuple(leaf + 1 for leaf in leaves)

    with pytest.raises(ExportError, match=r"export.source: talk at .*test_source.py, line \d+ is an operation of its own"):
        fd.export.source(lambda x: Talk()(x)[0] + 1, X)
    with pytest.raises(ExportError, match="uses a value that is traced"):
        fd.grad(lambda y: fd.export.source(lambda x: x * y, X) and y)(1.0)
