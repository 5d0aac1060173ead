"""Mixed precision: policies, the loss scale against a model of it in Python, and what float16 loses without a scale."""

import copy
import functools
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim, training
from fdezero.errors import DTypeError, NanError, RangeError, ShapeError, StructureError
from fdezero.optim.precision import LossScale, Mixed, Policy, all_finite, select
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..profiles import examples

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


# The loss scale


def test_the_scale_is_float32_and_does_not_overflow_by_itself() -> None:
    scale = LossScale.init(2.0**24)
    loss = scale.scale(np.float16(1.5))
    assert loss == 1.5 * 2.0**24
    assert loss.dtype == np.float32
    assert scale.scale(2.0) == 2.0**25
    grads = scale.unscale({"a": np.full(2, 2.0, np.float16), "b": np.ones(2), "c": None})
    assert dtypes(grads) == {"a": "float32", "b": "float64"}
    assert_trees_equal(grads["a"], np.full(2, 2.0**-23, np.float32))
    value, slope = scale.value_and_grad(lambda x: (x * x).sum())(np.array([3.0, 4.0], np.float32))
    assert value == 25
    assert_trees_equal(slope, np.array([6.0, 8.0], np.float32))


def test_the_settings_that_a_scale_has_by_itself() -> None:
    scale = LossScale.init()
    assert (scale.value, scale.interval, scale.factor, scale.least, scale.greatest, scale.dynamic) == (
        2**15,
        2000,
        2,
        1,
        2**24,
        True,
    )
    assert attrs.evolve(scale.replace(value=np.float32(2)), dynamic=False).adjust(False).value == 2
    bare = LossScale(np.float32(2.0**24), np.int64(1999), np.int64(0))
    assert bare.adjust(True).value == 2**24
    assert bare.adjust(False).adjust(True).value == 2**23
    a, b = np.float32(3), np.float32(4)
    assert scale.value_and_grad(lambda a, b: a * a * b)(a, b) == (36, 24)
    assert scale.value_and_grad(lambda a, b: a * a * b, (1, 0))(a, b) == (36, (9, 24))


def test_a_float16_run_begins_with_an_overflow_and_recovers() -> None:
    """The scaled loss is a number of float16 on its way back, which ends at 65504: the first scales are too large."""
    opt, scale, params = optim.sgd(0.1), LossScale.init(2.0**20), {"w": np.ones(3, np.float16)}
    state = opt.init(params)
    values = []
    for _ in range(8):
        loss, grads = scale.value_and_grad(lambda p: fd.numpy.sum(p["w"] ** 2))(params)
        params, state, scale = scale.step(opt, params, grads, state)
        values.append(float(scale.value))
    assert values == [2.0**19, 2.0**18, 2.0**17, 2.0**16, 2.0**15, 2.0**14, 2.0**14, 2.0**14]
    assert scale.skipped == 6
    assert loss == pytest.approx(3 * 0.8**2, rel=1e-3)


class Reference:
    """The rules of the scale in plain Python."""

    def __init__(self, value: float, interval: int, factor: float, least: float, greatest: float) -> None:
        self.value, self.interval, self.factor, self.least, self.greatest = value, interval, factor, least, greatest
        self.streak = self.skipped = 0

    def step(self, finite: bool) -> None:
        if not finite:
            self.value, self.streak, self.skipped = max(self.value / self.factor, self.least), 0, self.skipped + 1
            return
        self.streak += 1
        if self.streak == self.interval:
            self.value, self.streak = min(self.value * self.factor, self.greatest), 0


CLIPPED = optim.chain(optim.clip_by_global_norm(0.5), optim.adam(0.1))
OPTIMISERS = {
    "clipped": CLIPPED,
    "accumulated": optim.accumulate(CLIPPED, 2),
    "skipping": optim.skip_nonfinite(CLIPPED, most=100),
    "averaged": optim.lookahead(optim.momentum(0.1), 2),
}


def _step(opt: Any, run: Any, grads: Any) -> Any:
    params, state, scale = run
    return scale.step(opt, params, scale.unscale(grads), state)


COMPILED = {name: fd.compile(functools.partial(_step, opt)) for name, opt in OPTIMISERS.items()}


