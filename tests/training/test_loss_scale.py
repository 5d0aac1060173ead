"""The loss scale against a model of it in Python, its place beside optimisers, and what float16 loses without one."""

import functools
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import NanError, RangeError, ShapeError, StructureError
from fdezero.optim.precision import LossScale, Policy, all_finite, select
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..profiles import examples

KEY = fd.random.key(0)
X = np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32)


def dtypes(tree: Any) -> dict[str, str]:
    return {path: str(leaf.dtype) for path, leaf in fd.tree.flatten_with_path(tree)}


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
    model, opt = nn.MLP.init(KEY, (4, 8, 2)), optim.adam(0.1)
    with pytest.raises(
        StructureError, match=r"takes the optimiser first, scale.step\(opt, model, grads, state\); got MLP"
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
