"""Policies around models: dtypes of parameters, inputs, results and statistics, exceptions by path, compiled steps, mistakes."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.errors import DTypeError, ShapeError, StructureError
from fdezero.optim.precision import LossScale, Mixed, Policy
from fdezero.testing import assert_trees_close, assert_trees_equal

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32)
T = (X.sum(1) > 0).astype(int)


def network() -> Any:
    layers = [nn.Linear.lazy(16), nn.BatchNorm.lazy(), F.relu, nn.Dropout(0.25), nn.Linear.lazy(2)]
    return nn.init(nn.Sequential(layers), fd.random.key(1), X)


def dtypes(tree: Any) -> dict[str, str]:
    return {path: str(leaf.dtype) for path, leaf in fd.tree.flatten_with_path(tree)}


class Seen(nn.Stateful):
    """Notes the dtypes that reach it, and counts its steps."""

    W: Any
    ids: Any
    seen: Any = fd.static()
    count: Any = nn.statistic(default=np.float64(0))

    def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:  # type: ignore[override]
        self.seen.notes.append(tuple(str(each.dtype) for each in (x, self.W, self.ids, self.count)))
        return x * self.W, self.replace(count=self.count + 1) if train else self


class Notes:
    def __init__(self) -> None:
        self.notes: list[Any] = []


def seen() -> Seen:
    return Seen(np.ones(4, np.float32), np.arange(3), Notes())


# Policies


def test_parameters_and_inputs_are_cast_and_statistics_integers_and_outputs_are_not() -> None:
    layer = seen()
    y, after = nn.step(Policy(compute="float16")(layer), X)
    assert layer.seen.notes == [("float16", "float16", "int64", "float64")]
    assert y.dtype == np.float32
    assert after.model.count == 1
    assert after.model.count.dtype == np.float64
    assert Policy(output=None)(layer)(X).dtype == np.float16
    assert Policy(compute=None)(layer)(X.astype(float)).dtype == np.float32
    assert layer.seen.notes[-1][:2] == ("float64", "float32")
    assert layer.count == 0


def test_parameters_are_kept_in_their_dtype_and_so_are_gradients() -> None:
    net = network()
    for params in ("float16", "float32", "float64"):
        model = Policy(params=params, compute="float16")(net)
        loss, grads = fd.value_and_grad(lambda model: F.softmax_cross_entropy(model(X), T))(model)
        assert loss.dtype == np.float32
        assert set(dtypes(grads).values()) == {params}
        kept = dtypes(model)
        assert kept["model/layers/1/mean"] == "float32"  # a statistic
        assert kept["model/layers/0/W"] == params
    assert set(dtypes(Policy(params=None)(net)).values()) == {"float32"}


def test_keys_frozen_layers_numbers_and_complex_arrays() -> None:
    policy = Policy()
    tree = {
        "key": KEY,
        "n": 3,
        "number": 1.5,
        "z": np.ones(2, complex),
        "mask": np.ones(2, bool),
        "frozen": fd.Frozen(np.ones(2)),
        "none": None,
    }
    cast = policy.cast_to_compute(tree)
    assert dtypes({name: cast[name] for name in ("key", "z", "mask", "frozen")}) == {
        "key": "uint64", "z": "complex128", "mask": "bool", "frozen/value": "float16"
    }  # fmt: skip
    assert (cast["n"], cast["number"], cast["none"]) == (3, 1.5, None)
    assert policy.cast_to_output(cast)["frozen"].value.dtype == np.float32
    model = policy(nn.freeze(network(), "layers/0"))
    grads = fd.grad(lambda model: F.softmax_cross_entropy(model(X), T))(model)
    assert fd.tree.paths(grads) == [
        "model/layers/1/scale",
        "model/layers/1/shift",
        "model/layers/4/W",
        "model/layers/4/b",
    ]


def test_exceptions_by_path_compute_in_their_own_dtype() -> None:
    first, second = seen(), seen()
    model = nn.Sequential(first, nn.Sequential(second, F.tanh))
    policy = Policy(layers={"layers/1/layers/*": "float32", "layers/0": "float64"})
    for run in (lambda m: nn.step(m, X), fd.compile(lambda m: nn.step(m, X)), lambda m: (m(X), None)):
        y, _ = run(policy(model))
        assert y.dtype == np.float32
        assert first.seen.notes.pop()[:2] == ("float64", "float64")
        assert second.seen.notes.pop()[:2] == ("float32", "float32")
    inner = Policy(layers={"layers/1": "float64", "layers/1/layers/0": "float32"})(model)  # the innermost counts
    _, found = nn.capture(inner, X, paths=["model/layers/1", "model/layers/1/layers/0"])
    assert second.seen.notes.pop()[:2] == ("float32", "float32")
    assert dtypes(found) == {
        "model/layers/1": "float64",
        "model/layers/1/layers/0": "float32",
    }  # as the layers give them
    _, after = nn.step(policy(model), X)
    assert after.model.layers[1].layers[0].count == 1


def test_arrays_in_containers_of_a_layer_are_cast_and_others_stay_the_same_objects() -> None:
    class Tables(fd.Module):
        weights: Any
        ids: Any
        inner: Any

        def __call__(self, x: Any) -> Any:
            return x

    layer = Tables(
        {"a": np.ones(2, np.float32), "b": [np.arange(2), np.ones(1, np.float32)]},
        (np.arange(3), None),
        [F.tanh, seen()],
    )
    cast = Policy().cast_to_compute(layer)
    assert dtypes((cast.weights, cast.inner[1])) == {
        "0/a": "float16", "0/b/0": "int64", "0/b/1": "float16", "1/W": "float16", "1/ids": "int64", "1/count": "float64"
    }  # fmt: skip
    assert cast.ids is layer.ids
    assert Policy().cast_to_params(layer) is layer
    assert cast.inner[0] is F.tanh


def test_exceptions_work_inside_transforms_of_the_model() -> None:
    class Mapped(fd.Module):
        norm: Any

        def __call__(self, x: Any) -> Any:
            mapped = fd.vmap(lambda norm, x: norm(x), in_axes=(None, 0))(self.norm, x)
            return fd.checkpoint(lambda norm, x: norm(x))(self.norm, mapped)

    layer = seen()
    model = Policy(layers={"norm": "float32"})(Mapped(layer))
    fd.grad(lambda model: fd.numpy.sum(model(X)))(model)
    assert {note[:2] for note in layer.seen.notes} == {("float32", "float32")}


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_a_training_step_with_everything_is_compiled_once_and_has_the_bits_of_eager_code(
    half: str, tmp_path: Path
) -> None:
    opt = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(0.01))

    def step(run: Any, key: Any) -> Any:
        model, state, scale = run

        def loss_fn(model: Any) -> Any:
            y, model = nn.step(model, X, key=key)
            return F.softmax_cross_entropy(y, T), model

        (loss, after), grads = scale.value_and_grad(loss_fn, has_aux=True)(model)
        return scale.step(opt, after, grads, state, before=model), loss

    model = Policy(compute=half, layers={"layers/1": "float32"})(network())
    start = model, opt.init(model), LossScale.init(2.0**17, interval=3)
    compiled, run, again = fd.compile(step), start, start
    for k in range(8):
        (run, loss), (again, _) = step(run, fd.random.fold_in(KEY, k)), compiled(again, fd.random.fold_in(KEY, k))
        assert loss.dtype == np.float32
    assert_trees_equal(again, run, bits=True)
    assert "1 recording" in str(compiled.explain())
    assert loss < 0.6
    fd.save(tmp_path / "run.npz", run)
    assert_trees_equal(fd.load(tmp_path / "run.npz", like=start), run, bits=True)


def test_policies_and_scales_are_copied_pickled_and_shown() -> None:
    policy = Policy(compute=np.float16, layers={"**/norm": np.dtype("float32")})
    assert (
        repr(policy)
        == "Policy(params='float32', compute='float16', output='float32', layers=(('**/norm', 'float32'),))"
    )
    assert pickle.loads(pickle.dumps(policy)) == copy.deepcopy(policy) == policy
    scale = pickle.loads(pickle.dumps(LossScale.init(8.0, interval=7)))
    assert (scale.value, scale.interval, scale.skipped) == (8, 7, 0)
    assert repr(scale.adjust(False)) == "LossScale(4, streak=0, skipped=1)"
    assert "LossScale(float32[3], streak=int64[3]" in repr(fd.tree.map(lambda x: np.full(3, x), scale))
    model = policy(nn.Sequential(nn.Linear.init(KEY, 4, 2), _Named(nn.LayerNorm.init(KEY, 2))))
    assert Policy()(model).policy == Policy()  # the last policy counts
    assert_trees_equal(copy.deepcopy(model)(X), pickle.loads(pickle.dumps(model))(X), bits=True)


class _Named(fd.Module):
    norm: Any

    def __call__(self, x: Any) -> Any:
        return self.norm(x)


def test_mistakes_with_policies() -> None:
    with pytest.raises(DTypeError, match="compute is a floating dtype such as 'float16', got int32"):
        Policy(compute="int32")
    with pytest.raises(DTypeError, match="Policy: output is a floating dtype such as 'float16', got 'float61'"):
        Policy(output="float61")
    with pytest.raises(StructureError, match=r'layers=\{"\*\*/norm": "float32"\}; got \[\'a\'\]'):
        Policy(layers=["a"])
    with pytest.raises(StructureError, match="nothing matches 'layers/9'. Paths like it: layers/4"):
        Policy(layers={"layers/9": "float32"})(network())
    with pytest.raises(StructureError, match=r"a model is expected, got float32\[24,4\], which cannot be called"):
        Policy()(X)
    with pytest.raises(StructureError, match=r"got the class Linear: write Linear.init\(key, ...\)"):
        Policy()(nn.Linear)
    with pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
        Policy()(network())(X, mask=3)
    with pytest.raises(ShapeError, match="model/layers/0"):
        Policy()(network())(X[:, :3])
    without = "import sys; sys.modules['ml_dtypes'] = None\nfrom fdezero.optim.precision import Policy; Policy(compute='bfloat16')"
    told = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False).stderr
    assert "MissingExtraError: bfloat16 needs the package ml_dtypes: pip install 'fdezero[bfloat16]'" in told


def test_models_of_every_kind() -> None:
    """Lazy layers, frozen models, further arguments, ensembles, and policies inside others."""
    policy = Policy()
    lazy = nn.Sequential(nn.Linear.lazy(8), nn.BatchNorm.lazy(), F.relu, nn.Linear.lazy(3))
    model = nn.init(policy(lazy), KEY, X)
    assert_trees_equal(model, policy(nn.init(lazy, KEY, X)).replace(model=model.model))
    assert "layers/0: Linear     float16[24,8]" in str(nn.summary(model, X))
    assert policy(fd.Frozen(model.model))(X).dtype == fd.Frozen(model)(X).dtype == np.float32
    y, after = nn.step(nn.Sequential(nn.Checkpoint(model), F.relu), X)
    assert y.dtype == np.float32
    assert not np.array_equal(after.layers[0].layer.model.layers[1].mean, model.model.layers[1].mean)
    assert policy(nn.Sequential(Policy(compute="bfloat16")(model.model), F.relu))(X).dtype == np.float32
    assert policy(nn.Embedding.init(KEY, 10, 4))(np.arange(3)).dtype == np.float32
    mlp = policy(nn.MLP.init(KEY, (4, 8, 3)))
    both = fd.vmap(lambda model: model(X))(fd.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]), mlp))
    assert_trees_close(both[0], mlp(X), 2e-3)
    attention = policy(nn.MultiHeadAttention.init(KEY, 8, 2))
    x, mask = np.ones((2, 3, 8), np.float32), np.tri(3, dtype=bool)
    assert_trees_close(attention(x, mask=mask), attention.model(x, mask=mask), 5e-3)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_metrics_take_losses_in_half_precision(half: str) -> None:
    loss = fd.numpy.astype(np.float32(1.5), half)
    assert training.Mean().update(loss).result() == 1.5
    assert Policy(compute=half, output=None)(network())(X).dtype == half


def test_a_policy_takes_plain_functions_and_wraps_once() -> None:
    assert Policy()(F.tanh)(X).dtype == np.float32
    assert_trees_equal(Policy()(F.tanh)(X), F.tanh(X.astype(np.float16)).astype(np.float32), bits=True)
    assert not isinstance(Policy()(Policy()(F.tanh)).model, Mixed)