@given(
    plan=st.lists(st.tuples(st.sampled_from([None, np.inf, -np.inf, np.nan]), st.integers(0, 5)), min_size=1, max_size=14),
    interval=st.integers(1, 4), compiled=st.booleans(), name=st.sampled_from(list(OPTIMISERS)),
)  # fmt: skip
@settings(max_examples=examples(1))
def test_overflow_planted_at_random(plan: list[Any], interval: int, compiled: bool, name: str) -> None:
    """The scale follows its rules, and parameters and state are those of a run without the steps that overflow."""
    opt, params = OPTIMISERS[name], {"a": np.ones((2, 2), np.float32), "b": np.ones(2, np.float16), "n": np.arange(2)}
    run = alone = params, opt.init(params), LossScale.init(4.0, interval=interval, factor=2.0, least=1.0, greatest=16.0)
    step = COMPILED[name] if compiled else functools.partial(_step, opt)
    expected = Reference(4.0, interval, 2.0, 1.0, 16.0)
    for k, (planted, place) in enumerate(plan):
        scale = float(run[2].value)
        a, b = np.cos(np.arange(4) + k).reshape(2, 2).astype(np.float32), np.sin(np.arange(2) + k).astype(np.float16)
        plain = {"a": a, "b": b.astype(np.float32), "n": None}
        scaled = {"a": a * np.float32(scale), "b": b * np.float16(scale), "n": None}
        if planted is not None:
            (scaled["a"].reshape(-1) if place < 4 else scaled["b"])[place % 4] = planted
        run = step(run, scaled)
        expected.step(planted is None)
        if planted is None:
            alone = (*opt.step(alone[0], plain, alone[1]), alone[2])
        assert (run[2].value, run[2].streak, run[2].skipped) == (expected.value, expected.streak, expected.skipped)
        assert run[2].value.dtype == np.float32
    assert_trees_close(run[:2], alone[:2], 2e-3)


def test_an_optimiser_that_skips_can_take_the_place_of_the_step_of_the_scale() -> None:
    """It gives up where gradients never become finite, which the scale alone does not."""
    skipping, scale = OPTIMISERS["skipping"], LossScale.init(8.0, interval=2)
    params = other = {"w": np.ones(2, np.float32)}
    state, plain, same = skipping.init(params), CLIPPED.init(params), scale
    for bad in (0, 0, np.inf, 0, np.nan, 0):
        grads = scale.unscale({"w": np.array([8.0, bad], np.float32)})
        params, state = skipping.step(params, grads, state)
        scale = scale.adjust(grads)
        other, plain, same = same.step(CLIPPED, other, same.unscale({"w": np.array([8.0, bad], np.float32)}), plain)
    assert_trees_equal(params, other, bits=True)
    assert_trees_equal(scale, same, bits=True)
    assert state["skipped"] == scale.skipped == 2
    strict = optim.skip_nonfinite(optim.sgd(0.1), most=0)
    with pytest.raises(NanError, match="the gradient of w has a NaN or an infinity"):
        strict.step(params, scale.unscale({"w": np.array([np.inf, 1], np.float32)}), strict.init(params))


def test_the_bounds_hold_and_a_fixed_scale_stays() -> None:
    scale = LossScale.init(2.0, interval=1, factor=4.0, least=0.5, greatest=16.0)
    values = []
    for finite in (True, True, True, False, False, False, False):
        scale = scale.adjust(finite)
        values.append(float(scale.value))
    assert values == [8, 16, 16, 4, 1, 0.5, 0.5]
    fixed = LossScale.init(128.0, dynamic=False)
    fixed = fixed.adjust(False).adjust({"g": np.array([1.0, np.nan])}).adjust({"g": np.ones(2)})
    assert (fixed.value, fixed.skipped, fixed.streak) == (128, 2, 1)


def test_a_skipped_step_leaves_statistics_as_they_were_before() -> None:
    class Overflows(fd.Module):
        norm: Any
        w: Any

        def __call__(self, x: Any, *, train: bool = False) -> Any:
            return self.norm(x * self.w, train=train)

    model = Policy()(Overflows(nn.BatchNorm.init(KEY, 4), np.full(4, 3e4, np.float32)))
    opt, scale = optim.sgd(0.1), LossScale.init(4.0)

    def loss_fn(model: Any) -> Any:
        y, model = nn.step(model, X * 10)
        return fd.numpy.mean(y**2), model

    with np.errstate(all="ignore"):
        (_, after), grads = scale.value_and_grad(loss_fn, has_aux=True)(model)
    assert not np.isfinite(after.model.norm.variance).all()
    kept, _, halved = scale.step(opt, after, grads, opt.init(model), before=model)
    assert_trees_equal(kept, model, bits=True)
    assert (halved.value, halved.skipped) == (2, 1)


