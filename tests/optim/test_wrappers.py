"""Optimisers around optimisers: accumulation is a larger batch, lookahead is its loop, planted NaN are skipped, norms are kept."""

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.errors import NanError, RangeError, StructureError
from fdezero.testing import assert_trees_close, assert_trees_equal

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(24, 4)).astype(np.float32), RNG.integers(0, 3, 24)
MODEL = nn.MLP.init(fd.random.key(0), (4, 8, 3))


def loss(model: Any, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


def stepper(opt: Any) -> Any:
    def step(model: Any, state: Any, x: Any, t: Any) -> Any:
        return opt.step(model, fd.grad(loss)(model, x, t), state)

    return step


def falling(step: Any) -> Any:
    return 0.1 * 0.9**step


# Accumulation


@pytest.mark.parametrize("method", [optim.sgd(0.5), optim.momentum(0.1, nesterov=True), optim.adam(falling)], ids=repr)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_accumulated_batches_are_one_larger_batch(method: Any, dtype: Any) -> None:
    model, x = fd.tree.map(lambda p: p.astype(dtype), MODEL), X.astype(dtype)
    opt = optim.accumulate(method, 3)
    small, large = (model, opt.init(model)), (model, method.init(model))
    step, whole = stepper(opt), stepper(method)
    for k in range(9):
        before, part = small[0], slice(8 * (k % 3), 8 * (k % 3) + 8)
        small = step(*small, x[part], T[part])
        if k % 3 < 2:
            assert_trees_equal(small[0], before)
        else:
            large = whole(*large, x, T)
            assert_trees_close(small[0], large[0], {np.float64: 1e-13, np.float32: 1e-5, np.float16: 4e-3}[dtype])
            assert all(not leaf.any() for leaf in fd.tree.leaves(small[1]["sum"]))
    assert fd.tree.leaves(small[1]["sum"])[0].dtype == (np.float32 if dtype == np.float16 else dtype)


def test_accumulation_compiles_once_and_has_the_bits_of_eager_code() -> None:
    opt = optim.accumulate(optim.chain(optim.clip_by_global_norm(0.1), optim.adam(falling)), 3)
    step, compiled = stepper(opt), fd.compile(stepper(opt), max_recordings=1)
    a = b = (MODEL, opt.init(MODEL))
    for k in range(8):
        x, t = X[k : k + 8], T[k : k + 8]
        a, b = step(*a, x, t), compiled(*b, x, t)
        assert_trees_equal(a, b, bits=True)
    assert optim.inspect(a[1]) == {"step": 2, "rate": pytest.approx(0.09), "batch": 2}


def test_an_accumulated_run_goes_on_from_a_file_in_the_middle_of_a_batch(tmp_path: Any) -> None:
    opt = optim.accumulate(optim.adam(falling), 3)
    step, run = stepper(opt), (MODEL, opt.init(MODEL))
    for k in range(7):
        if k == 4:
            fd.save(tmp_path / "run.npz", run)
            again = fd.load(tmp_path / "run.npz", like=run)
        run = step(*run, X[k : k + 8], T[k : k + 8])
    for k in range(4, 7):
        again = step(*again, X[k : k + 8], T[k : k + 8])
    assert_trees_equal(again, run, bits=True)


# Lookahead


def test_lookahead_is_its_loop() -> None:
    opt, x = optim.lookahead(optim.momentum(0.1), 3, 0.4), np.array([1.0, -2.0])
    params, state = {"w": x}, opt.init({"w": x})
    fast, slow, v = x, x, np.zeros(2)
    for k in range(1, 10):
        params, state = opt.step(params, {"w": params["w"] ** 3}, state)
        v = 0.9 * v + fast**3
        fast = fast - 0.1 * v
        if k % 3 == 0:
            slow = slow + 0.4 * (fast - slow)
            fast = slow
        np.testing.assert_allclose(params["w"], fast, rtol=1e-12)
        np.testing.assert_allclose(state["slow"]["w"], slow, rtol=1e-12)


def test_lookahead_is_optaxs() -> None:
    optax = pytest.importorskip("optax")
    theirs = optax.lookahead(optax.sgd(0.1), 3, 0.4)
    params = optax.LookaheadParams.init_synced(np.float32([1.0, -2.0]))
    state, opt = theirs.init(params), optim.lookahead(optim.sgd(0.1), 3, 0.4)
    ours, own = np.float32([1.0, -2.0]), opt.init(np.float32([1.0, -2.0]))
    for _ in range(7):
        updates, state = theirs.update(params.fast**3, state, params)
        params = optax.apply_updates(params, updates)
        ours, own = opt.step(ours, ours**3, own)
        np.testing.assert_allclose(ours, params.fast, rtol=1e-5)


# Steps that are not finite


def poisoned(model: Any, kind: float) -> Any:
    """The gradient with one entry of one leaf spoilt."""
    return fd.tree.update(model, {"layers/1/b": np.float32([1, kind, 0])})


@pytest.mark.parametrize("native", [False, True])
def test_steps_with_nan_change_nothing_but_the_counts(native: bool) -> None:
    opt = optim.skip_nonfinite(optim.adam(falling), 2)
    plain = optim.adam(falling)
    compiled = fd.compile(opt.step, max_recordings=1, native=native)
    good = fd.grad(loss)(MODEL, X, T)
    run, alone, traced = (MODEL, opt.init(MODEL)), (MODEL, plain.init(MODEL)), (MODEL, opt.init(MODEL))
    for k, kind in enumerate((0, np.nan, np.inf, 0, -np.inf, np.nan, 0)):
        grads = good if kind == 0 else poisoned(good, kind)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            before, run, traced = run, opt.step(run[0], grads, run[1]), compiled(traced[0], grads, traced[1])
        if kind == 0:
            alone = plain.step(alone[0], grads, alone[1])
        else:
            assert_trees_equal(run[0], before[0], bits=True)
        assert_trees_equal(run[0], alone[0], bits=True)
        assert_trees_close(traced, run, 1e-6)
        if not native:
            assert_trees_equal(traced, run, bits=True)
        assert run[1]["calls"] == k + 1
    assert optim.inspect(run[1]) == {"step": 3, "rate": pytest.approx(0.081), "calls": 7, "skipped": 4, "in_a_row": 0}


@pytest.mark.parametrize("how", ["eager", "compiled", "native", "in a chain"])
def test_too_many_in_a_row_are_an_error_with_the_leaf_and_the_step(how: str) -> None:
    opt = optim.skip_nonfinite(optim.adam(0.1), 2)
    opt = optim.chain(optim.scale(1.0), opt) if how == "in a chain" else opt
    step = opt.step if how in ("eager", "in a chain") else fd.compile(opt.step, native=how == "native")
    run, good = (MODEL, opt.init(MODEL)), fd.grad(loss)(MODEL, X, T)
    for grads in (good, poisoned(good, np.nan), good, poisoned(good, np.inf), poisoned(good, np.nan)):
        run = step(run[0], grads, run[1])
    last = poisoned(good, np.inf)
    with pytest.raises(NanError, match=r"the gradient of layers/1/b has a NaN or an infinity in step 5, and more than 2 steps in a row were skipped"):
        step(run[0], last, run[1])


def test_no_gradients_and_a_single_leaf_are_steps_too() -> None:
    opt = optim.skip_nonfinite(optim.sgd(0.1), 0)
    assert opt.step({"n": 3}, {"n": None}, opt.init({"n": 3}))[1]["calls"] == 1
    with pytest.raises(NanError, match="the gradient of the parameter has a NaN"):
        opt.step(np.ones(2), np.array([1, np.nan]), opt.init(np.ones(2)))


# Norms and numbers for logs


def test_norms_are_those_of_gradients_and_updates() -> None:
    opt = optim.monitor(optim.chain(optim.clip_by_global_norm(0.01), optim.sgd(0.5)))
    grads = fd.grad(loss)(MODEL, X, T)
    for step in (opt.step, fd.compile(opt.step)):
        _, state = step(MODEL, grads, opt.init(MODEL))
        norm = np.sqrt(sum((leaf.astype(float) ** 2).sum() for leaf in fd.tree.leaves(grads)))
        found = optim.inspect(state, opt)
        assert found == {"rate": 0.5, "gradient_norm": pytest.approx(norm, rel=1e-6), "update_norm": pytest.approx(0.005, rel=1e-6)}
        assert all(type(value) is float for value in found.values())


def test_numbers_have_the_names_of_their_parts() -> None:
    groups = {"layers/0": optim.sgd(falling), "layers/1": optim.chain(optim.clip(1.0), optim.skip_nonfinite(optim.adam(0.02)))}
    opt = optim.by_path(groups)
    _, state = opt.step(MODEL, MODEL, opt.init(MODEL))
    expected = {"layers.0/step": 1, "layers.0/rate": 0.1, "layers.1/step": 1, "layers.1/calls": 1, "layers.1/skipped": 0, "layers.1/in_a_row": 0}
    assert optim.inspect(state) == expected
    assert optim.inspect(state, opt) == expected | {"layers.1/rate": 0.02}
    twice = optim.chain(optim.velocity(), optim.velocity(), optim.descend(0.3))
    assert optim.inspect(twice.init(MODEL), twice) == {"rate": 0.3}
    assert optim.inspect({"mean": {"rate": np.ones(()), "step": np.ones(3)}, "step": np.int64(2)}) == {"step": 2}


def test_a_compiled_step_returns_the_numbers_as_metrics() -> None:
    opt = optim.monitor(optim.sgd(falling))

    def step(model: Any, state: Any) -> Any:
        model, state = opt.step(model, model, state)
        return model, state, optim.inspect(state)

    eager, compiled = step(MODEL, opt.init(MODEL)), fd.compile(step)(MODEL, opt.init(MODEL))
    assert compiled[2] == eager[2] == {**eager[2], "step": 1, "rate": 0.1}


def test_what_is_no_state_is_named() -> None:
    with pytest.raises(StructureError, match="optim.inspect reads the state of an optimiser, a dict; got MLP"):
        optim.inspect(MODEL)
    with pytest.raises(StructureError, match="adam got the state of another optimiser"):
        optim.inspect({}, optim.adam())


# Names, text, errors


def test_states_of_wrappers_lie_beside_those_of_the_optimiser() -> None:
    opt, params = optim.lookahead(optim.accumulate(optim.skip_nonfinite(optim.adam()), 2)), {"w": np.ones(2)}
    assert fd.tree.paths(opt.init(params)) == [
        "batch", "calls", "in_a_row", "mean/w", "root/w", "since", "skipped", "slow/w", "step", "sum/w",
    ]  # fmt: skip
    twice = optim.lookahead(optim.lookahead(optim.sgd(0.1)))
    assert fd.tree.paths(twice.init(params)) == ["lookahead/since", "lookahead/slow/w", "since", "slow/w"]
    custom = optim.accumulate(optim.GradientTransformation(lambda params: np.int64(0), lambda grads, state, params: (grads, state + 1)), 2)
    assert fd.tree.paths(custom.init(params)) == ["batch", "part", "sum/w"]
    after = custom.init(params)
    for _ in range(4):
        _, after = custom.step(params, params, after)
    assert after["part"] == 2
    steps = optim.chain(optim.skip_nonfinite(optim.adam()), optim.descend(falling))  # whose steps differ
    assert sorted(steps.init(params)) == ["descend", "skip_nonfinite"]


def test_wrappers_show_themselves_and_pickle() -> None:
    opt = optim.monitor(optim.skip_nonfinite(optim.lookahead(optim.accumulate(optim.sgd(0.1), 4))))
    assert repr(opt) == "monitor(skip_nonfinite(lookahead(accumulate(sgd(lr=0.1), k=4), k=5, share=0.5), most=10))"
    assert repr(pickle.loads(pickle.dumps(opt))) == repr(opt)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: optim.accumulate(0.1, 3), StructureError, "accumulate wraps an optimiser, such as optim.adam.*; got float 0.1"),
        (lambda: optim.monitor(optim.sgd), StructureError, "monitor wraps an optimiser"),
        (lambda: optim.accumulate(optim.sgd(0.1), 0), RangeError, "accumulate: k is a whole number >= 1; got 0"),
        (lambda: optim.accumulate(optim.sgd(0.1), 1.5), RangeError, "accumulate: k is a whole number >= 1; got 1.5"),
        (lambda: optim.lookahead(optim.sgd(0.1), share=2), RangeError, "lookahead: share is a number >= 0 and <= 1; got 2"),
        (lambda: optim.skip_nonfinite(optim.sgd(0.1), -1), RangeError, "skip_nonfinite: most is a whole number >= 0; got -1"),
    ],
)
def test_settings_that_make_no_sense_are_named(make: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


@pytest.mark.parametrize("make", [lambda: optim.skip_nonfinite(optim.adam(falling), 1), lambda: optim.accumulate(optim.adam(falling), 2),
                                  lambda: optim.lookahead(optim.momentum(0.1), 2), lambda: optim.monitor(optim.sgd(falling))])  # fmt: skip
def test_compiled_steps_on_a_gpu_are_recorded_once_and_wait_for_no_count(make: Any, gpu: Any) -> None:
    opt, good = make(), {"w": np.float32([1, -2, 0.5])}
    bad = {"w": np.float32([1, np.nan, 0.5])}
    order = [good, bad, bad, bad, good, good] if isinstance(opt, optim.skip_nonfinite) else [good] * 6
    there, here = (fd.to_device(good, "gpu"), opt.init(fd.to_device(good, "gpu"))), (good, opt.init(good))
    step = fd.compile(opt.step, max_recordings=1)
    plain = opt.replace(most=5) if isinstance(opt, optim.skip_nonfinite) else opt
    for grads in order:
        there, here = step(there[0], fd.to_device(grads, "gpu"), there[1]), plain.step(here[0], grads, here[1])
    assert fd.device_of(there[0]["w"]) == "gpu:0"
    assert_trees_close(fd.to_numpy(there), here, 1e-4)
    assert optim.inspect(fd.to_numpy(there[1])).keys() == optim.inspect(here[1]).keys()