def test_all_finite_and_select() -> None:
    good = {"a": np.ones(2), "z": np.ones(1, complex), "n": np.arange(3), "key": KEY, "none": None, "x": 1.5}
    assert all_finite(good)
    assert all_finite({"n": np.arange(2)}) is True
    for bad in (np.inf, -np.inf, np.nan):
        assert not all_finite(good | {"x": bad})
        assert not all_finite(good | {"a": np.array([1.0, bad])})
        assert not all_finite(good | {"z": np.array([1 + bad * 1j])})
        assert not all_finite(good | {"h": np.array([bad], np.float16)})
    yes, no = {"a": np.ones(2), "n": np.int64(1)}, {"a": np.zeros(2), "n": np.int64(2)}
    assert select(True, yes, no) is yes
    for condition in (True, False):
        chosen = fd.compile(select)(np.bool_(condition), yes, no)
        assert_trees_equal(chosen, yes if condition else no, bits=True)
        assert type(chosen["n"]) is np.int64
    with pytest.raises(StructureError, match="the structures of yes and no differ at 'b'"):
        select(np.array([True]).all(keepdims=True), yes, yes | {"b": 1})


def test_mistakes_with_scales() -> None:
    model, opt = network(), optim.adam(0.1)
    with pytest.raises(
        StructureError, match=r"takes the optimiser first, scale.step\(opt, model, grads, state\); got Sequential"
    ):
        LossScale.init().step(model, opt, fd.tree.trainable(model), opt.init(model))  # type: ignore[arg-type]
    with pytest.raises(RangeError, match="value 0.5 lies outside least=1 and greatest"):
        LossScale.init(0.5)
    with pytest.raises(RangeError, match="value 0 lies outside"):
        LossScale.init(0.0, least=0.0)
    with pytest.raises(RangeError, match="factor is a finite number of at least 1, got 0.5"):
        LossScale.init(factor=0.5)
    with pytest.raises(RangeError, match="interval is a number of steps, at least 1, got 0"):
        LossScale.init(interval=0)
    with pytest.raises(RangeError, match="greatest is a finite number of at least 0, got inf"):
        LossScale.init(greatest=np.inf)
    with pytest.raises(RangeError, match="least is a finite number of at least 0, got -1"):
        LossScale.init(least=-1)
    with pytest.raises(RangeError, match="interval is a number of steps, at least 1, got True"):
        LossScale.init(interval=True)
    with pytest.raises(RangeError, match="value is a finite number of at least 0, got nan"):
        LossScale.init(float("nan"))
    with pytest.raises(ShapeError, match=r"a loss is a scalar, got float32\[2\]"):
        LossScale.init().scale(np.ones(2, np.float32))


# Why a scale is needed


def vanished(grads: Any) -> int:
    return int(sum((np.asarray(g) == 0).sum() for g in fd.tree.leaves(grads)))


def test_gradients_vanish_in_float16_and_a_scale_keeps_them() -> None:
    """A loss that is averaged over many numbers has gradients below 6e-8, the least number of float16."""
    rng = np.random.default_rng(2)
    x, t = rng.standard_normal((64, 8)).astype(np.float32), rng.integers(0, 4, 64)
    net = nn.MLP.init(KEY, (8, 32, 4), activation=F.tanh)

    def loss_fn(model: Any) -> Any:
        return F.softmax_cross_entropy(model(x), t) * 1e-6

    exact = fd.grad(loss_fn)(net)
    model = Policy()(net)
    lost, kept = fd.grad(loss_fn)(model).model, LossScale.init(2.0**15).value_and_grad(loss_fn)(model)[1].model
    assert vanished(exact) == vanished(kept) == 0
    assert vanished(lost) > 0.5 * sum(leaf.size for leaf in fd.tree.leaves(exact))
    assert_trees_close(*(fd.tree.map(lambda g: g * 1e6, grads) for grads in (kept, exact)), 2e-3)


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
